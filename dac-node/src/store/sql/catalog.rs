//! The books in tables of the database.

use std::sync::Arc;

use async_trait::async_trait;
use dac_bls::CheckedCertificate;
use dac_coding::CheckedRecord;
use dac_database::sqlx::any::AnyRow;
use dac_database::sqlx::{query, query_as, query_scalar};
use dac_database::{AnyConnection, u64_from_sql, u64_to_sql};
use dac_runtime::failpoint;
use dac_types::{Address, AggregateAttestation, B256, BatchDigest, Domain, Seat};

use super::columns::{column, missing_where_unreadable, seat_within, sequence_to_sql, to_digest};
use super::store::SqlStore;
use super::{bad_seats, commit, records, retention};
use crate::store::{
    BadSeat, BadSeatLine, Catalog, Commit, Entry, Holding, Listed, Place, QuotaDay, Sealed, ShardId,
    StoreError, SubmissionFacts, Totals,
};

#[async_trait]
impl Catalog for SqlStore {
    async fn find(&self, digest: BatchDigest) -> Result<Option<Holding>, StoreError> {
        let row = query(
            "SELECT b.seat, b.n, b.k, b.shard, b.corrupt, r.record, r.record_hash \
             FROM batches b LEFT JOIN records r ON r.shard = b.shard WHERE b.digest = $1",
        )
        .bind(digest.as_bytes().as_slice())
        .fetch_optional(self.reads())
        .await;
        let row = match row.map_err(StoreError::from) {
            Err(error) if error.is_unreadable() => return Err(unreadable_record(self, digest, error).await),
            row => row?,
        };
        row.map(|row| holding(&self.domain(), digest, &row)).transpose()
    }

    async fn submission_facts(
        &self,
        submission: B256,
        epoch: u64,
        quota: QuotaDay,
    ) -> Result<SubmissionFacts, StoreError> {
        self.database()
            .snapshot(move |connection| Box::pin(submission_facts(connection, submission, epoch, quota)))
            .await
    }

    async fn commit(&self, sealed: Sealed, entry: Entry) -> Result<Commit<Place>, StoreError> {
        commit::commit(self, sealed, entry).await
    }

    async fn has_shard(&self, shard: ShardId) -> Result<bool, StoreError> {
        let line: Option<i64> = query_scalar("SELECT sequence FROM batches WHERE shard = $1")
            .bind(shard.number())
            .fetch_optional(self.reads())
            .await?;
        Ok(line.is_some())
    }

    async fn attach_certificate(&self, certificate: &CheckedCertificate) -> Result<(), StoreError> {
        let digest = certificate.digest();
        let Some(held) = self.find(digest).await? else { return Ok(()) };
        if held.record.record().certificate.is_some() {
            return Ok(());
        }
        let aggregate: AggregateAttestation = certificate.certificate().aggregate.clone();
        let record = CheckedRecord::clone(&held.record).with_certificate(aggregate);
        let (bytes, hash) = records::encode(&record);
        self.database()
            .transaction(move |connection| {
                Box::pin(async move {
                    let shard: Option<i64> = query_scalar(
                        "UPDATE batches SET certified = 1 WHERE digest = $1 AND certified = 0 RETURNING shard",
                    )
                    .bind(digest.as_bytes().to_vec())
                    .fetch_optional(&mut *connection)
                    .await?;
                    let Some(shard) = shard else { return Ok(()) };
                    query("UPDATE records SET record = $1, record_hash = $2 WHERE shard = $3")
                        .bind(bytes)
                        .bind(hash.to_vec())
                        .bind(shard)
                        .execute(connection)
                        .await?;
                    failpoint!("node.store.certificate_before_commit");
                    Ok::<(), StoreError>(())
                })
            })
            .await?;
        failpoint!("node.store.certificate_after_commit");
        Ok(())
    }

    async fn leaf_hashes(&self, shard: ShardId) -> Result<Option<Vec<B256>>, StoreError> {
        let bytes: Option<Vec<u8>> = query_scalar("SELECT leaf_hashes FROM shard_trees WHERE shard = $1")
            .bind(shard.number())
            .fetch_optional(self.reads())
            .await
            .or_else(|error| missing_where_unreadable(error, "a tree"))?;
        // A remainder of less than a hash is padded here, and the check of the tree finds it.
        Ok(bytes.map(|bytes| bytes.chunks(32).map(B256::right_padding_from).collect()))
    }

    async fn list(&self, rollup: Option<Address>, after: u64, limit: u32) -> Result<Vec<Listed>, StoreError> {
        let after = sequence_to_sql(after)?;
        let rows =
            match rollup {
                None => query(
                    "SELECT sequence, digest, rollup, batch_number, epoch, seat, expires_at, payload_length \
                     FROM batches WHERE sequence > $1 ORDER BY sequence LIMIT $2",
                )
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(self.reads())
                .await,
                Some(rollup) => query(
                    "SELECT sequence, digest, rollup, batch_number, epoch, seat, expires_at, payload_length \
                     FROM batches WHERE rollup = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
                )
                .bind(rollup.to_vec())
                .bind(after)
                .bind(i64::from(limit))
                .fetch_all(self.reads())
                .await,
            };
        rows?.iter().map(listed).collect()
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        let (batches, bytes): (i64, i64) =
            query_as("SELECT batches, bytes FROM totals WHERE id = 0").fetch_one(self.reads()).await?;
        Ok(Totals { batches: batches.max(0).cast_unsigned(), bytes: bytes.max(0).cast_unsigned() })
    }

