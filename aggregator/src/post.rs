//! Has certificates recorded and batches settled on L1 through `dac-chain`'s durable poster, and says what they wait for
//! meanwhile.

mod payer;
mod probed;
mod settle;
mod settlements;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::poster::{Outcomes, Payer, PostingDigest, Progress};
use dac_chain::{L1, Outcome, Poster, PosterConfig, RenewOrder};
use dac_types::{Certificate, Domain};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use payer::describe_metrics;
pub use probed::Probed;
pub use settle::{SettlementTarget, consequence};
pub use settlements::Seen;

use self::settlements::Settlements;
use crate::batch::L1Record;

/// How often the state of a posting under way is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What rollups have settled is looked at once in so many of the poster's rounds.
const WATCH_ROUNDS: u32 = 4;

/// How long posting takes before it is called a problem, and how long after a refusal it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostSettings {
    /// A certificate that is not recorded after this time is reported as late.
    pub deadline: Duration,
    /// Pause after L1 refused a certificate.
    pub retry: Duration,
}

/// Hands certificates to the poster and waits for what becomes of them.
pub struct Posting {
    /// None while another process posts.
    poster: watch::Sender<Option<Poster>>,
    domain: Domain,
    l1: Arc<dyn L1>,
    settings: PostSettings,
    /// Blocks, the including one counted, after which what is seen is final.
    confirmations: u64,
    /// Between two looks for what somebody else settled.
    watch_interval: Duration,
    waiting: Arc<Mutex<HashMap<PostingDigest, watch::Sender<Option<Outcome>>>>>,
    settlements: Settlements,
    /// Cancelled once a poster ended that nobody stopped.
    lost: CancellationToken,
}

impl std::fmt::Debug for Posting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Posting").field("is_leading", &self.is_leading()).finish_non_exhaustive()
    }
}

impl Posting {
    /// Nothing is posted before [`Posting::lead`].
    pub fn new(config: &PosterConfig, l1: Arc<dyn L1>, settings: PostSettings) -> Self {
        Self {
            poster: watch::Sender::new(None),
            domain: config.domain,
            l1,
            settings,
            confirmations: config.confirmations,
            watch_interval: config.poll_interval * WATCH_ROUNDS,
            waiting: Arc::default(),
            settlements: Settlements::default(),
            lost: CancellationToken::new(),
        }
    }

    /// Posts with this poster from now on. Its outcomes are read in a task of their own, which ends with the poster.
    /// `stop` is what stops it: where it ends without, posting is lost.
    pub fn lead(&self, poster: Poster, mut outcomes: Outcomes, stop: CancellationToken) {
        let (readers, lost) = (Arc::clone(&self.waiting), self.lost.clone());
        tokio::spawn(payer::measure(poster.payer()));
        tokio::spawn(async move {
            while let Some((digest, outcome)) = outcomes.next().await {
                if let Some(waiting) = readers.lock().get(&digest) {
                    waiting.send_replace(Some(outcome));
                }
            }
            if !stop.is_cancelled() {
                lost.cancel();
            }
        });
        self.poster.send_replace(Some(poster));
    }

    /// Whether a poster of this process ended that nobody stopped.
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Another process may post from now on. Whoever waits for an outcome here waits in vain.
    pub fn resign(&self) {
        self.poster.send_replace(None);
    }

    /// Whether this process posts, and when that changes.
    pub fn leading(&self) -> watch::Receiver<Option<Poster>> {
        self.poster.subscribe()
    }

    /// Whether this process posts.
    pub fn is_leading(&self) -> bool {
        self.poster.borrow().is_some()
    }

    /// The account that pays, where this process posts.
    pub fn payer(&self) -> Option<Payer> {
        let poster = self.poster.borrow();
        poster.as_ref().map(|poster| poster.payer().borrow().clone())
    }

    /// Why nothing can be posted for want of ether; none where it can, or another process posts.
    pub fn unpaid(&self) -> Option<String> {
        let trouble = self.payer()?.trouble?;
        trouble.is_unfunded().then(|| trouble.to_string())
    }

    /// The poster, once this process posts.
    async fn poster(&self) -> Poster {
        let mut leading = self.poster.subscribe();
        match leading.wait_for(Option::is_some).await.ok().and_then(|poster| poster.clone()) {
            Some(poster) => poster,
            None => std::future::pending().await,
        }
    }

