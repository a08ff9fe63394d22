//! What a member keeps: shards, the records of their batches, and what each rollup has used up.
//!
//! A shard travels through an [`Upload`], row by row; nothing of it exists for a reader before [`Upload::commit`]
//! returned [`Commit::Stored`], and nothing at all is left of one that was dropped. Reading checks: a [`Holding`] has
//! its record checked against its digest, hashes and rows are checked by whoever serves them.

mod ledger;
#[cfg(feature = "simulation")]
mod memory;
mod sql;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dac_bls::CheckedCertificate;
use dac_coding::{CheckedRecord, CheckedShard, CheckedShardSummary, ShardTree};
use dac_types::limits::{CHUNK_BYTES, STORED_ROW_BYTES};
use dac_types::{Address, B256, BatchDigest, Seat};
use thiserror::Error;

pub use ledger::{
    BadSeat, BadSeatLine, BatchOnL1, Cover, Covered, DUTIES_PER_ROLLUP_MAX, DutyCounts, L1Evidence, Ledger,
    RenewalAsked, Scrub, Wanted,
};
#[cfg(feature = "simulation")]
pub use memory::{Flaw, Held, MemoryStore, disk};
#[cfg(test)]
pub(crate) use sql::CommitFault;
pub use sql::SqlStore;

/// Chunks of a stored row but the last.
pub const CHUNKS_PER_ROW: usize = STORED_ROW_BYTES / CHUNK_BYTES;

/// Why the store did not do what it was asked to.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] dac_database::DatabaseError),
    /// What stands in the database is not what was written.
    #[error("batch {digest}: {what} does not pass its check")]
    Corrupt {
        /// The batch.
        digest: BatchDigest,
        /// Its shard, where the line that names it was read: one that takes its place is not meant.
        shard: Option<ShardId>,
        /// What of it.
        what: &'static str,
    },
    /// A number that SQL's 64-bit integers cannot hold.
    #[error("{what} = {got} is beyond the store's range")]
    Range {
        /// What the number counts.
        what: &'static str,
        /// The number.
        got: u64,
    },
    /// An upload was given rows that do not make up its shard.
    #[error("an upload of {expected} bytes was given {got}")]
    UploadLength {
        /// Bytes of the shard.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// The upload's staged rows are gone: another process on the same database took them for left-overs.
    #[error("the upload's staged rows are gone: is another process using this database?")]
    Lost,
}

impl StoreError {
    /// Whether the database met something that it cannot read; other batches may well be readable.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, StoreError::Database(error) if error.is_unreadable())
    }
}

/// Proof that a batch's shard and record are on durable storage. Only a store makes one, after its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    digest: BatchDigest,
    seat: Seat,
}

impl Stored {
    /// Outside of this module there is no way to come by a receipt but from a store.
    const fn new(digest: BatchDigest, seat: Seat) -> Self {
        Self { digest, seat }
    }

    /// The batch.
    pub const fn digest(&self) -> BatchDigest {
        self.digest
    }

    /// Whose shard of it.
    pub const fn seat(&self) -> Seat {
        self.seat
    }
}

/// A stored shard within its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardId(i64);

/// A batch that this member holds.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Receipt of the commit that stored it.
    pub stored: Stored,
    /// Where its shard is.
    pub shard: ShardId,
    /// Its record, checked again as it was read.
    pub record: Arc<CheckedRecord>,
    /// Whether its shard was seen to fail its check, and waits for repair.
    pub is_corrupt: bool,
}

/// What the quota counts: one rollup's payload bytes in one UTC day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaDay {
    /// The rollup.
    pub rollup: Address,
    /// Days since 1970.
    pub day: u64,
}

/// What the store knows of a submission before its batch is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubmissionFacts {
    /// The header stored for this submission in this epoch.
    pub header: Option<BatchDigest>,
    /// Whether its payload was charged already, in whichever epoch.
    pub charged: bool,
    /// Payload bytes that the rollup spent on the day asked for.
    pub spent_bytes: u64,
}

/// On whose authority a batch is stored, and what must hold at the moment of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The rollup's submission: one header an epoch, its payload charged once.
    Submission {
        /// EIP-712 digest of the submission.
        submission: B256,
        /// Where it is charged.
        quota: QuotaDay,
        /// Payload bytes that the rollup may spend in that day.
        daily_payload_bytes: u64,
    },
    /// A quorum's certificate: neither quota nor rival headers matter. Where no header holds the submission yet, this one
    /// does from now on: it is signed, and no other one of the submission may be.
    Certificate {
        /// EIP-712 digest of the submission.
        submission: B256,
    },
}

/// The tree of a shard that passed the member's check, piece by piece or as a whole.
#[derive(Clone, Debug)]
pub struct VerifiedShard {
    seat: Seat,
    length: usize,
    tree: ShardTree,
}

impl From<CheckedShardSummary> for VerifiedShard {
    fn from(summary: CheckedShardSummary) -> Self {
        Self { seat: summary.seat(), length: summary.length(), tree: summary.into_tree() }
    }
}

