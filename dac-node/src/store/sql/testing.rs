//! What tests see and do behind the store's back.

use dac_database::sqlx::{query, query_scalar};
use dac_database::{Database, DatabaseError};

use super::SqlStore;
use super::upload::CommitFault;

impl SqlStore {
    pub(in crate::store) fn database(&self) -> &Database {
        &self.shared.database
    }

    pub(in crate::store) fn uploads_under_way(&self) -> usize {
        self.shared.live.lock().len()
    }

    /// As when the process is about to end.
    pub(in crate::store) async fn give_up_signing(&self) {
        self.shared.signership.as_ref().unwrap().release().await;
    }

    /// Uploads that have rows in the database.
    pub(crate) async fn staged_uploads(&self) -> u64 {
        let count: i64 = query_scalar("SELECT count(*) FROM uploads").fetch_one(self.reads()).await.unwrap();
        count.cast_unsigned()
    }

    /// Rows of stored and of staged shards.
    pub(crate) async fn stored_rows(&self) -> u64 {
        let count: i64 =
            query_scalar("SELECT count(*) FROM shard_rows").fetch_one(self.reads()).await.unwrap();
        count.cast_unsigned()
    }

    /// Changes the database behind the store's back.
    pub(crate) async fn damage(&self, statement: &'static str) {
        self.shared
            .database
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
        *self.shared.commit_fault.lock() = Some(fault);
    }
}
