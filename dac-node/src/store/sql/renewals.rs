//! The promises to keep batches for longer. Every settled batch is looked at first. Then one
//! transaction checks the lines of all again and keeps the batches for longer.

use async_trait::async_trait;
use dac_database::sqlx::{AssertSqlSafe, Row, query, query_as};
use dac_database::{AnyConnection, u64_from_sql, u64_to_sql};
use dac_runtime::failpoint;
use dac_types::{Address, BatchDigest, CoverageRenewal};

use super::columns::{column, to_digest};
use super::store::{Kept, SqlStore};
use super::{duties, records};
use crate::store::{Catalog, Lacking, RenewalAsked, Renewals, ShardId, ShardStore, StoreError};

/// The number of batches that are looked up at once.
const BATCHES_PER_PAGE: i64 = 64;

#[async_trait]
impl Renewals for SqlStore {
    async fn last_settled(&self, rollup: Address) -> Result<u64, StoreError> {
        let last: Option<(i64,)> = query_as(
            "SELECT batch_number FROM duties WHERE rollup = $1 AND settled_block >= 0 ORDER BY batch_number DESC LIMIT 1",
        )
        .bind(rollup.to_vec())
        .fetch_optional(self.reads())
        .await?;
        Ok(last.map_or(0, |(number,)| u64_from_sql(number)))
    }

    async fn cover(
        &self,
        shards: &dyn ShardStore,
        asked: RenewalAsked,
    ) -> Result<Result<(), Lacking>, StoreError> {
        let renewal = asked.renewal;
        // What needs no look at the shards comes first.
        let first = self.database().snapshot(move |connection| Box::pin(missing(connection, asked))).await?;
        if let Some(lacking) = first {
            return Ok(Err(lacking));
        }
        // Batches that were promised for as long before were looked at for that promise. Those that
        // were found corrupt since are marked.
        let known = self.kept(renewal.rollup).filter(|kept| kept.until >= renewal.expires_at);
        let Kept { last_batch: looked_at, until } = known.unwrap_or_default();
        let mut after = looked_at;
        while let Some(last) = look(self, shards, renewal, after).await? {
            after = last;
        }
        // Asking again finds what was marked on the way or has changed in the meantime.
        let keep_until = asked.keep_until.max(renewal.expires_at).max(until);
        let signing = self.clone();
        let covered = self
            .database()
            .transaction(move |connection| {
                Box::pin(async move {
                    signing.guard(connection).await?;
                    if let Some(lacking) = missing(connection, asked).await? {
                        return Ok::<_, StoreError>(Err(lacking));
                    }
                    if renewal.last_batch > looked_at {
                        duties::renew(connection, renewal.rollup, renewal.last_batch, keep_until).await?;
                    }
                    failpoint!("node.renewal.before_commit");
                    Ok(Ok(()))
                })
            })
            .await?;
        if covered.is_ok() && renewal.last_batch > looked_at {
            self.set_kept(renewal.rollup, Kept { last_batch: renewal.last_batch, until: keep_until });
        }
        Ok(covered)
    }
}

/// Returns what is lacking according to the lines of the tables.
async fn missing(connection: &mut AnyConnection, asked: RenewalAsked) -> Result<Option<Lacking>, StoreError> {
    let RenewalAsked { renewal, seat, since_epoch, .. } = asked;
    let is_lacking = "d.batch_number <= $2 AND (b.digest IS NULL OR b.corrupt = 1 OR d.refuted = 1 \
                      OR b.epoch < $3 OR b.seat <> $4)";
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
        return Ok(Some(Lacking::Settlements { last }));
    }
    let (settled, missing): (i64, i64) = (column(&row, "settled")?, column(&row, "missing")?);
    // Settled batches that are no longer known expired before they were renewed.
    let forgotten = renewal.last_batch.saturating_sub(settled.cast_unsigned());
    let missing = missing.cast_unsigned();
    if missing == 0 && forgotten == 0 {
        return Ok(None);
    }
    let first = row.try_get::<Option<i64>, _>("first")?.map_or(u64::MAX, u64_from_sql);
    let first = if forgotten > 0 { 1 } else { first };
    Ok(Some(Lacking::Shards { missing: missing.saturating_add(forgotten), first }))
}

/// Looks at some of the batches after a number: at the hash of the record, and whether rows and
/// tree are there. It marks those that are not whole. Returns the last number that it looked at, or
/// `None` at the end.
async fn look(
    store: &SqlStore,
    shards: &dyn ShardStore,
    renewal: CoverageRenewal,
    after: u64,
) -> Result<Option<u64>, StoreError> {
    let lines = query(
        "SELECT d.batch_number, b.digest, b.shard, b.shard_length, \
         CASE WHEN EXISTS (SELECT 1 FROM shard_trees t WHERE t.shard = b.shard) THEN 1 ELSE 0 END AS has_tree \
         FROM duties d JOIN batches b ON b.digest = d.digest AND b.rollup = d.rollup \
         WHERE d.rollup = $1 AND d.settled_block >= 0 AND d.batch_number > $2 AND d.batch_number <= $3 \
         ORDER BY d.batch_number LIMIT $4",
    )
    .bind(renewal.rollup.to_vec())
    .bind(u64_to_sql(after))
    .bind(u64_to_sql(renewal.last_batch))
    .bind(BATCHES_PER_PAGE)
    .fetch_all(store.reads())
    .await?;
    let mut names = Vec::with_capacity(lines.len());
    for line in &lines {
        let length = usize::try_from(column::<i64>(line, "shard_length")?).unwrap_or(usize::MAX);
        names.push((ShardId::from_number(column(line, "shard")?), length));
    }
    let have_rows = shards.are_whole(&names).await?;
    let mut last = None;
    for ((line, (shard, _)), has_rows) in lines.iter().zip(names).zip(have_rows) {
        last = Some(u64_from_sql(column(line, "batch_number")?));
        let digest: BatchDigest = to_digest(&column::<Vec<u8>>(line, "digest")?)?;
        let has_tree = column::<i64>(line, "has_tree")? != 0;
        if !has_rows || !has_tree || !records::is_whole(store.reads(), shard).await? {
            tracing::error!(%digest, "a stored batch is not whole: found before its coverage was to be renewed");
            store.mark_corrupt(digest, Some(shard)).await?;
        }
    }
    Ok(last)
}
