//! Batches that wait for a proof and for nothing else. They take no task and hardly any memory: a rollup may have certified thousands of them
//! before it proves the first. What concerns one of them wakes it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dac_types::Address;
use futures::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::warn;

use super::{Batches, metrics};
use crate::batch::{Batch, Phase, SubmissionDigest};
use crate::post::Seen;
use crate::store::{StoreError, Versioned};

/// Batches left to another process at the same time.
const GIVEN_UP_AT_ONCE: usize = 16;

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

    fn contracts(&self) -> HashSet<Address> {
        self.0.lock().values().map(|rest| rest.settlement).collect()
    }

    /// Those whose time is over, and those under whose number the rollup has settled a batch.
    fn due(&self, now: u64, settled: impl Fn(Address) -> u64) -> Vec<SubmissionDigest> {
        let batches = self.0.lock();
        let is_due = |rest: &Rest| now > rest.expires_at || rest.number <= settled(rest.settlement);
        batches.iter().filter(|(_, rest)| is_due(rest)).map(|(id, _)| *id).collect()
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge")]
    fn report(&self) {
        ::metrics::gauge!("dac_aggregator_batches_resting").set(self.count() as f64);
    }
}

impl Batches {
    /// Goes on with a batch that rests, if it does. It rests until it was read: a caller that goes away, or a store that fails, leaves it
    /// where it was.
    pub(super) async fn wake(&self, id: SubmissionDigest) -> Result<(), StoreError> {
        if !self.resting.contains(id) {
            return Ok(());
        }
        let stored = self.ctx.store.batch(id).await?;
        // A process that slept beyond its lease may have lost the batch.
        let is_ours = self.ctx.store.owns(id).await?;
        if self.resting.remove(id).is_some()
            && let Some(stored) = stored.filter(|_| is_ours)
        {
            self.go_on(stored, true);
        }
        Ok(())
    }

    /// Another process changed a batch of this one: who works on it reads it again, and where nobody does, that begins. Where the store
    /// fails the batch does not rest any more, so that the next full look finds it.
    pub(super) async fn tell_changed(&self, id: SubmissionDigest) -> Result<(), StoreError> {
        if !self.is_live(id) {
            let rested = self.resting.remove(id).is_some();
            if let Some(stored) = self.ctx.store.batch(id).await? {
                self.go_on(stored, rested);
            }
        }
        // Whoever began meanwhile may have read it before it was changed.
        self.reload(id);
        Ok(())
    }

    fn go_on(&self, stored: Versioned, rested: bool) {
        // What changed while it rested was counted by nobody.
        if rested && stored.batch.phase != Phase::Certified {
            metrics::phase_changed(&Phase::Certified, &stored.batch.phase);
        }
        if !stored.batch.finished {
            self.resume(stored);
        }
    }

    /// Leaves all that rest to the process that posts, in the background.
    pub(super) fn give_up_resting(&self) {
        let batches = self.clone();
        self.ctx.tasks.spawn(async move {
            let all = futures::stream::iter(batches.resting.drain());
            let leave = |(id, rest): (SubmissionDigest, Rest)| batches.give_up(id, rest.version);
            all.for_each_concurrent(GIVEN_UP_AT_ONCE, leave).await;
        });
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
                match self.wake(id).await {
                    Ok(()) => {}
                    // One unreadable batch does not keep the others waiting. The next full look says what it is.
                    Err(StoreError::Corrupt { .. }) => drop(self.resting.remove(id)),
                    Err(error) => {
                        warn!(batch = %id, %error, "going on with a batch; trying again");
                        break;
                    }
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
        assert_eq!(resting.contracts(), HashSet::from([CONTRACT]));
        assert!(resting.contains(id(1)));
        assert_eq!(resting.drain().len(), 2);
        assert_eq!((due(1000, 9), resting.remove(id(1))), (vec![], None));
    }
}
