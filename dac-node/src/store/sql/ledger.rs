//! The ledger's methods, each a statement or a transaction of its own.

use async_trait::async_trait;
use dac_chain::feed::{Cursor, Fact};
use dac_database::sqlx::{query, query_as};
use dac_database::u64_from_sql;
use dac_runtime::failpoint;
use dac_types::{Address, BatchDigest, Seat};

use super::{SqlStore, bad_seats, cover, duties, to_digest};
use crate::store::{
    BadSeat, BadSeatLine, Cover, DutyCounts, Ledger, RenewalAsked, Scrub, ShardId, StoreError, Wanted,
};

#[async_trait]
impl Ledger for SqlStore {
    async fn cursors(&self) -> Result<Vec<Cursor>, StoreError> {
        duties::cursors(&self.shared.database).await
    }

    async fn learn(&self, facts: Vec<Fact>, cursor: Cursor) -> Result<u64, StoreError> {
        let database = &self.shared.database;
        let left_out = database
            .transaction(move |connection| {
                Box::pin(async move {
                    let left_out = duties::learn(connection, facts, cursor).await?;
                    failpoint!("node.ledger.learn_before_commit");
                    Ok::<u64, StoreError>(left_out)
                })
            })
            .await?;
        failpoint!("node.ledger.learn_after_commit");
        Ok(left_out)
    }

    async fn unlearn(&self, block: u64, cursor: Cursor) -> Result<(), StoreError> {
        let database = &self.shared.database;
        database.transaction(move |connection| Box::pin(duties::unlearn(connection, block, cursor))).await
    }

    async fn assign(&self, seats: Vec<(u64, Seat)>) -> Result<(), StoreError> {
        let database = &self.shared.database;
        database.transaction(move |connection| Box::pin(duties::assign(connection, seats))).await
    }

    async fn duty_counts(&self, now: u64) -> Result<DutyCounts, StoreError> {
        self.shared.database.snapshot(move |connection| Box::pin(duties::counts(connection, now))).await
    }

    async fn wanted_rollups(&self) -> Result<Vec<Address>, StoreError> {
        duties::wanted_rollups(&self.shared.database).await
    }

    async fn wanted(
        &self,
        now: u64,
        rollup: Address,
        after: Option<(u64, BatchDigest)>,
        limit: u32,
    ) -> Result<Vec<Wanted>, StoreError> {
        let database = &self.shared.database;
        database
            .snapshot(move |connection| Box::pin(duties::wanted(connection, now, rollup, after, limit)))
            .await
    }

    async fn refute(&self, digest: BatchDigest, rollup: Address) -> Result<(), StoreError> {
        self.shared
            .database
            .transaction(move |connection| {
                Box::pin(async move {
                    query("UPDATE duties SET refuted = 1 WHERE digest = $1 AND rollup = $2")
                        .bind(digest.as_bytes().to_vec())
                        .bind(rollup.to_vec())
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn doubt(&self, digest: BatchDigest, rollup: Address) -> Result<bool, StoreError> {
        self.shared
            .database
            .transaction(move |connection| {
                Box::pin(async move {
                    let statement = "UPDATE duties SET doubted = 1 \
                                     WHERE digest = $1 AND rollup = $2 AND doubted = 0 AND recorded_block < 0";
                    let doubted = query(statement)
                        .bind(digest.as_bytes().to_vec())
                        .bind(rollup.to_vec())
                        .execute(connection)
                        .await?;
                    Ok(doubted.rows_affected() > 0)
                })
            })
            .await
    }

    async fn mark_corrupt(&self, digest: BatchDigest, shard: Option<ShardId>) -> Result<bool, StoreError> {
        self.shared
            .database
            .transaction(move |connection| {
                Box::pin(async move {
                    let marked = query(
                        "UPDATE batches SET corrupt = 1 WHERE digest = $1 AND corrupt = 0 AND (shard = $2 OR $2 < 0)",
                    )
                    .bind(digest.as_bytes().to_vec())
                    // Shards' numbers are not negative.
                    .bind(shard.map_or(-1, |shard| shard.0))
                    .execute(connection)
                    .await?;
                    Ok(marked.rows_affected() > 0)
                })
            })
            .await
    }

    async fn add_bad_seat(&self, bad: BadSeat) -> Result<(), StoreError> {
        self.shared.database.transaction(move |connection| Box::pin(bad_seats::add(connection, bad))).await
    }

    async fn bad_seat(&self, digest: BatchDigest) -> Result<Option<BadSeat>, StoreError> {
        bad_seats::find(self, digest).await
    }

    async fn bad_seats(&self, limit: u32) -> Result<Vec<BadSeatLine>, StoreError> {
        bad_seats::list(&self.shared.database, limit).await
    }

    async fn last_settled(&self, rollup: Address) -> Result<u64, StoreError> {
        let last: Option<(i64,)> = query_as(
            "SELECT batch_number FROM duties WHERE rollup = $1 AND settled_block >= 0 ORDER BY batch_number DESC LIMIT 1",
        )
        .bind(rollup.to_vec())
        .fetch_optional(self.reads())
        .await?;
        Ok(last.map_or(0, |(number,)| u64_from_sql(number)))
    }

    async fn cover(&self, asked: RenewalAsked) -> Result<Cover, StoreError> {
        cover::cover(self, asked).await
    }

    async fn stored_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, BatchDigest)>, StoreError> {
        let after = i64::try_from(after).map_err(|_| StoreError::Range { what: "sequence", got: after })?;
        let lines: Vec<(i64, Vec<u8>)> =
            query_as("SELECT sequence, digest FROM batches WHERE sequence > $1 ORDER BY sequence LIMIT $2")
                .bind(after)
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
        self.shared
            .database
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

/// Numbers of blocks as they are stored: as they are, or -1.
pub(super) fn block_to_sql(block: Option<u64>) -> i64 {
    block.map_or(-1, |block| i64::try_from(block).unwrap_or(i64::MAX))
}

pub(super) fn block_from_sql(block: i64) -> Option<u64> {
    u64::try_from(block).ok()
}
