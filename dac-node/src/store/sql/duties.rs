//! The duties that L1 told of, one line each. Every change may be made twice, because reading may
//! begin again anywhere.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use dac_chain::feed::{Cursor, Fact, Origin, RenewedCoverage};
use dac_chain::{RecordedCertificate, SettledBatch};
use dac_database::sqlx::{Row, query, query_scalar};
use dac_database::{AnyConnection, Database, DatabaseError, u64_from_sql, u64_to_sql};
use dac_runtime::failpoint;
use dac_types::{Address, BatchDigest, Seat};

use super::columns::{block_from_sql, block_to_sql, column, to_address, to_digest};
use super::store::SqlStore;
use crate::store::{BatchOnL1, DUTIES_PER_ROLLUP_MAX, Duties, DutyCounts, L1Evidence, StoreError, Wanted};

#[async_trait]
impl Duties for SqlStore {
    async fn cursors(&self) -> Result<Vec<Cursor>, StoreError> {
        cursors(self.database()).await
    }

    async fn learn(&self, facts: Vec<Fact>, cursor: Cursor) -> Result<u64, StoreError> {
        let left_out = self
            .database()
            .transaction(move |connection| {
                Box::pin(async move {
                    let left_out = learn(connection, facts, cursor).await?;
                    failpoint!("node.ledger.learn_before_commit");
                    Ok::<u64, StoreError>(left_out)
                })
            })
            .await?;
        failpoint!("node.ledger.learn_after_commit");
        Ok(left_out)
    }

    async fn unlearn(&self, block: u64, cursor: Cursor) -> Result<(), StoreError> {
        self.database().transaction(move |connection| Box::pin(unlearn(connection, block, cursor))).await
    }

    async fn assign(&self, seats: Vec<(u64, Seat)>) -> Result<(), StoreError> {
        self.database().transaction(move |connection| Box::pin(assign(connection, seats))).await
    }

    async fn duty_counts(&self, now: u64) -> Result<DutyCounts, StoreError> {
        self.database().snapshot(move |connection| Box::pin(counts(connection, now))).await
    }

    async fn wanted_rollups(&self) -> Result<Vec<Address>, StoreError> {
        wanted_rollups(self.database()).await
    }

    async fn wanted(
        &self,
        now: u64,
        rollup: Address,
        after: Option<(u64, BatchDigest)>,
        limit: u32,
    ) -> Result<Vec<Wanted>, StoreError> {
        self.database()
            .snapshot(move |connection| Box::pin(wanted(connection, now, rollup, after, limit)))
            .await
    }

