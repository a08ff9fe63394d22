//! The content of a member's store, and what faults do to it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use dac_chain::feed::Cursor;
use dac_coding::CheckedRecord;
use dac_node::store::{BadSeat, BatchOnL1, Scrub, ShardId, StoreError};
use dac_types::{Address, B256, BatchDigest, Seat};
use parking_lot::{Mutex, MutexGuard};

use crate::store::disk;

/// The fault that a store has on purpose. The check of histories must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The last commit is forgotten when its member is killed, as on a disk that lies about what it
    /// has written.
    ForgetsLastCommit,
    /// The store says that a batch is stored before it is.
    AnswersBeforeCommit,
}

/// A stored batch, for the check of histories.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The batch's digest.
    pub(crate) digest: BatchDigest,
    /// The seat whose shard is held.
    pub(crate) seat: Seat,
    /// The batch's record.
    pub(crate) record: Arc<CheckedRecord>,
    /// The bytes of the shard.
    pub(crate) shard: Bytes,
}

/// Both halves of a member's storage. Clones share their content.
#[derive(Clone)]
pub(crate) struct MemberMemory {
    tables: Arc<Mutex<Tables>>,
    flaw: Option<Flaw>,
}

impl fmt::Debug for MemberMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemberMemory").field("flaw", &self.flaw).finish_non_exhaustive()
    }
}

/// A stored batch, as a line of the table of batches.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The batch's number in the order in which batches were stored.
    pub(super) sequence: u64,
    pub(super) seat: Seat,
    pub(super) record: Arc<CheckedRecord>,
    /// The place of the shard's bytes in [`Tables::shards`].
    pub(super) shard: ShardId,
    /// The hashes of the shard's chunks.
    pub(super) leaf_hashes: Vec<B256>,
    /// The shard's length in bytes.
    pub(super) length: usize,
    /// The Unix second until which the batch is kept.
    pub(super) keep_until: u64,
    /// Whether re-verification or a read found the stored shard damaged.
    pub(super) corrupt: bool,
}

/// A batch on L1 whose shard the member must hold.
#[derive(Clone, Debug)]
pub(super) struct Duty {
    pub(super) batch: BatchOnL1,
    /// The Unix second until which the shard must be kept.
    pub(super) keep_until: u64,
    /// The block in which the certificate log recorded the batch.
    pub(super) recorded: Option<u64>,
    /// The block in which the rollup's contract settled the batch.
    pub(super) settled: Option<u64>,
    /// Whether the batch's record contradicts the rollup's contract, so that no repair is possible.
    pub(super) refuted: bool,
    /// Whether so many members do not know the batch that no quorum can have signed it.
    pub(super) doubted: bool,
}

/// The content of both halves of the storage.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    /// The rows of shards. A shard is named by no line of `batches` until it is committed.
    pub(super) shards: BTreeMap<ShardId, Vec<Bytes>>,
    pub(super) batches: BTreeMap<BatchDigest, Line>,
    /// For each submission and epoch, the batch whose header was accepted, and its expiry time.
    pub(super) headers: BTreeMap<(B256, u64), (BatchDigest, u64)>,
    /// The submissions that count against a rollup's daily quota, with their expiry times.
    pub(super) charged: BTreeMap<B256, u64>,
    /// The payload bytes that count against the quota of each rollup and day.
    pub(super) spent: BTreeMap<(Address, u64), u64>,
    pub(super) last_sequence: u64,
    /// The duties by batch and rollup.
    pub(super) duties: BTreeMap<(BatchDigest, Address), Duty>,
    /// The member's seat in each epoch.
    pub(super) owed_seats: BTreeMap<u64, Seat>,
    /// The blocks up to which each contract's events were read.
    pub(super) cursors: Vec<Cursor>,
    /// The renewals on L1: rollup, last covered batch, and end of the promise.
    pub(super) renewals: Vec<(Address, u64, u64)>,
    /// The batches of which the member's own shard is not part of a codeword, with the time until
    /// which that is kept.
    pub(super) bad_seats: BTreeMap<BatchDigest, (BadSeat, u64)>,
    pub(super) scrub: Scrub,
    /// The batch of the last commit, which a flawed store forgets.
    pub(super) last_commit: Option<BatchDigest>,
}

impl MemberMemory {
    /// Makes an empty store.
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        Self { tables: Arc::default(), flaw }
    }

    /// Does what a kill of the member does to the store.
    pub(crate) fn killed(&self) {
        let mut tables = self.tables.lock();
        let last = tables.last_commit.take();
        if let (Some(Flaw::ForgetsLastCommit), Some(last)) = (self.flaw, last) {
            tables.batches.remove(&last);
        }
    }

    /// Loses everything, as an empty disk.
    pub(crate) fn lose_everything(&self) {
        *self.tables.lock() = Tables::default();
    }

    /// Returns whether a batch is durably stored.
    pub(crate) fn holds(&self, digest: BatchDigest) -> bool {
        self.tables.lock().batches.contains_key(&digest)
    }

    /// Returns all batches.
    pub(crate) fn held(&self) -> Vec<Held> {
        let tables = self.tables.lock();
        let held = tables.batches.iter().map(|(digest, line)| Held {
            digest: *digest,
            seat: line.seat,
            record: Arc::clone(&line.record),
            shard: tables.shards.get(&line.shard).map(|rows| rows.concat()).unwrap_or_default().into(),
        });
        held.collect()
    }

    pub(super) fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock()
    }

    pub(super) const fn flaw(&self) -> Option<Flaw> {
        self.flaw
    }

    /// Runs a transaction. It is durable when this returns, and continues if the caller is dropped.
    pub(super) async fn commit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        disk::commit(&self.tables, work).await.ok_or(StoreError::Lost)
    }
}

impl Tables {
    pub(super) fn line_of(&self, shard: ShardId) -> Option<&Line> {
        self.batches.values().find(|line| line.shard == shard)
    }

    pub(super) fn keep_until(&self, digest: BatchDigest, rollup: Address) -> u64 {
        self.duties.get(&(digest, rollup)).map_or(0, |duty| duty.keep_until)
    }
}
