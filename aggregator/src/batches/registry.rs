//! The batches that this process works on or shows, and the present state of each.

use std::collections::HashMap;
use std::sync::Arc;

use dac_types::BatchDigest;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::budgets::Budgets;
use super::dormant::DormantBatches;
use super::metrics;
use super::oldest::Standing;
use super::proofs::ProofSubmission;
use crate::batch::{Batch, Event, SubmissionDigest};
use crate::context::Context;
use crate::store::{StoreError, Versioned};

/// The name by which a client asks for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The digest of its submission.
    Submission(SubmissionDigest),
    /// The digest of one of its headers.
    Digest(BatchDigest),
}

/// A batch's present state, and its changes while there is work left.
pub struct Watched {
    /// The present state.
    pub batch: Arc<Batch>,
    /// The later states; none if the batch will not change any more.
    pub changes: Option<watch::Receiver<Arc<Batch>>>,
}

pub(super) struct Live {
    pub(super) events: tokio::sync::mpsc::Sender<Event>,
    /// The proofs are boxed because a channel allocates room for many messages at once, and most
    /// batches get one proof.
    pub(super) proofs: tokio::sync::mpsc::Sender<Box<ProofSubmission>>,
    pub(super) view: watch::Receiver<Arc<Batch>>,
    /// Notified when another process has changed the batch.
    pub(super) reload: Arc<Notify>,
}

/// A batch that another process works on, and that a client of this one watches.
pub(super) struct Foreign {
    version: i64,
    view: watch::Sender<Arc<Batch>>,
}

/// All batches of this process. Clones share them.
#[derive(Clone)]
pub struct Batches {
    pub(super) ctx: Arc<Context>,
    pub(super) budgets: Budgets,
    pub(super) live: Arc<Mutex<HashMap<SubmissionDigest, Live>>>,
    pub(super) foreign: Arc<Mutex<HashMap<SubmissionDigest, Foreign>>>,
    pub(super) dormant: DormantBatches,
    /// Notified when there may be a batch that no process works on.
    pub(super) something_is_free: Arc<Notify>,
}

impl Batches {
    /// Makes the registry without any batch; this process works on a batch once it has claimed it.
    pub async fn new(ctx: Arc<Context>, budgets: Budgets) -> Result<Self, StoreError> {
        metrics::describe();
        for (phase, count) in ctx.store.count_by_phase().await? {
            metrics::batches(&phase, count);
        }
        Ok(Self {
            ctx,
            budgets,
            live: Arc::default(),
            foreign: Arc::default(),
            dormant: DormantBatches::default(),
            something_is_free: Arc::default(),
        })
    }

    /// Returns the context that all batches share.
    pub fn context(&self) -> &Arc<Context> {
        &self.ctx
    }

    /// Returns the number of dormant batches: certified ones that wait only for a proof.
    pub fn dormant(&self) -> usize {
        self.dormant.count()
    }

    /// Returns the budgets against which the batches' payloads count.
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Returns whether this process works on the batch or has it dormant.
    pub(super) fn is_at_home(&self, id: SubmissionDigest) -> bool {
        self.is_live(id) || self.dormant.contains(id)
    }

    pub(super) fn is_live(&self, id: SubmissionDigest) -> bool {
        self.live.lock().contains_key(&id)
    }

    /// Has the batch's task read the batch again, if it has a task in this process.
    pub(super) fn reload(&self, id: SubmissionDigest) {
        if let Some(live) = self.live.lock().get(&id) {
            live.changed();
        }
    }

    /// Returns the batches of other processes that are watched here, with the versions last shown.
    /// Those that no client watches any more are forgotten.
    pub(super) fn watched_elsewhere(&self) -> Vec<(SubmissionDigest, i64)> {
        let mut foreign = self.foreign.lock();
        foreign.retain(|_, foreign| foreign.view.receiver_count() > 0);
        foreign.iter().map(|(id, foreign)| (*id, foreign.version)).collect()
    }

    /// Shows a batch of another process to the clients that watch it. Its last state ends their
    /// watching.
    pub(super) fn show_foreign(&self, found: Versioned) {
        let mut foreign = self.foreign.lock();
        let over = found.batch.finished;
        if let Some(known) = foreign.get_mut(&found.batch.id) {
            let id = found.batch.id;
            known.version = found.version;
            known.view.send_replace(Arc::new(found.batch));
            if over {
                foreign.remove(&id);
            }
        }
    }

    /// Returns the present state of a batch.
    pub async fn get(&self, id: SubmissionDigest) -> Result<Option<Arc<Batch>>, StoreError> {
        let live = self.live.lock().get(&id).map(|live| Arc::clone(&live.view.borrow()));
        match live {
            Some(batch) => Ok(Some(batch)),
            None => Ok(self.ctx.store.batch(id).await?.map(|stored| Arc::new(stored.batch))),
        }
    }

    /// Returns the present state of a batch, and its changes.
    pub async fn watch(&self, id: SubmissionDigest) -> Result<Option<Watched>, StoreError> {
        self.wake(id).await?;
        let live = self.live.lock().get(&id).map(|live| live.view.clone());
        if let Some(mut changes) = live {
            let batch = Arc::clone(&changes.borrow_and_update());
            return Ok(Some(Watched { batch, changes: Some(changes) }));
        }
        let Some(Versioned { batch, version, .. }) = self.ctx.store.batch(id).await? else { return Ok(None) };
        let (finished, batch) = (batch.finished, Arc::new(batch));
        if finished {
            return Ok(Some(Watched { batch, changes: None }));
        }
        let mut foreign = self.foreign.lock();
        let known = foreign
            .entry(id)
            .or_insert_with(|| Foreign { version, view: watch::Sender::new(Arc::clone(&batch)) });
        Ok(Some(Watched { batch, changes: Some(known.view.subscribe()) }))
    }

    /// Returns a summary of the batches that this process works on.
    pub fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for live in self.live.lock().values() {
            standing.add(&live.view.borrow());
        }
        standing
    }

    /// Returns the batch that a selector means.
    pub async fn resolve(&self, selector: Selector) -> Result<Option<SubmissionDigest>, StoreError> {
        match selector {
            Selector::Submission(id) => Ok(Some(id)),
            Selector::Digest(digest) => self.ctx.store.by_digest(digest).await,
        }
    }
}
