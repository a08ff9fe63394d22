//! The bytes of shards in rows of the database.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use dac_database::sqlx::{AssertSqlSafe, query, query_as, query_scalar};
use dac_database::{AnyConnection, Backend, DatabaseError};
use dac_runtime::failpoint;
use dac_types::limits::STORED_ROW_BYTES;

use super::columns::{index_to_sql, missing_where_unreadable};
use super::remains::delete_shard;
use super::store::SqlStore;
use crate::store::{Piece, Seal, Sealed, ShardId, ShardStore, StoreError};

#[async_trait]
impl ShardStore for SqlStore {
    async fn put(&self, shard: ShardId, first: usize, rows: Vec<Bytes>) -> Result<(), StoreError> {
        let backend = self.database().backend();
        self.database()
            .append::<_, StoreError, _>(move |connection| {
                Box::pin(async move {
                    if backend == Backend::Postgres {
                        // The commit's own flush covers everything that was logged before it.
                        query("SET LOCAL synchronous_commit TO off")
                            .execute(&mut *connection)
                            .await
                            .map_err(DatabaseError::from)?;
                    }
                    // Either way the line is locked, so that a clean-up beside us sees all rows or
                    // none.
                    let statement = if first == 0 {
                        "INSERT INTO uploads (shard) VALUES ($1)"
                    } else {
                        "UPDATE uploads SET shard = shard WHERE shard = $1"
                    };
                    let mine = query(statement)
                        .bind(shard.number())
                        .execute(&mut *connection)
                        .await
                        .map_err(DatabaseError::from)?;
                    if mine.rows_affected() != 1 {
                        return Err(StoreError::Lost);
                    }
                    insert_rows(connection, shard, first, rows).await?;
                    failpoint!("node.store.stage_before_commit");
                    Ok::<(), StoreError>(())
                })
            })
            .await?;
        failpoint!("node.store.stage_after_commit");
        Ok(())
    }

    async fn seal(&self, seal: Seal, rows: Vec<Bytes>) -> Result<Sealed, StoreError> {
        Ok(seal.inline(rows))
    }

    async fn read(&self, shard: ShardId, piece: Piece) -> Result<Option<Bytes>, StoreError> {
        // The cast names the type of a result that SQLite computes and PostgreSQL knows.
        let select = match piece {
            Piece::Row(_) => query_scalar("SELECT data FROM shard_rows WHERE shard = $1 AND row_index = $2")
                .bind(shard.number())
                .bind(index_to_sql(piece.row())),
            Piece::Chunk(_) => query_scalar(
                "SELECT substr(data, CAST($3 AS INTEGER), CAST($4 AS INTEGER)) FROM shard_rows \
                 WHERE shard = $1 AND row_index = $2",
            )
            .bind(shard.number())
            .bind(index_to_sql(piece.row()))
            .bind(index_to_sql(piece.within_row().start + 1))
            .bind(index_to_sql(piece.within_row().len())),
        };
        let data: Option<Vec<u8>> = select
            .fetch_optional(self.reads())
            .await
            .or_else(|error| missing_where_unreadable(error, "a row"))?;
        Ok(data.map(Bytes::from))
    }

    async fn are_whole(&self, shards: &[(ShardId, usize)]) -> Result<Vec<bool>, StoreError> {
        if shards.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = shards.iter().map(|(shard, _)| shard.to_string()).collect();
        let statement = format!(
            "SELECT shard, count(*) FROM shard_rows WHERE shard IN ({}) GROUP BY shard",
            names.join(", ")
        );
        let counts: Vec<(i64, i64)> = query_as(AssertSqlSafe(statement)).fetch_all(self.reads()).await?;
        let counts: BTreeMap<i64, i64> = counts.into_iter().collect();
        let is_whole = |(shard, length): &(ShardId, usize)| {
            let expected = index_to_sql(length.div_ceil(STORED_ROW_BYTES));
            counts.get(&shard.number()).copied().unwrap_or(0) == expected
        };
        Ok(shards.iter().map(is_whole).collect())
    }

    async fn delete(&self, shard: ShardId) -> Result<(), StoreError> {
        let shard = shard.number();
        self.database()
            .transaction(move |connection| {
                Box::pin(async move {
                    let mine = query("DELETE FROM uploads WHERE shard = $1")
                        .bind(shard)
                        .execute(&mut *connection)
                        .await
                        .map_err(DatabaseError::from)?;
                    // Where there is no line, the rows were committed or deleted.
                    if mine.rows_affected() == 1 {
                        delete_shard(connection, shard).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    async fn unclaimed(&self) -> Result<Vec<ShardId>, StoreError> {
        let uploads: Vec<i64> = query_scalar("SELECT shard FROM uploads").fetch_all(self.reads()).await?;
        Ok(uploads.into_iter().map(ShardId::from_number).collect())
    }
}

/// Writes rows of a shard within a transaction.
pub(super) async fn insert_rows(
    connection: &mut AnyConnection,
    shard: ShardId,
    first: usize,
    rows: Vec<Bytes>,
) -> Result<(), DatabaseError> {
    for (index, row) in (first..).zip(rows) {
        query("INSERT INTO shard_rows (shard, row_index, data) VALUES ($1, $2, $3)")
            .bind(shard.number())
            .bind(index_to_sql(index))
            .bind(&row[..])
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
