//! How a batch's task saves the batch. Each decision is saved before it is acted on. If another
//! process has changed the batch, the task continues from the state that it saved.

use std::sync::Arc;

use dac_runtime::failpoint;
use tracing::{error, info, warn};

use super::{BatchTask, Persisted};
use crate::batch::{Batch, Delivery, Event};
use crate::context::PAUSE;
use crate::store::{StoreError, Versioned};

impl BatchTask {
    /// Reads the batch again after another process changed it, and continues from there.
    pub(super) async fn read_again(&mut self) {
        let before = self.batch.clone();
        match self.reload().await {
            Ok(true) => {
                self.report_changes(&before);
                self.view.send_replace(Arc::new(self.batch.clone()));
                self.step(vec![Event::Resumed]).await;
            }
            Ok(false) => {}
            Err(error) => {
                warn!(batch = %before.id, %error, "reading the batch; trying again");
                tokio::time::sleep(PAUSE).await;
                self.reload.notify_one();
            }
        }
    }

    /// Reads the batch from the store. Returns whether another process had changed it.
    async fn reload(&mut self) -> Result<bool, StoreError> {
        let id = self.batch.id;
        let Some(Versioned { batch, version, .. }) = self.ctx.store.batch(id).await? else {
            error!(batch = %id, "the batch is gone from the store");
            return Ok(false);
        };
        if version == self.version {
            return Ok(false);
        }
        self.taken_over = !self.ctx.store.owns(id).await?;
        info!(batch = %id, phase = batch.phase.name(), elsewhere = self.taken_over, "the batch was changed in the store");
        (self.saved, self.batch, self.version) = (batch.clone(), batch, version);
        Ok(true)
    }

    /// Saves the members' answers that were not saved yet. Returns whether another process had
    /// changed the batch; the task then continues from that state.
    pub(super) async fn save_what_waits(&mut self) -> bool {
        if self.taken_over || self.batch.is_stored_as(&self.saved) {
            return false;
        }
        let before = self.batch.clone();
        let is_reloaded = matches!(self.persist().await, Persisted::Reloaded);
        if is_reloaded {
            self.report_changes(&before);
            self.view.send_replace(Arc::new(self.batch.clone()));
        }
        is_reloaded
    }

    pub(super) async fn persist(&mut self) -> Persisted {
        loop {
            match self.ctx.store.save(&self.saved, &self.batch, self.version).await {
                Ok(version) => {
                    self.version = version;
                    persisted(&self.saved, &self.batch);
                    self.saved.clone_from(&self.batch);
                    return Persisted::Saved;
                }
                // There are three causes: a later submission replaced the batch; another process
                // took it over or was given its proof; or an earlier attempt to save took effect
                // although it seemed to fail.
                Err(StoreError::Superseded { id }) => match self.reload().await {
                    Ok(true) => return Persisted::Reloaded,
                    Ok(false) => {}
                    Err(error) => error!(batch = %id, %error, "reading the batch"),
                },
                Err(error) => {
                    metrics::counter!("dac_aggregator_store_failures_total").increment(1);
                    warn!(batch = %self.batch.id, %error, "saving the batch; trying again");
                }
            }
            tokio::select! {
                () = self.ctx.stopping.cancelled() => return Persisted::Stopped,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// Fail points at which tests end the process: the change is durable, and nothing was done about it
/// yet.
fn persisted(before: &Batch, after: &Batch) {
    failpoint!("aggregator.batch.saved");
    if before.digest() != after.digest() {
        failpoint!("aggregator.header.persisted");
    }
    if before.certificate.is_none() && after.certificate.is_some() {
        failpoint!("aggregator.certificate.persisted");
    }
    if before.l1.is_none() && after.l1.is_some() {
        failpoint!("aggregator.record.persisted");
    }
    if before.proof.is_none() && after.proof.is_some() {
        failpoint!("aggregator.proof.persisted");
    }
    if before.settlement.is_none() && after.settlement.is_some() {
        failpoint!("aggregator.settlement.persisted");
    }
    let delivered = |batch: &Batch| {
        let members = batch.dispersal.iter().flat_map(|dispersal| &dispersal.members);
        members
            .filter(|member| matches!(member.delivery, Delivery::Claimed(_) | Delivery::Attested(_)))
            .count()
    };
    if delivered(before) < delivered(after) {
        failpoint!("aggregator.signatures.persisted");
    }
}
