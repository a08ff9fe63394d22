//! Before a longer promise: every settled batch is looked at, then all are kept for longer in one transaction that asks again.

use std::sync::Arc;

use dac_database::sqlx::{AssertSqlSafe, Row, query, query_as};
use dac_database::{AnyConnection, u64_from_sql, u64_to_sql};
use dac_runtime::failpoint;
use dac_types::{BatchDigest, CoverageRenewal, keccak256};

use super::{SqlStore, column, duties, missing_where_unreadable, to_digest};
use crate::store::{Cover, Covered, Ledger, RenewalAsked, ShardId, StoreError};

/// Batches that are looked up in one go.
const BATCHES_PER_PAGE: i64 = 64;
/// Bytes of a full stored row, and of the hash of a chunk, in SQL.
const SHAPE: &str = "(SELECT count(*) FROM shard_rows r WHERE r.shard = b.shard) = (b.shard_length + 262143) / 262144 \
                     AND EXISTS (SELECT 1 FROM shard_trees t WHERE t.shard = b.shard)";

pub(super) async fn cover(store: &SqlStore, asked: RenewalAsked) -> Result<Cover, StoreError> {
    let (database, renewal) = (&store.shared.database, asked.renewal);
    // First what needs no look at the shards.
    let first = database.snapshot(move |connection| Box::pin(missing(connection, asked))).await?;
    if let Some(refusal) = first {
        return Ok(refusal);
    }
    // What was promised for as long already was looked at for that, and what was found corrupt since is marked.
    let known = store.shared.covered.lock().get(&renewal.rollup).copied();
    let (looked_at, kept_until) = known.filter(|(_, kept)| *kept >= renewal.expires_at).unwrap_or_default();
    let mut after = looked_at;
    while let Some(last) = look(store, renewal, after).await? {
        after = last;
    }
    // Whatever was marked on the way, or changed meanwhile, is found by asking again.
    let keep_until = asked.keep_until.max(renewal.expires_at).max(kept_until);
    let signing = Arc::clone(&store.shared);
    let covered = database
        .transaction(move |connection| {
            Box::pin(async move {
                signing.guard(connection).await?;
                if let Some(refusal) = missing(connection, asked).await? {
                    return Ok(refusal);
                }
                if renewal.last_batch > looked_at {
                    duties::renew(connection, renewal.rollup, renewal.last_batch, keep_until).await?;
                }
                failpoint!("node.renewal.before_commit");
                Ok(Cover::Covered(Covered::new(renewal)))
            })
        })
        .await;
    if matches!(covered, Ok(Cover::Covered(_))) && renewal.last_batch > looked_at {
        store.shared.covered.lock().insert(renewal.rollup, (renewal.last_batch, keep_until));
    }
    covered
}

/// What stands against the renewal, by the lines of the tables.
async fn missing(connection: &mut AnyConnection, asked: RenewalAsked) -> Result<Option<Cover>, StoreError> {
    let RenewalAsked { renewal, seat, since_epoch, .. } = asked;
    let is_lacking = "d.batch_number <= $2 AND (b.digest IS NULL OR b.corrupt = 1 OR d.refuted = 1 \
                      OR (b.epoch >= $3 AND b.seat <> $4))";
    let statement = format!(
        "SELECT max(d.batch_number) AS last, count(DISTINCT CASE WHEN d.batch_number <= $2 THEN d.batch_number END) AS settled, \
         count(CASE WHEN {is_lacking} THEN 1 END) AS missing, min(CASE WHEN {is_lacking} THEN d.batch_number END) AS first \
         FROM duties d LEFT JOIN batches b ON b.digest = d.digest AND b.rollup = d.rollup \
         WHERE d.rollup = $1 AND d.settled_block >= 0"
    );
    let row = query(AssertSqlSafe(statement))
        .bind(renewal.rollup.to_vec())
        .bind(u64_to_sql(renewal.last_batch))
        .bind(u64_to_sql(since_epoch))
        .bind(i64::from(seat.0))
        .fetch_one(connection)
        .await?;
    let last = row.try_get::<Option<i64>, _>("last")?.map_or(0, u64_from_sql);
    if last < renewal.last_batch {
        return Ok(Some(Cover::NotSettled { last }));
    }
    let (settled, missing): (i64, i64) = (column(&row, "settled")?, column(&row, "missing")?);
    // Settled batches that are not known any more expired before anybody renewed them.
    let forgotten = renewal.last_batch.saturating_sub(settled.cast_unsigned());
    let missing = missing.cast_unsigned();
    if missing == 0 && forgotten == 0 {
        return Ok(None);
    }
    let first = row.try_get::<Option<i64>, _>("first")?.map_or(u64::MAX, u64_from_sql);
    let first = if forgotten > 0 { 1 } else { first };
    Ok(Some(Cover::NotHeld { missing: missing.saturating_add(forgotten), first }))
}

/// Looks at some of the batches after a number: the record's hash, and that rows and tree are there; what is not, is marked. Returns
/// the last number looked at, `None` at the end.
async fn look(store: &SqlStore, renewal: CoverageRenewal, after: u64) -> Result<Option<u64>, StoreError> {
    let statement = format!(
        "SELECT d.batch_number, b.digest, b.shard, CASE WHEN {SHAPE} THEN 1 ELSE 0 END AS shape \
         FROM duties d JOIN batches b ON b.digest = d.digest AND b.rollup = d.rollup \
         WHERE d.rollup = $1 AND d.settled_block >= 0 AND d.batch_number > $2 AND d.batch_number <= $3 \
         ORDER BY d.batch_number LIMIT $4"
    );
    let rows = query(AssertSqlSafe(statement))
        .bind(renewal.rollup.to_vec())
        .bind(u64_to_sql(after))
        .bind(u64_to_sql(renewal.last_batch))
        .bind(BATCHES_PER_PAGE)
        .fetch_all(store.reads())
        .await?;
    let mut last = None;
    for row in &rows {
        last = Some(u64_from_sql(column(row, "batch_number")?));
        let digest: BatchDigest = to_digest(&column::<Vec<u8>>(row, "digest")?)?;
        let shard = ShardId(column(row, "shard")?);
        if column::<i64>(row, "shape")? == 0 || !record_is_whole(store, shard).await? {
            tracing::error!(%digest, "a stored batch is not whole: found before its coverage was to be renewed");
            store.mark_corrupt(digest, Some(shard)).await?;
        }
    }
    Ok(last)
}

async fn record_is_whole(store: &SqlStore, shard: ShardId) -> Result<bool, StoreError> {
    let row: Option<(Vec<u8>, Vec<u8>)> =
        query_as("SELECT record, record_hash FROM records WHERE shard = $1")
            .bind(shard.0)
            .fetch_optional(store.reads())
            .await
            .or_else(|error| missing_where_unreadable(error, "a record"))?;
    Ok(row.is_some_and(|(record, hash)| keccak256(&record).as_slice() == hash))
}
