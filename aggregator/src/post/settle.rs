//! Has rollups' contracts settle batches, and reports the result to the batch.

use std::time::Duration;

use async_trait::async_trait;
use dac_chain::SettlementRefusal;
use dac_poster::{FailureReason as PostingFailure, Order, Outcome, Progress};
use dac_types::{B256, BatchDigest};
use tokio::sync::mpsc;

use super::Posting;
use super::drive::{Listener, Look};
use crate::batch::{Event, Failure, FailureReason, L1Record};

/// Returns the event for the batch that follows from a failed posting.
pub fn consequence(reason: &PostingFailure, proof: B256) -> Event {
    let failed = |reason, detail: String| Event::SettlingFailed(Failure { reason, detail });
    let detail = reason.to_string();
    match reason {
        PostingFailure::Refused { refusal } => match SettlementRefusal::of(refusal) {
            SettlementRefusal::Frozen => failed(FailureReason::RollupFrozen, detail),
            SettlementRefusal::Batch => failed(FailureReason::SettlementRefused, detail),
            _ => Event::ProofRejected { hash: proof, reason: detail },
        },
        // With another proof the outcome may be different.
        PostingFailure::GasLimit { .. } | PostingFailure::FailedRepeatedly { .. } => {
            Event::ProofRejected { hash: proof, reason: detail }
        }
        PostingFailure::NumberUsed { .. } => failed(FailureReason::NumberUsed, detail),
        // L1's clock has reached the expiry before this process's clock.
        PostingFailure::Expired { expires_at } => Event::TimePassed { now: expires_at.saturating_add(1) },
        PostingFailure::Withdrawn => failed(FailureReason::SettlementRefused, detail),
    }
}

/// Sends a batch each change of its settlement once.
struct Teller<'a> {
    proof: B256,
    batch_number: u64,
    deadline: Duration,
    events: &'a mpsc::Sender<Event>,
    progress: Option<Progress>,
    problem: Option<String>,
}

#[async_trait]
impl Listener for Teller<'_> {
    async fn hear(&mut self, look: Look) {
        let problem = match look {
            Look::NotTaken(error) => format!("the poster did not take it: {error}"),
            Look::UnderWay { progress, obstacle, is_late } => {
                let problem = self.problem(progress.as_ref(), obstacle, is_late);
                self.tell_progress(progress).await;
                problem
            }
        };
        if self.problem.as_ref() != Some(&problem) && (self.problem.is_some() || !problem.is_empty()) {
            let _ = self.events.send(Event::PostingProblem(problem.clone())).await;
            self.problem = Some(problem);
        }
    }
}

impl Teller<'_> {
    /// Returns what stands in the way of a settlement; empty if nothing does.
    fn problem(&self, progress: Option<&Progress>, obstacle: Option<String>, is_late: bool) -> String {
        match (obstacle, progress) {
            (Some(obstacle), _) => obstacle,
            (None, Some(Progress::Waiting(None))) => {
                format!("batch {} waits for its turn to settle", self.batch_number)
            }
            (None, Some(Progress::Accepted) | None) if is_late => {
                format!("not settled after {:?}", self.deadline)
            }
            (None, _) => String::new(),
        }
    }

    async fn tell_progress(&mut self, progress: Option<Progress>) {
        // Before the first reading of L1 nothing is new.
        if progress.is_none() || progress == self.progress {
            return;
        }
        let hash = self.proof;
        let event = match progress {
            None => return,
            Some(Progress::Waiting(_) | Progress::Troubled(_)) => Event::SettlementWaits { hash },
            Some(Progress::Accepted) => Event::ProofAccepted { hash },
            Some(Progress::Included { tx_hash, block, gas_used }) => {
                let record = L1Record { transaction: Some(tx_hash), block, gas_used, by_us: true };
                Event::SettlementIncluded { hash, record }
            }
        };
        let _ = self.events.send(event).await;
        // A change clears what was shown before.
        (self.progress, self.problem) = (progress, None);
    }
}

impl Posting {
    /// Sends events until the batch of this number is settled, by this aggregator or by another
    /// sender, or cannot be settled with this proof.
    pub async fn settle(&self, order: Order, batch_number: u64, proof: B256, events: &mpsc::Sender<Event>) {
        let mut teller = Teller {
            proof,
            batch_number,
            deadline: self.settings.deadline,
            events,
            progress: None,
            problem: None,
        };
        let event = match self.drive(order, &mut teller).await {
            Outcome::Recorded { tx_hash, block, gas_used, by_us } => Event::Settled(L1Record {
                transaction: tx_hash,
                block: block.unwrap_or(0),
                gas_used: gas_used.unwrap_or(0),
                by_us,
            }),
            Outcome::Failed { reason } => consequence(&reason, proof),
        };
        let _ = events.send(event).await;
    }

    /// Withdraws the poster's order of a batch that is no longer to be settled. If another process
    /// posts, that process withdraws it.
    pub async fn withdraw(&self, digest: BatchDigest) {
        let poster = self.poster.borrow().clone();
        if let Some(poster) = poster
            && let Err(error) = poster.withdraw(digest).await
        {
            tracing::warn!(%digest, %error, "a posting could not be withdrawn");
        }
    }
}

#[cfg(test)]
mod tests {
    use dac_chain::Refusal;
    use dac_chain::contracts::{Settlement, Verifier};

    use super::*;

    #[test]
    fn each_end_of_a_posting_has_its_consequence() {
        let proof = B256::repeat_byte(1);
        let refused = |refusal| consequence(&PostingFailure::Refused { refusal }, proof);
        let rejected = |event| matches!(event, Event::ProofRejected { hash, reason } if hash == proof && !reason.is_empty());
        let failed =
            |event, wanted: FailureReason| matches!(event, Event::SettlingFailed(f) if f.reason == wanted);
        assert!(rejected(refused(Refusal::of(&Verifier::InvalidProof {}))));
        assert!(rejected(consequence(&PostingFailure::GasLimit { needed: 2, limit: 1 }, proof)));
        assert!(failed(
            refused(Refusal::of(&Settlement::IsFrozen { reason: 1 })),
            FailureReason::RollupFrozen
        ));
        let short = Refusal::of(&Settlement::LifetimeTooShort { expiresAt: 1, needed: 2 });
        assert!(failed(refused(short), FailureReason::SettlementRefused));
        let used = PostingFailure::NumberUsed { by: BatchDigest(B256::ZERO) };
        assert!(failed(consequence(&used, proof), FailureReason::NumberUsed));
        let expired = consequence(&PostingFailure::Expired { expires_at: 7 }, proof);
        assert!(matches!(expired, Event::TimePassed { now: 8 }));
    }
}
