//! Has certificates recorded, batches settled and coverage renewed on L1 through the durable
//! poster, and says what they wait for meanwhile.
//!
//! * [`Posting`] is the poster of this process, as long as this process posts.
//! * `orders` has what each posting mode asks of L1.
//! * `drive` follows one order of any kind to its outcome; `record`, `settle` and `renew` say what
//!   its state means.
//! * `settlements` notices what other senders settled.

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

/// The number of the poster's polling intervals between two readings of what rollups have settled.
const WATCH_ROUNDS: u32 = 4;

/// The time after which a posting counts as late, and the pause before a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostSettings {
    /// A certificate that is not recorded after this time is reported as late.
    pub deadline: Duration,
    /// The pause after L1 refused a posting.
    pub retry: Duration,
}

/// Hands orders to the poster and waits for their outcomes.
pub struct Posting {
    /// The poster of this process; `None` while another process posts.
    poster: watch::Sender<Option<Poster>>,
    l1: Arc<dyn L1>,
    settings: PostSettings,
    /// The number of blocks, counting the one that includes a transaction, after which a
    /// transaction is final.
    confirmations: u64,
    /// The pause between two searches for what other senders settled.
    watch_interval: Duration,
    waiting: Arc<Mutex<HashMap<PostingDigest, watch::Sender<Option<Outcome>>>>>,
    settlements: Settlements,
    /// Cancelled once a poster of this process ends without having been stopped.
    lost: CancellationToken,
}

impl std::fmt::Debug for Posting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Posting").field("is_leading", &self.is_leading()).finish_non_exhaustive()
    }
}

impl Posting {
    /// Makes a `Posting` that posts nothing before [`Posting::lead`].
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

    /// Posts with this poster from now on. A task reads its outcomes and ends with the poster.
    /// Cancelling `stop` stops the poster; if the poster ends otherwise, [`Posting::lost`] returns.
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

    /// Returns once a poster of this process has ended without having been stopped.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Gives up the poster, so that another process may post. Pending waits on this instance never
    /// complete.
    pub fn resign(&self) {
        self.poster.send_replace(None);
    }

    /// Returns a receiver of the poster, which changes when this process begins or ends posting.
    pub fn leading(&self) -> watch::Receiver<Option<Poster>> {
        self.poster.subscribe()
    }

    /// Returns whether this process posts.
    pub fn is_leading(&self) -> bool {
        self.poster.borrow().is_some()
    }

    /// Returns the account that pays; `None` while another process posts.
    pub fn payer(&self) -> Option<Payer> {
        let poster = self.poster.borrow();
        poster.as_ref().map(|poster| poster.payer().borrow().clone())
    }

    /// Returns why the account has too little ether to post; `None` if it has enough, or while
    /// another process posts.
    pub fn unpaid(&self) -> Option<String> {
        let trouble = self.payer()?.trouble?;
        trouble.is_unfunded().then(|| trouble.to_string())
    }

    /// Waits until this process posts, and returns its poster.
    async fn poster(&self) -> Poster {
        let mut leading = self.poster.subscribe();
        match leading.wait_for(Option::is_some).await.ok().and_then(|poster| poster.clone()) {
            Some(poster) => poster,
            None => std::future::pending().await,
        }
    }
}
