//! What a member owes, by L1's word, and how that stands against what it holds.
//!
//! What L1 said is kept whole, for every seat: which of it this member owes follows from the epochs' committees
//! ([`Ledger::assign`]). Undoing what a reorganised block said removes a duty and never a shard.

use std::sync::Arc;

use async_trait::async_trait;
use dac_chain::feed::{Cursor, Fact};
use dac_coding::CheckedRecord;
use dac_types::{Address, BatchDigest, CoverageRenewal, Seat};

use super::{ShardId, StoreError};

/// Batches of one rollup that are noted by the word of its contract alone: events cost their sender next to nothing. A batch for each of
/// L1's blocks makes some 220,000 in a month.
pub const DUTIES_PER_ROLLUP_MAX: u64 = if cfg!(test) { 50 } else { 1 << 18 };

/// A batch as L1 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOnL1 {
    /// The batch.
    pub digest: BatchDigest,
    /// Its rollup's settlement contract.
    pub rollup: Address,
    /// The rollup's number of it.
    pub batch_number: u64,
    /// The epoch whose committee signed it.
    pub epoch: u64,
    /// Until when that committee promised to serve it, in Unix seconds.
    pub expires_at: u64,
}

/// A shard that this member should hold and does not, or not intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Of this batch. Of one that is not on L1 it is what its stored line says.
    pub batch: BatchOnL1,
    /// Until when it is kept, in Unix seconds.
    pub keep_until: u64,
    /// Whose shard.
    pub seat: Seat,
    /// Whether something is stored that fails its check.
    pub is_corrupt: bool,
    /// How L1 knows of the batch; `None`: not at all, or no more.
    pub evidence: Option<L1Evidence>,
}

impl Wanted {
    /// Its place in the order in which shards are wanted.
    pub const fn place(&self) -> (u64, BatchDigest) {
        (self.keep_until, self.batch.digest)
    }
}

/// The contract that said that a quorum signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L1Evidence {
    /// The log, in this block.
    Recorded {
        /// The block.
        block: u64,
    },
    /// The rollup's contract, in this block.
    Settled {
        /// The block.
        block: u64,
    },
}

/// What is owed and what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DutyCounts {
    /// Shards of unexpired batches on L1 that this member owes.
    pub owed: u64,
    /// Of these: stored and not known to be corrupt.
    pub held: u64,
    /// Of these: not stored, and not doubted.
    pub missing: u64,
    /// Of these: not stored, and claimed by a rollup's contract against the word of more members than a quorum leaves.
    pub doubted: u64,
    /// Of these: no shard of the code.
    pub bad: u64,
    /// Stored, on L1 or not, and failing their check.
    pub corrupt: u64,
}

impl DutyCounts {
    /// Whether nothing is left to repair.
    pub const fn is_whole(&self) -> bool {
        self.missing == 0 && self.corrupt == 0
    }
}

/// A batch whose disperser committed a shard for this member's seat that is none of the code.
#[derive(Clone, Debug)]
pub struct BadSeat {
    /// The batch.
    pub digest: BatchDigest,
    /// The seat.
    pub seat: Seat,
    /// When that was found out, in Unix seconds.
    pub found_at: u64,
    /// The batch's record, which shows it to whoever has k shards.
    pub record: Arc<CheckedRecord>,
}

/// One line of [`Ledger::bad_seats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSeatLine {
    /// The batch.
    pub digest: BatchDigest,
    /// The seat.
    pub seat: Seat,
    /// When that was found out, in Unix seconds.
    pub found_at: u64,
}

/// A renewal that a member is asked to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalAsked {
    /// What is to be promised.
    pub renewal: CoverageRenewal,
    /// The seat that signs it.
    pub seat: Seat,
    /// The first epoch of the lineage of the renewal's epoch: from there on seats are the same, so what is promised for a seat is that
    /// seat's shards. A member that changed seats may hold another one, which somebody else promises.
    pub since_epoch: u64,
    /// Until when the batches are kept if it is signed, in Unix seconds: not before the renewal expires. What goes beyond saves the work
    /// for the renewals that follow soon.
    pub keep_until: u64,
}

/// Proof that every settled batch that a renewal speaks of is stored intact and kept until it says. Only a store makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    renewal: CoverageRenewal,
}

impl Covered {
    /// Outside of the stores there is no way to come by one but from [`Ledger::cover`].
    pub(super) const fn new(renewal: CoverageRenewal) -> Self {
        Self { renewal }
    }

