//! The store in SQLite or PostgreSQL.
//!
//! | file | content |
//! |---|---|
//! | `process`, `connection` | the process's lease, and the database |
//! | `columns`, `rows`, `settlements`, `members`, `payload` | what the tables hold, and its checks |
//! | `batches`, `sharing`, `postings` | what [`Store`] asks of them |

mod batches;
mod columns;
mod connection;
mod members;
mod payload;
mod postings;
mod process;
mod rows;
mod settlements;
mod sharing;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dac_database::{Database, DatabaseOptions, Migration};
use dac_poster::PosterStore;
use dac_types::{Address, BatchDigest, Domain};

pub use self::connection::SqlStore;

use self::batches::Writer;
use self::postings::Books;
use self::process::Process;
use super::{
    Arrived, Claim, Claimed, Creation, Lead, Page, PageToken, Store, StoreError, UploadId, Versioned,
};
use crate::batch::{Batch, Holder, SubmissionDigest};

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "batches", sql: include_str!("../../../migrations/0001_batches.sql") },
    Migration { version: 2, name: "posting", sql: include_str!("../../../migrations/0002_posting.sql") },
    Migration {
        version: 3,
        name: "settlements",
        sql: include_str!("../../../migrations/0003_settlements.sql"),
    },
    Migration { version: 4, name: "sharing", sql: include_str!("../../../migrations/0004_sharing.sql") },
    Migration { version: 5, name: "quotas", sql: include_str!("../../../migrations/0005_quotas.sql") },
];

/// The identity of the aggregator whose data a database holds. A store of another identity does not
/// open.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The chain and the registry.
    pub domain: Domain,
    /// The aggregator's address.
    pub disperser: Address,
}

impl SqlStore {
    /// Opens the store for this process, binds the database to its owner, and removes what
    /// unfinished uploads and finished batches left behind. Other processes count this process as
    /// gone when it has not renewed its lease for `term`.
    ///
    /// # Errors
    /// Among others, returns [`dac_database::DatabaseError::FileInUse`] if another process has the
    /// SQLite file.
    pub async fn open(options: &DatabaseOptions, owner: Owner, term: Duration) -> Result<Self, StoreError> {
        let database = Database::open(options, MIGRATIONS).await?;
        database
            .bind_identity(&[
                ("role", "aggregator"),
                ("chain_id", &owner.domain.chain_id.to_string()),
                ("registry", &owner.domain.registry.to_string()),
                ("disperser", &owner.disperser.to_string()),
            ])
            .await?;
        let process = Arc::new(Process::join(&database, term).await?);
        let store = Self { database, process };
        store.remove_leftovers().await?;
        Ok(store)
    }

    /// Returns the database itself, for tests that damage what it holds.
    #[doc(hidden)]
    pub const fn database(&self) -> &Database {
        &self.database
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn begin_upload(&self, upload: UploadId, now_ms: u64) -> Result<(), StoreError> {
        self.begin(upload, now_ms).await
    }

    async fn stage(&self, upload: UploadId, first_row: u32, rows: Vec<Bytes>) -> Result<(), StoreError> {
        self.write_rows(upload, first_row, rows).await
    }

    async fn abandon_upload(&self, upload: UploadId) -> Result<(), StoreError> {
        self.abandon(upload).await
    }

    async fn create(&self, batch: Batch, payload: Arrived) -> Result<Creation, StoreError> {
        self.create_batch(batch, payload).await
    }

    async fn read_payload(&self, upload: UploadId, length: u64) -> Result<Bytes, StoreError> {
        self.read_rows(upload, length).await
    }

    async fn holder(&self, rollup: Address, batch_number: u64) -> Result<Option<Holder>, StoreError> {
        self.number_holder(rollup, batch_number).await
    }

    async fn batch(&self, id: SubmissionDigest) -> Result<Option<Versioned>, StoreError> {
        self.read_batch(id).await
    }

    async fn by_digest(&self, digest: BatchDigest) -> Result<Option<SubmissionDigest>, StoreError> {
        self.with_digest(digest).await
    }

    async fn unfinished(&self) -> Result<Vec<SubmissionDigest>, StoreError> {
        self.with_work_left().await
    }

    async fn list(
        &self,
        rollup: Option<Address>,
        from: Option<PageToken>,
        entries: u32,
    ) -> Result<Page, StoreError> {
        self.page(rollup, from, entries).await
    }

    async fn save(&self, before: &Batch, after: &Batch, version: i64) -> Result<i64, StoreError> {
        self.save_changes(before, after, version, Writer::Owner).await
    }

    async fn quota_spent(&self, rollup: Address, day: u64) -> Result<u64, StoreError> {
        self.spent(rollup, day).await
    }

    async fn count_by_phase(&self) -> Result<Vec<(String, u64)>, StoreError> {
        self.phases().await
    }

    async fn orphaned_settlements(&self) -> Result<Vec<BatchDigest>, StoreError> {
        self.settlements_without_batch().await
    }

    fn books(&self) -> Arc<dyn PosterStore> {
        Arc::new(Books::new(self.database.clone()))
    }

    async fn lead(&self) -> Result<Option<Lead>, StoreError> {
        self.take_lead().await
    }

    async fn claim(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.take_work(claim).await
    }

    async fn give_up(&self, id: SubmissionDigest, version: i64) -> Result<(), StoreError> {
        self.leave(id, version).await
    }

    async fn owns(&self, id: SubmissionDigest) -> Result<bool, StoreError> {
        self.is_mine(id).await
    }

    async fn save_foreign(&self, before: &Batch, after: &Batch, version: i64) -> Result<i64, StoreError> {
        self.save_changes(before, after, version, Writer::Other).await
    }

    async fn versions(&self, ids: &[SubmissionDigest]) -> Result<Vec<(SubmissionDigest, i64)>, StoreError> {
        self.versions_of(ids.to_vec()).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.database.probe().await?)
    }

    async fn close(&self) {
        self.process.depart().await;
        self.database.close().await;
    }
}
