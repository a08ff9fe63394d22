//! Has certificates recorded and batches settled on L1 through `dac-chain`'s durable poster, and says what they wait for
//! meanwhile.

mod settle;
mod settlements;
mod witness;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::poster::{Outcomes, PostingDigest};
use dac_chain::{Outcome, Poster, PosterConfig, RenewOrder, record_calldata};
use dac_types::{B256, Certificate, Domain, keccak256};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use settle::{SettlementTarget, consequence};
pub use settlements::Seen;
pub use witness::Witness;

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
#[derive(Debug)]
pub struct Posting {
    /// None while another process posts.
    poster: watch::Sender<Option<Poster>>,
    domain: Domain,
    witness: Arc<Witness>,
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

impl Posting {
    /// Nothing is posted before [`Posting::lead`].
    pub fn new(config: &PosterConfig, witness: Arc<Witness>, settings: PostSettings) -> Self {
        Self {
            poster: watch::Sender::new(None),
            domain: config.domain,
            witness,
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
        let call = record_calldata(certificate).map(|data| keccak256(&data)).unwrap_or_default();
        let _forget = Forget { waiting: &self.waiting, digest: digest.into() };
        loop {
            let (sender, receiver) = watch::channel(None);
            self.waiting.lock().insert(digest.into(), sender);
            let outcome = match self.poster().await.enqueue(certificate).await {
                Ok(enqueued) => match enqueued.outcome {
                    Some(outcome) => outcome,
                    None => self.wait(call, receiver, &report).await,
                },
                Err(error) => {
                    report(format!("the poster did not take it: {error}"));
                    tokio::time::sleep(self.settings.retry).await;
                    continue;
                }
            };
            match outcome {
                Outcome::Recorded { tx_hash, block, gas_used, by_us } => {
                    self.witness.forget(call);
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
        call: B256,
        mut receiver: watch::Receiver<Option<Outcome>>,
        report: &(impl Fn(String) + Send + Sync),
    ) -> Outcome {
        let started = tokio::time::Instant::now();
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
            let problem = match self.witness.problem(call) {
                Some(problem) => problem,
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
