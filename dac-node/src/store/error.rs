//! The errors of a store.

use dac_types::BatchDigest;
use thiserror::Error;

use super::id::ShardId;

/// Why the store did not do what it was asked to do.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] dac_database::DatabaseError),
    /// The stored bytes are not those that were written.
    #[error("batch {digest}: {what} does not pass its check")]
    Corrupt {
        /// The batch.
        digest: BatchDigest,
        /// The shard whose line was read. A shard that replaced it is not affected.
        shard: Option<ShardId>,
        /// The part that does not pass.
        what: &'static str,
    },
    /// A number is larger than SQL's 64-bit integers.
    #[error("{what} = {got} is beyond the store's range")]
    Range {
        /// What the number counts.
        what: &'static str,
        /// The number.
        got: u64,
    },
    /// A draft was given rows that do not make up its shard.
    #[error("an upload of {expected} bytes was given {got}")]
    UploadLength {
        /// The length of the shard in bytes.
        expected: usize,
        /// The number of bytes given.
        got: usize,
    },
    /// Another process on the same database deleted the rows, because it took them for leftovers.
    #[error("the upload's staged rows are gone: is another process using this database?")]
    Lost,
}

impl StoreError {
    /// Returns whether the database met a place that it cannot read. Other batches may well be
    /// readable.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, StoreError::Database(error) if error.is_unreadable())
    }
}
