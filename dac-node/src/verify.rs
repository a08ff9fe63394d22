//! Checks the pieces of an upload as they stream in, and commits the shard.
//!
//! For the hash kind OPAQUE the shard itself comes in. It is checked row by row and written to the
//! store as it comes, so one row is in memory. For the other hash kinds the whole payload comes in,
//! is encoded and compared, and only this member's own shard goes to the store.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dac_coding::{
    CheckedRecord, CheckedShard, PayloadError, ShardChecker, ShardError, ShardTree, check_payload_for_seat,
    merkle,
};
use dac_proto::reason::Reason;
use dac_types::limits::{CHUNK_BYTES, STORED_ROW_BYTES};
use dac_types::{B256, BatchDigest, Geometry, Seat};
use thiserror::Error;

use crate::store::{
    Authority, CHUNKS_PER_ROW, Commit, Draft, Entry, StoreError, Stored, VerifiedShard, Writer,
};
use dac_runtime::workers::{WorkError, Workers};

/// Why an upload failed.
#[derive(Debug, Error)]
pub enum IntakeError {
    /// More bytes came than announced. The rest is not read.
    #[error("{expected} bytes were announced, at least {got} came")]
    TooLong {
        /// The number of bytes announced.
        expected: usize,
        /// The number of bytes received so far.
        got: usize,
    },
    /// The stream ended early.
    #[error("{expected} bytes were announced, {got} came")]
    TooShort {
        /// The number of bytes announced.
        expected: usize,
        /// The number of bytes received.
        got: usize,
    },
    /// The shard failed the member's check.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The payload failed its check.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// There was no memory for the payload.
    #[error("no memory for a payload of {bytes} bytes")]
    Memory {
        /// The length of the payload.
        bytes: usize,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The computation was not done.
    #[error(transparent)]
    Work(#[from] WorkError),
}

impl IntakeError {
    /// Returns the reason that is sent to the caller.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::TooLong { .. }
            | Self::TooShort { .. }
            | Self::Shard(ShardError::TooLong { .. } | ShardError::TooShort { .. })
            | Self::Payload(PayloadError::Length { .. }) => Reason::LengthMismatch,
            Self::Shard(_) => Reason::BadShard,
            Self::Payload(PayloadError::OwnShard(_) | PayloadError::Coding(_)) => Reason::Internal,
            Self::Work(error) => work_reason(*error),
            Self::Payload(_) => Reason::BadPayload,
            Self::Memory { .. } => Reason::Busy,
            Self::Store(_) => Reason::StorageFailed,
        }
    }
}

/// Returns the reason that a caller gets for work that was not done.
pub const fn work_reason(error: WorkError) -> Reason {
    if error.is_retryable() { Reason::Busy } else { Reason::Internal }
}

/// An upload that is coming in. If it is dropped before [`Intake::finish`], it leaves nothing.
pub struct Intake {
    record: Arc<CheckedRecord>,
    seat: Seat,
    writer: Writer,
    workers: Workers,
    expected: usize,
    received: usize,
    mode: Mode,
}

enum Mode {
    Shard { checker: Box<RowChecker>, draft: Draft, pending: BytesMut },
    Payload { pending: Vec<u8> },
}

impl Intake {
    /// Begins the intake of a checked record's shard or payload, as its hash kind demands.
    pub fn begin(
        record: Arc<CheckedRecord>,
        seat: Seat,
        writer: Writer,
        workers: Workers,
    ) -> Result<Self, IntakeError> {
        let (expected, mode) = if record.header().hash_kind.is_checked() {
            let expected = announced_bytes(&record);
            (expected, Mode::Payload { pending: Vec::new() })
        } else {
            let checker = ShardChecker::new(Arc::clone(&record), seat)?;
            let checker = Box::new(RowChecker { checker: Some(checker), workers: workers.clone() });
            let expected = record.shard_length();
            let draft = writer.begin(expected);
            (expected, Mode::Shard { checker, draft, pending: BytesMut::new() })
        };
        Ok(Self { record, seat, writer, workers, expected, received: 0, mode })
    }

    /// Returns the number of bytes still to come.
    pub const fn missing(&self) -> usize {
        self.expected - self.received
    }

