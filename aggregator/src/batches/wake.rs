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

/// The most batches that are left to another process at the same time.
const GIVEN_UP_AT_ONCE: usize = 16;

impl Batches {
    /// Resumes a batch if it is dormant. The batch stays dormant until it was read from the store,
    /// so that a cancelled call or a failing store leaves it dormant.
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

    /// Reads a batch of this process again after another process changed it, or starts its task if
    /// it has none. If the store fails, the batch is no longer dormant, so that the next full round
    /// finds it.
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
        // The metrics have not counted what changed while the batch was dormant.
        if rested && stored.batch.phase != Phase::Certified {
            metrics::phase_changed(&Phase::Certified, &stored.batch.phase);
        }
        if !stored.batch.finished {
            self.resume(stored);
        }
    }

    /// Leaves all dormant batches to the process that posts, in the background.
    pub(super) fn give_up_dormant(&self) {
        let batches = self.clone();
        self.ctx.jobs.spawn(async move {
            let all = futures::stream::iter(batches.dormant.drain());
            let leave = |(id, rest): (SubmissionDigest, Dormant)| batches.give_up(id, rest.version);
            all.for_each_concurrent(GIVEN_UP_AT_ONCE, leave).await;
        });
    }

    /// Wakes the dormant batches that are due, at every tick; never returns.
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
                    // One unreadable batch does not keep the others waiting. The next full round
                    // logs the error.
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
