//! What tests see and do behind the back of the store.

use dac_database::DatabaseError;
use dac_database::sqlx::{AssertSqlSafe, query, query_scalar};
use dac_types::BatchDigest;

use super::store::SqlStore;
use crate::store::suite::{Census, Damage};

/// How the outcome of a commit is lost.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitFault {
    /// It took place, and the connection broke before the answer.
    AnswerLost,
    /// It did not take place.
    NotPersisted,
}

impl SqlStore {
    /// Counts the lines of every table.
    pub async fn census(&self) -> Census {
        Census {
            batches: self.lines("batches").await,
            records: self.lines("records").await,
            rows: self.lines("shard_rows").await,
            trees: self.lines("shard_trees").await,
            unclaimed: self.lines("uploads").await,
            headers: self.lines("submission_headers").await,
            charged: self.lines("charged_submissions").await,
            quota_days: self.lines("quota_days").await,
            duties: self.lines("duties").await,
            renewals: self.lines("renewals").await,
            bad_seats: self.lines("bad_seats").await,
        }
    }

    async fn lines(&self, table: &str) -> u64 {
        let count: i64 = query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(self.reads())
            .await
            .unwrap();
        count.cast_unsigned()
    }

    /// Damages the lines of a stored batch.
    pub async fn spoil(&self, digest: BatchDigest, damage: Damage) {
        let shard = format!("(SELECT shard FROM batches WHERE digest = {})", self.literal(digest));
        self.change(match damage {
            Damage::RowCut(index) => format!(
                "UPDATE shard_rows SET data = substr(data, 2) WHERE row_index = {index} AND shard = {shard}"
            ),
            Damage::RowLost(index) => {
                format!("DELETE FROM shard_rows WHERE row_index = {index} AND shard = {shard}")
            }
            Damage::TreeLost => format!("DELETE FROM shard_trees WHERE shard = {shard}"),
            Damage::RecordCut => {
                format!("UPDATE records SET record = substr(record, 2) WHERE shard = {shard}")
            }
        })
        .await;
    }

    fn literal(&self, digest: BatchDigest) -> String {
        let hex = digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match self.database().backend() {
            dac_database::Backend::Sqlite => format!("X'{hex}'"),
            dac_database::Backend::Postgres => format!("decode('{hex}', 'hex')"),
        }
    }

    async fn change(&self, statement: String) {
        self.database()
            .transaction::<_, DatabaseError, _>(move |connection| {
                Box::pin(async move {
                    query(AssertSqlSafe(statement)).execute(connection).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
    }
}

#[cfg(test)]
impl SqlStore {
    /// Returns the number of drafts that have rows in the database.
    pub(crate) async fn staged_uploads(&self) -> u64 {
        self.lines("uploads").await
    }

    /// Returns the number of rows of stored and of staged shards.
    pub(crate) async fn stored_rows(&self) -> u64 {
        self.lines("shard_rows").await
    }

    /// Changes the database behind the back of the store.
    pub(crate) async fn damage(&self, statement: &'static str) {
        self.change(statement.to_owned()).await;
    }

    pub(crate) fn fail_next_commit(&self, fault: CommitFault) {
        self.set_commit_fault(fault);
    }
}
