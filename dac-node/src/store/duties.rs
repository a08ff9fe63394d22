//! What a member owes according to L1, compared with what it holds.
//!
//! What L1 said is kept for every seat. Which part of it this member owes follows from the
//! committees of the epochs ([`Duties::assign`]). Undoing what a reorganised block said removes a
//! duty and never a shard.

use async_trait::async_trait;
use dac_chain::feed::{Cursor, Fact};
use dac_types::{Address, BatchDigest, Seat};

use super::error::StoreError;

/// The number of batches of one rollup that are noted on the word of its contract alone, because
/// events cost their sender next to nothing. A batch in each of L1's blocks makes some 220,000 in
/// a month.
pub const DUTIES_PER_ROLLUP_MAX: u64 = if cfg!(test) { 50 } else { 1 << 18 };

/// A batch as L1 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOnL1 {
    /// The batch.
    pub digest: BatchDigest,
    /// The settlement contract of its rollup.
    pub rollup: Address,
    /// The rollup's number of the batch.
    pub batch_number: u64,
    /// The epoch whose committee signed it.
    pub epoch: u64,
    /// The Unix time in seconds until which that committee promised to serve it.
    pub expires_at: u64,
}

/// A shard that this member should hold, and does not hold intact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The batch. If L1 does not know it, this is what its stored line says.
    pub batch: BatchOnL1,
    /// The Unix time in seconds until which it is kept.
    pub keep_until: u64,
    /// The seat of the shard.
    pub seat: Seat,
    /// Whether a shard is stored that fails its check.
    pub is_corrupt: bool,
    /// How L1 knows of the batch. `None` if it does not know of it, or no longer does.
    pub evidence: Option<L1Evidence>,
}

impl Wanted {
    /// Returns the place in the order in which shards are wanted.
    pub const fn place(&self) -> (u64, BatchDigest) {
        (self.keep_until, self.batch.digest)
    }
}

/// The contract that said that a quorum signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L1Evidence {
    /// The certificate log.
    Recorded {
        /// The block in which it said so.
        block: u64,
    },
    /// The settlement contract of the rollup.
    Settled {
        /// The block in which it said so.
        block: u64,
    },
}

/// The number of shards that are owed and that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DutyCounts {
    /// The number of shards of unexpired batches on L1 that this member owes.
    pub owed: u64,
    /// The number of owed shards that are stored and not known to be corrupt.
    pub held: u64,
    /// The number of owed shards that are not stored and not doubted.
    pub missing: u64,
    /// The number of owed shards that are not stored, and of which too many members say that they
    /// do not know the batch that a rollup's contract claims.
    pub doubted: u64,
    /// The number of owed shards that are not codewords: they do not match the other shards.
    pub bad: u64,
    /// The number of stored shards that fail their check, on L1 or not.
    pub corrupt: u64,
}

impl DutyCounts {
    /// Returns whether nothing is left to repair.
    pub const fn is_whole(&self) -> bool {
        self.missing == 0 && self.corrupt == 0
    }
}

/// What L1 says that a member owes.
///
/// # Guarantees
///
/// * A change that returned `Ok` is durable, and what was learned is durable together with the
///   cursor after it.
/// * Learning a fact twice is the same as learning it once.
#[async_trait]
pub trait Duties: Send + Sync + 'static {
    /// Returns how far each contract was read.
    async fn cursors(&self) -> Result<Vec<Cursor>, StoreError>;

    /// Adds what the contract of the cursor said, and where reading goes on, in one transaction. Of
    /// the contract of one rollup it notes at most [`DUTIES_PER_ROLLUP_MAX`] batches that the log
    /// does not have. Returns how many were left out.
    async fn learn(&self, facts: Vec<Fact>, cursor: Cursor) -> Result<u64, StoreError>;

    /// Takes back what the contract of the cursor said in blocks after `block`, in one transaction
    /// with the cursor. Batches that are kept for longer by then stay so.
    async fn unlearn(&self, block: u64, cursor: Cursor) -> Result<(), StoreError>;

    /// Sets the seats whose shards this member owes, by the epoch of the batches. It owes nothing
    /// of the other epochs.
    async fn assign(&self, seats: Vec<(u64, Seat)>) -> Result<(), StoreError>;

    /// Returns the number of shards owed and held at the time `now`.
    async fn duty_counts(&self, now: u64) -> Result<DutyCounts, StoreError>;

    /// Returns the rollups some of whose shards may be wanted.
    async fn wanted_rollups(&self) -> Result<Vec<Address>, StoreError>;

    /// Returns at most `limit` shards of a rollup that are wanted at the time `now`, after a
    /// [place](Wanted::place). Those that are kept shortest come first.
    async fn wanted(
        &self,
        now: u64,
        rollup: Address,
        after: Option<(u64, BatchDigest)>,
        limit: u32,
    ) -> Result<Vec<Wanted>, StoreError>;

    /// Notes that the record of a batch contradicts what the contract of `rollup` says of it. The
    /// batch is no longer wanted.
    async fn refute(&self, digest: BatchDigest, rollup: Address) -> Result<(), StoreError>;

    /// Notes that too many members do not know the batch that the contract of `rollup` claims. If
    /// the log has the batch, nothing changes. Returns whether the doubt is new.
    async fn doubt(&self, digest: BatchDigest, rollup: Address) -> Result<bool, StoreError>;
}
