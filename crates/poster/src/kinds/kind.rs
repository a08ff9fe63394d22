//! The trait by which kinds of posting differ.

use alloy::primitives::Address;
use async_trait::async_trait;

use super::super::error::PosterError;
use super::super::sight::Sight;
use super::super::verdict::Verdict;
use dac_chain::ChainError;
use dac_contracts::Refusal;

/// The place of a posting among those of its kind for the same rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The rollup's contract, to which the call goes.
    pub(crate) contract: Address,
    /// The batch's number, or the number of the last batch that a renewal covers.
    pub(crate) number: u64,
}

/// What L1's refusal means for a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The purpose of the posting is fulfilled, perhaps by another sender's transaction, which
    /// [`Kind::find`] looks for.
    Done,
    /// The same call may succeed later.
    Waits,
    /// L1 will never accept the call.
    Never,
}

/// One kind of posting: everything that differs between kinds.
#[async_trait]
pub(crate) trait Kind: Send + Sync {
    /// The name of this kind in log lines.
    fn name(&self) -> &'static str;

    /// Returns the posting's place, or `None` for calls to the certificate log, which has no order.
    fn place(&self) -> Option<Place>;

    /// Returns the Unix time after which the posting is useless, or `None` if the contract's
    /// refusal shows that.
    fn expires_at(&self) -> Option<u64>;

    /// Whether the postings of one contract are sent one after the other, by number. The others
    /// wait even if a simulation says that they would succeed.
    fn is_in_order(&self) -> bool {
        false
    }

    /// Whether postings of this kind go before all other waiting ones.
    fn is_urgent(&self) -> bool {
        false
    }

    /// Whether a different call for the same digest, for example with another proof, is another
    /// posting.
    fn is_bound_to_call(&self) -> bool {
        false
    }

    /// Checks that the queue has room for the posting. The queue has `queued` of at most
    /// `queue_max` postings, and `line` has the numbers of those of this kind for the same
    /// contract.
    fn check_room(&self, line: &[u64], queued: usize, queue_max: usize) -> Result<(), PosterError>;

    /// Returns what a refusal means for the posting.
    fn judge(&self, refusal: &Refusal) -> Judgement;

    /// Returns what the contract's state shows if a refusal names no rule, or `None` if it shows
    /// nothing.
    async fn look_up(&self, _sight: &Sight<'_>) -> Option<Verdict> {
        None
    }

    /// Finds the transaction that fulfilled the purpose of the posting, and whether its block is
    /// confirmed. Also returns a further problem if there is one.
    async fn find(
        &self,
        sight: &Sight<'_>,
        refusal: Refusal,
    ) -> Result<(Verdict, Option<String>), ChainError>;
}

/// Checks that the part of the queue that all kinds share is not full.
pub(super) const fn check_shared_room(queued: usize, queue_max: usize) -> Result<(), PosterError> {
    if queued < queue_max { Ok(()) } else { Err(PosterError::QueueFull { limit: queue_max }) }
}
