//! The store on SQLite or PostgreSQL, one SQL text for both.
//!
//! Rows of a large shard are staged under a fresh shard id as they come; the commit only adds the last row and the lines
//! that make them a batch's. The line in `uploads` decides between commit and clean-up: each deletes it first, so one of
//! them finds it gone.

mod upload;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dac_bls::CheckedCertificate;
use dac_coding::CheckedRecord;
use dac_database::sqlx::any::AnyRow;
use dac_database::sqlx::{Row, query, query_as, query_scalar};
use dac_database::{
    AnyConnection, Backend, Database, DatabaseError, DatabaseOptions, Migration, u64_from_sql, u64_to_sql,
};
use dac_proto::{v1, wire};
use dac_runtime::failpoint;
use dac_types::limits::{CHUNK_BYTES, QUOTA_DAY_SECONDS};
use dac_types::{
    Address, AggregateAttestation, B256, BatchDigest, Domain, Geometry, PublicKeyBytes, Seat, keccak256,
};
use parking_lot::Mutex;
use prost::Message;

use super::{
    CHUNKS_PER_ROW, Holding, Listed, QuotaDay, ShardId, Store, StoreError, Stored, SubmissionFacts, Totals,
    Upload,
};
#[cfg(test)]
pub(crate) use upload::CommitFault;
use upload::SqlUpload;

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, name: "store", sql: include_str!("../../../migrations/0001_store.sql") }];

/// The store. Clones share the database.
#[derive(Clone, Debug)]
pub struct SqlStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    domain: Domain,
    /// Shards whose upload is under way in this process.
    live: Mutex<HashSet<i64>>,
    #[cfg(test)]
    commit_fault: Mutex<Option<upload::CommitFault>>,
}

impl SqlStore {
    /// Opens the database of this member and no other, and deletes what unfinished uploads left.
    pub async fn open(
        options: &DatabaseOptions,
        domain: Domain,
        member: &PublicKeyBytes,
    ) -> Result<Self, StoreError> {
        let database = Database::open(options, MIGRATIONS).await?;
        Self::from_database(database, domain, member).await
    }

    async fn from_database(
        database: Database,
        domain: Domain,
        member: &PublicKeyBytes,
    ) -> Result<Self, StoreError> {
        let (chain_id, registry, key) =
            (domain.chain_id.to_string(), domain.registry.to_string(), member.to_string());
        let identity: [(&str, &str); 4] =
            [("role", "dac-node"), ("chain_id", &chain_id), ("registry", &registry), ("member_key", &key)];
        database.bind_identity(&identity).await?;
        let backend = database.backend();
        // A durable write before anything is read: what a killed process had written but not yet synchronised, and what
        // we would now take for stored, reaches the disk with it.
        database
            .transaction::<_, DatabaseError, _>(move |connection| {
                Box::pin(async move {
                    if backend == Backend::Postgres {
                        // Chunks are read from the middle of rows: compressed ones would be unpacked as a whole.
                        query("ALTER TABLE shard_rows ALTER COLUMN data SET STORAGE EXTERNAL")
                            .execute(&mut *connection)
                            .await?;
                    }
                    query("UPDATE totals SET openings = openings + 1").execute(&mut *connection).await?;
                    Ok(())
                })
            })
            .await?;
        failpoint!("node.store.opened");
        let store = Self {
            shared: Arc::new(Shared {
                database,
                domain,
                live: Mutex::default(),
                #[cfg(test)]
                commit_fault: Mutex::default(),
            }),
        };
        let swept = store.sweep().await?;
        if swept > 0 {
            tracing::info!(uploads = swept, "deleted what unfinished uploads had left");
        }
        Ok(store)
    }

    #[cfg(test)]
    pub(in crate::store) fn database(&self) -> &Database {
        &self.shared.database
    }

    #[cfg(test)]
    pub(in crate::store) fn uploads_under_way(&self) -> usize {
        self.shared.live.lock().len()
    }

    /// Uploads that have rows in the database.
    #[cfg(test)]
    pub(crate) async fn staged_uploads(&self) -> u64 {
        let count: i64 = query_scalar("SELECT count(*) FROM uploads").fetch_one(self.reads()).await.unwrap();
        count.cast_unsigned()
    }

