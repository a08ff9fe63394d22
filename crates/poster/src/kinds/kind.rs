//! What tells one kind of posting from another.

use alloy::primitives::Address;
use async_trait::async_trait;

use super::super::error::PosterError;
use super::super::sight::Sight;
use super::super::verdict::Verdict;
use dac_chain::ChainError;
use dac_contracts::Refusal;

/// Where a posting stands among those of its kind for the same rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The rollup's contract, which is called.
    pub(crate) contract: Address,
    /// The batch's number, or the last one of a renewal.
    pub(crate) number: u64,
}

/// What follows from L1's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// What the posting is for was done, perhaps by another sender: [`Kind::find`] tells.
    Done,
    /// The same call may succeed later.
    Waits,
    /// L1 will never take it.
    Never,
}

/// One kind of posting: all that the poster does not do alike for all of them.
#[async_trait]
pub(crate) trait Kind: Send + Sync {
    /// The name that the log has for it.
    fn name(&self) -> &'static str;

    /// Where it stands; none where the certificate log is called, which has no order.
    fn place(&self) -> Option<Place>;

    /// When it is of no use any more, in Unix seconds; none where the contract says so itself.
    fn expires_at(&self) -> Option<u64>;

    /// Whether the postings of one contract are sent one after the other, by number. The others
    /// wait even if a simulation says that they would succeed.
    fn is_in_order(&self) -> bool {
        false
    }

    /// Whether it goes before what else is waiting.
    fn is_urgent(&self) -> bool {
        false
    }

    /// Whether another call for the same digest is another posting: with another proof, for
    /// example.
    fn is_bound_to_call(&self) -> bool {
        false
    }

    /// Whether the queue has room for it: `queued` postings are there, at most `queue_max` should
    /// be, and `line` has the numbers of those of its kind for the same contract.
    fn check_room(&self, line: &[u64], queued: usize, queue_max: usize) -> Result<(), PosterError>;

    /// What follows from a refusal.
    fn judge(&self, refusal: &Refusal) -> Judgement;

    /// What the contract's own books say, where a refusal names no rule; none where they say
    /// nothing.
    async fn look_up(&self, _sight: &Sight<'_>) -> Option<Verdict> {
        None
    }

    /// Who did what the refusal says was done, and how deep it lies; and a problem beside that, if
    /// there is one.
    async fn find(
        &self,
        sight: &Sight<'_>,
        refusal: Refusal,
    ) -> Result<(Verdict, Option<String>), ChainError>;
}

/// That there is room in the part of the queue that all share.
pub(super) const fn check_shared_room(queued: usize, queue_max: usize) -> Result<(), PosterError> {
    if queued < queue_max { Ok(()) } else { Err(PosterError::QueueFull { limit: queue_max }) }
}
