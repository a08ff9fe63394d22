//! All batches: those that this process works on have an actor each, but for those that rest until they have a proof; the others are read
//! from the store.

mod actor;
pub mod aggregator;
mod budgets;
mod metrics;
mod offer;
mod resting;
mod sharing;
mod shipment;
mod standing;

pub use self::budgets::Budgets;
pub use self::offer::OfferOutcome;
pub use self::sharing::SHARE_INTERVAL;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_types::{BatchDigest, PostingMode, SignedSubmission};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tracing::warn;

use self::actor::{Actor, End};
use self::resting::Resting;
use crate::batch::{Batch, Event, Phase, SubmissionDigest};
use crate::budget::Held;
use crate::context::Context;
use crate::store::{Creation, FIRST_VERSION, StoreError, Upload, Versioned};
use crate::submit::NumberTaken;

/// Pause after the store did not take that a batch is left.
const GIVE_UP_PAUSE: Duration = Duration::from_millis(500);

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
    /// Boxed: a channel has room for many from its beginning, and most batches get one proof.
    offers: tokio::sync::mpsc::Sender<Box<offer::Offer>>,
    view: watch::Receiver<Arc<Batch>>,
    /// Another process changed it.
    reload: Arc<Notify>,
}

/// A batch that another process works on, and that somebody here watches.
struct Foreign {
    version: i64,
    view: watch::Sender<Arc<Batch>>,
}

/// All batches. Clones are the same.
#[derive(Clone)]
pub struct Batches {
    ctx: Arc<Context>,
    budgets: Budgets,
    live: Arc<Mutex<HashMap<SubmissionDigest, Live>>>,
    foreign: Arc<Mutex<HashMap<SubmissionDigest, Foreign>>>,
    resting: Resting,
    /// There may be a batch that nobody works on.
    something_is_free: Arc<Notify>,
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
            resting: Resting::default(),
            something_is_free: Arc::default(),
        })
    }

    /// What they share.
    pub fn context(&self) -> &Arc<Context> {
        &self.ctx
    }

    /// Certified batches that wait for a proof and for nothing else.
    pub fn resting(&self) -> usize {
        self.resting.count()
    }

    /// What their payloads hold.
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Begins to work on a batch, unless somebody does already. What is not given of its payload is read from the store.
    fn start(&self, versioned: Versioned, held: Option<Held>, payload: Option<Bytes>) -> Arc<Batch> {
        let id = versioned.batch.id;
        let (actor, new) = Actor::new(Arc::clone(&self.ctx), versioned, held, payload, self.budgets.clone());
        let batch = Arc::clone(&new.view.borrow());
        {
            let mut live = self.live.lock();
            if let Some(present) = live.get(&id) {
                return Arc::clone(&present.view.borrow());
            }
            live.insert(id, new);
        }
        let batches = self.clone();
        self.ctx.tasks.spawn(async move {
            let end = actor.run().await;
            {
                let mut live = batches.live.lock();
                if let End::Rests(rest) = end {
                    batches.resting.insert(id, rest);
                }
                // Whoever claims it from now on, this process too, finds nobody at work on it.
                live.remove(&id);
            }
            match end {
                End::Here => {}
                End::GivenUp { version } => batches.give_up(id, version).await,
                // What rested before that was given up already.
                End::Rests(_) if !batches.ctx.posting.is_leading() => batches.give_up_resting(),
                End::Rests(_) => {}
            }
        });
        batch
    }

    /// Leaves a batch to the process that posts.
    async fn give_up(&self, id: SubmissionDigest, version: i64) {
        while let Err(error) = self.ctx.store.give_up(id, version).await {
            warn!(batch = %id, %error, "leaving a batch to the process that posts; trying again");
            tokio::select! {
                () = self.ctx.stopping.cancelled() => return,
                () = tokio::time::sleep(GIVE_UP_PAUSE) => {}
            }
        }
        self.something_is_free.notify_one();
    }

    /// Whether it is worked on here, or rests here.
    fn is_at_home(&self, id: SubmissionDigest) -> bool {
        self.is_live(id) || self.resting.contains(id)
    }

    fn is_live(&self, id: SubmissionDigest) -> bool {
        self.live.lock().contains_key(&id)
    }

    /// Has the batch read again, if somebody works on it here.
    fn reload(&self, id: SubmissionDigest) {
        if let Some(live) = self.live.lock().get(&id) {
            live.changed();
        }
    }

    /// Batches of others that are watched here, with the versions last shown. Those that nobody watches are forgotten.
    fn watched_elsewhere(&self) -> Vec<(SubmissionDigest, i64)> {
        let mut foreign = self.foreign.lock();
        foreign.retain(|_, foreign| foreign.view.receiver_count() > 0);
        foreign.iter().map(|(id, foreign)| (*id, foreign.version)).collect()
    }

    /// Shows a batch of another process to those who watch it. The last state of all ends their watching.
    fn show_foreign(&self, found: Versioned) {
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

    /// Goes on with a batch that was taken before.
    fn resume(&self, versioned: Versioned) -> Arc<Batch> {
        let waits = matches!(versioned.batch.phase, Phase::Received | Phase::Dispersing);
        let order = &versioned.batch.submission.submission;
        let held = waits.then(|| self.budgets.in_flight.take_anyway(order.rollup, order.payload_length));
        self.start(versioned, held, None)
    }

    /// The batch of a submission that was taken before. A commit may have taken place although it was reported as failed:
    /// where nobody works on the batch, that begins now, and not only at the next start.
    pub async fn taken(&self, id: SubmissionDigest) -> Result<Option<Arc<Batch>>, StoreError> {
        let live = self.live.lock().get(&id).map(|live| Arc::clone(&live.view.borrow()));
        if live.is_some() {
            return Ok(live);
        }
        let Some(stored) = self.ctx.store.batch(id).await? else { return Ok(None) };
        let is_left = !stored.batch.finished && !self.resting.contains(id);
        let ours = is_left && self.ctx.store.owns(id).await?;
        Ok(Some(if ours { self.resume(stored) } else { Arc::new(stored.batch) }))
    }

    /// Makes a finished upload a batch and begins to work on it. Not to be cancelled: run it in a task.
    pub async fn create(
        &self,
        id: SubmissionDigest,
        submission: SignedSubmission,
        posting: PostingMode,
        upload: Upload,
        held: Held,
    ) -> Result<Submitted, StoreError> {
        let batch = Batch::received(id, submission, self.ctx.now_ms()).posted_by(posting);
        let upload_id = upload.id();
        let (creation, payload) = upload.create(batch.clone()).await?;
        match creation {
            Creation::Refused(taken) => Ok(Submitted::Refused(taken)),
            Creation::Exists => self.taken(id).await?.map(Submitted::Batch).ok_or(StoreError::Missing { id }),
            Creation::Created { replaced } => {
                metrics::received();
                self.ctx.quotas.moved(&batch, 0, batch.quota_day);
                if let Some(former) = replaced {
                    self.tell_replaced(former).await;
                }
                let versioned = Versioned { batch, version: FIRST_VERSION, upload: upload_id };
                Ok(Submitted::Batch(self.start(versioned, Some(held), payload)))
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

    /// Which batch a selector means.
    pub async fn resolve(&self, selector: Selector) -> Result<Option<SubmissionDigest>, StoreError> {
        match selector {
            Selector::Submission(id) => Ok(Some(id)),
            Selector::Digest(digest) => self.ctx.store.by_digest(digest).await,
        }
    }
}
