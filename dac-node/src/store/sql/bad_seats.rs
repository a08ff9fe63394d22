//! Bad seats, with the records that prove them.

use std::sync::Arc;

use dac_database::sqlx::{query, query_scalar};
use dac_database::{AnyConnection, Database, u64_from_sql, u64_to_sql};
use dac_types::{BatchDigest, Seat};

use super::columns::{column, seat_within, to_digest};
use super::records;
use super::store::SqlStore;
use crate::store::{BadSeat, BadSeatLine, StoreError};

pub(super) async fn add(connection: &mut AnyConnection, bad: BadSeat) -> Result<(), StoreError> {
    let header = bad.record.header();
    let kept: Option<i64> =
        query_scalar("SELECT max(keep_until) FROM duties WHERE digest = $1 AND rollup = $2")
            .bind(bad.digest.as_bytes().to_vec())
            .bind(header.rollup.to_vec())
            .fetch_one(&mut *connection)
            .await?;
    let keep_until = header.expires_at.max(kept.map_or(0, u64_from_sql));
    let (bytes, hash) = records::encode(&bad.record);
    query(
        "INSERT INTO bad_seats (digest, seat, found_at, keep_until, n, k, record, record_hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (digest) DO NOTHING",
    )
    .bind(bad.digest.as_bytes().to_vec())
    .bind(i64::from(bad.seat.0))
    .bind(u64_to_sql(bad.found_at))
    .bind(u64_to_sql(keep_until))
    .bind(i64::from(bad.record.geometry().n()))
    .bind(i64::from(bad.record.geometry().k()))
    .bind(bytes)
    .bind(hash.to_vec())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn find(store: &SqlStore, digest: BatchDigest) -> Result<Option<BadSeat>, StoreError> {
    let row = query("SELECT seat, found_at, n, k, record, record_hash FROM bad_seats WHERE digest = $1")
        .bind(digest.as_bytes().to_vec())
        .fetch_optional(store.reads())
        .await?;
    let Some(row) = row else { return Ok(None) };
    let record = records::decode(&store.domain(), digest, None, &row)?;
    let seat = seat_within(digest, None, &row, record.geometry())?;
    let found_at = u64_from_sql(column(&row, "found_at")?);
    Ok(Some(BadSeat { digest, seat, found_at, record: Arc::new(record) }))
}

pub(super) async fn list(database: &Database, limit: u32) -> Result<Vec<BadSeatLine>, StoreError> {
    let rows = query("SELECT digest, seat, found_at FROM bad_seats ORDER BY found_at DESC, digest LIMIT $1")
        .bind(i64::from(limit))
        .fetch_all(database.reads())
        .await?;
    rows.iter()
        .map(|row| {
            let digest = to_digest(&column::<Vec<u8>>(row, "digest")?)?;
            let seat = u8::try_from(column::<i64>(row, "seat")?).map_err(|_| StoreError::Corrupt {
                digest,
                shard: None,
                what: "the seat",
            })?;
            Ok(BadSeatLine { digest, seat: Seat(seat), found_at: u64_from_sql(column(row, "found_at")?) })
        })
        .collect()
}
