//! Remembers which clients brought false certificates. An honest client never does, and a check
//! costs two milliseconds.
//!
//! The code is pure: the caller passes the time. What a client brings after a false certificate is
//! checked alone, so that it does not spoil a check together with others. A client that goes on
//! waits longer and longer.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use dac_bls::CertificateError;
use dac_types::B256;
use tokio::time::Instant;

use crate::limits::ClientKey;

/// The number of false certificates that a client may bring at once.
const FALSE_BURST: f64 = 16.0;
/// The number of false certificates that a client may bring in a second, in the long run.
const FALSE_PER_SECOND: f64 = 1.0;
/// The number of clients that are remembered.
const CLIENTS_MAX: usize = 1024;
/// The number of false certificates of one committee that are remembered.
const REFUSED_MAX: usize = 1024;

#[derive(Debug)]
struct Suspect {
    /// The number of false certificates that the client may still bring.
    left: f64,
    refilled: Instant,
    /// The number of its certificates that are checked together.
    together: usize,
}

impl Suspect {
    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.left = FALSE_PER_SECOND.mul_add(seconds, self.left).min(FALSE_BURST);
        self.refilled = now;
    }
}

/// The clients that brought false certificates.
#[derive(Debug, Default)]
pub(super) struct Suspects(HashMap<ClientKey, Suspect>);

impl Suspects {
    /// Returns how long this client must wait before another certificate of it is checked, or
    /// `None` if it need not wait.
    pub(super) fn must_wait(&mut self, client: ClientKey, now: Instant) -> Option<Duration> {
        let suspect = self.0.get_mut(&client)?;
        suspect.refill(now);
        (suspect.left < 1.0).then(|| Duration::from_secs_f64((1.0 - suspect.left) / FALSE_PER_SECOND))
    }

    /// Returns how many certificates of this client are checked together, at most `most`.
    pub(super) fn together(&self, client: ClientKey, most: usize) -> usize {
        self.0.get(&client).map_or(most, |suspect| suspect.together.min(most))
    }

    /// Notes that a certificate of this client is good.
    pub(super) fn was_true(&mut self, client: ClientKey, most: usize, now: Instant) {
        if let Some(suspect) = self.0.get_mut(&client) {
            suspect.refill(now);
            suspect.together = suspect.together.saturating_mul(2).min(most);
            if suspect.together == most && suspect.left >= FALSE_BURST {
                self.0.remove(&client);
            }
        }
    }

    /// Notes that a certificate of this client is false.
    pub(super) fn was_false(&mut self, client: ClientKey, now: Instant) {
        if self.0.len() >= CLIENTS_MAX && !self.0.contains_key(&client) {
            self.make_room(now);
        }
        let unsuspected = Suspect { left: FALSE_BURST, refilled: now, together: 1 };
        let suspect = self.0.entry(client).or_insert(unsuspected);
        suspect.refill(now);
        suspect.left -= 1.0;
        suspect.together = 1;
    }

    /// Forgets the clients that brought nothing false for a while, or else the one that may still
    /// bring the most false certificates.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, suspect| {
            suspect.refill(now);
            suspect.left < FALSE_BURST
        });
        if self.0.len() >= CLIENTS_MAX
            && let Some(best) =
                self.0.iter().max_by(|(_, a), (_, b)| a.left.total_cmp(&b.left)).map(|(key, _)| *key)
        {
            self.0.remove(&best);
        }
    }
}

/// The false certificates of one committee and what is wrong with them. They are refused again
/// without a check.
#[derive(Debug, Default)]
pub(super) struct RefusedBefore {
    known: HashMap<B256, CertificateError>,
    order: VecDeque<B256>,
}

impl RefusedBefore {
    pub(super) fn get(&self, certificate: &B256) -> Option<CertificateError> {
        self.known.get(certificate).cloned()
    }

    pub(super) fn add(&mut self, certificate: B256, error: CertificateError) {
        if self.known.insert(certificate, error).is_none() {
            self.order.push_back(certificate);
        }
        if self.order.len() > REFUSED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> ClientKey {
        ClientKey::V4(number.to_be_bytes())
    }

    #[test]
    fn who_brings_false_ones_waits_and_is_checked_alone() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        assert_eq!((suspects.together(client(1), 32), suspects.must_wait(client(1), now)), (32, None));
        for _ in 0..16 {
            assert_eq!(suspects.must_wait(client(1), now), None);
            suspects.was_false(client(1), now);
        }
        assert_eq!(suspects.together(client(1), 32), 1);
        let wait = suspects.must_wait(client(1), now).unwrap();
        assert_eq!((wait, suspects.must_wait(client(2), now)), (Duration::from_secs(1), None));
        assert_eq!(suspects.must_wait(client(1), now + wait), None);
        let later = now + Duration::from_secs(60);
        for together in [2, 4, 8, 16] {
            suspects.was_true(client(1), 32, later);
            assert_eq!(suspects.together(client(1), 32), together);
        }
        suspects.was_true(client(1), 32, later);
        assert!(suspects.0.is_empty(), "nothing is remembered of those who are honest again");
    }

    #[test]
    fn both_tables_are_bounded_and_keep_the_worst() {
        let (mut suspects, now) = (Suspects::default(), Instant::now());
        for _ in 0..16 {
            suspects.was_false(client(0), now);
        }
        for number in 1..3000 {
            suspects.was_false(client(number), now);
        }
        assert_eq!(suspects.0.len(), CLIENTS_MAX);
        assert!(suspects.must_wait(client(0), now).is_some());

        let mut refused = RefusedBefore::default();
        for number in 0..2000_u64 {
            refused.add(B256::left_padding_from(&number.to_be_bytes()), CertificateError::Forged);
        }
        assert_eq!((refused.known.len(), refused.order.len()), (REFUSED_MAX, REFUSED_MAX));
        assert!(refused.get(&B256::left_padding_from(&1999_u64.to_be_bytes())).is_some());
        assert!(refused.get(&B256::left_padding_from(&0_u64.to_be_bytes())).is_none());
    }
}
