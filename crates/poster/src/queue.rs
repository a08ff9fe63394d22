//! Taking orders into the poster's queue, and withdrawing them.

use alloy::primitives::Bytes;

use super::actor::Actor;
use super::command::Enqueued;
use super::error::PosterError;
use super::{Change, FailureReason, NonceSlot, Outcome, Posting, PostingDigest, Task};

impl Actor {
    pub(super) async fn enqueue(
        &mut self,
        digest: PostingDigest,
        task: Task,
        calldata: Bytes,
    ) -> Result<Enqueued, PosterError> {
        if let Some(posting) = self.state.posting(digest) {
            // The result on L1 is the same with the signatures of other members.
            let any_call = !task.kind().is_bound_to_call();
            return match posting.task == task && (any_call || posting.calldata == calldata) {
                true => Ok(Enqueued { digest, outcome: None }),
                false => Err(PosterError::OtherPosting { digest }),
            };
        }
        let former = self.store.posting(digest).await?;
        if let Some(Posting { outcome: Some(outcome @ Outcome::Recorded { .. }), task: done, .. }) = &former
            && *done == task
        {
            return Ok(Enqueued { digest, outcome: Some(outcome.clone()) });
        }
        // Attempts that were paid for stay counted: another proof of the same batch or a new order
        // does not reset the counts.
        let spent = former.filter(|former| former.task.is_like(&task));
        let (reverts, attempts, lost) =
            spent.map_or((0, 0, 0), |spent| (spent.reverts, spent.attempts, spent.lost));
        if reverts >= self.config.reverts_max && task.kind().is_bound_to_call() {
            let reason = FailureReason::FailedRepeatedly { times: reverts };
            return Ok(Enqueued { digest, outcome: Some(Outcome::Failed { reason }) });
        }
        self.check_room(task)?;
        let sequence = self.state.take_sequence();
        let posting = Posting { reverts, attempts, lost, ..Posting::new(digest, sequence, task, calldata) };
        self.commit(vec![Change::SavePosting(posting)]).await?;
        Ok(Enqueued { digest, outcome: None })
    }

    fn check_room(&self, task: Task) -> Result<(), PosterError> {
        let contract = task.kind().place().map(|place| place.contract);
        let same = self.state.postings().filter(|posting| posting.task.is_like(&task));
        let places = same.filter_map(|posting| posting.task.kind().place());
        let line: Vec<u64> =
            places.filter(|place| Some(place.contract) == contract).map(|place| place.number).collect();
        task.kind().check_room(&line, self.state.pending(), self.config.queue_max)
    }

    /// Withdraws an order. Its nonce, if it has one, is used by the next transaction that needs
    /// one.
    pub(super) async fn withdraw(&mut self, digest: PostingDigest) -> Result<Enqueued, PosterError> {
        let Some(posting) = self.state.posting(digest).cloned() else {
            return Ok(Enqueued { digest, outcome: None });
        };
        let outcome = Outcome::Failed { reason: FailureReason::Withdrawn };
        let mut changes = vec![Change::SavePosting(posting.ended(outcome.clone()))];
        let slot = self.state.slots().find(|slot| slot.digest == Some(digest)).cloned();
        changes.extend(slot.map(|slot| Change::SaveSlot(NonceSlot { digest: None, ..slot })));
        self.commit(changes).await?;
        Ok(Enqueued { digest, outcome: Some(outcome) })
    }
}
