//! Batches that wait for a proof and for nothing else. They take no task and hardly any memory: a rollup may have certified thousands of them
//! before it proves the first. What concerns one of them wakes it.

use std::collections::HashMap;
use std::sync::Arc;

use dac_types::Address;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::warn;

use super::Batches;
use crate::batch::{Batch, SubmissionDigest};
use crate::post::Seen;
use crate::store::StoreError;

/// What is to be known of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// The batch's version in the store.
    version: i64,
    /// The rollup's contract, and the batch's number there.
    settlement: Address,
    number: u64,
    /// Unix seconds.
    expires_at: u64,
}

impl Rest {
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

/// All that rest. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Resting(Arc<Mutex<HashMap<SubmissionDigest, Rest>>>);

impl Resting {
    pub(super) fn insert(&self, id: SubmissionDigest, rest: Rest) {
        self.0.lock().insert(id, rest);
        self.report();
    }

    pub(super) fn remove(&self, id: SubmissionDigest) -> Option<Rest> {
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

    /// All of them, which rest no more.
    fn drain(&self) -> Vec<(SubmissionDigest, Rest)> {
        let all = self.0.lock().drain().collect();
        self.report();
        all
    }

    fn contracts(&self) -> Vec<Address> {
        let mut contracts: Vec<Address> = self.0.lock().values().map(|rest| rest.settlement).collect();
        contracts.sort_unstable();
        contracts.dedup();
        contracts
    }

    /// Those whose time is over, and those under whose number the rollup has settled a batch.
    fn due(&self, now: u64, settled: impl Fn(Address) -> u64) -> Vec<SubmissionDigest> {
        let batches = self.0.lock();
        let is_due = |rest: &Rest| now > rest.expires_at || rest.number <= settled(rest.settlement);
        batches.iter().filter(|(_, rest)| is_due(rest)).map(|(id, _)| *id).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge")]
    fn report(&self) {
        metrics::gauge!("dac_aggregator_batches_resting").set(self.count() as f64);
    }
}

impl Batches {
    /// Goes on with a batch that rests, if it does. Where the store fails, it rests on.
    pub(super) async fn wake(&self, id: SubmissionDigest) -> Result<(), StoreError> {
        let Some(rest) = self.resting.remove(id) else { return Ok(()) };
        match self.ctx.store.batch(id).await {
            Ok(Some(stored)) if !stored.batch.finished => {
                self.resume(stored);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(error) => {
                self.resting.insert(id, rest);
                Err(error)
            }
        }
    }

    /// Leaves all that rest to the process that posts.
    pub(super) async fn give_up_resting(&self) {
        for (id, rest) in self.resting.drain() {
            self.give_up(id, rest.version).await;
        }
    }

    /// Wakes what is due, again and again.
    pub(super) async fn watch_over_resting(&self) {
        let mut contracts: HashMap<Address, watch::Receiver<Seen>> = HashMap::new();
        loop {
            let wanted = self.resting.contracts();
            contracts.retain(|contract, _| wanted.contains(contract));
            for contract in wanted {
                contracts.entry(contract).or_insert_with(|| self.ctx.posting.settled_count(contract));
            }
            let settled = |contract| contracts.get(&contract).map_or(0, |seen| seen.borrow().count);
            for id in self.resting.due(self.ctx.now(), settled) {
                if let Err(error) = self.wake(id).await {
                    warn!(batch = %id, %error, "going on with a batch; trying again");
                    break;
                }
            }
            tokio::time::sleep(self.ctx.settings.tick).await;
        }
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

    fn rest(number: u64, expires_at: u64) -> Rest {
        Rest { version: 1, settlement: CONTRACT, number, expires_at }
    }

    #[test]
    fn what_is_over_or_settled_is_due() {
        let resting = Resting::default();
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
        assert_eq!(resting.contracts(), [CONTRACT]);
        assert!(resting.contains(id(1)));
        assert_eq!(resting.drain().len(), 2);
        assert_eq!((due(1000, 9), resting.remove(id(1))), (vec![], None));
    }
}
