//! Receipts. A member signs only for what it has a receipt of.
//!
//! Nothing outside of this folder can make a receipt. A backend answers with facts; the receipt is
//! made here, after the half that is responsible for it has answered.

use dac_types::{BatchDigest, CoverageRenewal, Seat};

use super::catalog::{Catalog, Holding};
use super::error::StoreError;
use super::renewals::{Lacking, RenewalAsked, Renewals};
use super::shards::ShardStore;

/// Proof that the shard and the record of a batch are on durable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    digest: BatchDigest,
    seat: Seat,
}

impl Stored {
    /// Only the writer makes one, after [`Catalog::commit`] returned.
    pub(super) const fn new(digest: BatchDigest, seat: Seat) -> Self {
        Self { digest, seat }
    }

    /// Returns the receipt of an earlier commit, with what was committed. There is none for a batch
    /// that is not held or is marked corrupt.
    pub async fn recall(
        catalog: &dyn Catalog,
        digest: BatchDigest,
    ) -> Result<Option<(Self, Holding)>, StoreError> {
        let held = catalog.find(digest).await?.filter(|held| !held.is_corrupt);
        Ok(held.map(|held| (Self::new(held.digest, held.seat), held)))
    }

    /// Returns the batch.
    pub const fn digest(&self) -> BatchDigest {
        self.digest
    }

    /// Returns the seat whose shard is stored.
    pub const fn seat(&self) -> Seat {
        self.seat
    }
}

/// Proof that every settled batch that a renewal speaks of is stored intact, and kept for as long
/// as the renewal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    renewal: CoverageRenewal,
}

impl Covered {
    /// Checks every batch of the renewal and keeps it for longer, or returns what is lacking.
    pub async fn obtain(
        renewals: &dyn Renewals,
        shards: &dyn ShardStore,
        asked: RenewalAsked,
    ) -> Result<Result<Self, Lacking>, StoreError> {
        let covered = renewals.cover(shards, asked).await?;
        Ok(covered.map(|()| Self { renewal: asked.renewal }))
    }

    /// Returns the promise that may be signed.
    pub const fn renewal(&self) -> CoverageRenewal {
        self.renewal
    }
}