    /// Takes the next bytes.
    pub async fn push(&mut self, piece: Bytes) -> Result<(), IntakeError> {
        let got = self.received.saturating_add(piece.len());
        if got > self.expected {
            return Err(IntakeError::TooLong { expected: self.expected, got });
        }
        self.received = got;
        match &mut self.mode {
            Mode::Payload { pending } => {
                if pending.capacity() == 0 {
                    let bytes = self.expected;
                    pending.try_reserve_exact(bytes).map_err(|_| IntakeError::Memory { bytes })?;
                }
                pending.extend_from_slice(&piece);
            }
            Mode::Shard { checker, draft, pending } => {
                pending.extend_from_slice(&piece);
                // The last row is kept for the commit, even when it is full.
                while pending.len() > STORED_ROW_BYTES
                    || (pending.len() == STORED_ROW_BYTES && self.received < self.expected)
                {
                    let row = pending.split_to(STORED_ROW_BYTES).freeze();
                    checker.update(row.clone()).await?;
                    draft.put(row).await?;
                }
            }
        }
        Ok(())
    }

    /// Gives the verdict after all bytes have come, and commits the shard.
    pub async fn finish(
        self,
        digest: BatchDigest,
        authority: Authority,
    ) -> Result<Commit<Stored>, IntakeError> {
        let Self { record, seat, writer, workers, expected, received, mode } = self;
        if received < expected {
            return Err(IntakeError::TooShort { expected, got: received });
        }
        match mode {
            Mode::Shard { mut checker, draft, pending } => {
                let last = pending.freeze();
                checker.update(last.clone()).await?;
                let shard = checker.finish().await?;
                Ok(draft.commit(last, Entry { digest, record, shard, authority }).await?)
            }
            Mode::Payload { pending } => {
                let (payload, checked) = (Bytes::from(pending), Arc::clone(&record));
                let shard = workers.run(move || check_payload_for_seat(&checked, payload, seat)).await??;
                store_shard(&writer, shard, digest, record, authority).await
            }
        }
    }
}

/// Returns the number of bytes that a disperser must send for a record's hash kind.
pub fn announced_bytes(record: &CheckedRecord) -> usize {
    if record.header().hash_kind.is_checked() {
        usize::try_from(record.header().payload_length).unwrap_or(usize::MAX)
    } else {
        record.shard_length()
    }
}

/// Checks a shard row by row, off the async threads.
struct RowChecker {
    /// The checker. It is absent while a row is being checked, and for good if that was
    /// interrupted.
    checker: Option<ShardChecker>,
    workers: Workers,
}

impl RowChecker {
    async fn update(&mut self, row: Bytes) -> Result<(), IntakeError> {
        let mut checker = self.checker.take().ok_or(WorkError::Lost)?;
        let work = move || {
            let verdict = checker.update(&row);
            (checker, verdict)
        };
        let (checker, verdict) = self.workers.run(work).await?;
        self.checker = Some(checker);
        Ok(verdict?)
    }

    async fn finish(self: Box<Self>) -> Result<VerifiedShard, IntakeError> {
        let checker = self.checker.ok_or(WorkError::Lost)?;
        Ok(self.workers.run(move || checker.finish()).await??.into())
    }
}

/// Stores a shard of which all bytes are in memory.
pub async fn store_shard(
    writer: &Writer,
    shard: CheckedShard,
    digest: BatchDigest,
    record: Arc<CheckedRecord>,
    authority: Authority,
) -> Result<Commit<Stored>, IntakeError> {
    let verified = VerifiedShard::from(&shard);
    let mut rest = shard.into_bytes();
    let mut draft = writer.begin(rest.len());
    while rest.len() > STORED_ROW_BYTES {
        draft.put(rest.split_to(STORED_ROW_BYTES)).await?;
    }
    Ok(draft.commit(rest, Entry { digest, record, shard: verified, authority }).await?)
}

/// Returns the tree over a shard's chunks as it was read, if the record commits to it.
pub fn intact_tree(record: &CheckedRecord, seat: Seat, leaf_hashes: Vec<B256>) -> Option<ShardTree> {
    let chunks = Geometry::chunk_count(record.shard_length());
    let tree = ShardTree::from_leaf_hashes(leaf_hashes);
    (tree.leaf_hashes().len() == chunks && record.shard_hash(seat) == Some(tree.root())).then_some(tree)
}

/// Returns whether a row as it was read is the one that the shard's tree commits to.
pub fn row_is_intact(tree: &ShardTree, shard_length: usize, index: usize, row: &[u8]) -> bool {
    let Some(start) = index.checked_mul(STORED_ROW_BYTES).filter(|start| *start < shard_length) else {
        return false;
    };
    let leaves = tree.leaf_hashes().iter().skip(index * CHUNKS_PER_ROW);
    row.len() == (shard_length - start).min(STORED_ROW_BYTES)
        && row.chunks(CHUNK_BYTES).map(merkle::leaf_hash).zip(leaves).all(|(got, expected)| got == *expected)
}