    /// What may be promised.
    pub const fn renewal(&self) -> CoverageRenewal {
        self.renewal
    }
}

/// What came of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// All is held and kept for longer.
    Covered(Covered),
    /// L1 shows fewer settled batches, as far as it was read.
    NotSettled {
        /// The last one that it shows.
        last: u64,
    },
    /// Settled batches are not held intact, or not with the shard of the seat that would sign. Nothing is promised.
    NotHeld {
        /// How many of those looked at.
        missing: u64,
        /// The first of them, by the rollup's number.
        first: u64,
    },
}

/// Where the round of re-verification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Scrub {
    /// Batches up to this place in the order of storing were looked at.
    pub after: u64,
    /// When the round began, in Unix seconds; 0 where none is under way.
    pub began_at: u64,
    /// When the last full round ended; 0 where none has.
    pub ended_at: u64,
}

/// The durable ledger of one member.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// How far each contract was read.
    async fn cursors(&self) -> Result<Vec<Cursor>, StoreError>;

    /// Adds what the cursor's contract said, and where reading goes on, in one transaction. Saying it twice is saying it once. Of one
    /// rollup's contract no more than [`DUTIES_PER_ROLLUP_MAX`] batches are noted that the log does not have; returns how many were not.
    async fn learn(&self, facts: Vec<Fact>, cursor: Cursor) -> Result<u64, StoreError>;

    /// Takes back what the cursor's contract said in blocks after `block`, in one transaction with the cursor. What is kept for longer
    /// by then stays so.
    async fn unlearn(&self, block: u64, cursor: Cursor) -> Result<(), StoreError>;

    /// The seats whose shards this member owes, by the batches' epoch; of epochs not named it owes nothing.
    async fn assign(&self, seats: Vec<(u64, Seat)>) -> Result<(), StoreError>;

    /// What is owed and held at `now`.
    async fn duty_counts(&self, now: u64) -> Result<DutyCounts, StoreError>;

    /// Rollups some of whose shards may be wanted.
    async fn wanted_rollups(&self) -> Result<Vec<Address>, StoreError>;

    /// At most `limit` shards of a rollup's batches that are wanted at `now`, those kept shortest first, after a
    /// [place](Wanted::place).
    async fn wanted(
        &self,
        now: u64,
        rollup: Address,
        after: Option<(u64, BatchDigest)>,
        limit: u32,
    ) -> Result<Vec<Wanted>, StoreError>;

    /// The batch's own record contradicts what `rollup`'s contract says of it: it is not wanted any more.
    async fn refute(&self, digest: BatchDigest, rollup: Address) -> Result<(), StoreError>;

    /// More members than a quorum leaves do not know the batch that `rollup`'s contract claims. Where the log has it that counts for
    /// nothing. Returns whether that was news.
    async fn doubt(&self, digest: BatchDigest, rollup: Address) -> Result<bool, StoreError>;

    /// What is stored of a batch was seen to fail its check; durable on return. Where the shard is named, only that one is meant and not
    /// one that took its place meanwhile. It is not where the line that names it makes no sense: a sound one is then repaired for nothing.
    /// Returns whether that was news.
    async fn mark_corrupt(&self, digest: BatchDigest, shard: Option<ShardId>) -> Result<bool, StoreError>;

    /// The seat's shard is none of the code: that is the outcome, for good.
    async fn add_bad_seat(&self, bad: BadSeat) -> Result<(), StoreError>;

    /// The outcome BAD of a batch, with its record.
    async fn bad_seat(&self, digest: BatchDigest) -> Result<Option<BadSeat>, StoreError>;

    /// The newest outcomes BAD.
    async fn bad_seats(&self, limit: u32) -> Result<Vec<BadSeatLine>, StoreError>;

    /// The last batch of a rollup that L1 shows as settled; 0 for none. A cheap question, unlike [`Ledger::cover`].
    async fn last_settled(&self, rollup: Address) -> Result<u64, StoreError>;

    /// Looks at every settled batch that the renewal speaks of; if all are held, keeps them until its expiry, durably. What was looked at
    /// for an earlier one and is kept for long enough by it is not looked at again.
    async fn cover(&self, asked: RenewalAsked) -> Result<Cover, StoreError>;

    /// At most `limit` stored batches after a place in the order of storing, with their places.
    async fn stored_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, BatchDigest)>, StoreError>;

    /// Where re-verification stands.
    async fn scrub(&self) -> Result<Scrub, StoreError>;

    /// Where re-verification goes on.
    async fn set_scrub(&self, scrub: Scrub) -> Result<(), StoreError>;
}
