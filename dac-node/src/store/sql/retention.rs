//! Deletion, and giving the space back.

use std::sync::Arc;

use dac_database::sqlx::{AssertSqlSafe, Row, query, query_scalar};
use dac_database::{AnyConnection, Backend, Database, DatabaseError, u64_to_sql};
use dac_runtime::failpoint;
use dac_types::Address;
use dac_types::limits::QUOTA_DAY_SECONDS;

use super::delete_shard;
use crate::store::StoreError;

/// Whether a batch may go: by its own line, by its header and by what L1 said of it.
const IS_DUE: &str = "keep_until < $1 AND expires_at < $1 AND NOT EXISTS (SELECT 1 FROM duties \
                      WHERE duties.digest = batches.digest AND duties.rollup = batches.rollup AND duties.keep_until >= $1)";

/// Gives pages back, in one transaction at most 16 MiB at SQLite's page size.
const VACUUM_SOME: &str = "PRAGMA incremental_vacuum(4096)";

pub(super) async fn delete_expired(
    database: &Database,
    before: u64,
    spared: &[Address],
    limit: u32,
) -> Result<u64, StoreError> {
    let others: Arc<str> = others(database.backend(), spared).into();
    let shards: Vec<i64> = query_scalar(AssertSqlSafe(format!(
        "SELECT shard FROM batches WHERE {IS_DUE} AND {others} ORDER BY keep_until, sequence LIMIT $2"
    )))
    .bind(u64_to_sql(before))
    .bind(i64::from(limit))
    .fetch_all(database.reads())
    .await?;
    let mut deleted = 0;
    for shard in shards {
        // One transaction each: uploads get their turn in between.
        deleted +=
            database.transaction(move |connection| Box::pin(delete_batch(connection, shard, before))).await?;
        failpoint!("node.store.delete_after_commit");
    }
    database.transaction(move |connection| Box::pin(forget_expired(connection, before, others))).await?;
    Ok(deleted)
}

/// That a line is of none of these rollups. Their addresses are written out, since there may be more than a statement has parameters.
fn others(backend: Backend, spared: &[Address]) -> String {
    if spared.is_empty() {
        return "1 = 1".to_owned();
    }
    let spared: Vec<String> = spared
        .iter()
        .map(|rollup| match backend {
            Backend::Sqlite => format!("X'{rollup:x}'").replace("0x", ""),
            Backend::Postgres => format!("decode('{rollup:x}', 'hex')").replace("0x", ""),
        })
        .collect();
    format!("rollup NOT IN ({})", spared.join(", "))
}

/// Whether it is due is asked again: a renewal may have come in between.
async fn delete_batch(connection: &mut AnyConnection, shard: i64, before: u64) -> Result<u64, StoreError> {
    let statement = format!("DELETE FROM batches WHERE {IS_DUE} AND shard = $2 RETURNING shard_length");
    let length: Option<i64> = query_scalar(AssertSqlSafe(statement))
        .bind(u64_to_sql(before))
        .bind(shard)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(length) = length else { return Ok(0) };
    delete_shard(connection, shard).await?;
    query("UPDATE totals SET batches = batches - 1, bytes = bytes - $1 WHERE id = 0")
        .bind(length)
        .execute(&mut *connection)
        .await?;
    failpoint!("node.store.delete_before_commit");
    Ok(1)
}

/// Submissions that expired can't be stored again, quotas of former days are not asked for, and what is over is not owed.
async fn forget_expired(
    connection: &mut AnyConnection,
    before: u64,
    others: Arc<str>,
) -> Result<(), StoreError> {
    let duties = format!("DELETE FROM duties WHERE keep_until < $1 AND {others}");
    let renewals = format!("DELETE FROM renewals WHERE expires_at < $1 AND {others}");
    for statement in [
        "DELETE FROM submission_headers WHERE expires_at < $1",
        "DELETE FROM charged_submissions WHERE expires_at < $1",
        &duties,
        &renewals,
        // What became of a batch is remembered for as long as anything is said of it.
        "DELETE FROM bad_seats WHERE keep_until < $1 \
         AND NOT EXISTS (SELECT 1 FROM duties WHERE duties.digest = bad_seats.digest)",
    ] {
        query(AssertSqlSafe(statement.to_owned())).bind(u64_to_sql(before)).execute(&mut *connection).await?;
    }
    query("DELETE FROM quota_days WHERE day < $1")
        .bind(u64_to_sql(before / QUOTA_DAY_SECONDS))
        .execute(&mut *connection)
        .await?;
    Ok(())
}

/// On SQLite, pages that are free leave the file, some at a time so that uploads get their turn, and the log is cut to nothing.
/// PostgreSQL's autovacuum makes deleted rows' space free for new ones; its files shrink where their ends are empty.
pub(super) async fn give_back(database: &Database) -> Result<(), StoreError> {
    if database.backend() != Backend::Sqlite {
        return Ok(());
    }
    let mut free = free_pages(database).await?;
    if free == 0 {
        return Ok(());
    }
    while free > 0 {
        database
            .transaction::<_, DatabaseError, _>(|connection| {
                Box::pin(async move {
                    // One row is returned for each page, so all are fetched.
                    query(VACUUM_SOME).fetch_all(connection).await?;
                    Ok(())
                })
            })
            .await?;
        let left = free_pages(database).await?;
        if left >= free {
            // Others write meanwhile: the next round goes on.
            break;
        }
        free = left;
    }
    // What was cut off still stands in the log. Readers that are in the middle of something leave it for the next round.
    let row = query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(database.reads()).await?;
    if row.try_get::<i64, _>(0)? != 0 {
        tracing::debug!("the log could not be cut: it is being read");
    }
    Ok(())
}

async fn free_pages(database: &Database) -> Result<i64, StoreError> {
    Ok(query_scalar("PRAGMA freelist_count").fetch_one(database.reads()).await?)
}