impl From<&CheckedShard> for VerifiedShard {
    fn from(shard: &CheckedShard) -> Self {
        Self { seat: shard.seat(), length: shard.bytes().len(), tree: shard.tree().clone() }
    }
}

/// All that is committed beside a shard's rows.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The batch.
    pub digest: BatchDigest,
    /// Its record; a certificate in it was verified.
    pub record: Arc<CheckedRecord>,
    /// The shard's check.
    pub shard: VerifiedShard,
    /// On whose authority.
    pub authority: Authority,
}

/// What came of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The batch is durable: by this upload, or by another one that was faster.
    Stored(Stored),
    /// Another header holds this submission and epoch. Nothing was stored.
    ConflictingHeader {
        /// The header stored before.
        existing: BatchDigest,
    },
    /// The rollup has spent its day. Nothing was stored.
    QuotaExceeded {
        /// Bytes spent before.
        spent: u64,
        /// Bytes allowed.
        limit: u64,
        /// Bytes asked for.
        asked: u64,
    },
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its place in the order of storing, from 1; never reused.
    pub sequence: u64,
    /// The batch.
    pub digest: BatchDigest,
    /// Whose batch.
    pub rollup: Address,
    /// The rollup's number of it.
    pub batch_number: u64,
    /// The committee's epoch.
    pub epoch: u64,
    /// Whose shard of it.
    pub seat: Seat,
    /// Until when it is served.
    pub expires_at: u64,
    /// Bytes of its payload.
    pub payload_length: u64,
}

/// How much is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Totals {
    /// Batches.
    pub batches: u64,
    /// Bytes of their shards.
    pub bytes: u64,
}

/// Durable storage of one member: its shards, and beside them the [`Ledger`] of what it owes.
#[async_trait]
pub trait Store: Ledger {
    /// The batch, if this member holds it.
    async fn find(&self, digest: BatchDigest) -> Result<Option<Holding>, StoreError>;

    /// What is known of a submission, for an early answer; the commit decides.
    async fn submission_facts(
        &self,
        submission: B256,
        epoch: u64,
        quota: QuotaDay,
    ) -> Result<SubmissionFacts, StoreError>;

    /// Opens an upload of a shard of `length` bytes.
    async fn begin(&self, length: usize) -> Result<Box<dyn Upload>, StoreError>;

    /// Adds a certificate to a stored record that has none; durable on return. Unknown batches are left alone.
    async fn attach_certificate(&self, certificate: &CheckedCertificate) -> Result<(), StoreError>;

    /// Hashes of a held shard's chunks as they stand in the database. `None` where they are missing, or cannot be read.
    async fn leaf_hashes(&self, shard: ShardId) -> Result<Option<Vec<B256>>, StoreError>;

    /// One row of a held shard as it stands in the database. `None` where it is missing, or cannot be read.
    async fn row(&self, shard: ShardId, index: usize) -> Result<Option<Bytes>, StoreError>;

    /// One chunk of a held shard as it stands in the database. `None` where it is missing, or cannot be read.
    async fn chunk(&self, shard: ShardId, index: usize) -> Result<Option<Bytes>, StoreError>;

    /// At most `limit` batches after a place in the order of storing.
    async fn list(&self, rollup: Option<Address>, after: u64, limit: u32) -> Result<Vec<Listed>, StoreError>;

    /// How much is stored.
    async fn totals(&self) -> Result<Totals, StoreError>;

    /// Deletes at most `limit` batches that were to be kept until a time before `before`, and forgets what is owed and was spent until
    /// then; nothing of the rollups that are spared. Returns how many batches went.
    async fn delete_expired(&self, before: u64, spared: &[Address], limit: u32) -> Result<u64, StoreError>;

    /// Gives space that deletion made free back to the file system.
    async fn give_back(&self) -> Result<(), StoreError>;

    /// Deletes what uploads left that nobody is working on any more. Returns how many.
    async fn sweep(&self) -> Result<u64, StoreError>;

    /// Waits for transactions under way and closes the connections.
    async fn close(&self);

    /// Asks the database whether it works, for health checks. A store that signs sees that it takes writes, too.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Bytes of the database's files, where they are on a disk that is not this machine's to look at.
    async fn size_on_server(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Where a commit is once it is acknowledged, in a few words.
    fn storage(&self) -> String;
}

/// A shard on its way into the store. Dropped before its commit, it leaves nothing.
#[async_trait]
pub trait Upload: Send {
    /// The next row, of [`STORED_ROW_BYTES`], which must not be the last one.
    async fn stage(&mut self, row: Bytes) -> Result<(), StoreError>;

    /// The last row and everything else, in one durable transaction. A batch that is stored intact stays as it is; one that is marked
    /// corrupt is replaced in the same transaction.
    async fn commit(self: Box<Self>, last_row: Bytes, entry: Entry) -> Result<Commit, StoreError>;
}
