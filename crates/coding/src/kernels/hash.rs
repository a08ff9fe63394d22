//! SHA-256 of many messages: the chunks of a stripe or a shard, or the nodes of a level of a tree.
//!
//! Each step of one SHA-256 waits for the step before. Several independent hashes can use this
//! time, so a caller with many messages passes them all at once, and consecutive messages of one
//! length are hashed in parallel.

use dac_types::B256;
use sha2::{Digest, Sha256};

/// Calls `hashes` with the hash of `prefix ‖ message` for each message, in their order.
pub(crate) fn hash_each<'a>(
    prefix: u8,
    messages: impl IntoIterator<Item = &'a [u8]>,
    mut hashes: impl FnMut(B256),
) {
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    x86_64::engine().hash_each(prefix, messages, &mut hashes);
    #[cfg(not(all(feature = "std", target_arch = "x86_64")))]
    messages.into_iter().for_each(|message| hashes(hash_one(prefix, message)));
}

/// Returns the hash of `prefix ‖ message`. This is the definition that the kernels must match.
pub(crate) fn hash_one(prefix: u8, message: &[u8]) -> B256 {
    B256::new(Sha256::new().chain_update([prefix]).chain_update(message).finalize().into())
}

/// The kernels for x86-64 processors, and the code that they share.
#[cfg(all(feature = "std", target_arch = "x86_64"))]
mod x86_64 {
    use std::sync::OnceLock;
    use std::vec::Vec;

    use dac_types::B256;

    use super::hash_one;
    use crate::kernels::sha256::Message;
    use crate::kernels::{hash_avx512, hash_sha_ni};

    /// Smallest number of messages for which hashing sixteen at once is faster, even if fewer are
    /// there.
    const WIDE_MIN_MESSAGES: usize = 7;

    /// The kernels that this processor supports.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Engine {
        pub(super) wide: Option<hash_avx512::Kernel>,
        pub(super) pairs: Option<hash_sha_ni::Kernel>,
    }

    /// Returns the kernels. The processor is asked only once.
    pub(super) fn engine() -> Engine {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        *ENGINE.get_or_init(|| Engine { wide: hash_avx512::Kernel::new(), pairs: hash_sha_ni::Kernel::new() })
    }

    impl Engine {
        pub(super) fn hash_each<'a>(
            self,
            prefix: u8,
            messages: impl IntoIterator<Item = &'a [u8]>,
            hashes: &mut impl FnMut(B256),
        ) {
            let mut waiting: Vec<&[u8]> = Vec::with_capacity(hash_avx512::LANES);
            for message in messages {
                let full = waiting.len() == hash_avx512::LANES;
                if full || waiting.first().is_some_and(|first| first.len() != message.len()) {
                    self.hash_waiting(prefix, &waiting, hashes);
                    waiting.clear();
                }
                waiting.push(message);
            }
            self.hash_waiting(prefix, &waiting, hashes);
        }

        /// Hashes at most sixteen messages of one length.
        fn hash_waiting(self, prefix: u8, messages: &[&[u8]], hashes: &mut impl FnMut(B256)) {
            let Some(&first) = messages.first() else { return };
            if let Some(wide) = self.wide.filter(|_| messages.len() >= WIDE_MIN_MESSAGES) {
                let lanes = core::array::from_fn(|lane| {
                    Message::new(prefix, messages.get(lane).copied().unwrap_or(first))
                });
                wide.hash(&lanes).into_iter().take(messages.len()).for_each(|hash| hashes(B256::new(hash)));
                return;
            }
            for pair in messages.chunks(hash_sha_ni::LANES) {
                match (self.pairs, pair) {
                    (Some(kernel), [a, b]) => {
                        let both = [a, b].map(|message| Message::new(prefix, message));
                        kernel.hash(&both).into_iter().for_each(|hash| hashes(B256::new(hash)));
                    }
                    _ => pair.iter().for_each(|message| hashes(hash_one(prefix, message))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn each(prefix: u8, messages: &[&[u8]]) -> Vec<B256> {
        let mut hashes = Vec::new();
        hash_each(prefix, messages.iter().copied(), |hash| hashes.push(hash));
        hashes
    }

    fn one_by_one(prefix: u8, messages: &[&[u8]]) -> Vec<B256> {
        messages.iter().map(|message| hash_one(prefix, message)).collect()
    }

    #[test]
    fn sizes_around_every_boundary() {
        let bytes: Vec<u8> = (0..40 * 4200_usize).map(|i| (i * i / 7).to_le_bytes()[0]).collect();
        for length in (0..200).chain(4096 - 70..=4096 + 70) {
            for count in [1, 2, 3, 6, 7, 15, 16, 17, 33] {
                let messages: Vec<&[u8]> = bytes.chunks(4200).take(count).map(|m| &m[..length]).collect();
                assert_eq!(
                    each(1, &messages),
                    one_by_one(1, &messages),
                    "{count} messages of {length} bytes"
                );
            }
        }
    }

    /// These engines are what processors have that lack one kernel, or all.
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    #[test]
    fn every_kernel_hashes() {
        let all = x86_64::engine();
        println!("here: {all:?}");
        let bytes: Vec<u8> = (0..39 * 300_usize).map(|i| (i * i / 7).to_le_bytes()[0]).collect();
        let messages: Vec<&[u8]> = bytes.chunks(300).collect();
        for engine in [
            x86_64::Engine { wide: None, ..all },
            x86_64::Engine { pairs: None, ..all },
            x86_64::Engine { wide: None, pairs: None },
        ] {
            let mut hashes = Vec::new();
            engine.hash_each(0, messages.iter().copied(), &mut |hash| hashes.push(hash));
            assert_eq!(hashes, one_by_one(0, &messages), "{engine:?}");
        }
    }

    proptest! {
        #[test]
        fn messages_of_any_lengths(
            prefix: u8,
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..40),
            alike in 1_usize..20,
        ) {
            // The messages come in runs of one length, as chunks do.
            let messages: Vec<&[u8]> =
                messages.iter().flat_map(|message| std::iter::repeat_n(message.as_slice(), alike)).collect();
            prop_assert_eq!(each(prefix, &messages), one_by_one(prefix, &messages));
        }
    }
}
