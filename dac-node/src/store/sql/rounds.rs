//! The progress of re-verification, in one line of the database.

use async_trait::async_trait;
use dac_database::sqlx::{query, query_as};
use dac_types::BatchDigest;

use super::columns::{sequence_to_sql, to_digest};
use super::store::SqlStore;
use crate::store::{Rounds, Scrub, StoreError};

#[async_trait]
impl Rounds for SqlStore {
    async fn stored_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, BatchDigest)>, StoreError> {
        let lines: Vec<(i64, Vec<u8>)> =
            query_as("SELECT sequence, digest FROM batches WHERE sequence > $1 ORDER BY sequence LIMIT $2")
                .bind(sequence_to_sql(after)?)
                .bind(i64::from(limit))
                .fetch_all(self.reads())
                .await?;
        lines
            .into_iter()
            .map(|(sequence, digest)| Ok((sequence.cast_unsigned(), to_digest(&digest)?)))
            .collect()
    }

    async fn scrub(&self) -> Result<Scrub, StoreError> {
        let (after, began_at, ended_at): (i64, i64, i64) =
            query_as("SELECT after, began_at, ended_at FROM scrub WHERE id = 0")
                .fetch_one(self.reads())
                .await?;
        let number = |value: i64| value.max(0).cast_unsigned();
        Ok(Scrub { after: number(after), began_at: number(began_at), ended_at: number(ended_at) })
    }

    async fn set_scrub(&self, scrub: Scrub) -> Result<(), StoreError> {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.database()
            .transaction(move |connection| {
                Box::pin(async move {
                    query("UPDATE scrub SET after = $1, began_at = $2, ended_at = $3 WHERE id = 0")
                        .bind(number(scrub.after))
                        .bind(number(scrub.began_at))
                        .bind(number(scrub.ended_at))
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }
}
