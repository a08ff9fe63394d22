//! Deletes batches that have expired, and gives their space back.

use std::sync::Arc;

use dac_database::sqlx::{AssertSqlSafe, Row, query, query_as, query_scalar};
use dac_database::{AnyConnection, Backend, Database, DatabaseError, u64_to_sql};
use dac_runtime::failpoint;
use dac_types::Address;
use dac_types::limits::QUOTA_DAY_SECONDS;

use super::remains::Remains;
use crate::store::StoreError;

/// The condition under which a batch may go: its own line, its header and L1 all say that it is
/// over.
const IS_DUE: &str = "keep_until < $1 AND expires_at < $1 AND NOT EXISTS (SELECT 1 FROM duties \
                      WHERE duties.digest = batches.digest AND duties.rollup = batches.rollup AND duties.keep_until >= $1)";

/// The number of places that are looked up at once.
const PLACES_PER_PAGE: i64 = 64;

/// Gives pages back. One transaction gives at most 16 MiB at SQLite's page size.
const VACUUM_SOME: &str = "PRAGMA incremental_vacuum(4096)";

pub(super) async fn delete_expired(
    database: &Database,
    before: u64,
    spared: &[Address],
    limit: u32,
) -> Result<u64, StoreError> {
    let others: Arc<str> = others(database.backend(), spared).into();
    let (mut deleted, mut place) = (0, (i64::MIN, 0));
    while deleted < u64::from(limit) {
        let page = over(database, before, place).await?;
        let Some(last) = page.last() else { break };
        place = *last;
        for (_, sequence) in page {
            match delete_one(database, before, Arc::clone(&others), sequence).await {
                Ok(gone) => deleted += gone,
                // The next ones may well be readable.
                Err(error) if error.is_unreadable() => {
                    metrics::counter!("dac_node_unreadable_total").increment(1);
                    tracing::error!(sequence, %error, "an expired batch cannot be read and stays: is the disk failing?");
                }
                Err(error) => return Err(error),
            }
            if deleted >= u64::from(limit) {
                break;
            }
        }
    }
    database.transaction(move |connection| Box::pin(forget_expired(connection, before, others))).await?;
    Ok(deleted)
}

/// Returns the condition that a line is of none of these rollups. Their addresses are written out,
/// because there may be more of them than a statement has parameters.
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

/// Returns the places of batches that may be due, after a place in the order of keeping. It reads
/// an index alone, so a damaged line does not matter.
async fn over(database: &Database, before: u64, after: (i64, i64)) -> Result<Vec<(i64, i64)>, StoreError> {
    Ok(query_as(
        "SELECT keep_until, sequence FROM batches WHERE keep_until < $1 \
         AND (keep_until > $2 OR (keep_until = $2 AND sequence > $3)) ORDER BY keep_until, sequence LIMIT $4",
    )
    .bind(u64_to_sql(before))
    .bind(after.0)
    .bind(after.1)
    .bind(PLACES_PER_PAGE)
    .fetch_all(database.reads())
    .await?)
}

/// Deletes a batch if it is due. Each has a transaction of its own, so that uploads get their turn
/// in between.
async fn delete_one(
    database: &Database,
    before: u64,
    others: Arc<str>,
    sequence: i64,
) -> Result<u64, StoreError> {
    let is_due = format!("SELECT shard FROM batches WHERE {IS_DUE} AND {others} AND sequence = $2");
    let due: Option<i64> = query_scalar(AssertSqlSafe(is_due))
        .bind(u64_to_sql(before))
        .bind(sequence)
        .fetch_optional(database.reads())
        .await?;
    if due.is_none() {
        return Ok(0);
    }
    let delete = async |remains| {
        database
            .transaction(move |connection| Box::pin(delete_batch(connection, sequence, before, remains)))
            .await
    };
    let deleted = match delete(Remains::Deleted).await {
        Err(error) if error.is_unreadable() => {
            tracing::warn!(sequence, %error, "rows of an expired batch cannot be deleted: they are left over");
            delete(Remains::LeftOver).await?
        }
        result => result?,
    };
    failpoint!("node.store.delete_after_commit");
    Ok(deleted)
}

/// Deletes a batch that is still due. A renewal may have come in between.
async fn delete_batch(
    connection: &mut AnyConnection,
    sequence: i64,
    before: u64,
    remains: Remains,
) -> Result<u64, StoreError> {
    let statement =
        format!("DELETE FROM batches WHERE {IS_DUE} AND sequence = $2 RETURNING shard, shard_length");
    let line: Option<(i64, i64)> = query_as(AssertSqlSafe(statement))
        .bind(u64_to_sql(before))
        .bind(sequence)
        .fetch_optional(&mut *connection)
        .await?;
    let Some((shard, length)) = line else { return Ok(0) };
    remains.dispose(connection, shard).await?;
    query("UPDATE totals SET batches = batches - 1, bytes = bytes - $1 WHERE id = 0")
        .bind(length)
        .execute(&mut *connection)
        .await?;
    failpoint!("node.store.delete_before_commit");
    Ok(1)
}

/// Forgets what is over: submissions that expired cannot be stored again, quotas of former days are
/// not asked for, and expired duties are not owed.
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
        // A bad seat is remembered for as long as L1 names its batch.
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

/// Gives free space back. On SQLite free pages leave the file, some at a time so that uploads get
/// their turn, and the log is cut to nothing. PostgreSQL's autovacuum makes the space of deleted
/// rows free for new ones, and its files shrink where their ends are empty.
pub(super) async fn give_back(database: &Database) -> Result<(), StoreError> {
    if database.backend() != Backend::Sqlite {
        return Ok(());
    }
    let mut free = free_pages(database).await?;
    if free == 0 {
        return Ok(());
    }
    while free > 0 {
        let vacuumed = database
            .transaction::<_, DatabaseError, _>(|connection| {
                Box::pin(async move {
                    // One row is returned for each page, so all are fetched.
                    query(VACUUM_SOME).fetch_all(connection).await?;
                    Ok(())
                })
            })
            .await;
        match vacuumed {
            // To shorten the file, pages are moved, and one of them cannot be read. The free pages
            // are used again all the same.
            Err(error) if error.is_unreadable() => {
                tracing::warn!(%error, "the file cannot be shortened: a part of it cannot be read");
                break;
            }
            result => result?,
        }
        let left = free_pages(database).await?;
        if left >= free {
            // Others write at the same time. The next round goes on.
            break;
        }
        free = left;
    }
    // The pages that were cut off are still in the log. While it is being read, it is left for the
    // next round.
    let row = query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(database.reads()).await?;
    if row.try_get::<i64, _>(0)? != 0 {
        tracing::debug!("the log could not be cut: it is being read");
    }
    Ok(())
}

async fn free_pages(database: &Database) -> Result<i64, StoreError> {
    Ok(query_scalar("PRAGMA freelist_count").fetch_one(database.reads()).await?)
}
