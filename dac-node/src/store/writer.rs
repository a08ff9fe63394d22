//! Writes a shard into both halves: its rows into the shard store, then its line into the catalog.
//! Then it makes the receipt. A shard that is not committed leaves nothing.

use std::collections::HashSet;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;

use bytes::Bytes;
use dac_runtime::failpoint;
use dac_types::limits::STORED_ROW_BYTES;
use parking_lot::Mutex;

use super::catalog::{Catalog, Commit, Entry, Place};
use super::error::StoreError;
use super::id::ShardId;
use super::receipt::Stored;
use super::shards::{LastRows, Seal, ShardStore};

/// The number of rows given to the shard store at once. Fewer transactions wait less for the disk.
const ROWS_PER_PUT: usize = 4;

/// Writes shards into both halves, and deletes what unfinished drafts leave. Clones share their
/// drafts.
#[derive(Clone)]
pub struct Writer {
    shards: Arc<dyn ShardStore>,
    catalog: Arc<dyn Catalog>,
    /// The names of this process's drafts.
    under_way: Arc<Mutex<HashSet<ShardId>>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Writer").field("drafts", &self.drafts()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Makes the writer of two halves. No other process may write to them.
    pub fn new(shards: Arc<dyn ShardStore>, catalog: Arc<dyn Catalog>) -> Self {
        Self { shards, catalog, under_way: Arc::default() }
    }

    /// Begins a draft of a shard of `length` bytes.
    pub fn begin(&self, length: usize) -> Draft {
        let shard = ShardId::draw();
        self.under_way.lock().insert(shard);
        let name = DraftName { writer: self.clone(), shard, has_rows: false };
        Draft { name, length, received: 0, put: 0, waiting: Vec::new() }
    }

    /// Returns how many drafts have a name that is kept from [`sweep`](Self::sweep).
    pub fn drafts(&self) -> usize {
        self.under_way.lock().len()
    }

    /// Deletes the rows of shards that no batch has and that no draft of this process is writing.
    /// Returns the number of shards deleted.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let mut swept = 0;
        for shard in self.shards.unclaimed().await? {
            // In this order: a draft that ends in between is in the catalog.
            if self.under_way.lock().contains(&shard) {
                continue;
            }
            match self.discard(shard).await {
                Ok(true) => swept += 1,
                Ok(false) => {}
                Err(error) if error.is_unreadable() => {
                    tracing::warn!(%shard, %error, "left-over rows cannot be read, so they cannot be deleted and take up space");
                }
                Err(error) => return Err(error),
            }
            failpoint!("node.store.swept");
        }
        Ok(swept)
    }

    /// Deletes the rows of a shard, unless a batch has it. Returns whether it was deleted.
    async fn discard(&self, shard: ShardId) -> Result<bool, StoreError> {
        if self.catalog.has_shard(shard).await? {
            return Ok(false);
        }
        self.shards.delete(shard).await?;
        Ok(true)
    }
}

/// A shard on its way into the store. If it is dropped before its commit, it leaves nothing.
#[derive(Debug)]
pub struct Draft {
    name: DraftName,
    length: usize,
    received: usize,
    /// The number of rows that the shard store has.
    put: usize,
    /// The rows that are still in memory.
    waiting: Vec<Bytes>,
}

/// Keeps the name of a draft from being swept, and has its rows deleted if they were not committed.
#[derive(Debug)]
struct DraftName {
    writer: Writer,
    shard: ShardId,
    /// Whether the shard store may have rows that no batch has.
    has_rows: bool,
}

impl Drop for DraftName {
    fn drop(&mut self) {
        let (writer, shard) = (self.writer.clone(), self.shard);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.has_rows => {
                runtime.spawn(async move {
                    if let Err(error) = writer.discard(shard).await {
                        tracing::warn!(%error, "an unfinished upload could not be cleaned up; the next sweep will try");
                    }
                    writer.under_way.lock().remove(&shard);
                });
            }
            _ => {
                writer.under_way.lock().remove(&shard);
            }
        }
    }
}

impl Draft {
    /// Adds the next row, of [`STORED_ROW_BYTES`]. It must not be the last one.
    pub async fn put(&mut self, row: Bytes) -> Result<(), StoreError> {
        self.received += row.len();
        if row.len() != STORED_ROW_BYTES || self.received >= self.length {
            return Err(StoreError::UploadLength { expected: self.length, got: self.received });
        }
        self.waiting.push(row);
        if self.waiting.len() < ROWS_PER_PUT {
            return Ok(());
        }
        let (first, rows) = (self.put, std::mem::take(&mut self.waiting));
        self.put += rows.len();
        self.name.has_rows = true;
        self.name.writer.shards.put(self.name.shard, first, rows).await
    }

    /// Seals the shard with its last row and commits it as that of a batch. The commit goes on when
    /// its caller goes away.
    pub async fn commit(mut self, last_row: Bytes, entry: Entry) -> Result<Commit<Stored>, StoreError> {
        let got = self.received + last_row.len();
        if got != self.length || entry.shard.length() != self.length || last_row.len() > STORED_ROW_BYTES {
            return Err(StoreError::UploadLength { expected: self.length, got });
        }
        self.waiting.push(last_row);
        match tokio::spawn(self.finish(entry)).await {
            Ok(result) => result,
            Err(lost) if lost.is_panic() => resume_unwind(lost.into_panic()),
            Err(_) => Err(StoreError::Lost),
        }
    }

    async fn finish(self, entry: Entry) -> Result<Commit<Stored>, StoreError> {
        let Self { mut name, put, waiting, .. } = self;
        let Writer { shards, catalog, .. } = name.writer.clone();
        let sealed = shards.seal(Seal::new(name.shard, put), waiting).await?;
        name.has_rows |= matches!(sealed.last(), LastRows::Durable);
        let digest = entry.digest;
        Ok(match catalog.commit(sealed, entry).await? {
            Commit::Stored(Place { seat, shard }) => {
                // If another draft of the batch was faster, the rows of this one are deleted.
                name.has_rows &= shard != name.shard;
                Commit::Stored(Stored::new(digest, seat))
            }
            Commit::ConflictingHeader { existing } => Commit::ConflictingHeader { existing },
            Commit::QuotaExceeded { spent, limit, asked } => Commit::QuotaExceeded { spent, limit, asked },
        })
    }
}
