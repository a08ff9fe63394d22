//! Remembers which batches wait before they are tried again. A batch that fails costs the others
//! nothing, and no batch is forgotten for the sake of another.

use std::collections::HashMap;
use std::time::Duration;

use dac_types::BatchDigest;
use tokio::time::Instant;

/// The pause after the first failure. It doubles with every further one.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// The number of batches remembered. Beyond it, the batch that is due first is forgotten, so it is
/// tried a little early.
const BATCHES_MAX: usize = 100_000;

/// The failures by batch.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: HashMap<BatchDigest, (u32, Instant)>,
}

impl Backoff {
    /// Returns whether the batch may be tried at `now`.
    pub(super) fn is_due(&self, digest: BatchDigest, now: Instant) -> bool {
        self.failures.get(&digest).is_none_or(|(_, until)| *until <= now)
    }

    /// Notes that the batch failed. Returns how long it waits.
    pub(super) fn failed(&mut self, digest: BatchDigest, now: Instant) -> Duration {
        if self.failures.len() >= BATCHES_MAX && !self.failures.contains_key(&digest) {
            let first = self.failures.iter().min_by_key(|(_, (_, until))| *until).map(|(digest, _)| *digest);
            if let Some(first) = first {
                self.failures.remove(&first);
            }
        }
        let (count, until) = self.failures.entry(digest).or_insert((0, now));
        let pause = PAUSE_FIRST.saturating_mul(2_u32.saturating_pow(*count)).min(PAUSE_MAX);
        *count = count.saturating_add(1);
        *until = now + pause;
        pause
    }

    /// Notes that the batch was resolved. This says nothing of any other batch.
    pub(super) fn resolved(&mut self, digest: BatchDigest) {
        self.failures.remove(&digest);
    }

    /// Returns when the next batch becomes due after `now`, if one waits.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.failures.values().map(|(_, until)| *until).filter(|until| *until > now).min()
    }

    /// Forgets batches that are long due: they were resolved in another way or are about to be
    /// tried.
    pub(super) fn forget_old(&mut self, now: Instant) {
        self.failures.retain(|_, (_, until)| *until + PAUSE_MAX > now);
    }
}

#[cfg(test)]
mod tests {
    use dac_types::B256;

    use super::*;

    const A: BatchDigest = BatchDigest(B256::repeat_byte(1));
    const B: BatchDigest = BatchDigest(B256::repeat_byte(2));

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let pauses: Vec<u64> = (0..10).map(|_| backoff.failed(A, now).as_secs()).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
    }

    #[test]
    fn a_resolved_batch_never_clears_an_unresolved_one() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.failed(A, now);
        backoff.failed(B, now);
        backoff.failed(B, now);
        backoff.resolved(A);
        assert!(backoff.is_due(A, now) && !backoff.is_due(B, now));
        assert_eq!(backoff.next_due(now), Some(now + Duration::from_secs(10)));
        assert!(backoff.is_due(B, now + Duration::from_secs(10)));
        assert_eq!(backoff.failed(B, now).as_secs(), 20, "and its failures still count");
        backoff.forget_old(now + PAUSE_MAX);
        assert!(!backoff.is_due(B, now), "what waits is not forgotten");
    }
}
