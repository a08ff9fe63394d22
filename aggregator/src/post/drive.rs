//! Follows one order of any kind to its outcome.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use dac_poster::{Enqueued, Order, Outcome, Payer, Poster, PosterError, PostingDigest, Progress};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Posting;

/// A posting under way is looked at so often, also where its progress stays the same.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of an order that has no outcome yet.
pub(super) enum Look {
    /// The poster did not take it; it is asked again.
    NotTaken(PosterError),
    /// The poster has it.
    UnderWay {
        /// As of the last look at L1; none before one.
        progress: Option<Progress>,
        /// What stands in its way, in words that stay the same while it does.
        obstacle: Option<String>,
        /// Whether it takes longer than a posting should.
        is_late: bool,
    },
}

/// Is told of each look at an order.
#[async_trait]
pub(super) trait Listener: Send {
    /// Called after each look, whether or not it differs from the one before it.
    async fn hear(&mut self, look: Look);
}

impl Posting {
    /// Hands an order to the poster and returns its outcome; meanwhile `listener` hears of each
    /// look at it. Cancelling loses nothing: the poster's books go on, and the next call asks them.
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
                // Where the poster has stopped, the process is ending.
                Ok(()) = progress.changed() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }
}

/// What stands in the way of a posting, in words that stay the same while it does; none where
/// nothing does, as far as is known.
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

/// Never returns once the poster has stopped: then the process is ending.
async fn outcome_of(receiver: &mut watch::Receiver<Option<Outcome>>) -> Outcome {
    let outcome = receiver.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
    match outcome {
        Some(outcome) => outcome,
        None => std::future::pending().await,
    }
}

/// Ends the wait for an outcome when the caller goes away.
struct Forget<'a> {
    waiting: &'a Mutex<HashMap<PostingDigest, watch::Sender<Option<Outcome>>>>,
    digest: PostingDigest,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.digest);
    }
}
