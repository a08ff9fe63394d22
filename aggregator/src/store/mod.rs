//! What the aggregator keeps: batches and what members said to them, payloads until all have their shard, and the
//! poster's books. SQLite or PostgreSQL, through `dac-database`.
//!
//! A payload is staged row by row in an [`Upload`]; it becomes a batch in one transaction, or is removed. Every later
//! change of a batch carries the version it was made from, so that two writers never overwrite one another.

mod batches;
mod payload;
mod postings;
mod rows;
mod settlements;

use dac_database::{Database, DatabaseError, DatabaseOptions, Migration};
use dac_types::{Address, B256, BatchDigest, Domain};
use thiserror::Error;

pub use batches::{Creation, FIRST_VERSION, Holder, Listed, Page, PageToken, Versioned};
pub use payload::{Upload, UploadId};

use crate::batch::SubmissionDigest;

const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "batches", sql: include_str!("../../migrations/0001_batches.sql") },
    Migration { version: 2, name: "posting", sql: include_str!("../../migrations/0002_posting.sql") },
    Migration { version: 3, name: "settlements", sql: include_str!("../../migrations/0003_settlements.sql") },
];

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

/// Whose data a database holds. It refuses to open under another name.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Chain and registry.
    pub domain: Domain,
    /// The aggregator's address.
    pub disperser: Address,
}

/// The store. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
}

impl Store {
    /// Opens it, binds it to its owner, and removes what unfinished uploads and finished batches left behind.
    pub async fn open(options: &DatabaseOptions, owner: Owner) -> Result<Self, StoreError> {
        let database = Database::open(options, MIGRATIONS).await?;
        database
            .bind_identity(&[
                ("role", "aggregator"),
                ("chain_id", &owner.domain.chain_id.to_string()),
                ("registry", &owner.domain.registry.to_string()),
                ("disperser", &owner.disperser.to_string()),
            ])
            .await?;
        let store = Self { database };
        store.remove_leftovers().await?;
        Ok(store)
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.database.ping().await?)
    }

    /// Waits for transactions under way and closes all connections.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// The database itself, for tests that spoil what it holds.
    #[doc(hidden)]
    pub const fn database(&self) -> &Database {
        &self.database
    }
}

fn b256(bytes: &[u8]) -> Option<B256> {
    <[u8; 32]>::try_from(bytes).ok().map(B256::from)
}

fn batch_digest(bytes: &[u8]) -> Option<BatchDigest> {
    b256(bytes).map(BatchDigest)
}
