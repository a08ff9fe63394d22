//! Which batches this process knows, and what each looks like now.

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

/// How a batch is named by those who ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By its submission.
    Submission(SubmissionDigest),
    /// By a header.
    Digest(BatchDigest),
}

/// A batch now, and as it changes while there is work left.
pub struct Watched {
    /// Now.
    pub batch: Arc<Batch>,
    /// Later; none where nothing will change.
    pub changes: Option<watch::Receiver<Arc<Batch>>>,
}

pub(super) struct Live {
    pub(super) events: tokio::sync::mpsc::Sender<Event>,
    /// Boxed: a channel has room for many from its beginning, and most batches get one proof.
    pub(super) proofs: tokio::sync::mpsc::Sender<Box<ProofSubmission>>,
    pub(super) view: watch::Receiver<Arc<Batch>>,
    /// Another process changed it.
    pub(super) reload: Arc<Notify>,
}

/// A batch that another process works on, and that a client of this one watches.
pub(super) struct Foreign {
    version: i64,
    view: watch::Sender<Arc<Batch>>,
}

/// All batches. Clones are the same.
#[derive(Clone)]
pub struct Batches {
    pub(super) ctx: Arc<Context>,
    pub(super) budgets: Budgets,
    pub(super) live: Arc<Mutex<HashMap<SubmissionDigest, Live>>>,
    pub(super) foreign: Arc<Mutex<HashMap<SubmissionDigest, Foreign>>>,
    pub(super) dormant: DormantBatches,
    /// There may be a batch that nobody works on.
    pub(super) something_is_free: Arc<Notify>,
}

impl Batches {
    /// Nothing is worked on before it is claimed.
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

    /// What they share.
    pub fn context(&self) -> &Arc<Context> {
        &self.ctx
    }

    /// Certified batches that wait for a proof and for nothing else.
    pub fn dormant(&self) -> usize {
        self.dormant.count()
    }

    /// What their payloads hold.
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Whether it is worked on here, or rests here.
    pub(super) fn is_at_home(&self, id: SubmissionDigest) -> bool {
        self.is_live(id) || self.dormant.contains(id)
    }

    pub(super) fn is_live(&self, id: SubmissionDigest) -> bool {
        self.live.lock().contains_key(&id)
    }

    /// Has the batch's task read it again, if it has a task here.
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

    /// A batch as it stands.
    pub async fn get(&self, id: SubmissionDigest) -> Result<Option<Arc<Batch>>, StoreError> {
        let live = self.live.lock().get(&id).map(|live| Arc::clone(&live.view.borrow()));
        match live {
            Some(batch) => Ok(Some(batch)),
            None => Ok(self.ctx.store.batch(id).await?.map(|stored| Arc::new(stored.batch))),
        }
    }

    /// A batch as it stands, and its changes.
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

    /// How those stand that this process works on.
    pub fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for live in self.live.lock().values() {
            standing.add(&live.view.borrow());
        }
        standing
    }

    /// Which batch a selector means.
    pub async fn resolve(&self, selector: Selector) -> Result<Option<SubmissionDigest>, StoreError> {
        match selector {
            Selector::Submission(id) => Ok(Some(id)),
            Selector::Digest(digest) => self.ctx.store.by_digest(digest).await,
        }
    }
}
