//! Has rollups settle batches through the durable poster, and notices what others settled.

use std::fmt;

use dac_chain::poster::{FailureReason as PostingFailure, Payer, Progress};
use dac_chain::{L1, Outcome, Searched, SettleOrder, SettledBatch, SettlementRefusal};
use dac_types::{Address, B256, BatchDigest};
use tokio::sync::{mpsc, watch};

use super::{Forget, LOOK_INTERVAL, Posting, Seen, obstacle};
use crate::batch::{Event, Failure, FailureReason, L1Record};

/// A batch as its rollup's contract knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettlementTarget {
    /// The batch.
    pub digest: BatchDigest,
    /// The rollup's contract.
    pub settlement: Address,
    /// Its number there.
    pub batch_number: u64,
}

/// What a failed posting means for the batch.
pub fn consequence(reason: &PostingFailure, proof: B256) -> Event {
    let failed = |reason, detail: String| Event::SettlingFailed(Failure { reason, detail });
    let detail = reason.to_string();
    match reason {
        PostingFailure::Refused { refusal } => match SettlementRefusal::of(refusal) {
            SettlementRefusal::Frozen => failed(FailureReason::RollupFrozen, detail),
            SettlementRefusal::Batch => failed(FailureReason::SettlementRefused, detail),
            _ => Event::ProofRejected { hash: proof, reason: detail },
        },
        // Each of these may be another one with another proof.
        PostingFailure::GasLimit { .. } | PostingFailure::FailedRepeatedly { .. } => {
            Event::ProofRejected { hash: proof, reason: detail }
        }
        PostingFailure::NumberUsed { .. } => failed(FailureReason::NumberUsed, detail),
        // As our own clock will say.
        PostingFailure::Expired { expires_at } => Event::TimePassed { now: expires_at.saturating_add(1) },
        PostingFailure::Withdrawn => failed(FailureReason::SettlementRefused, detail),
    }
}

/// What is told while a settlement is under way; each is told once until it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    progress: Option<Progress>,
    problem: Option<String>,
}

