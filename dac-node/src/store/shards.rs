//! The first half of a member's storage: the bytes of shards.
//!
//! A shard goes in row by row, and [`ShardStore::seal`] ends it. A [`Seal`] is lent by the
//! [`Writer`](super::Writer) alone, and only a seal makes a [`Sealed`], so nothing but a call of
//! [`ShardStore::seal`] leads to [`Catalog::commit`](super::Catalog::commit).

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use dac_types::limits::{CHUNK_BYTES, STORED_ROW_BYTES};

use super::error::StoreError;
use super::id::ShardId;

/// The number of chunks of every stored row except the last.
pub const CHUNKS_PER_ROW: usize = STORED_ROW_BYTES / CHUNK_BYTES;

/// The part of a shard that is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The row at this index, of [`STORED_ROW_BYTES`] except for the last one.
    Row(usize),
    /// The chunk at this index, of [`CHUNK_BYTES`] except for the last one.
    Chunk(usize),
}

impl Piece {
    /// Returns the row that holds the piece.
    pub const fn row(self) -> usize {
        match self {
            Self::Row(index) => index,
            Self::Chunk(index) => index / CHUNKS_PER_ROW,
        }
    }

    /// Returns the place of the piece within its row. The last row may end before it.
    pub const fn within_row(self) -> Range<usize> {
        match self {
            Self::Row(_) => 0..STORED_ROW_BYTES,
            Self::Chunk(index) => {
                let start = index % CHUNKS_PER_ROW * CHUNK_BYTES;
                start..start + CHUNK_BYTES
            }
        }
    }
}

/// The bytes of shards, under names that are never used twice. It knows no batch, quota or duty.
///
/// # Guarantees
///
/// * When [`seal`](Self::seal) returns, every row is durable, or is part of the [`Sealed`] and
///   becomes durable with the commit of the catalog. Rows that were not sealed may vanish. Rows
///   that were sealed stay until [`delete`](Self::delete).
/// * A piece that is missing or unreadable is `None`. Whether its bytes are the right ones, the
///   caller checks by hash.
/// * Calls for different names may run at once. A caller that goes away neither undoes a call nor
///   leaves half of it done.
#[async_trait]
pub trait ShardStore: Send + Sync + 'static {
    /// Adds full rows of an unsealed shard, which begin at the row `first`. They may be lost until
    /// the shard is sealed.
    async fn put(&self, shard: ShardId, first: usize, rows: Vec<Bytes>) -> Result<(), StoreError>;

    /// Ends a shard with its last rows.
    async fn seal(&self, seal: Seal, rows: Vec<Bytes>) -> Result<Sealed, StoreError>;

    /// Reads a piece as it is stored now. It may have any length.
    async fn read(&self, shard: ShardId, piece: Piece) -> Result<Option<Bytes>, StoreError>;

    /// Returns for each shard of the given length whether all of its rows are there. It does not
    /// look at their content.
    async fn are_whole(&self, shards: &[(ShardId, usize)]) -> Result<Vec<bool>, StoreError>;

    /// Deletes a shard that no batch has. It does nothing to a shard that a catalog on the same
    /// database took in the meantime, and to one that is not there.
    async fn delete(&self, shard: ShardId) -> Result<(), StoreError>;

    /// Returns the names of shards that may belong to no batch. A store that cannot tell them from
    /// the others returns all names: the caller asks the catalog, and knows what is under way.
    async fn unclaimed(&self) -> Result<Vec<ShardId>, StoreError>;
}

/// The permission to end one shard.
#[derive(Debug)]
pub struct Seal {
    shard: ShardId,
    rows_before: usize,
}

impl Seal {
    /// Only the writer lends a seal.
    pub(super) const fn new(shard: ShardId, rows_before: usize) -> Self {
        Self { shard, rows_before }
    }

    /// Returns the shard that ends.
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// Returns how many rows the store was given before the last ones.
    pub const fn rows_before(&self) -> usize {
        self.rows_before
    }

    /// Makes a [`Sealed`] of which every row is durable.
    pub const fn durable(self) -> Sealed {
        Sealed { shard: self.shard, last: LastRows::Durable }
    }

    /// Hands the last rows to a catalog on the same database, which writes them in the transaction
    /// of its commit. One wait for the disk then serves both halves.
    pub const fn inline(self, rows: Vec<Bytes>) -> Sealed {
        Sealed { shard: self.shard, last: LastRows::Inline { first: self.rows_before, rows } }
    }
}

/// A shard whose bytes are complete. Only a shard store makes one.
#[derive(Debug)]
pub struct Sealed {
    shard: ShardId,
    last: LastRows,
}

impl Sealed {
    /// Returns the name of the shard.
    pub const fn shard(&self) -> ShardId {
        self.shard
    }

    /// Returns where the last rows are.
    pub const fn last(&self) -> &LastRows {
        &self.last
    }

    /// Returns the name of the shard and its last rows, for the catalog that commits them.
    pub fn into_parts(self) -> (ShardId, LastRows) {
        (self.shard, self.last)
    }
}

/// Where the last rows of a sealed shard are.
#[derive(Clone, Debug)]
pub enum LastRows {
    /// They are durable in the shard store, like the rows before them.
    Durable,
    /// The catalog writes them in the transaction of its commit.
    Inline {
        /// The index of the first of them. The rows before it are in the database.
        first: usize,
        /// The rows.
        rows: Vec<Bytes>,
    },
}
