//! What this process does because other processes may share its store. It takes batches that no
//! process works on, posts if no other process does, and reads batches of other processes that a
//! client of this one watches.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dac_chain::{Broadcast, L1, TransactionSigner};
use dac_poster::{Poster, PosterConfig, PosterError};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::registry::{Batches, Live};
use crate::batch::SubmissionDigest;
use crate::context::Context;
use crate::store::{Claim, Claimed, Lead, StoreError};

/// After this many rounds a process compares the batches that it works on with those that it owns.
const FULL_EVERY_LOOKS: u32 = 20;
/// The number of other processes' batches whose versions are read together.
const WATCHED_AT_ONCE: usize = 256;

/// Why a process cannot take over batches or begin to post.
#[derive(Debug, Error)]
pub enum OwnershipError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The poster cannot start.
    #[error("the poster: {0}")]
    Poster(#[from] PosterError),
}

/// The parts that this process needs to post.
pub(crate) struct PosterParts {
    pub(crate) config: PosterConfig,
    pub(crate) l1: Arc<dyn L1>,
    pub(crate) broadcast: Arc<dyn Broadcast>,
    pub(crate) signer: Arc<dyn TransactionSigner>,
    /// Whether this process may post. It is set once L1 has confirmed that the certificate log
    /// belongs to the registry.
    pub(crate) may_post: Arc<AtomicBool>,
}

/// This process's part in dividing the batches among the processes that share the store.
pub(crate) struct Ownership {
    batches: Batches,
    poster: PosterParts,
    lead: Option<Leading>,
    looks: u32,
    /// The batches that cannot be read, so that each is logged only once.
    left_alone: HashSet<SubmissionDigest>,
}

struct Leading {
    lead: Lead,
    stop: CancellationToken,
}

impl Ownership {
    pub(crate) fn new(batches: Batches, poster: PosterParts) -> Self {
        Self { batches, poster, lead: None, looks: 0, left_alone: HashSet::new() }
    }

    fn ctx(&self) -> &Arc<Context> {
        self.batches.context()
    }

    /// Runs one round in every [`Settings::share_interval`](crate::context::Settings), until the
    /// process stops. Then it gives the poster's lease back, so that other processes need not wait
    /// until it runs out.
    pub(crate) async fn run(mut self) {
        let ctx = Arc::clone(self.ctx());
        loop {
            let lost = async {
                match &self.lead {
                    Some(leading) => leading.lead.lost().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ctx.stopping.cancelled() => break,
                () = lost => {}
                () = self.batches.something_is_free.notified() => {}
                () = tokio::time::sleep(ctx.settings.share_interval) => {}
            }
            if let Err(error) = self.look().await {
                metrics::counter!("dac_aggregator_store_failures_total").increment(1);
                warn!(%error, "looking for batches that no process works on");
            }
        }
        if let Some(Leading { lead, stop }) = self.lead.take() {
            stop.cancel();
            lead.give_back().await;
        }
    }

    /// Runs one round.
    pub(crate) async fn look(&mut self) -> Result<(), OwnershipError> {
        if self.lead.as_ref().is_some_and(|leading| leading.lead.is_lost()) {
            self.resign();
            self.batches.give_up_dormant();
        }
        if self.lead.is_none()
            && self.poster.may_post.load(Ordering::Relaxed)
            && let Some(lead) = self.ctx().store.lead().await?
        {
            self.post_by(lead).await?;
        }
        let all = self.looks.is_multiple_of(FULL_EVERY_LOOKS);
        self.looks = self.looks.wrapping_add(1);
        let claim = Claim { posting: self.lead.is_some(), all };
        let Claimed { work, touched } = self.ctx().store.claim(claim).await?;
        for id in touched {
            if let Err(error) = self.batches.tell_changed(id).await {
                warn!(batch = %id, %error, "reading a batch that was changed; the next look is for all of them");
                self.looks = 0;
            }
        }
        for id in work {
            self.take(id).await?;
        }
        self.look_at_foreign().await?;
        Ok(())
    }

    /// Starts to post, with the right that `lead` gives.
    async fn post_by(&mut self, lead: Lead) -> Result<(), OwnershipError> {
        let stop = self.ctx().stopping.child_token();
        let (poster, outcomes) = Poster::start(
            self.poster.config.clone(),
            Arc::clone(&self.poster.l1),
            Arc::clone(&self.poster.broadcast),
            lead.books(),
            Arc::clone(&self.poster.signer),
            stop.clone(),
        )
        .await?;
        info!("this process posts to L1");
        metrics::gauge!("dac_aggregator_posting").set(1.0);
        self.ctx().posting.lead(poster, outcomes, stop.clone());
        self.lead = Some(Leading { lead, stop });
        for digest in self.ctx().store.orphaned_settlements().await? {
            self.ctx().posting.withdraw(digest).await;
        }
        Ok(())
    }

    fn resign(&mut self) {
        if let Some(Leading { stop, .. }) = self.lead.take() {
            warn!("this process does not post any more: another one may");
            stop.cancel();
            metrics::gauge!("dac_aggregator_posting").set(0.0);
            // This makes the tasks of certified batches leave them to the process that posts.
            self.ctx().posting.resign();
        }
    }

    async fn take(&mut self, id: SubmissionDigest) -> Result<(), StoreError> {
        if self.batches.is_at_home(id) {
            return Ok(());
        }
        match self.ctx().store.batch(id).await {
            Ok(Some(versioned)) if !versioned.batch.finished => {
                self.batches.resume(versioned);
            }
            Ok(_) => {}
            // One unreadable batch does not keep the others waiting.
            Err(error @ StoreError::Corrupt { .. }) => {
                if self.left_alone.insert(id) {
                    error!(batch = %id, %error, "left alone");
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Shows the changes that other processes made to batches that clients of this one watch.
    async fn look_at_foreign(&mut self) -> Result<(), StoreError> {
        let known = self.batches.watched_elsewhere();
        for known in known.chunks(WATCHED_AT_ONCE) {
            let ids: Vec<SubmissionDigest> = known.iter().map(|(id, _)| *id).collect();
            for (id, version) in self.ctx().store.versions(&ids).await? {
                if known.contains(&(id, version)) {
                    continue;
                }
                match self.ctx().store.batch(id).await {
                    Ok(Some(found)) => self.batches.show_foreign(found),
                    Ok(None) => {}
                    Err(StoreError::Corrupt { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// The default time between two rounds, in each of which a process looks for batches that no
/// process works on and for changes by other processes.
pub const SHARE_INTERVAL: Duration = Duration::from_millis(500);

impl Live {
    /// Tells the batch's task that another process changed the batch.
    pub(super) fn changed(&self) {
        self.reload.notify_one();
    }
}
