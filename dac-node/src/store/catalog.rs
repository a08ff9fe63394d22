//! The second half of a member's storage: the books of which batches it holds.

use std::sync::Arc;

use async_trait::async_trait;
use dac_bls::CheckedCertificate;
use dac_coding::{CheckedRecord, CheckedShard, CheckedShardSummary, ShardTree};
use dac_types::{Address, B256, BatchDigest, Seat};

use super::error::StoreError;
use super::id::ShardId;
use super::shards::Sealed;

/// A batch that this member holds.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The batch.
    pub digest: BatchDigest,
    /// The seat whose shard is held.
    pub seat: Seat,
    /// The name of the shard in the shard store.
    pub shard: ShardId,
    /// The record. It was checked again when it was read.
    pub record: Arc<CheckedRecord>,
    /// Whether the shard failed its check and waits for repair.
    pub is_corrupt: bool,
}

/// One rollup and one UTC day, for which payload bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaDay {
    /// The rollup.
    pub rollup: Address,
    /// The number of days since 1970.
    pub day: u64,
}

/// What the catalog knows of a submission before its batch is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubmissionFacts {
    /// The header that is stored for this submission in this epoch.
    pub header: Option<BatchDigest>,
    /// Whether the payload of the submission was charged already, in any epoch.
    pub charged: bool,
    /// The number of payload bytes that the rollup has spent on the given day.
    pub spent_bytes: u64,
}

/// The authority on which a batch is stored, and what must hold at the moment of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The rollup's submission. It has one header an epoch, and its payload is charged once.
    Submission {
        /// The EIP-712 digest of the submission.
        submission: B256,
        /// The day on which the payload is charged.
        quota: QuotaDay,
        /// The number of payload bytes that the rollup may spend on that day.
        daily_payload_bytes: u64,
    },
    /// A quorum's certificate. Quotas and rival headers do not matter. If no header of the
    /// submission is stored in this epoch yet, this one is stored, and no other may be signed.
    Certificate {
        /// The EIP-712 digest of the submission.
        submission: B256,
    },
}

/// The results of the check of a shard that passed, piece by piece or as a whole.
#[derive(Clone, Debug)]
pub struct VerifiedShard {
    seat: Seat,
    length: usize,
    tree: ShardTree,
}

impl VerifiedShard {
    /// Returns the seat of the shard.
    pub const fn seat(&self) -> Seat {
        self.seat
    }

    /// Returns the length of the shard in bytes.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Returns the tree over the chunks of the shard.
    pub const fn tree(&self) -> &ShardTree {
        &self.tree
    }
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

/// Everything that is committed beside the rows of a shard.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The batch.
    pub digest: BatchDigest,
    /// The record of the batch. A certificate in it was verified.
    pub record: Arc<CheckedRecord>,
    /// The results of the check of the shard.
    pub shard: VerifiedShard,
    /// The authority on which the batch is stored.
    pub authority: Authority,
}

/// The result of a commit. `T` is what is known of the batch that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit<T> {
    /// The batch is durable, by this commit or by an earlier one.
    Stored(T),
    /// Another header of this submission and epoch is stored. Nothing was stored now.
    ConflictingHeader {
        /// The header that was stored before.
        existing: BatchDigest,
    },
    /// The rollup has spent its bytes of the day. Nothing was stored.
    QuotaExceeded {
        /// The number of bytes that were spent before.
        spent: u64,
        /// The number of bytes that may be spent.
        limit: u64,
        /// The number of bytes of this batch.
        asked: u64,
    },
}

/// The place of a batch that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The seat whose shard is held.
    pub seat: Seat,
    /// The name of the shard. It is that of another draft where that one was faster.
    pub shard: ShardId,
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The place in the order of storing, from 1. It is never used again.
    pub sequence: u64,
    /// The batch.
    pub digest: BatchDigest,
    /// The rollup of the batch.
    pub rollup: Address,
    /// The rollup's number of the batch.
    pub batch_number: u64,
    /// The epoch of the committee.
    pub epoch: u64,
    /// The seat whose shard is held.
    pub seat: Seat,
    /// The Unix time in seconds until which the batch is served.
    pub expires_at: u64,
    /// The length of the payload in bytes.
    pub payload_length: u64,
}

