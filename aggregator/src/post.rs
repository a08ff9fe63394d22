//! Has certificates recorded, batches settled and coverage renewed on L1 through the durable
//! poster, and says what they wait for meanwhile.
//!
//! * [`Posting`] is the poster of this process, as long as this process posts.
//! * `orders` has what each posting mode asks of L1.
//! * `drive` follows one order of any kind to its outcome; `record`, `settle` and `renew`
//!   say what each look at it means.
//! * `settlements` notices what others settled.

mod counts;
mod drive;
pub(crate) mod orders;
mod payer;
mod probed;
mod record;
mod renew;
mod settle;
mod settlements;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::L1;
use dac_poster::{Outcome, Outcomes, Payer, Poster, PosterConfig, PostingDigest};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use counts::Seen;
pub(crate) use payer::describe_metrics;
pub use probed::Probed;
pub use settle::consequence;
pub use settlements::SettlementTarget;

use self::counts::Settlements;

/// What rollups have settled is looked at once in so many of the poster's rounds.
const WATCH_ROUNDS: u32 = 4;

/// How long posting takes before it is called a problem, and how long after a refusal it is tried
/// again.
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
    l1: Arc<dyn L1>,
    settings: PostSettings,
    /// Blocks, the including one counted, after which what is seen is final.
    confirmations: u64,
    /// Between two looks for what other senders settled.
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
            l1,
            settings,
            confirmations: config.confirmations,
            watch_interval: config.poll_interval * WATCH_ROUNDS,
            waiting: Arc::default(),
            settlements: Settlements::default(),
            lost: CancellationToken::new(),
        }
    }

    /// Posts with this poster from now on. Its outcomes are read in a task of their own, which ends
    /// with the poster. `stop` is what stops it: where it ends without, posting is lost.
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

    /// Returns once a poster of this process has ended that nobody stopped.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Another process may post from now on. Pending waits on this instance never complete.
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
}
