//! The promises to keep settled batches for longer.

use async_trait::async_trait;
use dac_types::{Address, CoverageRenewal, Seat};

use super::error::StoreError;
use super::shards::ShardStore;

/// A renewal that a member is asked to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalAsked {
    /// The promise.
    pub renewal: CoverageRenewal,
    /// The seat that signs it.
    pub seat: Seat,
    /// The first epoch of the lineage of the renewal's epoch. From it on seats are the same, so the
    /// promise of a seat is about the shards of that seat. A member that changed seats may hold a
    /// shard that another member promises. Batches of earlier epochs are not promised at all: their
    /// n or k are others, and so are their shards.
    pub since_epoch: u64,
    /// The Unix time in seconds until which the batches are kept if the renewal is signed. It is
    /// not before the expiry of the renewal. A later time saves work for renewals that follow soon.
    pub keep_until: u64,
}

/// Why a renewal is not covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// L1 shows fewer settled batches, as far as it was read.
    Settlements {
        /// The last settled batch that it shows.
        last: u64,
    },
    /// Settled batches are not held intact, or not with the shard of the seat that would sign.
    Shards {
        /// The number of these batches among those that were looked at.
        missing: u64,
        /// The rollup's number of the first of them.
        first: u64,
    },
}

/// The promises to keep settled batches for longer.
#[async_trait]
pub trait Renewals: Send + Sync + 'static {
    /// Returns the last batch of a rollup that L1 shows as settled, or 0. It costs little, unlike
    /// [`cover`](Self::cover).
    async fn last_settled(&self, rollup: Address) -> Result<u64, StoreError>;

    /// Looks at every settled batch that the renewal speaks of, with its bytes in `shards`. If all
    /// are held, they are kept for as long as was asked, and that is durable when this returns.
    /// Batches that an earlier renewal looked at and keeps for long enough are not looked at again.
    async fn cover(
        &self,
        shards: &dyn ShardStore,
        asked: RenewalAsked,
    ) -> Result<Result<(), Lacking>, StoreError>;
}