    /// Rows of stored and of staged shards.
    #[cfg(test)]
    pub(crate) async fn stored_rows(&self) -> u64 {
        let count: i64 =
            query_scalar("SELECT count(*) FROM shard_rows").fetch_one(self.reads()).await.unwrap();
        count.cast_unsigned()
    }

    /// Changes the database behind the store's back.
    #[cfg(test)]
    pub(crate) async fn damage(&self, statement: &'static str) {
        self.shared
            .database
            .transaction::<_, DatabaseError, _>(move |connection| {
                Box::pin(async move {
                    query(statement).execute(connection).await?;
                    Ok(())
                })
            })
            .await
            .unwrap();
    }

    #[cfg(test)]
    pub(crate) fn fail_next_commit(&self, fault: CommitFault) {
        *self.shared.commit_fault.lock() = Some(fault);
    }

    fn reads(&self) -> &dac_database::sqlx::AnyPool {
        self.shared.database.reads()
    }

    fn holding(&self, digest: BatchDigest, row: &AnyRow) -> Result<Holding, StoreError> {
        let corrupt = |what| StoreError::Corrupt { digest, what };
        let bytes: Vec<u8> = column(row, "record")?;
        let expected: Vec<u8> = column(row, "record_hash")?;
        if keccak256(&bytes).as_slice() != expected {
            return Err(corrupt("the record"));
        }
        let number = |name| column::<i64>(row, name).map(|value| u16::try_from(value).unwrap_or(u16::MAX));
        let geometry = Geometry::new(number("n")?, number("k")?).map_err(|_| corrupt("the geometry"))?;
        let record = v1::Record::decode(bytes.as_slice()).map_err(|_| corrupt("the record"))?;
        let record = wire::record(record, geometry).map_err(|_| corrupt("the record"))?;
        if record.header.digest(&self.shared.domain) != digest {
            return Err(corrupt("the record"));
        }
        let record = CheckedRecord::check(record, geometry).map_err(|_| corrupt("the record"))?;
        let seat = u8::try_from(column::<i64>(row, "seat")?).map_err(|_| corrupt("the seat"))?;
        if u16::from(seat) >= geometry.n() {
            return Err(corrupt("the seat"));
        }
        Ok(Holding {
            stored: Stored::new(digest, Seat(seat)),
            shard: ShardId(column(row, "shard")?),
            record: Arc::new(record),
        })
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn find(&self, digest: BatchDigest) -> Result<Option<Holding>, StoreError> {
        let row = query("SELECT seat, n, k, shard, record, record_hash FROM batches WHERE digest = $1")
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(self.reads())
            .await
            .map_err(DatabaseError::from)?;
        row.map(|row| self.holding(digest, &row)).transpose()
    }

    async fn submission_facts(
        &self,
        submission: B256,
        epoch: u64,
        quota: QuotaDay,
    ) -> Result<SubmissionFacts, StoreError> {
        self.shared
            .database
            .snapshot(move |connection| Box::pin(submission_facts(connection, submission, epoch, quota)))
            .await
    }

    async fn begin(&self, length: usize) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(SqlUpload::new(Arc::clone(&self.shared), length)))
    }

    async fn attach_certificate(&self, certificate: &CheckedCertificate) -> Result<(), StoreError> {
        let digest = certificate.digest();
        let Some(held) = self.find(digest).await? else { return Ok(()) };
        if held.record.record().certificate.is_some() {
            return Ok(());
        }
        let aggregate: AggregateAttestation = certificate.certificate().aggregate.clone();
        let record = CheckedRecord::clone(&held.record).with_certificate(aggregate);
        let (bytes, hash) = encode_record(&record);
        self.shared
            .database
            .transaction(move |connection| {
                Box::pin(async move {
                    let statement = "UPDATE batches SET record = $1, record_hash = $2, certified = 1 \
                                     WHERE digest = $3 AND certified = 0";
                    query(statement)
                        .bind(bytes)
                        .bind(hash.to_vec())
                        .bind(digest.as_bytes().to_vec())
                        .execute(connection)
                        .await
                        .map_err(DatabaseError::from)?;
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
            .bind(shard.0)
            .fetch_optional(self.reads())
            .await
            .map_err(DatabaseError::from)?;
        // A rest of less than a hash is cut off here and missed by the check of the tree.
        Ok(bytes.map(|bytes| bytes.chunks(32).map(B256::right_padding_from).collect()))
    }

    async fn row(&self, shard: ShardId, index: usize) -> Result<Option<Bytes>, StoreError> {
        let data: Option<Vec<u8>> =
            query_scalar("SELECT data FROM shard_rows WHERE shard = $1 AND row_index = $2")
                .bind(shard.0)
                .bind(index_to_sql(index))
                .fetch_optional(self.reads())
                .await
                .map_err(DatabaseError::from)?;
        Ok(data.map(Bytes::from))
    }

    async fn chunk(&self, shard: ShardId, index: usize) -> Result<Option<Bytes>, StoreError> {
        let (row, offset) = (index / CHUNKS_PER_ROW, index % CHUNKS_PER_ROW * CHUNK_BYTES);
        // The cast names the type of a result that SQLite computes and PostgreSQL knows.
        let statement = "SELECT substr(data, CAST($1 AS INTEGER), CAST($2 AS INTEGER)) FROM shard_rows \
                         WHERE shard = $3 AND row_index = $4";
        let data: Option<Vec<u8>> = query_scalar(statement)
            .bind(index_to_sql(offset + 1))
            .bind(index_to_sql(CHUNK_BYTES))
            .bind(shard.0)
            .bind(index_to_sql(row))
            .fetch_optional(self.reads())
            .await
            .map_err(DatabaseError::from)?;
        Ok(data.map(Bytes::from))
    }

    async fn list(&self, rollup: Option<Address>, after: u64, limit: u32) -> Result<Vec<Listed>, StoreError> {
        let after = i64::try_from(after).map_err(|_| StoreError::Range { what: "sequence", got: after })?;
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
        rows.map_err(DatabaseError::from)?.iter().map(listed).collect()
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        let (batches, bytes): (i64, i64) = query_as("SELECT batches, bytes FROM totals WHERE id = 0")
            .fetch_one(self.reads())
            .await
            .map_err(DatabaseError::from)?;
        Ok(Totals { batches: batches.max(0).cast_unsigned(), bytes: bytes.max(0).cast_unsigned() })
    }

    async fn delete_expired(&self, before: u64, limit: u32) -> Result<u64, StoreError> {
        let shards: Vec<i64> = query_scalar(
            "SELECT shard FROM batches WHERE expires_at < $1 ORDER BY expires_at, sequence LIMIT $2",
        )
        .bind(u64_to_sql(before))
        .bind(i64::from(limit))
        .fetch_all(self.reads())
        .await
        .map_err(DatabaseError::from)?;
        let (database, mut deleted) = (&self.shared.database, 0);
        for shard in shards {
            // One transaction each: uploads get their turn in between.
            deleted += database
                .transaction(move |connection| Box::pin(delete_batch(connection, shard, before)))
                .await?;
            failpoint!("node.store.delete_after_commit");
        }
        let backend = database.backend();
        database.transaction(move |connection| Box::pin(forget_expired(connection, before, backend))).await?;
        Ok(deleted)
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let uploads: Vec<i64> = query_scalar("SELECT shard FROM uploads")
            .fetch_all(self.reads())
            .await
            .map_err(DatabaseError::from)?;
        let mut swept = 0;
        for shard in uploads {
            if !self.shared.live.lock().contains(&shard) {
                upload::discard(&self.shared.database, shard).await?;
                failpoint!("node.store.swept");
                swept += 1;
            }
        }
        Ok(swept)
    }

    async fn close(&self) {
        self.shared.database.close().await;
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.shared.database.ping().await?)
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
            .await
            .map_err(DatabaseError::from)?;
    let header = header.map(|bytes| to_digest(&bytes)).transpose()?;
    let charged: Option<i64> =
        query_scalar("SELECT expires_at FROM charged_submissions WHERE submission = $1")
            .bind(submission.to_vec())
            .fetch_optional(&mut *connection)
            .await
            .map_err(DatabaseError::from)?;
    let spent: Option<i64> = query_scalar("SELECT spent FROM quota_days WHERE rollup = $1 AND day = $2")
        .bind(quota.rollup.to_vec())
        .bind(u64_to_sql(quota.day))
        .fetch_optional(&mut *connection)
        .await
        .map_err(DatabaseError::from)?;
    Ok(SubmissionFacts {
        header,
        charged: charged.is_some(),
        spent_bytes: spent.unwrap_or(0).max(0).cast_unsigned(),
    })
}

async fn delete_batch(connection: &mut AnyConnection, shard: i64, before: u64) -> Result<u64, StoreError> {
    let length: Option<i64> =
        query_scalar("DELETE FROM batches WHERE shard = $1 AND expires_at < $2 RETURNING shard_length")
            .bind(shard)
            .bind(u64_to_sql(before))
            .fetch_optional(&mut *connection)
            .await
            .map_err(DatabaseError::from)?;
    let Some(length) = length else { return Ok(0) };
    delete_shard(connection, shard).await?;
    query("UPDATE totals SET batches = batches - 1, bytes = bytes - $1 WHERE id = 0")
        .bind(length)
        .execute(&mut *connection)
        .await
        .map_err(DatabaseError::from)?;
    failpoint!("node.store.delete_before_commit");
    Ok(1)
}

async fn delete_shard(connection: &mut AnyConnection, shard: i64) -> Result<(), DatabaseError> {
    query("DELETE FROM shard_rows WHERE shard = $1").bind(shard).execute(&mut *connection).await?;
    query("DELETE FROM shard_trees WHERE shard = $1").bind(shard).execute(&mut *connection).await?;
    Ok(())
}

/// Submissions that expired can't be stored again, and quotas of former days are not asked for.
async fn forget_expired(
    connection: &mut AnyConnection,
    before: u64,
    backend: Backend,
) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM submission_headers WHERE expires_at < $1",
        "DELETE FROM charged_submissions WHERE expires_at < $1",
    ] {
        query(statement)
            .bind(u64_to_sql(before))
            .execute(&mut *connection)
            .await
            .map_err(DatabaseError::from)?;
    }
    query("DELETE FROM quota_days WHERE day < $1")
        .bind(u64_to_sql(before / QUOTA_DAY_SECONDS))
        .execute(&mut *connection)
        .await
        .map_err(DatabaseError::from)?;
    if backend == Backend::Sqlite {
        // Pages that are free go back to the file system, some at a time; PostgreSQL sees to itself.
        query("PRAGMA incremental_vacuum(4096)")
            .execute(&mut *connection)
            .await
            .map_err(DatabaseError::from)?;
    }
    Ok(())
}

fn listed(row: &AnyRow) -> Result<Listed, StoreError> {
    let digest = to_digest(&column::<Vec<u8>>(row, "digest")?)?;
    let rollup: Vec<u8> = column(row, "rollup")?;
    let corrupt = |what| StoreError::Corrupt { digest, what };
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

/// As it is stored, and its hash.
fn encode_record(record: &CheckedRecord) -> (Vec<u8>, B256) {
    let bytes = v1::Record::from(record.record()).encode_to_vec();
    let hash = keccak256(&bytes);
    (bytes, hash)
}

fn column<'r, T>(row: &'r AnyRow, name: &str) -> Result<T, StoreError>
where
    T: dac_database::sqlx::Decode<'r, dac_database::sqlx::Any>
        + dac_database::sqlx::Type<dac_database::sqlx::Any>,
{
    Ok(row.try_get(name).map_err(DatabaseError::from)?)
}

fn to_digest(bytes: &[u8]) -> Result<BatchDigest, StoreError> {
    let corrupt = || DatabaseError::Corrupt { what: format!("a digest of {} bytes", bytes.len()) };
    Ok(BatchDigest(B256::try_from(bytes).map_err(|_| corrupt())?))
}

/// An index or length within a shard: at most 64 MiB.
fn index_to_sql(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
