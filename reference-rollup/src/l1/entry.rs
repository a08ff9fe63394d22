//! Entries of the inbox as L1 announces them: an id and a word.

use alloy_primitives::{Address, B256, U256};
use ark_ff::Zero;
use thiserror::Error;

use crate::account::{AccountId, AccountIndex};
use crate::field;
use crate::inbox::{EXIT_SHIFT, INDEX_SHIFT, InboxEntry};
use crate::shape::ACCOUNTS_MAX;

/// Why id and word are no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryFault {
    /// Zero, or not below the field's order.
    #[error("{id} is nobody's account id")]
    Id {
        /// As announced.
        id: B256,
    },
    /// Neither a deposit's nor an exit request's.
    #[error("its word {word:#x} means nothing")]
    Word {
        /// As announced.
        word: U256,
    },
    /// No such place in the tree.
    #[error("an exit request for account {index}, which is not in 1..{ACCOUNTS_MAX}")]
    Index {
        /// As announced.
        index: u64,
    },
}

/// Decodes the entry that id and word stand for. Values that the contract cannot make are refused,
/// so that each entry has one meaning.
pub fn decode_entry(id: B256, word: U256) -> Result<InboxEntry, EntryFault> {
    let element = field::from_b256(id).filter(|element| !element.is_zero());
    let account = AccountId(element.ok_or(EntryFault::Id { id })?);
    if let Ok(amount) = u64::try_from(word)
        && amount > 0
    {
        return Ok(InboxEntry::Deposit { id: account, amount });
    }
    if word >> EXIT_SHIFT != U256::ONE {
        return Err(EntryFault::Word { word });
    }
    // 64 bits between the flag and the address; the contract uses 16 of them.
    let index = (word >> INDEX_SHIFT).as_limbs()[0] & u64::from(u32::MAX);
    let between = (word >> (INDEX_SHIFT + 32)).as_limbs()[0] & u64::from(u32::MAX);
    let recipient = Address::from_word(B256::from(word & (U256::MAX >> (256 - INDEX_SHIFT))));
    match u32::try_from(index) {
        _ if between != 0 => Err(EntryFault::Word { word }),
        Ok(index) if (1..ACCOUNTS_MAX).contains(&index) => {
            Ok(InboxEntry::Exit { id: account, index: AccountIndex(index), recipient })
        }
        _ => Err(EntryFault::Index { index }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = InboxEntry> {
        let id = any::<u64>().prop_map(|id| AccountId(ark_bn254::Fr::from(id) + ark_bn254::Fr::from(1_u8)));
        prop_oneof![
            (id.clone(), 1..=u64::MAX).prop_map(|(id, amount)| InboxEntry::Deposit { id, amount }),
            (id, 1..ACCOUNTS_MAX, any::<[u8; 20]>()).prop_map(|(id, index, recipient)| InboxEntry::Exit {
                id,
                index: AccountIndex(index),
                recipient: recipient.into()
            }),
        ]
    }

    proptest! {
        #[test]
        fn entries_round_trip(entry in entry()) {
            let (id, word) = (field::to_b256(entry.id().0), field::to_u256(entry.word()));
            prop_assert_eq!(decode_entry(id, word), Ok(entry));
        }

        #[test]
        fn whatever_is_understood_is_what_was_announced(word in any::<[u64; 4]>(), mask in any::<[bool; 4]>()) {
            let limbs = std::array::from_fn(|i| if mask[i] { word[i] } else { 0 });
            for word in [U256::from_limbs(limbs), U256::from_limbs(limbs) >> 31, (U256::from_limbs(limbs) >> 96) | U256::ONE << 224] {
                if let Ok(entry) = decode_entry(B256::with_last_byte(1), word) {
                    prop_assert_eq!(field::to_u256(entry.word()), word);
                }
            }
        }
    }

    #[test]
    fn what_the_contract_does_not_make_is_refused() {
        let id = B256::with_last_byte(5);
        let exit = |index: u64| (U256::ONE << 224) | (U256::from(index) << 160) | U256::from(9);
        assert!(matches!(decode_entry(B256::ZERO, U256::ONE), Err(EntryFault::Id { .. })));
        assert!(matches!(decode_entry(B256::repeat_byte(0xff), U256::ONE), Err(EntryFault::Id { .. })));
        assert!(matches!(decode_entry(id, U256::ZERO), Err(EntryFault::Word { .. })));
        assert!(matches!(decode_entry(id, U256::ONE << 64), Err(EntryFault::Word { .. })));
        assert!(matches!(decode_entry(id, exit(3) << 1), Err(EntryFault::Word { .. })));
        assert!(matches!(decode_entry(id, exit(3) | U256::ONE << 192), Err(EntryFault::Word { .. })));
        assert_eq!(decode_entry(id, exit(0)), Err(EntryFault::Index { index: 0 }));
        assert_eq!(decode_entry(id, exit(65_536)), Err(EntryFault::Index { index: 65_536 }));
        assert!(decode_entry(id, exit(65_535)).is_ok());
    }
}
