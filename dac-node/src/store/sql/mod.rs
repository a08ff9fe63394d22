//! The store on SQLite or PostgreSQL, one SQL text for both.
//!
//! Rows of a large shard are staged under a fresh shard id as they come; the commit only adds the last row and the lines
//! that make them a batch's. The line in `uploads` decides between commit and clean-up: each deletes it first, so one of
//! them finds it gone.

mod bad_seats;
mod cover;
mod duties;
mod ledger;
mod retention;
mod signer;
#[cfg(test)]
mod testing;
mod upload;

use std::collections::{HashMap, HashSet};
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
use dac_types::limits::CHUNK_BYTES;
use dac_types::{
    Address, AggregateAttestation, B256, BatchDigest, Domain, Geometry, PublicKeyBytes, Seat, keccak256,
};
use parking_lot::Mutex;
use prost::Message;

use super::{
    CHUNKS_PER_ROW, Holding, Listed, QuotaDay, ShardId, Store, StoreError, Stored, SubmissionFacts, Totals,
    Upload,
};
use ledger::{block_from_sql, block_to_sql};
use signer::Signership;
#[cfg(test)]
pub(in crate::store) use signer::TERM as LEASE_TERM;
#[cfg(test)]
pub(crate) use upload::CommitFault;
use upload::SqlUpload;

pub(in crate::store) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "store", sql: include_str!("../../../migrations/0001_store.sql") },
    Migration { version: 2, name: "duties", sql: include_str!("../../../migrations/0002_duties.sql") },
    Migration { version: 3, name: "records", sql: include_str!("../../../migrations/0003_records.sql") },
    Migration { version: 4, name: "doubts", sql: include_str!("../../../migrations/0004_doubts.sql") },
];

/// The store. Clones share the database.
#[derive(Clone, Debug)]
pub struct SqlStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    domain: Domain,
    /// That this process signs; absent where nothing is signed by what is stored here.
    signership: Option<Signership>,
    /// Shards whose upload is under way in this process.
    live: Mutex<HashSet<i64>>,
    /// Of rollups whose renewals this process has covered: the last batch that was looked at, and until when all are kept.
    covered: Mutex<HashMap<Address, (u64, u64)>>,
    #[cfg(test)]
    commit_fault: Mutex<Option<upload::CommitFault>>,
}

impl SqlStore {
    /// Opens the database of this member and no other, and deletes what unfinished uploads left. Nobody else may write to it.
    pub async fn open(
        options: &DatabaseOptions,
        domain: Domain,
        member: &PublicKeyBytes,
    ) -> Result<Self, StoreError> {
        Self::open_to_write(bound(options, domain, member).await?, domain, None).await
    }

    /// The same for the process that signs, once no other one does: on PostgreSQL it waits for that. `holder` is what others are told
    /// of it.
    pub async fn open_as_signer(
        options: &DatabaseOptions,
        domain: Domain,
        member: &PublicKeyBytes,
        holder: &str,
    ) -> Result<Self, StoreError> {
        let database = bound(options, domain, member).await?;
        let signership = Signership::take(&database, holder).await?;
        Self::open_to_write(database, domain, Some(signership)).await
    }

    /// Opens a member's database beside the process that signs, to read what that one stored. All that is ever written is the mark on
    /// what fails its check.
    pub async fn open_to_read(
        options: &DatabaseOptions,
        domain: Domain,
        member: &PublicKeyBytes,
    ) -> Result<Self, StoreError> {
        Ok(Self::over(bound(options, domain, member).await?, domain, None))
    }

    async fn open_to_write(
        database: Database,
        domain: Domain,
        signership: Option<Signership>,
    ) -> Result<Self, StoreError> {
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
        let store = Self::over(database, domain, signership);
        let swept = store.sweep().await?;
        if swept > 0 {
            tracing::info!(uploads = swept, "deleted what unfinished uploads had left");
        }
        Ok(store)
    }