    async fn refute(&self, digest: BatchDigest, rollup: Address) -> Result<(), StoreError> {
        self.database()
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
        self.database()
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
}

async fn cursors(database: &Database) -> Result<Vec<Cursor>, StoreError> {
    let texts: Vec<String> = query_scalar("SELECT cursor FROM l1_cursors ORDER BY kind, contract")
        .fetch_all(database.reads())
        .await?;
    texts
        .iter()
        .map(|text| {
            Cursor::from_text(text).map_err(|error| DatabaseError::Corrupt { what: error.to_string() }.into())
        })
        .collect()
}

async fn set_cursor(connection: &mut AnyConnection, cursor: &Cursor) -> Result<(), StoreError> {
    let (kind, contract) = match cursor.origin() {
        Origin::Log(contract) => (0_i64, contract),
        Origin::Settlement(contract) => (1, contract),
    };
    query(
        "INSERT INTO l1_cursors (kind, contract, cursor) VALUES ($1, $2, $3) \
         ON CONFLICT (kind, contract) DO UPDATE SET cursor = excluded.cursor",
    )
    .bind(kind)
    .bind(contract.to_vec())
    .bind(cursor.to_text())
    .execute(connection)
    .await?;
    Ok(())
}

async fn learn(connection: &mut AnyConnection, facts: Vec<Fact>, cursor: Cursor) -> Result<u64, StoreError> {
    let (mut claims, mut left_out) = (Claims::default(), 0);
    for fact in facts {
        match fact {
            Fact::Recorded(RecordedCertificate {
                digest,
                rollup,
                batch_number,
                epoch,
                expires_at,
                block,
                ..
            }) => {
                let batch = BatchOnL1 { digest, rollup, batch_number, epoch, expires_at };
                add(connection, &batch, Some(block), None).await?;
            }
            Fact::Settled { rollup, batch } => {
                let SettledBatch { digest, batch_number, epoch, expires_at, block, .. } = batch;
                if !claims.have_room(connection, rollup, digest).await? {
                    left_out += 1;
                    continue;
                }
                let batch = BatchOnL1 { digest, rollup, batch_number, epoch, expires_at };
                add(connection, &batch, None, Some(block)).await?;
                keep_as_renewed(connection, rollup, batch_number).await?;
            }
            Fact::Renewed(RenewedCoverage { rollup, last_batch, expires_at, .. }) => {
                renew(connection, rollup, last_batch, expires_at).await?;
            }
        }
    }
    set_cursor(connection, &cursor).await?;
    Ok(left_out)
}

/// The number of batches that a rollup's contract claims and that the log does not have. It is
/// counted once for a page of facts.
#[derive(Default)]
struct Claims(Option<(Address, u64)>);

impl Claims {
    /// Returns whether one more may be noted. A claim that is known may always be repeated.
    async fn have_room(
        &mut self,
        connection: &mut AnyConnection,
        rollup: Address,
        digest: BatchDigest,
    ) -> Result<bool, StoreError> {
        let claims = match self.0 {
            Some((of, claims)) if of == rollup => claims,
            _ => {
                let claims: i64 =
                    query_scalar("SELECT count(*) FROM duties WHERE rollup = $1 AND recorded_block < 0")
                        .bind(rollup.to_vec())
                        .fetch_one(&mut *connection)
                        .await?;
                claims.max(0).cast_unsigned()
            }
        };
        if claims < DUTIES_PER_ROLLUP_MAX {
            // This is one too many if the claim is known. The next page counts again.
            self.0 = Some((rollup, claims + 1));
            return Ok(true);
        }
        self.0 = Some((rollup, claims));
        let known: Option<i64> =
            query_scalar("SELECT batch_number FROM duties WHERE digest = $1 AND rollup = $2")
                .bind(digest.as_bytes().to_vec())
                .bind(rollup.to_vec())
                .fetch_optional(connection)
                .await?;
        Ok(known.is_some())
    }
}

/// Keeps a batch as long as renewals say that were signed, or read, before it was seen to settle.
async fn keep_as_renewed(
    connection: &mut AnyConnection,
    rollup: Address,
    batch_number: u64,
) -> Result<(), StoreError> {
    let renewed: Option<i64> =
        query_scalar("SELECT max(expires_at) FROM renewals WHERE rollup = $1 AND last_batch >= $2")
            .bind(rollup.to_vec())
            .bind(u64_to_sql(batch_number))
            .fetch_one(&mut *connection)
            .await?;
    match renewed {
        // The other batches were raised when they came, or when the renewal came.
        Some(renewed) => keep(connection, rollup, batch_number..=batch_number, u64_from_sql(renewed)).await,
        None => Ok(()),
    }
}

/// Keeps all settled batches of a rollup up to a number for longer.
pub(super) async fn renew(
    connection: &mut AnyConnection,
    rollup: Address,
    last_batch: u64,
    expires_at: u64,
) -> Result<(), StoreError> {
    query(
        "INSERT INTO renewals (rollup, last_batch, expires_at) VALUES ($1, $2, $3) \
         ON CONFLICT (rollup, last_batch, expires_at) DO NOTHING",
    )
    .bind(rollup.to_vec())
    .bind(u64_to_sql(last_batch))
    .bind(u64_to_sql(expires_at))
    .execute(&mut *connection)
    .await?;
    // A renewal that a later one includes is not needed: a batch is kept until the latest of all.
    query("DELETE FROM renewals WHERE rollup = $1 AND last_batch <= $2 AND expires_at < $3")
        .bind(rollup.to_vec())
        .bind(u64_to_sql(last_batch))
        .bind(u64_to_sql(expires_at))
        .execute(&mut *connection)
        .await?;
    keep(connection, rollup, 0..=last_batch, expires_at).await
}

async fn keep(
    connection: &mut AnyConnection,
    rollup: Address,
    batches: RangeInclusive<u64>,
    until: u64,
) -> Result<(), StoreError> {
    for statement in [
        "UPDATE duties SET keep_until = $4 WHERE rollup = $1 AND batch_number BETWEEN $2 AND $3 AND settled_block >= 0 \
         AND keep_until < $4",
        "UPDATE batches SET keep_until = $4 FROM duties WHERE duties.digest = batches.digest \
         AND duties.rollup = batches.rollup AND duties.rollup = $1 AND duties.batch_number BETWEEN $2 AND $3 \
         AND duties.settled_block >= 0 AND batches.keep_until < $4",
        "UPDATE bad_seats SET keep_until = $4 FROM duties WHERE duties.digest = bad_seats.digest \
         AND duties.rollup = $1 AND duties.batch_number BETWEEN $2 AND $3 AND duties.settled_block >= 0 \
         AND bad_seats.keep_until < $4",
    ] {
        query(statement)
            .bind(rollup.to_vec())
            .bind(u64_to_sql(*batches.start()))
            .bind(u64_to_sql(*batches.end()))
            .bind(u64_to_sql(until))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn add(
    connection: &mut AnyConnection,
    batch: &BatchOnL1,
    recorded: Option<u64>,
    settled: Option<u64>,
) -> Result<(), StoreError> {
    // If a contract says two different things of one digest, the record will show which is a lie.
    // The log has seen a quorum's signature of the header, so what it says overrules what the
    // rollup's contract says before or after.
    query(
        "INSERT INTO duties (digest, rollup, batch_number, epoch, expires_at, keep_until, recorded_block, settled_block, refuted) \
         VALUES ($1, $2, $3, $4, $5, $5, $6, $7, 0) ON CONFLICT (digest, rollup) DO UPDATE SET \
         batch_number = CASE WHEN excluded.recorded_block >= 0 THEN excluded.batch_number ELSE duties.batch_number END, \
         epoch = CASE WHEN excluded.recorded_block >= 0 THEN excluded.epoch ELSE duties.epoch END, \
         expires_at = CASE WHEN excluded.recorded_block >= 0 THEN excluded.expires_at ELSE duties.expires_at END, \
         keep_until = CASE WHEN excluded.recorded_block >= 0 AND excluded.keep_until > duties.keep_until \
         THEN excluded.keep_until ELSE duties.keep_until END, \
         refuted = CASE WHEN excluded.recorded_block >= 0 THEN 0 ELSE duties.refuted END, \
         recorded_block = CASE WHEN excluded.recorded_block >= 0 THEN excluded.recorded_block ELSE duties.recorded_block END, \
         settled_block = CASE WHEN excluded.settled_block >= 0 THEN excluded.settled_block ELSE duties.settled_block END",
    )
    .bind(batch.digest.as_bytes().to_vec())
    .bind(batch.rollup.to_vec())
    .bind(u64_to_sql(batch.batch_number))
    .bind(u64_to_sql(batch.epoch))
    .bind(u64_to_sql(batch.expires_at))
    .bind(block_to_sql(recorded))
    .bind(block_to_sql(settled))
    .execute(&mut *connection)
    .await?;
    Ok(())
}

async fn unlearn(connection: &mut AnyConnection, block: u64, cursor: Cursor) -> Result<(), StoreError> {
    let block = block_to_sql(Some(block));
    match cursor.origin() {
        Origin::Log(_) => {
            query("UPDATE duties SET recorded_block = -1 WHERE recorded_block > $1")
                .bind(block)
                .execute(&mut *connection)
                .await?;
        }
        Origin::Settlement(rollup) => {
            query("UPDATE duties SET settled_block = -1 WHERE settled_block > $1 AND rollup = $2")
                .bind(block)
                .bind(rollup.to_vec())
                .execute(&mut *connection)
                .await?;
        }
    }
    query("DELETE FROM duties WHERE recorded_block < 0 AND settled_block < 0")
        .execute(&mut *connection)
        .await?;
    set_cursor(connection, &cursor).await
}

async fn assign(connection: &mut AnyConnection, seats: Vec<(u64, Seat)>) -> Result<(), StoreError> {
    query("DELETE FROM owed_seats").execute(&mut *connection).await?;
    for (epoch, seat) in seats {
        query("INSERT INTO owed_seats (epoch, seat) VALUES ($1, $2)")
            .bind(u64_to_sql(epoch))
            .bind(i64::from(seat.0))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn counts(connection: &mut AnyConnection, now: u64) -> Result<DutyCounts, StoreError> {
    let row = query(
        "SELECT count(*) AS owed, count(CASE WHEN b.corrupt = 0 THEN 1 END) AS held, \
         count(CASE WHEN b.digest IS NULL AND x.digest IS NULL AND (d.doubted = 0 OR d.recorded_block >= 0) THEN 1 END) AS missing, \
         count(CASE WHEN b.digest IS NULL AND x.digest IS NULL AND d.doubted = 1 AND d.recorded_block < 0 THEN 1 END) AS doubted, \
         count(CASE WHEN b.digest IS NULL AND x.digest IS NOT NULL THEN 1 END) AS bad \
         FROM duties d JOIN owed_seats s ON s.epoch = d.epoch LEFT JOIN batches b ON b.digest = d.digest \
         LEFT JOIN bad_seats x ON x.digest = d.digest WHERE d.keep_until >= $1 AND d.refuted = 0",
    )
    .bind(u64_to_sql(now))
    .fetch_one(&mut *connection)
    .await?;
    let corrupt: i64 = query_scalar("SELECT count(*) FROM batches WHERE corrupt = 1 AND keep_until >= $1")
        .bind(u64_to_sql(now))
        .fetch_one(&mut *connection)
        .await?;
    let number = |name| column::<i64>(&row, name).map(i64::cast_unsigned);
    Ok(DutyCounts {
        owed: number("owed")?,
        held: number("held")?,
        missing: number("missing")?,
        doubted: number("doubted")?,
        bad: number("bad")?,
        corrupt: corrupt.cast_unsigned(),
    })
}

async fn wanted_rollups(database: &Database) -> Result<Vec<Address>, StoreError> {
    let rollups: Vec<Vec<u8>> = query_scalar(
        "SELECT rollup FROM duties UNION SELECT rollup FROM batches WHERE corrupt = 1 ORDER BY 1",
    )
    .fetch_all(database.reads())
    .await?;
    rollups.iter().map(|rollup| to_address(rollup)).collect()
}

async fn wanted(
    connection: &mut AnyConnection,
    now: u64,
    rollup: Address,
    after: Option<(u64, BatchDigest)>,
    limit: u32,
) -> Result<Vec<Wanted>, StoreError> {
    let (from, digest) = match after {
        Some((keep_until, digest)) => (keep_until.max(now), digest.as_bytes().to_vec()),
        None => (now, Vec::new()),
    };
    let mut wanted = Vec::new();
    for statement in [
        "SELECT d.digest, d.rollup, d.batch_number, d.epoch, s.seat, d.expires_at, d.keep_until, d.recorded_block, \
         d.settled_block, CASE WHEN b.digest IS NULL THEN 0 ELSE 1 END AS corrupt \
         FROM duties d JOIN owed_seats s ON s.epoch = d.epoch LEFT JOIN batches b ON b.digest = d.digest \
         WHERE d.rollup = $4 AND (d.keep_until > $1 OR (d.keep_until = $1 AND d.digest > $2)) AND d.refuted = 0 \
         AND (b.digest IS NULL OR b.corrupt = 1) \
         AND NOT EXISTS (SELECT 1 FROM bad_seats x WHERE x.digest = d.digest) \
         ORDER BY d.keep_until, d.digest LIMIT $3",
        // A stored batch was promised, whether or not L1 knows of it.
        "SELECT b.digest, b.rollup, b.batch_number, b.epoch, b.seat, b.expires_at, b.keep_until, \
         CAST(-1 AS BIGINT) AS recorded_block, CAST(-1 AS BIGINT) AS settled_block, b.corrupt FROM batches b \
         WHERE b.corrupt = 1 AND b.rollup = $4 AND (b.keep_until > $1 OR (b.keep_until = $1 AND b.digest > $2)) \
         AND NOT EXISTS (SELECT 1 FROM duties d JOIN owed_seats s ON s.epoch = d.epoch \
         WHERE d.digest = b.digest AND d.refuted = 0) \
         AND NOT EXISTS (SELECT 1 FROM bad_seats x WHERE x.digest = b.digest) \
         ORDER BY b.keep_until, b.digest LIMIT $3",
    ] {
        let rows = query(statement)
            .bind(u64_to_sql(from))
            .bind(digest.clone())
            .bind(i64::from(limit))
            .bind(rollup.to_vec())
            .fetch_all(&mut *connection)
            .await?;
        for row in &rows {
            wanted.push(to_wanted(row)?);
        }
    }
    wanted.sort_unstable_by_key(Wanted::place);
    wanted.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(wanted)
}

fn to_wanted(row: &dac_database::sqlx::any::AnyRow) -> Result<Wanted, StoreError> {
    let digest = to_digest(&column::<Vec<u8>>(row, "digest")?)?;
    let settled = block_from_sql(row.try_get("settled_block")?);
    let recorded = block_from_sql(row.try_get("recorded_block")?);
    let evidence = settled
        .map(|block| L1Evidence::Settled { block })
        .or(recorded.map(|block| L1Evidence::Recorded { block }));
    let seat = u8::try_from(column::<i64>(row, "seat")?).map_err(|_| StoreError::Corrupt {
        digest,
        shard: None,
        what: "the seat",
    })?;
    Ok(Wanted {
        batch: BatchOnL1 {
            digest,
            rollup: to_address(&column::<Vec<u8>>(row, "rollup")?)?,
            batch_number: u64_from_sql(column(row, "batch_number")?),
            epoch: u64_from_sql(column(row, "epoch")?),
            expires_at: u64_from_sql(column(row, "expires_at")?),
        },
        keep_until: u64_from_sql(column(row, "keep_until")?),
        seat: Seat(seat),
        is_corrupt: column::<i64>(row, "corrupt")? != 0,
        evidence,
    })
}
