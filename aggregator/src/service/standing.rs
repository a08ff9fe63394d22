//! How batches without a certificate stand: how many there are, what they wait for, and which of them is the oldest.

use std::collections::BTreeMap;
use std::sync::Arc;

use dac_proto::reason::Reason;

use super::Batches;
use crate::batch::{Batch, Phase};

/// A payload that is not encoded after this time has the aggregator called unhealthy.
const ENCODED_WITHIN_MS: u64 = 60_000;
/// A batch that has no certificate after this time has the aggregator called unhealthy, unless that is its rollup's own doing.
const CERTIFIED_WITHIN_MS: u64 = 300_000;

/// Batches of this process that have no certificate yet.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// All of them.
    pub uncertified: u64,
    /// How many wait for what.
    pub by_reason: BTreeMap<String, u64>,
    /// The oldest that is not encoded.
    pub unencoded: Option<Arc<Batch>>,
    /// The oldest that is encoded.
    pub undelivered: Option<Arc<Batch>>,
    /// The oldest that is encoded and waits for something that is not its rollup's own doing.
    held_up: Option<Arc<Batch>>,
}

impl Standing {
    fn add(&mut self, batch: &Arc<Batch>) {
        let oldest = match batch.phase {
            Phase::Received => &mut self.unencoded,
            Phase::Dispersing => &mut self.undelivered,
            _ => return,
        };
        keep_oldest(oldest, batch);
        self.uncertified += 1;
        if let Some(waiting) = batch.waiting() {
            let reason = &waiting.obstruction.reason;
            *self.by_reason.entry(reason.clone()).or_insert(0) += 1;
            if batch.is_held_up() && !is_the_rollups_doing(reason) {
                keep_oldest(&mut self.held_up, batch);
            }
        }
    }

    /// What a person should look at, if anything.
    pub fn problem(&self, now_ms: u64) -> Option<String> {
        let tell = |batch: &Arc<Batch>, within_ms: u64, what: &str| {
            let age = now_ms.saturating_sub(batch.received_at_ms);
            let order = &batch.submission.submission;
            let reason = batch.waiting().map_or_else(String::new, |waiting| {
                format!(": {} ({})", waiting.obstruction.reason, waiting.obstruction.detail)
            });
            (age > within_ms).then(|| {
                let (number, rollup, age) = (order.batch_number, order.rollup, age / 1000);
                format!("batch {number} of rollup {rollup} is {what} after {age} s{reason}")
            })
        };
        let unencoded =
            self.unencoded.as_ref().and_then(|batch| tell(batch, ENCODED_WITHIN_MS, "not encoded"));
        unencoded.or_else(|| tell(self.held_up.as_ref()?, CERTIFIED_WITHIN_MS, "not certified"))
    }
}

fn keep_oldest(oldest: &mut Option<Arc<Batch>>, batch: &Arc<Batch>) {
    if oldest.as_ref().is_none_or(|oldest| batch.received_at_ms < oldest.received_at_ms) {
        *oldest = Some(Arc::clone(batch));
    }
}

/// A rollup must not be able to have an aggregator called unhealthy.
fn is_the_rollups_doing(reason: &str) -> bool {
    [Reason::QuotaExceeded, Reason::UnknownRollup].iter().any(|own| own.as_str() == reason)
}

impl Batches {
    /// How those stand that this process works on.
    pub fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for live in self.live.lock().values() {
            standing.add(&live.view.borrow());
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::{held_up, received_at};

    #[test]
    fn the_oldest_is_named_and_a_rollups_own_doing_is_nobodys_illness() {
        let mut standing = Standing::default();
        for batch in [received_at(5_000), received_at(3_000), held_up("QUOTA_EXCEEDED", 1_000)] {
            standing.add(&Arc::new(batch));
        }
        assert_eq!(standing.uncertified, 3);
        assert_eq!(standing.unencoded.as_ref().unwrap().received_at_ms, 3_000);
        assert_eq!(standing.undelivered.as_ref().unwrap().received_at_ms, 1_000);
        assert_eq!(standing.by_reason, BTreeMap::from([("QUOTA_EXCEEDED".to_owned(), 1)]));
        assert_eq!(standing.problem(3_000 + ENCODED_WITHIN_MS), None);
        let problem = standing.problem(3_001 + ENCODED_WITHIN_MS).unwrap();
        assert!(problem.contains("not encoded after 60 s"), "{problem}");

        let mut standing = Standing::default();
        standing.add(&Arc::new(held_up("QUOTA_EXCEEDED", 1_000)));
        assert_eq!(standing.problem(u64::MAX), None);
        standing.add(&Arc::new(held_up("UNREACHABLE", 2_000)));
        let problem = standing.problem(2_001 + CERTIFIED_WITHIN_MS).unwrap();
        assert!(problem.contains("not certified after 300 s: UNREACHABLE"), "{problem}");
    }
}