    fn over(database: Database, domain: Domain, signership: Option<Signership>) -> Self {
        Self {
            shared: Arc::new(Shared {
                database,
                domain,
                signership,
                live: Mutex::default(),
                covered: Mutex::default(),
                #[cfg(test)]
                commit_fault: Mutex::default(),
            }),
        }
    }

    /// Returns once another process has taken over signing; never where none can.
    pub async fn lost(&self) {
        match &self.shared.signership {
            Some(signership) => signership.lost().await,
            None => std::future::pending().await,
        }
    }

    /// The database could not read a batch's line or its record. Where it is the record, the batch is known and can be repaired.
    async fn unreadable_record(&self, digest: BatchDigest, error: StoreError) -> StoreError {
        let shard: Result<Option<i64>, _> = query_scalar("SELECT shard FROM batches WHERE digest = $1")
            .bind(digest.as_bytes().as_slice())
            .fetch_optional(self.reads())
            .await;
        metrics::counter!("dac_node_unreadable_total").increment(1);
        tracing::error!(%digest, %error, "the database cannot read what it stored: is its disk failing?");
        match shard {
            Ok(Some(shard)) => {
                StoreError::Corrupt { digest, shard: Some(ShardId(shard)), what: "the record" }
            }
            Ok(None) | Err(_) => error,
        }
    }

    fn reads(&self) -> &dac_database::sqlx::AnyPool {
        self.shared.database.reads()
    }

    fn holding(&self, digest: BatchDigest, row: &AnyRow) -> Result<Holding, StoreError> {
        let shard = ShardId(column(row, "shard")?);
        let record = self.record(digest, Some(shard), row)?;
        let seat = seat_within(digest, Some(shard), row, record.geometry())?;
        Ok(Holding {
            stored: Stored::new(digest, seat),
            shard,
            record: Arc::new(record),
            is_corrupt: column::<i64>(row, "corrupt")? != 0,
        })
    }

    /// The record of a line with the columns n, k, record and record_hash, checked.
    fn record(
        &self,
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
        if record.header.digest(&self.shared.domain) != digest {
            return Err(corrupt("the record"));
        }
        CheckedRecord::check(record, geometry).map_err(|_| corrupt("the record"))
    }
}