/// How much is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Totals {
    /// The number of batches.
    pub batches: u64,
    /// The number of bytes of their shards.
    pub bytes: u64,
}

/// A batch whose disperser committed to bytes for this member's seat that are not a codeword: they
/// do not match the other shards.
#[derive(Clone, Debug)]
pub struct BadSeat {
    /// The batch.
    pub digest: BatchDigest,
    /// The seat.
    pub seat: Seat,
    /// The Unix time in seconds at which it was found out.
    pub found_at: u64,
    /// The record of the batch, which proves it to anyone who has k shards.
    pub record: Arc<CheckedRecord>,
}

/// One line of [`Catalog::bad_seats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSeatLine {
    /// The batch.
    pub digest: BatchDigest,
    /// The seat.
    pub seat: Seat,
    /// The Unix time in seconds at which it was found out.
    pub found_at: u64,
}

/// The books of what a member holds: batches, headers, quotas, certificates and what became bad.
///
/// # Guarantees
///
/// * A change that returned `Ok` is durable. One that failed may still have taken place.
/// * A commit decides about header and quota in the same transaction in which it stores the batch.
///   Of commits that compete, exactly as many succeed as the rules allow.
/// * A caller that goes away neither undoes a change nor leaves half of it done.
#[async_trait]
pub trait Catalog: Send + Sync + 'static {
    /// Returns the batch, if this member holds it.
    async fn find(&self, digest: BatchDigest) -> Result<Option<Holding>, StoreError>;

    /// Returns what is known of a submission, for an early answer. The commit decides.
    async fn submission_facts(
        &self,
        submission: B256,
        epoch: u64,
        quota: QuotaDay,
    ) -> Result<SubmissionFacts, StoreError>;

    /// Makes a sealed shard that of a batch, in one durable transaction. A batch that is stored
    /// intact stays as it is. One that is marked corrupt is replaced in the same transaction.
    async fn commit(&self, sealed: Sealed, entry: Entry) -> Result<Commit<Place>, StoreError>;

    /// Returns whether a batch has the shard of this name.
    async fn has_shard(&self, shard: ShardId) -> Result<bool, StoreError>;

    /// Adds a certificate to a stored record that has none. Unknown batches are left alone.
    async fn attach_certificate(&self, certificate: &CheckedCertificate) -> Result<(), StoreError>;

    /// Returns the hashes of the chunks of a shard as they are stored now. They are `None` where
    /// they are missing or unreadable.
    async fn leaf_hashes(&self, shard: ShardId) -> Result<Option<Vec<B256>>, StoreError>;

    /// Returns at most `limit` batches after a place in the order of storing.
    async fn list(&self, rollup: Option<Address>, after: u64, limit: u32) -> Result<Vec<Listed>, StoreError>;

    /// Returns how much is stored.
    async fn totals(&self) -> Result<Totals, StoreError>;

    /// Marks a batch whose stored bytes failed their check. If `shard` is given, a shard that
    /// replaced it in the meantime is not marked. It is `None` where the line that names it is
    /// damaged: a sound shard may then be repaired for nothing. Returns whether the mark is new.
    async fn mark_corrupt(&self, digest: BatchDigest, shard: Option<ShardId>) -> Result<bool, StoreError>;

    /// Notes that a batch has no codeword for this member's seat. This outcome is final.
    async fn add_bad_seat(&self, bad: BadSeat) -> Result<(), StoreError>;

    /// Returns the bad seat of a batch, with its record.
    async fn bad_seat(&self, digest: BatchDigest) -> Result<Option<BadSeat>, StoreError>;

    /// Returns the newest bad seats.
    async fn bad_seats(&self, limit: u32) -> Result<Vec<BadSeatLine>, StoreError>;

    /// Deletes at most `limit` batches that were kept until a time before `before`, and forgets
    /// what was owed and spent until then, except for the rollups that are spared. Returns the
    /// number of batches deleted.
    async fn delete_expired(&self, before: u64, spared: &[Address], limit: u32) -> Result<u64, StoreError>;
}
