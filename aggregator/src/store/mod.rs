//! What the aggregator keeps: batches and what members said to them, payloads until all have their
//! shard, and the poster's books.
//!
//! [`Store`] is what the service needs; [`SqlStore`] keeps it in SQLite or PostgreSQL, through
//! `dac-database`. A small payload is held in an [`Upload`] and written together with its batch; of
//! a large one rows are staged as they come. Either becomes a batch in one transaction, or nothing
//! of it is left. Every later change of a batch carries the version it was made from, so that two
//! writers never overwrite one another.
//!
//! Several processes may share one PostgreSQL database (`docs/adr/0002-several-aggregators.md`): a
//! batch is worked on by one of them, and one of them posts. A store that one process has to itself
//! need not know of this.

mod sharing;
mod sql;
mod types;
mod upload;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dac_database::DatabaseError;
use dac_poster::PosterStore;
use dac_types::{Address, BatchDigest};
use thiserror::Error;

pub use sharing::{Claim, Claimed, Lead};
pub use sql::{Owner, SqlStore};
pub use types::{Creation, FIRST_VERSION, Holder, Listed, Page, PageToken, Versioned};
pub use upload::{Arrived, Upload, UploadId};

use crate::batch::{Batch, SubmissionDigest};

/// Why the store did not do what it was asked to.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What stands in the database is not what was written.
    #[error("{what} of batch {id}: {problem}")]
    Corrupt {
        /// The batch.
        id: SubmissionDigest,
        /// Which part of it.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A stored payload does not pass its check.
    #[error("the stored payload: {problem}")]
    CorruptPayload {
        /// What is wrong.
        problem: String,
    },
    /// The poster's books cannot be read.
    #[error("the poster's books: {problem}")]
    CorruptBooks {
        /// What is wrong.
        problem: String,
    },
    /// Somebody else changed the batch since it was read.
    #[error("batch {id} was changed by another writer")]
    Superseded {
        /// The batch.
        id: SubmissionDigest,
    },
    /// No such batch.
    #[error("batch {id} is not in the store")]
    Missing {
        /// The batch.
        id: SubmissionDigest,
    },
}

impl From<dac_database::sqlx::Error> for StoreError {
    fn from(error: dac_database::sqlx::Error) -> Self {
        StoreError::Database(error.into())
    }
}

/// Where batches, payloads and the poster's books are kept. Whatever returns `Ok` from a change is
/// durable.
///
/// A caller that goes away neither stops a change half-way nor undoes it.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Begins to stage a payload under a new name. One that is not staged is not begun.
    async fn begin_upload(&self, upload: UploadId, now_ms: u64) -> Result<(), StoreError>;

    /// Adds rows to a staged payload: each of `STORED_ROW_BYTES`, only the payload's last one
    /// shorter.
    async fn stage(&self, upload: UploadId, first_row: u32, rows: Vec<Bytes>) -> Result<(), StoreError>;

    /// Removes a staged payload. One that became a batch's meanwhile stays.
    async fn abandon_upload(&self, upload: UploadId) -> Result<(), StoreError>;

    /// Makes a payload a batch, and stores what is not staged of it: durable, and visible to all,
    /// when this returns.
    async fn create(&self, batch: Batch, payload: Arrived) -> Result<Creation, StoreError>;

    /// A whole payload of `length` bytes, checked to be what was staged.
    async fn read_payload(&self, upload: UploadId, length: u64) -> Result<Bytes, StoreError>;

    /// Who holds a batch number.
    async fn holder(&self, rollup: Address, batch_number: u64) -> Result<Option<Holder>, StoreError>;

    /// One batch.
    async fn batch(&self, id: SubmissionDigest) -> Result<Option<Versioned>, StoreError>;

    /// The batch that had a header of this digest.
    async fn by_digest(&self, digest: BatchDigest) -> Result<Option<SubmissionDigest>, StoreError>;

    /// All batches with work left, oldest first.
    async fn unfinished(&self) -> Result<Vec<SubmissionDigest>, StoreError>;

    /// Batches newest first, from where a former page ended.
    async fn list(
        &self,
        rollup: Option<Address>,
        from: Option<PageToken>,
        entries: u32,
    ) -> Result<Page, StoreError>;

    /// Persists what changed from `before`, which is stored, to `after`; a payload that nobody
    /// needs any more is removed. The new version comes back; where another writer was faster
    /// nothing is changed, and the error is [`StoreError::Superseded`].
    async fn save(&self, before: &Batch, after: &Batch, version: i64) -> Result<i64, StoreError>;

    /// Payload bytes of a rollup's batches that count towards a UTC day, in days since 1970.
    async fn quota_spent(&self, rollup: Address, day: u64) -> Result<u64, StoreError>;

    /// How many batches stand in each phase, by [`crate::batch::Phase::name`].
    async fn count_by_phase(&self) -> Result<Vec<(String, u64)>, StoreError>;

    /// Settlements in the poster's books whose batch failed or expired: the process ended before it
    /// withdrew them.
    async fn orphaned_settlements(&self) -> Result<Vec<BatchDigest>, StoreError>;

    /// The poster's books, without anybody's right to post.
    fn books(&self) -> Arc<dyn PosterStore>;

    /// The right to post, where no other process has it.
    async fn lead(&self) -> Result<Option<Lead>, StoreError> {
        Ok(Some(Lead::alone(self.books())))
    }

    /// Says that this process is there, and takes what nobody works on. Called again and again.
    async fn claim(&self, _claim: Claim) -> Result<Claimed, StoreError> {
        Ok(Claimed { work: self.unfinished().await?, touched: Vec::new() })
    }

    /// Leaves a batch of this process to whoever claims it. One that was changed meanwhile stays.
    async fn give_up(&self, _id: SubmissionDigest, _version: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether this process is to work on the batch.
    async fn owns(&self, _id: SubmissionDigest) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// [`Store::save`] for a batch that this process does not work on: its owner is told, and one
    /// that was finished is nobody's again.
    async fn save_foreign(&self, before: &Batch, after: &Batch, version: i64) -> Result<i64, StoreError> {
        self.save(before, after, version).await
    }

    /// The versions of those of the batches that there are.
    async fn versions(&self, ids: &[SubmissionDigest]) -> Result<Vec<(SubmissionDigest, i64)>, StoreError> {
        let mut versions = Vec::with_capacity(ids.len());
        for id in ids {
            versions.extend(self.batch(*id).await?.map(|found| (*id, found.version)));
        }
        Ok(versions)
    }

    /// Asks the database whether it works and takes writes, for health checks.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Waits for changes under way and closes.
    async fn close(&self);
}