fn seat_within(
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

impl Shared {
    /// Within a transaction by which something is signed: this process is still the one that signs.
    async fn guard(&self, connection: &mut AnyConnection) -> Result<(), DatabaseError> {
        match &self.signership {
            Some(signership) => signership.guard(connection).await,
            None => Ok(()),
        }
    }
}

/// The database of this member and no other.
async fn bound(
    options: &DatabaseOptions,
    domain: Domain,
    member: &PublicKeyBytes,
) -> Result<Database, StoreError> {
    let database = Database::open(options, MIGRATIONS).await?;
    let (chain_id, registry, key) =
        (domain.chain_id.to_string(), domain.registry.to_string(), member.to_string());
    let identity: [(&str, &str); 4] =
        [("role", "dac-node"), ("chain_id", &chain_id), ("registry", &registry), ("member_key", &key)];
    database.bind_identity(&identity).await?;
    Ok(database)
}

#[async_trait]
impl Store for SqlStore {
    async fn find(&self, digest: BatchDigest) -> Result<Option<Holding>, StoreError> {
        let row = query(
            "SELECT b.seat, b.n, b.k, b.shard, b.corrupt, r.record, r.record_hash \
             FROM batches b LEFT JOIN records r ON r.shard = b.shard WHERE b.digest = $1",
        )
        .bind(digest.as_bytes().as_slice())
        .fetch_optional(self.reads())
        .await;
        let row = match row.map_err(StoreError::from) {
            Err(error) if error.is_unreadable() => return Err(self.unreadable_record(digest, error).await),
            row => row?,
        };
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
            .bind(shard.0)
            .fetch_optional(self.reads())
            .await
            .or_else(|error| missing_where_unreadable(error, "a tree"))?;
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
                .or_else(|error| missing_where_unreadable(error, "a row"))?;
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
            .or_else(|error| missing_where_unreadable(error, "a row"))?;
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
        rows?.iter().map(listed).collect()
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        let (batches, bytes): (i64, i64) =
            query_as("SELECT batches, bytes FROM totals WHERE id = 0").fetch_one(self.reads()).await?;
        Ok(Totals { batches: batches.max(0).cast_unsigned(), bytes: bytes.max(0).cast_unsigned() })
    }

    async fn delete_expired(&self, before: u64, spared: &[Address], limit: u32) -> Result<u64, StoreError> {
        retention::delete_expired(&self.shared.database, before, spared, limit).await
    }

    async fn give_back(&self) -> Result<(), StoreError> {
        retention::give_back(&self.shared.database).await
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let uploads: Vec<i64> = query_scalar("SELECT shard FROM uploads").fetch_all(self.reads()).await?;
        let mut swept = 0;
        for shard in uploads {
            if !self.shared.live.lock().contains(&shard) {
                match upload::discard(&self.shared.database, shard).await {
                    Ok(()) => swept += 1,
                    Err(error) if error.is_unreadable() => {
                        tracing::warn!(shard, %error, "left-over rows that cannot be read cannot be deleted, and take up space");
                    }
                    Err(error) => return Err(error),
                }
                failpoint!("node.store.swept");
            }
        }
        Ok(swept)
    }

    async fn close(&self) {
        if let Some(signership) = &self.shared.signership {
            signership.release().await;
        }
        self.shared.database.close().await;
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // Only a signer writes.
        match self.shared.signership {
            Some(_) => self.shared.database.probe().await?,
            None => self.shared.database.ping().await?,
        }
        Ok(())
    }

    async fn size_on_server(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.shared.database.size_on_server().await?)
    }

    fn storage(&self) -> String {
        let database = &self.shared.database;
        match database.backend() {
            Backend::Sqlite => "SQLite".to_owned(),
            Backend::Postgres => format!("PostgreSQL, {}", database.durability()),
        }
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

async fn delete_shard(connection: &mut AnyConnection, shard: i64) -> Result<(), DatabaseError> {
    query("DELETE FROM shard_rows WHERE shard = $1").bind(shard).execute(&mut *connection).await?;
    query("DELETE FROM shard_trees WHERE shard = $1").bind(shard).execute(&mut *connection).await?;
    query("DELETE FROM records WHERE shard = $1").bind(shard).execute(&mut *connection).await?;
    Ok(())
}

/// What becomes of the rows of a shard that no batch has any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Remains {
    /// They are deleted.
    Deleted,
    /// They are left over for [`Store::sweep`] to try again: the database could not read them, so it cannot delete them now.
    LeftOver,
}

impl Remains {
    async fn dispose(self, connection: &mut AnyConnection, shard: i64) -> Result<(), DatabaseError> {
        match self {
            Remains::Deleted => delete_shard(connection, shard).await,
            Remains::LeftOver => {
                query("INSERT INTO uploads (shard) VALUES ($1) ON CONFLICT (shard) DO NOTHING")
                    .bind(shard)
                    .execute(connection)
                    .await?;
                Ok(())
            }
        }
    }
}

/// What the database cannot read is as good as gone, and is repaired like it.
fn missing_where_unreadable<T>(
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

impl From<dac_database::sqlx::Error> for StoreError {
    fn from(error: dac_database::sqlx::Error) -> Self {
        DatabaseError::from(error).into()
    }
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
    Ok(row.try_get(name)?)
}

fn to_digest(bytes: &[u8]) -> Result<BatchDigest, StoreError> {
    let corrupt = || DatabaseError::Corrupt { what: format!("a digest of {} bytes", bytes.len()) };
    Ok(BatchDigest(B256::try_from(bytes).map_err(|_| corrupt())?))
}

fn to_address(bytes: &[u8]) -> Result<Address, StoreError> {
    let corrupt = || DatabaseError::Corrupt { what: format!("an address of {} bytes", bytes.len()) };
    Ok(Address::try_from(bytes).map_err(|_| corrupt())?)
}

/// An index or length within a shard: at most 64 MiB.
fn index_to_sql(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
