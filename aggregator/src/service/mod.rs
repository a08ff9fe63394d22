//! All batches of this process: those with work left have an actor each, the others are read from the store.

mod actor;
pub mod aggregator;
mod metrics;
mod offer;
mod shipment;

pub use self::offer::OfferOutcome;

use std::collections::HashMap;
use std::sync::Arc;

use dac_types::{BatchDigest, PostingMode, SignedSubmission};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{error, info};

use self::actor::Actor;
use crate::batch::{Batch, Event, Phase, SubmissionDigest};
use crate::budget::{ByteBudget, Reservation};
use crate::context::Context;
use crate::store::{Creation, FIRST_VERSION, StoreError, Upload, Versioned};
use crate::submit::NumberTaken;

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

/// What came of a finished upload.
pub enum Submitted {
    /// A batch: this one's, or that of the same submission before.
    Batch(Arc<Batch>),
    /// The number is taken.
    Refused(NumberTaken),
}

struct Live {
    events: tokio::sync::mpsc::Sender<Event>,
    offers: tokio::sync::mpsc::Sender<offer::Offer>,
    view: watch::Receiver<Arc<Batch>>,
}

/// All batches. Clones are the same.
#[derive(Clone)]
pub struct Batches {
    ctx: Arc<Context>,
    budget: ByteBudget,
    live: Arc<Mutex<HashMap<SubmissionDigest, Live>>>,
}

impl Batches {
    /// Goes on with every batch that has work left.
    pub async fn recover(ctx: Arc<Context>, budget: ByteBudget) -> Result<Self, StoreError> {
        metrics::describe();
        for (phase, count) in ctx.store.count_by_phase().await? {
            metrics::batches(&phase, count);
        }
        let batches = Self { ctx, budget, live: Arc::default() };
        for digest in batches.ctx.store.orphaned_settlements().await? {
            batches.ctx.posting.withdraw(digest).await;
        }
        let unfinished = batches.ctx.store.unfinished().await?;
        if !unfinished.is_empty() {
            info!(batches = unfinished.len(), "going on where the former process stopped");
        }
        for id in unfinished {
            // One unreadable batch does not keep the others waiting.
            match batches.ctx.store.batch(id).await {
                Ok(Some(versioned)) => {
                    batches.resume(versioned);
                }
                Ok(None) => {}
                Err(error @ StoreError::Corrupt { .. }) => error!(batch = %id, %error, "left alone"),
                Err(error) => return Err(error),
            }
        }
        Ok(batches)
    }

    /// What they share.
    pub fn context(&self) -> &Arc<Context> {
        &self.ctx
    }

    /// Bytes in flight.
    pub const fn budget(&self) -> &ByteBudget {
        &self.budget
    }

    /// Begins to work on a batch, unless somebody does already.
    fn start(&self, versioned: Versioned, reservation: Option<Reservation>) -> Arc<Batch> {
        self.start_with(versioned, reservation, None)
    }

    /// The same, with a proof to be looked at first. Where somebody works on the batch, the proof is dropped.
    fn start_with(
        &self,
        versioned: Versioned,
        reservation: Option<Reservation>,
        offer: Option<offer::Offer>,
    ) -> Arc<Batch> {
        let id = versioned.batch.id;
        let (actor, new) = Actor::new(Arc::clone(&self.ctx), versioned, reservation);
        let batch = Arc::clone(&new.view.borrow());
        if let Some(offer) = offer {
            // There is room for the first.
            drop(new.offers.try_send(offer));
        }
        {
            let mut live = self.live.lock();
            if let Some(present) = live.get(&id) {
                return Arc::clone(&present.view.borrow());
            }
            live.insert(id, new);
        }
        let live = Arc::clone(&self.live);
        self.ctx.tasks.spawn(async move {
            actor.run().await;
            live.lock().remove(&id);
        });
        batch
    }

    /// Goes on with a batch that was taken before.
    fn resume(&self, versioned: Versioned) -> Arc<Batch> {
        let waits = matches!(versioned.batch.phase, Phase::Received | Phase::Dispersing);
        let length = versioned.batch.submission.submission.payload_length;
        let reservation = waits.then(|| self.budget.reserve_anyway(length));
        self.start(versioned, reservation)
    }

    /// The batch of a submission that was taken before. A commit may have taken place although it was reported as failed:
    /// where nobody works on the batch, that begins now, and not only at the next start.
    pub async fn taken(&self, id: SubmissionDigest) -> Result<Option<Arc<Batch>>, StoreError> {
        let live = self.live.lock().get(&id).map(|live| Arc::clone(&live.view.borrow()));
        if live.is_some() {
            return Ok(live);
        }
        let stored = self.ctx.store.batch(id).await?;
        Ok(stored.map(|stored| match stored.batch.finished {
            true => Arc::new(stored.batch),
            false => self.resume(stored),
        }))
    }

    /// Makes a finished upload a batch and begins to work on it. Not to be cancelled: run it in a task.
    pub async fn create(
        &self,
        id: SubmissionDigest,
        submission: SignedSubmission,
        posting: PostingMode,
        upload: Upload,
        reservation: Reservation,
    ) -> Result<Submitted, StoreError> {
        let batch = Batch::received(id, submission, self.ctx.now_ms()).posted_by(posting);
        let upload_id = upload.id();
        match upload.create(batch.clone()).await? {
            Creation::Refused(taken) => Ok(Submitted::Refused(taken)),
            Creation::Exists => self.taken(id).await?.map(Submitted::Batch).ok_or(StoreError::Missing { id }),
            Creation::Created { replaced } => {
                metrics::received();
                if let Some(former) = replaced {
                    self.tell_replaced(former).await;
                }
                let versioned = Versioned { batch, version: FIRST_VERSION, upload: upload_id };
                Ok(Submitted::Batch(self.start(versioned, Some(reservation))))
            }
        }
    }

    /// The store says already that the former batch failed; its actor finds that out with its next change.
    async fn tell_replaced(&self, former: SubmissionDigest) {
        let events = self.live.lock().get(&former).map(|live| live.events.clone());
        if let Some(events) = events {
            let failure = crate::batch::Failure {
                reason: crate::batch::FailureReason::Replaced,
                detail: "by a later submission".to_owned(),
            };
            let _ = events.send(Event::Failed(failure)).await;
        }
    }

    /// A batch as it stands.
    pub async fn get(&self, id: SubmissionDigest) -> Result<Option<Arc<Batch>>, StoreError> {
        Ok(self.watch(id).await?.map(|watched| watched.batch))
    }

    /// A batch as it stands, and its changes.
    pub async fn watch(&self, id: SubmissionDigest) -> Result<Option<Watched>, StoreError> {
        let live = self.live.lock().get(&id).map(|live| live.view.clone());
        if let Some(mut changes) = live {
            let batch = Arc::clone(&changes.borrow_and_update());
            return Ok(Some(Watched { batch, changes: Some(changes) }));
        }
        let stored = self.ctx.store.batch(id).await?;
        Ok(stored.map(|stored| Watched { batch: Arc::new(stored.batch), changes: None }))
    }

    /// Which batch a selector means.
    pub async fn resolve(&self, selector: Selector) -> Result<Option<SubmissionDigest>, StoreError> {
        match selector {
            Selector::Submission(id) => Ok(Some(id)),
            Selector::Digest(digest) => self.ctx.store.by_digest(digest).await,
        }
    }
}