    async fn delete_expired(&self, before: u64, spared: &[Address], limit: u32) -> Result<u64, StoreError> {
        retention::delete_expired(self.database(), before, spared, limit).await
    }

    async fn mark_corrupt(&self, digest: BatchDigest, shard: Option<ShardId>) -> Result<bool, StoreError> {
        self.database()
            .transaction(move |connection| {
                Box::pin(async move {
                    let marked = query(
                        "UPDATE batches SET corrupt = 1 WHERE digest = $1 AND corrupt = 0 AND (shard = $2 OR $2 < 0)",
                    )
                    .bind(digest.as_bytes().to_vec())
                    // The numbers of shards are not negative.
                    .bind(shard.map_or(-1, ShardId::number))
                    .execute(connection)
                    .await?;
                    Ok(marked.rows_affected() > 0)
                })
            })
            .await
    }

    async fn add_bad_seat(&self, bad: BadSeat) -> Result<(), StoreError> {
        self.database().transaction(move |connection| Box::pin(bad_seats::add(connection, bad))).await
    }

    async fn bad_seat(&self, digest: BatchDigest) -> Result<Option<BadSeat>, StoreError> {
        bad_seats::find(self, digest).await
    }

    async fn bad_seats(&self, limit: u32) -> Result<Vec<BadSeatLine>, StoreError> {
        bad_seats::list(self.database(), limit).await
    }
}

fn holding(domain: &Domain, digest: BatchDigest, row: &AnyRow) -> Result<Holding, StoreError> {
    let shard = ShardId::from_number(column(row, "shard")?);
    let record = records::decode(domain, digest, Some(shard), row)?;
    let seat = seat_within(digest, Some(shard), row, record.geometry())?;
    let is_corrupt = column::<i64>(row, "corrupt")? != 0;
    Ok(Holding { digest, seat, shard, record: Arc::new(record), is_corrupt })
}

/// Finds out what the database could not read: the line of a batch or its record. If it is the
/// record, the batch is known and can be repaired.
async fn unreadable_record(store: &SqlStore, digest: BatchDigest, error: StoreError) -> StoreError {
    let shard: Result<Option<i64>, _> = query_scalar("SELECT shard FROM batches WHERE digest = $1")
        .bind(digest.as_bytes().as_slice())
        .fetch_optional(store.reads())
        .await;
    metrics::counter!("dac_node_unreadable_total").increment(1);
    tracing::error!(%digest, %error, "the database cannot read what it stored: is its disk failing?");
    match shard {
        Ok(Some(shard)) => {
            let shard = Some(ShardId::from_number(shard));
            StoreError::Corrupt { digest, shard, what: "the record" }
        }
        Ok(None) | Err(_) => error,
    }
}

async fn submission_facts(
    connection: &mut AnyConnection,
    submission: B256,
    epoch: u64,
    quota: QuotaDay,
) -> Result<SubmissionFacts, StoreError> {
    let header: Option<Vec<u8>> =
        query_scalar("SELECT digest FROM submission_headers WHERE submission = $1 AND epoch = $2")
            .bind(submission.to_vec())
            .bind(u64_to_sql(epoch))
            .fetch_optional(&mut *connection)
            .await?;
    let header = header.map(|bytes| to_digest(&bytes)).transpose()?;
    let charged: Option<i64> =
        query_scalar("SELECT expires_at FROM charged_submissions WHERE submission = $1")
            .bind(submission.to_vec())
            .fetch_optional(&mut *connection)
            .await?;
    let spent: Option<i64> = query_scalar("SELECT spent FROM quota_days WHERE rollup = $1 AND day = $2")
        .bind(quota.rollup.to_vec())
        .bind(u64_to_sql(quota.day))
        .fetch_optional(&mut *connection)
        .await?;
    Ok(SubmissionFacts {
        header,
        charged: charged.is_some(),
        spent_bytes: spent.unwrap_or(0).max(0).cast_unsigned(),
    })
}

fn listed(row: &AnyRow) -> Result<Listed, StoreError> {
    let digest = to_digest(&column::<Vec<u8>>(row, "digest")?)?;
    let rollup: Vec<u8> = column(row, "rollup")?;
    let corrupt = |what| StoreError::Corrupt { digest, shard: None, what };
    Ok(Listed {
        sequence: column::<i64>(row, "sequence")?.cast_unsigned(),
        digest,
        rollup: Address::try_from(rollup.as_slice()).map_err(|_| corrupt("the rollup"))?,
        batch_number: u64_from_sql(column(row, "batch_number")?),
        epoch: u64_from_sql(column(row, "epoch")?),
        seat: Seat(u8::try_from(column::<i64>(row, "seat")?).map_err(|_| corrupt("the seat"))?),
        expires_at: u64_from_sql(column(row, "expires_at")?),
        payload_length: u64_from_sql(column(row, "payload_length")?),
    })
}
