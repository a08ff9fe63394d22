//! What the poster takes, and what it gives up.

use alloy::primitives::Bytes;

use super::actor::Actor;
use super::command::Enqueued;
use super::error::PosterError;
use super::{Change, FailureReason, NonceSlot, Outcome, Posting, PostingDigest, Task};

/// Settlements of one contract that are waiting or under way, at most: a batch's call may have 130 KiB.
const SETTLEMENTS_PER_CONTRACT_MAX: usize = 256;

/// Renewals of one contract that are waiting or under way, at most. They have this room beside the queue, however full it is.
const RENEWALS_PER_CONTRACT_MAX: usize = 4;

impl Actor {
    pub(super) async fn enqueue(
        &mut self,
        digest: PostingDigest,
        task: Task,
        calldata: Bytes,
    ) -> Result<Enqueued, PosterError> {
        if let Some(posting) = self.state.posting(digest) {
            // A batch may settle with one proof or another; what is recorded or renewed is the same, whoever signed it.
            let any_call = !matches!(task, Task::Settle { .. });
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
        // What was paid for stays counted: neither another proof of the same batch nor a new order begins anew.
        let spent = former.filter(|former| former.task.name() == task.name());
        let (reverts, attempts, lost) =
            spent.map_or((0, 0, 0), |spent| (spent.reverts, spent.attempts, spent.lost));
        if reverts >= self.config.reverts_max && matches!(task, Task::Settle { .. }) {
            let reason = FailureReason::FailedRepeatedly { times: reverts };
            return Ok(Enqueued { digest, outcome: Some(Outcome::Failed { reason }) });
        }
        let renews = matches!(task, Task::Renew { .. });
        if !renews && self.state.pending() >= self.config.queue_max {
            return Err(PosterError::QueueFull { limit: self.config.queue_max });
        }
        self.room_for(task)?;
        let sequence = self.state.take_sequence();
        let posting = Posting { reverts, attempts, lost, ..Posting::new(digest, sequence, task, calldata) };
        self.commit(vec![Change::SavePosting(posting)]).await?;
        Ok(Enqueued { digest, outcome: None })
    }

    /// No rollup's batches take the room of another's. What the others wait for has room of its own.
    fn room_for(&self, task: Task) -> Result<(), PosterError> {
        let (settlement, batch_number) = match task {
            Task::Record => return Ok(()),
            Task::Settle { settlement, batch_number, .. } => (settlement, batch_number),
            Task::Renew { settlement, .. } => {
                let same = |posting: &&Posting| matches!(posting.task, Task::Renew { settlement: other, .. } if other == settlement);
                let limit = RENEWALS_PER_CONTRACT_MAX;
                return match self.state.postings().filter(same).count() < limit {
                    true => Ok(()),
                    false => Err(PosterError::RenewalsQueued { settlement, limit }),
                };
            }
        };
        let numbers = self.state.postings().filter_map(|posting| match posting.task {
            Task::Settle { settlement: other, batch_number, .. } if other == settlement => Some(batch_number),
            _ => None,
        });
        let (queued, least) =
            numbers.fold((0, u64::MAX), |(queued, least), number| (queued + 1, least.min(number)));
        let limit = match batch_number < least {
            true => 2 * SETTLEMENTS_PER_CONTRACT_MAX,
            false => SETTLEMENTS_PER_CONTRACT_MAX,
        };
        if queued >= limit { Err(PosterError::SettlementsQueued { settlement, limit }) } else { Ok(()) }
    }

    /// Its nonce, if it has one, is used up by whatever is sent for it next.
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
