//! Batches that wait only for a proof. They have no task and take hardly any memory, because a
//! rollup may have thousands of certified batches before it proves the first. An event that
//! concerns one of them wakes it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dac_types::Address;
use parking_lot::Mutex;

use crate::batch::{Batch, SubmissionDigest};

/// What the process remembers of a dormant batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dormant {
    /// The batch's version in the store.
    pub(super) version: i64,
    /// The rollup's contract, and the batch's number there.
    settlement: Address,
    number: u64,
    /// The batch's expiry time, in Unix seconds.
    expires_at: u64,
}

impl Dormant {
    pub(super) const fn of(batch: &Batch, version: i64) -> Self {
        let submission = &batch.submission.submission;
        Self {
            version,
            settlement: submission.rollup,
            number: submission.batch_number,
            expires_at: submission.expires_at,
        }
    }
}

/// All dormant batches of this process. Clones share one table.
#[derive(Clone, Debug, Default)]
pub(super) struct DormantBatches(Arc<Mutex<HashMap<SubmissionDigest, Dormant>>>);

impl DormantBatches {
    pub(super) fn insert(&self, id: SubmissionDigest, rest: Dormant) {
        self.0.lock().insert(id, rest);
        self.report();
    }

    pub(super) fn remove(&self, id: SubmissionDigest) -> Option<Dormant> {
        let rest = self.0.lock().remove(&id);
        self.report();
        rest
    }

    pub(super) fn contains(&self, id: SubmissionDigest) -> bool {
        self.0.lock().contains_key(&id)
    }

    pub(super) fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Removes and returns all dormant batches.
    pub(super) fn drain(&self) -> Vec<(SubmissionDigest, Dormant)> {
        let all = self.0.lock().drain().collect();
        self.report();
        all
    }

    pub(super) fn contracts(&self) -> HashSet<Address> {
        self.0.lock().values().map(|rest| rest.settlement).collect()
    }

    /// Returns the batches that have expired, and those under whose number the rollup has settled a
    /// batch.
    pub(super) fn due(&self, now: u64, settled: impl Fn(Address) -> u64) -> Vec<SubmissionDigest> {
        let batches = self.0.lock();
        let is_due = |rest: &Dormant| now > rest.expires_at || rest.number <= settled(rest.settlement);
        batches.iter().filter(|(_, rest)| is_due(rest)).map(|(id, _)| *id).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge")]
    fn report(&self) {
        ::metrics::gauge!("dac_aggregator_batches_resting").set(self.count() as f64);
    }
}

#[cfg(test)]
mod tests {
    use dac_types::B256;

    use super::*;

    const CONTRACT: Address = Address::repeat_byte(1);

    fn id(byte: u8) -> SubmissionDigest {
        SubmissionDigest(B256::repeat_byte(byte))
    }

    fn rest(number: u64, expires_at: u64) -> Dormant {
        Dormant { version: 1, settlement: CONTRACT, number, expires_at }
    }

    #[test]
    fn what_is_over_or_settled_is_due() {
        let resting = DormantBatches::default();
        resting.insert(id(1), rest(1, 100));
        resting.insert(id(2), rest(2, 200));
        let due = |now, settled| {
            let mut due = resting.due(now, |contract| if contract == CONTRACT { settled } else { 0 });
            due.sort_unstable();
            due
        };
        assert_eq!(due(100, 0), []);
        assert_eq!(due(101, 0), [id(1)]);
        assert_eq!(due(0, 1), [id(1)]);
        assert_eq!(due(0, 2), [id(1), id(2)]);
        assert_eq!(resting.contracts(), HashSet::from([CONTRACT]));
        assert!(resting.contains(id(1)));
        assert_eq!(resting.drain().len(), 2);
        assert_eq!((due(1000, 9), resting.remove(id(1))), (vec![], None));
    }
}