impl Posting {
    /// Sends events until the batch is settled, by whomever, or will not be with this proof. Cancelling loses nothing: the
    /// poster's books go on, and the next call asks them.
    pub async fn settle(&self, order: &SettleOrder, proof: B256, events: &mpsc::Sender<Event>) {
        let digest = order.digest;
        let _forget = Forget { waiting: &self.waiting, digest: digest.into() };
        let mut told = Told::default();
        let outcome = loop {
            let (sender, receiver) = watch::channel(None);
            self.waiting.lock().insert(digest.into(), sender);
            match self.poster().await.enqueue_settlement(order).await {
                Ok(enqueued) => match enqueued.outcome {
                    Some(outcome) => break outcome,
                    None => break self.follow(order, proof, receiver, &mut told, events).await,
                },
                Err(error) => {
                    let problem = format!("the poster did not take it: {error}");
                    let _ = events.send(Event::PostingProblem(problem)).await;
                    tokio::time::sleep(self.settings.retry).await;
                }
            }
        };
        let event = match outcome {
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

    /// Waits for the outcome, and tells what is seen meanwhile.
    async fn follow(
        &self,
        order: &SettleOrder,
        proof: B256,
        mut receiver: watch::Receiver<Option<Outcome>>,
        told: &mut Told,
        events: &mpsc::Sender<Event>,
    ) -> Outcome {
        let started = tokio::time::Instant::now();
        let poster = self.poster().await;
        let (mut progress, payer) = (poster.progress(), poster.payer());
        loop {
            let seen = progress.borrow_and_update().get(&order.digest.into()).cloned();
            let problem = self.problem(order, seen.as_ref(), &payer.borrow(), started);
            tell(proof, seen, problem, told, events).await;
            tokio::select! {
                biased;
                outcome = outcome_of(&mut receiver) => return outcome,
                // Where the poster has stopped, the process is ending.
                Ok(()) = progress.changed() => {}
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// What stands in the way of a settlement; empty where nothing does.
    fn problem(
        &self,
        order: &SettleOrder,
        seen: Option<&Progress>,
        payer: &Payer,
        started: tokio::time::Instant,
    ) -> String {
        let late = started.elapsed() >= self.settings.deadline;
        match (obstacle(seen, payer), seen) {
            (Some(obstacle), _) => obstacle,
            (None, Some(Progress::Waiting(None))) => {
                format!("batch {} waits for its turn to settle", order.batch_number)
            }
            (None, Some(Progress::Accepted) | None) if late => {
                format!("not settled after {:?}", self.settings.deadline)
            }
            (None, _) => String::new(),
        }
    }

    /// Looks until the rollup has settled a batch of this number, this one or another. `seen` is of its contract.
    pub async fn watch(
        &self,
        target: SettlementTarget,
        mut seen: watch::Receiver<Seen>,
        events: &mpsc::Sender<Event>,
    ) {
        let mut reported = String::new();
        // One look at the contract serves all of its batches; the event is looked for once there must be one.
        loop {
            let Seen { count, problem } = seen.borrow_and_update().clone();
            if count >= target.batch_number {
                break;
            }
            let problem = if problem.is_empty() { problem } else { looking(problem) };
            if problem != reported {
                let _ = events.send(Event::PostingProblem(problem.clone())).await;
                reported = problem;
            }
            if seen.changed().await.is_err() {
                // Nobody looks any more: the process is ending.
                std::future::pending::<()>().await;
            }
        }
        let mut searched = Searched::default();
        loop {
            let problem = match self.settled(target, &mut searched).await {
                Ok(Some(found)) => {
                    let event = if found.digest == target.digest {
                        let (transaction, block) = (Some(found.tx), found.block);
                        Event::Settled(L1Record { transaction, block, gas_used: 0, by_us: false })
                    } else {
                        consequence(&PostingFailure::NumberUsed { by: found.digest }, B256::ZERO)
                    };
                    let _ = events.send(event).await;
                    return;
                }
                Ok(None) if searched.is_over() => {
                    format!("batch {} is settled, but its event was not found", target.batch_number)
                }
                Ok(None) => String::new(),
                Err(error) => looking(error),
            };
            if problem != reported {
                let _ = events.send(Event::PostingProblem(problem.clone())).await;
                reported = problem;
            }
            tokio::time::sleep(self.watch_interval).await;
        }
    }

    /// What the rollup settled under the batch's number, as deep as is asked for.
    async fn settled(
        &self,
        target: SettlementTarget,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, dac_chain::ChainError> {
        let l1: &dyn L1 = &*self.l1;
        let confirmed = self.confirmed(l1.head().await?.block.number);
        let Some(block) = l1.block_at(confirmed).await? else { return Ok(None) };
        if l1.settled_count(target.settlement, block.hash).await? < target.batch_number {
            return Ok(None);
        }
        l1.find_settled(target.settlement, target.batch_number, confirmed, searched).await
    }

    /// Has the poster give up what nobody wants settled any more. Where another process posts, that is for it to do.
    pub async fn withdraw(&self, digest: BatchDigest) {
        let poster = self.poster.borrow().clone();
        if let Some(poster) = poster
            && let Err(error) = poster.withdraw(digest).await
        {
            tracing::warn!(%digest, %error, "a posting could not be withdrawn");
        }
    }
}

/// Tells what is new of a settlement.
async fn tell(
    proof: B256,
    seen: Option<Progress>,
    problem: String,
    told: &mut Told,
    events: &mpsc::Sender<Event>,
) {
    // Not looked at yet: nothing is known that was not known before.
    if let Some(seen) = &seen
        && told.progress.as_ref() != Some(seen)
    {
        let event = match *seen {
            Progress::Waiting(_) | Progress::Troubled(_) => Event::SettlementWaits { hash: proof },
            Progress::Accepted => Event::ProofAccepted { hash: proof },
            Progress::Included { tx_hash, block, gas_used } => Event::SettlementIncluded {
                hash: proof,
                record: L1Record { transaction: Some(tx_hash), block, gas_used, by_us: true },
            },
        };
        let _ = events.send(event).await;
        // A change clears what was shown before.
        *told = Told { progress: Some(seen.clone()), problem: None };
    }
    if told.problem.as_ref() != Some(&problem) && (told.problem.is_some() || !problem.is_empty()) {
        let _ = events.send(Event::PostingProblem(problem.clone())).await;
        told.problem = Some(problem);
    }
}

/// Never, once the poster has stopped: then the process is ending.
pub(super) async fn outcome_of(receiver: &mut watch::Receiver<Option<Outcome>>) -> Outcome {
    let outcome = receiver.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
    match outcome {
        Some(outcome) => outcome,
        None => std::future::pending().await,
    }
}

fn looking(problem: impl fmt::Display) -> String {
    format!("looking for its settlement: {problem}")
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