    /// Returns once the certificate is recorded, by whomever. `report` is told what it waits for, and an empty text when
    /// that is over. Cancelling loses nothing: the poster's books go on, and the next call asks them.
    pub async fn record(&self, certificate: &Certificate, report: impl Fn(String) + Send + Sync) -> L1Record {
        let digest = certificate.header.digest(&self.domain);
        let _forget = Forget { waiting: &self.waiting, digest: digest.into() };
        loop {
            let (sender, receiver) = watch::channel(None);
            self.waiting.lock().insert(digest.into(), sender);
            let poster = self.poster().await;
            let outcome = match poster.enqueue(certificate).await {
                Ok(enqueued) => match enqueued.outcome {
                    Some(outcome) => outcome,
                    None => self.wait(&poster, digest.into(), receiver, &report).await,
                },
                Err(error) => {
                    report(format!("the poster did not take it: {error}"));
                    tokio::time::sleep(self.settings.retry).await;
                    continue;
                }
            };
            match outcome {
                Outcome::Recorded { tx_hash, block, gas_used, by_us } => {
                    return L1Record {
                        transaction: tx_hash,
                        block: block.unwrap_or(0),
                        gas_used: gas_used.unwrap_or(0),
                        by_us,
                    };
                }
                Outcome::Failed { reason } => {
                    report(format!("L1 refuses it: {reason}"));
                    tokio::time::sleep(self.settings.retry).await;
                }
            }
        }
    }

    /// Returns once the renewal is on L1, by whomever, or L1 refuses it for good.
    pub async fn renew(&self, order: &RenewOrder) -> Outcome {
        let digest = PostingDigest::from(order.digest);
        let _forget = Forget { waiting: &self.waiting, digest };
        loop {
            let (sender, mut receiver) = watch::channel(None);
            self.waiting.lock().insert(digest, sender);
            match self.poster().await.enqueue_renewal(order).await {
                Ok(enqueued) => match enqueued.outcome {
                    Some(outcome) => return outcome,
                    None => return settle::outcome_of(&mut receiver).await,
                },
                Err(error) => {
                    tracing::warn!(%error, "the poster did not take a renewal; trying again");
                    tokio::time::sleep(self.settings.retry).await;
                }
            }
        }
    }

    /// Waits for the outcome, and reports what stands in its way.
    async fn wait(
        &self,
        poster: &Poster,
        digest: PostingDigest,
        mut receiver: watch::Receiver<Option<Outcome>>,
        report: &(impl Fn(String) + Send + Sync),
    ) -> Outcome {
        let started = tokio::time::Instant::now();
        let (progress, payer) = (poster.progress(), poster.payer());
        let mut reported = None;
        loop {
            let seen = tokio::time::timeout(LOOK_INTERVAL, receiver.wait_for(Option::is_some))
                .await
                .map(|outcome| outcome.map(|outcome| outcome.clone()));
            match seen {
                Ok(Ok(Some(outcome))) => return outcome,
                // The poster has stopped: the process is ending.
                Ok(Err(_)) => std::future::pending().await,
                Ok(Ok(None)) | Err(_) => {}
            }
            let late = started.elapsed() >= self.settings.deadline;
            let problem = match obstacle(progress.borrow().get(&digest), &payer.borrow()) {
                Some(obstacle) => obstacle,
                None if late => format!("not recorded after {:?}", self.settings.deadline),
                None => String::new(),
            };
            if reported.as_ref() != Some(&problem) && (reported.is_some() || !problem.is_empty()) {
                report(problem.clone());
                reported = Some(problem);
            }
        }
    }
}

/// What stands in the way of a posting, in words that stay the same while it does; none where nothing does, as far as is known.
fn obstacle(progress: Option<&Progress>, payer: &Payer) -> Option<String> {
    match (progress, &payer.trouble) {
        // The account's trouble is over for it.
        (Some(Progress::Included { .. }), _) => None,
        (Some(Progress::Troubled(problem)), _) => Some(problem.clone()),
        (_, Some(trouble)) => Some(trouble.to_string()),
        (Some(Progress::Waiting(Some(refusal))), None) => Some(format!("L1 refuses it for now: {refusal}")),
        (Some(Progress::Waiting(None) | Progress::Accepted) | None, None) => None,
    }
}

/// Nobody waits any more.
struct Forget<'a> {
    waiting: &'a Mutex<HashMap<PostingDigest, watch::Sender<Option<Outcome>>>>,
    digest: PostingDigest,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.digest);
    }
}
