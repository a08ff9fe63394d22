//! The interface of a store that the suite tests.

use async_trait::async_trait;
use dac_types::BatchDigest;

use crate::store::MemberStore;

/// A store that the suite tests.
#[async_trait]
pub trait Candidate: Send + Sync + Sized + 'static {
    /// Makes an empty store.
    async fn new() -> Self;

    /// Returns the store.
    fn store(&self) -> &MemberStore;

    /// Opens the store again after the death of its process, which leaves only what is durable.
    async fn restart(&mut self);

    /// Counts everything that is in it.
    async fn census(&self) -> Census;

    /// Damages a stored batch behind the back of the store. Returns whether this store can have
    /// such a damage.
    async fn spoil(&self, digest: BatchDigest, damage: Damage) -> bool;
}

/// The number of things of each kind in a store. Tests compare it as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// The number of batches.
    pub batches: u64,
    /// The number of records of batches.
    pub records: u64,
    /// The number of rows of shards, of batches or not.
    pub rows: u64,
    /// The number of lists of the hashes of a shard.
    pub trees: u64,
    /// The number of shards that no batch has.
    pub unclaimed: u64,
    /// The number of headers of submissions.
    pub headers: u64,
    /// The number of submissions that were charged.
    pub charged: u64,
    /// The number of days on which a rollup has spent something.
    pub quota_days: u64,
    /// The number of batches on L1.
    pub duties: u64,
    /// The number of renewals on L1.
    pub renewals: u64,
    /// The number of batches with a bad seat.
    pub bad_seats: u64,
}

/// A damage to a stored batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The row at this index lacks its first byte.
    RowCut(usize),
    /// The row at this index is gone.
    RowLost(usize),
    /// The hashes of the chunks are gone.
    TreeLost,
    /// The record lacks its first byte.
    RecordCut,
}
