//! Waking dormant batches, and leaving them to other processes.

use std::collections::HashMap;

use dac_types::Address;
use futures::StreamExt as _;
use tokio::sync::watch;
use tracing::warn;

use super::dormant::Dormant;
use super::metrics;
use super::registry::Batches;
use crate::batch::{Phase, SubmissionDigest};
use crate::post::Seen;
use crate::store::{StoreError, Versioned};

/// Batches left to another process at the same time.
const GIVEN_UP_AT_ONCE: usize = 16;

impl Batches {
    /// Goes on with a batch that is dormant, if it is. It stays dormant until it was read, so that
    /// a caller that goes away, or a store that fails, leaves it where it was.
    pub(super) async fn wake(&self, id: SubmissionDigest) -> Result<(), StoreError> {
        if !self.dormant.contains(id) {
            return Ok(());
        }
        let stored = self.ctx.store.batch(id).await?;
        // A process that slept beyond its lease may have lost the batch.
        let is_ours = self.ctx.store.owns(id).await?;
        if self.dormant.remove(id).is_some()
            && let Some(stored) = stored.filter(|_| is_ours)
        {
            self.go_on(stored, true);
        }
        Ok(())
    }

    /// Has a batch of this process read again that another process changed, or begins to work on it
    /// if it has no task. If the store fails, the batch is dormant no more, so that the next full
    /// look finds it.
    pub(super) async fn tell_changed(&self, id: SubmissionDigest) -> Result<(), StoreError> {
        if !self.is_live(id) {
            let rested = self.dormant.remove(id).is_some();
            if let Some(stored) = self.ctx.store.batch(id).await? {
                self.go_on(stored, rested);
            }
        }
        // A task that began meanwhile may have read the batch before it was changed.
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
    pub(super) fn give_up_dormant(&self) {
        let batches = self.clone();
        self.ctx.jobs.spawn(async move {
            let all = futures::stream::iter(batches.dormant.drain());
            let leave = |(id, rest): (SubmissionDigest, Dormant)| batches.give_up(id, rest.version);
            all.for_each_concurrent(GIVEN_UP_AT_ONCE, leave).await;
        });
    }

    /// Wakes what is due, again and again.
    pub(crate) async fn wake_due(&self) {
        let mut contracts: HashMap<Address, watch::Receiver<Seen>> = HashMap::new();
        loop {
            let wanted = self.dormant.contracts();
            contracts.retain(|contract, _| wanted.contains(contract));
            for contract in wanted {
                contracts.entry(contract).or_insert_with(|| self.ctx.posting.settled_count(contract));
            }
            let settled = |contract| contracts.get(&contract).map_or(0, |seen| seen.borrow().count);
            for id in self.dormant.due(self.ctx.now(), settled) {
                match self.wake(id).await {
                    Ok(()) => {}
                    // One unreadable batch does not keep the others waiting. The next full look
                    // says what it is.
                    Err(StoreError::Corrupt { .. }) => drop(self.dormant.remove(id)),
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
