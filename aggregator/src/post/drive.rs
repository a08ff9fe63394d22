//! Follows one order to the poster, of any kind, to its outcome.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use dac_poster::{Enqueued, Order, Outcome, Payer, Poster, PosterError, PostingDigest, Progress};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Posting;

/// How often the listener is told of a posting under way, even if its progress stays the same.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The state of an order that has no outcome yet.
pub(super) enum Look {
    /// The poster did not take it; it is asked again.
    NotTaken(PosterError),
    /// The poster has it.
    UnderWay {
        /// The progress as last read from L1; none before the first reading.
        progress: Option<Progress>,
        /// What stands in the way of the posting, in words that stay the same while it does.
        obstacle: Option<String>,
        /// Whether the posting takes longer than its deadline.
        is_late: bool,
    },
}

/// A listener that is told how an order stands.
#[async_trait]
pub(super) trait Listener: Send {
    /// Takes the present state of the order, whether or not it has changed.
    async fn hear(&mut self, look: Look);
}

impl Posting {
    /// Hands an order to the poster and returns its outcome; meanwhile `listener` is told of its
    /// state. Cancelling loses nothing: the order stays in the poster's books, and the next call
    /// finds it there.
    pub(super) async fn drive(&self, order: Order, listener: &mut dyn Listener) -> Outcome {
        let digest = order.digest;
        let _forget = Forget { waiting: &self.waiting, digest };
        loop {
            let (sender, outcome) = watch::channel(None);
            self.waiting.lock().insert(digest, sender);
            let poster = self.poster().await;
            match poster.enqueue(order.clone()).await {
                Ok(Enqueued { outcome: Some(outcome), .. }) => return outcome,
                Ok(Enqueued { outcome: None, .. }) => {
                    return self.follow(&poster, digest, outcome, listener).await;
                }
                Err(error) => {
                    listener.hear(Look::NotTaken(error)).await;
                    tokio::time::sleep(self.settings.retry).await;
                }
            }
        }
    }

    async fn follow(
        &self,
        poster: &Poster,
        digest: PostingDigest,
        mut outcome: watch::Receiver<Option<Outcome>>,
        listener: &mut dyn Listener,
    ) -> Outcome {
        let started = Instant::now();
        let (mut progress, payer) = (poster.progress(), poster.payer());
        loop {
            let seen = progress.borrow_and_update().get(&digest).cloned();
            let obstacle = obstacle(seen.as_ref(), &payer.borrow());
            let is_late = started.elapsed() >= self.settings.deadline;
            listener.hear(Look::UnderWay { progress: seen, obstacle, is_late }).await;
            tokio::select! {
                biased;
                outcome = outcome_of(&mut outcome) => return outcome,
                // An error means that the poster has stopped, because the process is ending.
                Ok(()) = progress.changed() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }
}

/// Returns what stands in the way of a posting, in words that stay the same while it does; none if
/// nothing is known to.
fn obstacle(progress: Option<&Progress>, payer: &Payer) -> Option<String> {
    match (progress, &payer.trouble) {
        // Trouble of the paying account does not concern a transaction that is included.
        (Some(Progress::Included { .. }), _) => None,
        (Some(Progress::Troubled(problem)), _) => Some(problem.clone()),
        (_, Some(trouble)) => Some(trouble.to_string()),
        (Some(Progress::Waiting(Some(refusal))), None) => Some(format!("L1 refuses it for now: {refusal}")),
        (Some(Progress::Waiting(None) | Progress::Accepted) | None, None) => None,
    }
}

/// Waits for the outcome. It never returns if the poster has stopped, because then the process is
/// ending.
async fn outcome_of(receiver: &mut watch::Receiver<Option<Outcome>>) -> Outcome {
    let outcome = receiver.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
    match outcome {
        Some(outcome) => outcome,
        None => std::future::pending().await,
    }
}

/// Tells the poster, when dropped, that the caller no longer waits for the outcome.
struct Forget<'a> {
    waiting: &'a Mutex<HashMap<PostingDigest, watch::Sender<Option<Outcome>>>>,
    digest: PostingDigest,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.digest);
    }
}
