//! What tests see and do behind the back of the store.

use dac_database::DatabaseError;
use dac_database::sqlx::{query, query_scalar};

use super::store::SqlStore;

/// How the outcome of a commit is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitFault {
    /// It took place, and the connection broke before the answer.
    AnswerLost,
    /// It did not take place.
    NotPersisted,
}

impl SqlStore {
    /// Returns the number of drafts that have rows in the database.
    pub(crate) async fn staged_uploads(&self) -> u64 {
        let count: i64 = query_scalar("SELECT count(*) FROM uploads").fetch_one(self.reads()).await.unwrap();
        count.cast_unsigned()
    }

    /// Returns the number of rows of stored and of staged shards.
    pub(crate) async fn stored_rows(&self) -> u64 {
        let count: i64 =
            query_scalar("SELECT count(*) FROM shard_rows").fetch_one(self.reads()).await.unwrap();
        count.cast_unsigned()
    }

    /// Changes the database behind the back of the store.
    pub(crate) async fn damage(&self, statement: &'static str) {
        self.database()
            .transaction::<_, DatabaseError, _>(move |connection| {
                Box::pin(async move {
                    query(statement).execute(connection).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
    }

    pub(crate) fn fail_next_commit(&self, fault: CommitFault) {
        self.set_commit_fault(fault);
    }
}
