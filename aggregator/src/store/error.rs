//! Why the store did not do what it was asked to.

use dac_database::DatabaseError;
use thiserror::Error;

use crate::batch::SubmissionDigest;

/// Why the store did not do what it was asked to.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The database does not hold what was written.
    #[error("{what} of batch {id}: {problem}")]
    Corrupt {
        /// The batch.
        id: SubmissionDigest,
        /// The part of the batch that is corrupt.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A stored payload does not pass its check.
    #[error("the stored payload: {problem}")]
    CorruptPayload {
        /// What is wrong with it.
        problem: String,
    },
    /// The poster's books cannot be read.
    #[error("the poster's books: {problem}")]
    CorruptBooks {
        /// What is wrong with them.
        problem: String,
    },
    /// Another writer changed the batch since it was read.
    #[error("batch {id} was changed by another writer")]
    Superseded {
        /// The batch.
        id: SubmissionDigest,
    },
    /// The store has no such batch.
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
