//! Begins the work on a batch: after its upload, after a restart, and after another process left
//! it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_types::{PostingMode, SignedSubmission};
use tracing::warn;

use super::metrics;
use super::registry::Batches;
use super::task::{BatchTask, End};
use crate::batch::{Batch, Event, NumberTaken, Phase, SubmissionDigest};
use crate::budget::Held;
use crate::store::{Creation, FIRST_VERSION, StoreError, Upload, Versioned};

/// The pause before the next attempt to give up a batch, after the store failed.
const GIVE_UP_PAUSE: Duration = Duration::from_millis(500);

/// The outcome of a finished upload.
pub enum Submitted {
    /// The upload's batch, or the batch that the same submission made before.
    Batch(Arc<Batch>),
    /// The batch number is taken.
    Refused(NumberTaken),
}

impl Batches {
    /// Begins to work on a batch, unless this process does already. A payload that is not given is
    /// read from the store.
    pub(super) fn start(
        &self,
        versioned: Versioned,
        held: Option<Held>,
        payload: Option<Bytes>,
    ) -> Arc<Batch> {
        let id = versioned.batch.id;
        let (actor, new) =
            BatchTask::new(Arc::clone(&self.ctx), versioned, held, payload, self.budgets.clone());
        let batch = Arc::clone(&new.view.borrow());
        {
            let mut live = self.live.lock();
            if let Some(present) = live.get(&id) {
                return Arc::clone(&present.view.borrow());
            }
            live.insert(id, new);
        }
        let batches = self.clone();
        self.ctx.jobs.spawn(async move {
            let end = actor.run().await;
            {
                let mut live = batches.live.lock();
                if let End::Dormant(rest) = end {
                    batches.dormant.insert(id, rest);
                }
                // From now on a process may claim the batch; if it is this one, `live` must not
                // have it any more.
                live.remove(&id);
            }
            match end {
                End::Here => {}
                End::GivenUp { version } => batches.give_up(id, version).await,
                // This process has stopped posting meanwhile, and gave up the batches that were
                // dormant then. This one came too late for that, so it is given up now.
                End::Dormant(_) if !batches.ctx.posting.is_leading() => batches.give_up_dormant(),
                End::Dormant(_) => {}
            }
        });
        batch
    }

    /// Leaves a batch to the process that posts.
    pub(super) async fn give_up(&self, id: SubmissionDigest, version: i64) {
        while let Err(error) = self.ctx.store.give_up(id, version).await {
            warn!(batch = %id, %error, "leaving a batch to the process that posts; trying again");
            tokio::select! {
                () = self.ctx.stopping.cancelled() => return,
                () = tokio::time::sleep(GIVE_UP_PAUSE) => {}
            }
        }
        self.something_is_free.notify_one();
    }

    /// Continues the work on a batch that was accepted before.
    pub(super) fn resume(&self, versioned: Versioned) -> Arc<Batch> {
        let waits = matches!(versioned.batch.phase, Phase::Received | Phase::Dispersing);
        let order = &versioned.batch.submission.submission;
        let held = waits.then(|| self.budgets.in_flight.take_anyway(order.rollup, order.payload_length));
        self.start(versioned, held, None)
    }

    /// Returns the batch of a submission that was accepted before. A commit may have taken place
    /// although it was reported as failed. If no task works on such a batch, the work begins now
    /// and not only at the next start.
    pub async fn taken(&self, id: SubmissionDigest) -> Result<Option<Arc<Batch>>, StoreError> {
        let live = self.live.lock().get(&id).map(|live| Arc::clone(&live.view.borrow()));
        if live.is_some() {
            return Ok(live);
        }
        let Some(stored) = self.ctx.store.batch(id).await? else { return Ok(None) };
        let is_left = !stored.batch.finished && !self.dormant.contains(id);
        let ours = is_left && self.ctx.store.owns(id).await?;
        Ok(Some(if ours { self.resume(stored) } else { Arc::new(stored.batch) }))
    }

    /// Turns a finished upload into a batch and begins to work on it. The call must not be
    /// cancelled, so run it in a task.
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

    /// Tells the task of the replaced batch that the batch failed. The store has that already.
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
}
