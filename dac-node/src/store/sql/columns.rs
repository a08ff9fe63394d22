//! Values of the store as they stand in columns.

use dac_database::DatabaseError;
use dac_database::sqlx::Row;
use dac_database::sqlx::any::AnyRow;
use dac_types::{Address, B256, BatchDigest, Geometry, Seat};

use crate::store::{ShardId, StoreError};

impl From<dac_database::sqlx::Error> for StoreError {
    fn from(error: dac_database::sqlx::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

pub(super) fn column<'r, T>(row: &'r AnyRow, name: &str) -> Result<T, StoreError>
where
    T: dac_database::sqlx::Decode<'r, dac_database::sqlx::Any>
        + dac_database::sqlx::Type<dac_database::sqlx::Any>,
{
    Ok(row.try_get(name)?)
}

pub(super) fn to_digest(bytes: &[u8]) -> Result<BatchDigest, StoreError> {
    let corrupt = || DatabaseError::Corrupt { what: format!("a digest of {} bytes", bytes.len()) };
    Ok(BatchDigest(B256::try_from(bytes).map_err(|_| corrupt())?))
}

pub(super) fn to_address(bytes: &[u8]) -> Result<Address, StoreError> {
    let corrupt = || DatabaseError::Corrupt { what: format!("an address of {} bytes", bytes.len()) };
    Ok(Address::try_from(bytes).map_err(|_| corrupt())?)
}

pub(super) fn to_seat(seat: i64) -> Result<Seat, StoreError> {
    let corrupt = || DatabaseError::Corrupt { what: format!("seat {seat}") };
    Ok(Seat(u8::try_from(seat).map_err(|_| corrupt())?))
}

/// Reads the seat of a line, which must be one of the committee's.
pub(super) fn seat_within(
    digest: BatchDigest,
    shard: Option<ShardId>,
    row: &AnyRow,
    geometry: Geometry,
) -> Result<Seat, StoreError> {
    match u8::try_from(column::<i64>(row, "seat")?) {
        Ok(seat) if u16::from(seat) < geometry.n() => Ok(Seat(seat)),
        _ => Err(StoreError::Corrupt { digest, shard, what: "the seat" }),
    }
}

/// Writes an index or a length within a shard, which are at most 64 Mi.
pub(super) fn index_to_sql(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// Writes a place in the order of storing.
pub(super) fn sequence_to_sql(sequence: u64) -> Result<i64, StoreError> {
    i64::try_from(sequence).map_err(|_| StoreError::Range { what: "sequence", got: sequence })
}

/// Writes the number of a block, or -1 for none.
pub(super) fn block_to_sql(block: Option<u64>) -> i64 {
    block.map_or(-1, |block| i64::try_from(block).unwrap_or(i64::MAX))
}

pub(super) fn block_from_sql(block: i64) -> Option<u64> {
    u64::try_from(block).ok()
}

/// Turns an error about unreadable bytes into `None`: they are as good as gone, and are repaired
/// like missing ones.
pub(super) fn missing_where_unreadable<T>(
    error: dac_database::sqlx::Error,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    let error = StoreError::from(error);
    if !error.is_unreadable() {
        return Err(error);
    }
    metrics::counter!("dac_node_unreadable_total").increment(1);
    tracing::error!(%error, what, "the database cannot read what it stored: is its disk failing?");
    Ok(None)
}
