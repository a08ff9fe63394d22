//! Records as they stand in the database, each beside its hash.

use dac_coding::CheckedRecord;
use dac_database::sqlx::any::AnyRow;
use dac_database::sqlx::{Row, query_as};
use dac_proto::{v1, wire};
use dac_types::{B256, BatchDigest, Domain, Geometry, keccak256};
use prost::Message;

use super::columns::{column, missing_where_unreadable};
use crate::store::{ShardId, StoreError};

/// Returns the bytes of a record as they are stored, and their hash.
pub(super) fn encode(record: &CheckedRecord) -> (Vec<u8>, B256) {
    let bytes = v1::Record::from(record.record()).encode_to_vec();
    let hash = keccak256(&bytes);
    (bytes, hash)
}

/// Reads and checks the record of a line with the columns n, k, record and record_hash.
pub(super) fn decode(
    domain: &Domain,
    digest: BatchDigest,
    shard: Option<ShardId>,
    row: &AnyRow,
) -> Result<CheckedRecord, StoreError> {
    let corrupt = |what| StoreError::Corrupt { digest, shard, what };
    let bytes: Option<Vec<u8>> = row.try_get("record")?;
    let expected: Option<Vec<u8>> = row.try_get("record_hash")?;
    let (Some(bytes), Some(expected)) = (bytes, expected) else { return Err(corrupt("the record")) };
    if keccak256(&bytes).as_slice() != expected {
        return Err(corrupt("the record"));
    }
    let number = |name| column::<i64>(row, name).map(|value| u16::try_from(value).unwrap_or(u16::MAX));
    let geometry = Geometry::new(number("n")?, number("k")?).map_err(|_| corrupt("the geometry"))?;
    let record = v1::Record::decode(bytes.as_slice()).map_err(|_| corrupt("the record"))?;
    let record = wire::record(record, geometry).map_err(|_| corrupt("the record"))?;
    if record.header.digest(domain) != digest {
        return Err(corrupt("the record"));
    }
    CheckedRecord::check(record, geometry).map_err(|_| corrupt("the record"))
}

/// Returns whether the stored bytes of a record have the hash beside them.
pub(super) async fn is_whole(
    reads: &dac_database::sqlx::AnyPool,
    shard: ShardId,
) -> Result<bool, StoreError> {
    let row: Option<(Vec<u8>, Vec<u8>)> =
        query_as("SELECT record, record_hash FROM records WHERE shard = $1")
            .bind(shard.number())
            .fetch_optional(reads)
            .await
            .or_else(|error| missing_where_unreadable(error, "a record"))?;
    Ok(row.is_some_and(|(record, hash)| keccak256(&record).as_slice() == hash))
}
