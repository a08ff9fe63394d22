//! The aggregator's store: batches with their members' answers, payloads until all members have
//! their shards, and the poster's books.
//!
//! [`Store`] is what the service needs. [`SqlStore`] implements it with SQLite or PostgreSQL,
//! through `dac-database`. An [`Upload`] holds a small payload in memory and writes it together
//! with its batch; of a large payload it stages rows as they arrive. A payload becomes a batch in
//! one transaction, or nothing of it is left. Every later change of a batch carries the version
//! that it was made from, so that two writers never overwrite one another.
//!
//! Several processes may share one PostgreSQL database (`docs/adr/0002-several-aggregators.md`).
//! Each batch then has one process that works on it, and one process posts. A store with only one
//! process need not implement the methods for this.

mod error;
mod sharing;
mod sql;
mod types;
mod upload;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dac_poster::PosterStore;
use dac_types::{Address, BatchDigest};

pub use error::StoreError;
pub use sharing::{Claim, Claimed, Lead};
pub use sql::{Owner, SqlStore};
pub use types::{Arrived, Creation, FIRST_VERSION, Listed, Page, PageToken, UploadId, Versioned};
pub use upload::Upload;

use crate::batch::{Batch, Holder, SubmissionDigest};

/// Keeps batches, payloads and the poster's books.
///
/// # Guarantees
/// * A change is durable when its method returns `Ok`.
/// * A caller that goes away neither stops a change half-way nor undoes it.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Begins to stage a payload under a new name. It is not called for a payload that is held in
    /// memory.
    async fn begin_upload(&self, upload: UploadId, now_ms: u64) -> Result<(), StoreError>;

    /// Adds rows to a staged payload. Each has `STORED_ROW_BYTES`; only the payload's last one may
    /// be shorter.
    async fn stage(&self, upload: UploadId, first_row: u32, rows: Vec<Bytes>) -> Result<(), StoreError>;

    /// Removes a staged payload. A payload that became a batch's meanwhile stays.
    async fn abandon_upload(&self, upload: UploadId) -> Result<(), StoreError>;

    /// Makes a payload a batch, and stores its rows that are not staged. The batch is durable, and
    /// visible to all processes, when this returns.
    async fn create(&self, batch: Batch, payload: Arrived) -> Result<Creation, StoreError>;

    /// Reads a whole payload of `length` bytes and checks that it is what was staged.
    async fn read_payload(&self, upload: UploadId, length: u64) -> Result<Bytes, StoreError>;

    /// Returns the batch that holds a batch number.
    async fn holder(&self, rollup: Address, batch_number: u64) -> Result<Option<Holder>, StoreError>;

    /// Returns one batch.
    async fn batch(&self, id: SubmissionDigest) -> Result<Option<Versioned>, StoreError>;

    /// Returns the batch that has or had a header of this digest.
    async fn by_digest(&self, digest: BatchDigest) -> Result<Option<SubmissionDigest>, StoreError>;

    /// Returns all batches with work left, oldest first.
    async fn unfinished(&self) -> Result<Vec<SubmissionDigest>, StoreError>;

    /// Returns a page of at most `entries` batches, newest first, from where a former page ended.
    async fn list(
        &self,
        rollup: Option<Address>,
        from: Option<PageToken>,
        entries: u32,
    ) -> Result<Page, StoreError>;

    /// Persists what changed from `before`, which is stored, to `after`, removes a payload that is
    /// not needed any more, and returns the new version. If another writer was faster nothing is
    /// changed, and the error is [`StoreError::Superseded`].
    async fn save(&self, before: &Batch, after: &Batch, version: i64) -> Result<i64, StoreError>;

    /// Returns the payload bytes of a rollup's batches that count to a UTC day, in days since 1970.
    async fn quota_spent(&self, rollup: Address, day: u64) -> Result<u64, StoreError>;

    /// Returns the number of batches in each phase, by [`crate::batch::Phase::name`].
    async fn count_by_phase(&self) -> Result<Vec<(String, u64)>, StoreError>;

    /// Returns the settlements in the poster's books whose batch failed or expired. They are there
    /// if a process ended before it withdrew them.
    async fn orphaned_settlements(&self) -> Result<Vec<BatchDigest>, StoreError>;

    /// Returns the poster's books, without the right to post.
    fn books(&self) -> Arc<dyn PosterStore>;

    /// Takes the right to post, unless another process has it.
    async fn lead(&self) -> Result<Option<Lead>, StoreError> {
        Ok(Some(Lead::alone(self.books())))
    }

    /// Renews this process's lease, and takes batches that no process works on. It is called at
    /// every tick.
    async fn claim(&self, _claim: Claim) -> Result<Claimed, StoreError> {
        Ok(Claimed { work: self.unfinished().await?, touched: Vec::new() })
    }

    /// Leaves a batch of this process to the next process that claims it. A batch that was changed
    /// meanwhile stays.
    async fn give_up(&self, _id: SubmissionDigest, _version: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns whether this process is to work on the batch.
    async fn owns(&self, _id: SubmissionDigest) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Saves like [`Store::save`] a batch that this process does not work on. Its owner is told of
    /// the change; a batch that was finished has no owner afterwards.
    async fn save_foreign(&self, before: &Batch, after: &Batch, version: i64) -> Result<i64, StoreError> {
        self.save(before, after, version).await
    }

    /// Returns the versions of those of the batches that exist.
    async fn versions(&self, ids: &[SubmissionDigest]) -> Result<Vec<(SubmissionDigest, i64)>, StoreError> {
        let mut versions = Vec::with_capacity(ids.len());
        for id in ids {
            versions.extend(self.batch(*id).await?.map(|found| (*id, found.version)));
        }
        Ok(versions)
    }

    /// Checks, for health checks, that the database works and takes writes.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Waits for changes under way and closes.
    async fn close(&self);
}
