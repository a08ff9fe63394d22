//! One shard on its way in: staged rows, the commit that makes them a batch's, and the clean-up when none comes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dac_database::sqlx::{query, query_as, query_scalar};
use dac_database::{AnyConnection, Backend, Database, DatabaseError, u64_from_sql, u64_to_sql};
use dac_runtime::failpoint;
use dac_types::limits::STORED_ROW_BYTES;
use dac_types::{B256, BatchDigest, Seat};

use super::{Remains, Shared, delete_shard, encode_record, index_to_sql, to_digest};
use crate::store::{Authority, Commit, Entry, QuotaDay, StoreError, Stored, Upload};

/// Rows that are staged in one transaction: the fewer transactions, the fewer waits for the disk.
const ROWS_PER_STAGING: usize = 4;

/// How the outcome of a commit is lost, for tests.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommitFault {
    /// It took place, and the connection broke before the answer.
    AnswerLost,
    /// It did not take place.
    NotPersisted,
}

/// An upload.
pub(super) struct SqlUpload {
    live: Live,
    length: usize,
    received: usize,
    /// Rows written already.
    staged: usize,
    /// Rows still in memory.
    waiting: Vec<Bytes>,
}

/// Keeps a shard id from being swept, and has its rows deleted unless they were committed.
struct Live {
    shared: Arc<Shared>,
    shard: i64,
    /// Whether `uploads` may name it.
    dirty: bool,
}

impl Drop for Live {
    fn drop(&mut self) {
        let (shared, shard) = (Arc::clone(&self.shared), self.shard);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.dirty => {
                runtime.spawn(async move {
                    if let Err(error) = discard(&shared.database, shard).await {
                        tracing::warn!(%error, "an unfinished upload could not be cleaned up; the next sweep will try");
                    }
                    shared.live.lock().remove(&shard);
                });
            }
            _ => {
                shared.live.lock().remove(&shard);
            }
        }
    }
}

impl SqlUpload {
    pub(super) fn new(shared: Arc<Shared>, length: usize) -> Self {
        let shard = i64::from_ne_bytes(rand::random::<[u8; 8]>()) & i64::MAX;
        shared.live.lock().insert(shard);
        let live = Live { shared, shard, dirty: false };
        Self { live, length, received: 0, staged: 0, waiting: Vec::new() }
    }

    async fn write_waiting(&mut self) -> Result<(), StoreError> {
        let (shard, first) = (self.live.shard, self.staged);
        let rows = std::mem::take(&mut self.waiting);
        self.staged += rows.len();
        self.live.dirty = true;
        let database = &self.live.shared.database;
        let backend = database.backend();
        database
            .append::<_, StoreError, _>(move |connection| {
                Box::pin(async move {
                    if backend == Backend::Postgres {
                        // The commit's own flush covers everything that was logged before it.
                        query("SET LOCAL synchronous_commit TO off")
                            .execute(&mut *connection)
                            .await
                            .map_err(DatabaseError::from)?;
                    }
                    // Either way the line is locked, so that a clean-up beside us sees all rows or none.
                    let statement = if first == 0 {
                        "INSERT INTO uploads (shard) VALUES ($1)"
                    } else {
                        "UPDATE uploads SET shard = shard WHERE shard = $1"
                    };
                    let mine = query(statement)
                        .bind(shard)
                        .execute(&mut *connection)
                        .await
                        .map_err(DatabaseError::from)?;
                    if mine.rows_affected() != 1 {
                        return Err(StoreError::Lost);
                    }
                    insert_rows(connection, shard, first, rows).await?;
                    failpoint!("node.store.stage_before_commit");
                    Ok::<(), StoreError>(())
                })
            })
            .await?;
        failpoint!("node.store.stage_after_commit");
        Ok(())
    }
}

#[async_trait]
impl Upload for SqlUpload {
    async fn stage(&mut self, row: Bytes) -> Result<(), StoreError> {
        self.received += row.len();
        if row.len() != STORED_ROW_BYTES || self.received >= self.length {
            return Err(StoreError::UploadLength { expected: self.length, got: self.received });
        }
        self.waiting.push(row);
        if self.waiting.len() >= ROWS_PER_STAGING { self.write_waiting().await } else { Ok(()) }
    }

    async fn commit(mut self: Box<Self>, last_row: Bytes, entry: Entry) -> Result<Commit, StoreError> {
        let got = self.received + last_row.len();
        if got != self.length || entry.shard.length != self.length || last_row.len() > STORED_ROW_BYTES {
            return Err(StoreError::UploadLength { expected: self.length, got });
        }
        let (shared, shard, staged) = (Arc::clone(&self.live.shared), self.live.shard, self.staged);
        let mut rows = std::mem::take(&mut self.waiting);
        rows.push(last_row);
        let digest = entry.digest;
        let seat = entry.shard.seat;
        #[cfg(test)]
        let fault = shared.commit_fault.lock().take();
        let work = Committing { shard, staged, rows, entry, remains: Remains::Deleted };
        let try_to = async |work: Committing| {
            let signing = Arc::clone(&shared);
            shared
                .database
                .transaction(move |connection| {
                    Box::pin(async move {
                        signing.guard(connection).await?;
                        let outcome = work.run(connection).await?;
                        failpoint!("node.store.before_commit");
                        #[cfg(test)]
                        if fault == Some(CommitFault::NotPersisted) {
                            return Err(Abandoned::Failed(DatabaseError::Closed.into()));
                        }
                        Ok(outcome)
                    })
                })
                .await
        };
        let mut outcome = try_to(work.clone()).await;
        if let Err(Abandoned::Failed(error)) = &outcome
            && error.is_unreadable()
        {
            tracing::warn!(%error, %digest, "what is to be replaced cannot be deleted: it is left over");
            outcome = try_to(Committing { remains: Remains::LeftOver, ..work }).await;
        }
        #[cfg(test)]
        let outcome = match fault {
            Some(CommitFault::AnswerLost) => Err(Abandoned::Failed(DatabaseError::Closed.into())),
            _ => outcome,
        };
        match outcome {
            Ok(()) => {
                failpoint!("node.store.after_commit");
                self.live.dirty = false;
                Ok(Commit::Stored(Stored::new(digest, seat)))
            }
            Err(Abandoned::Refused(commit)) => Ok(commit),
            Err(Abandoned::Failed(error)) => {
                // It may have been committed all the same. What another connection sees is durable; what it does not see
                // is not promised, even if it should appear later.
                match stored_seat(&shared, digest).await {
                    Ok(Some(seat)) => {
                        tracing::warn!(%error, %digest, "a commit was reported as failed and took place");
                        Ok(Commit::Stored(Stored::new(digest, seat)))
                    }
                    Ok(None) | Err(_) => Err(error),
                }
            }
        }
    }
}

/// Why a commit's transaction is rolled back.
enum Abandoned {
    /// There is nothing to commit: this is the answer.
    Refused(Commit),
    /// Something failed; what became of the commit is not known.
    Failed(StoreError),
}

impl From<DatabaseError> for Abandoned {
    fn from(error: DatabaseError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<dac_database::sqlx::Error> for Abandoned {
    fn from(error: dac_database::sqlx::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

impl From<StoreError> for Abandoned {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

#[derive(Clone)]
struct Committing {
    shard: i64,
    staged: usize,
    rows: Vec<Bytes>,
    entry: Entry,
    /// What becomes of a corrupt shard that this one takes the place of.
    remains: Remains,
}

impl Committing {
    /// Runs as the only writer, so what it reads stays true until its commit.
    async fn run(self, connection: &mut AnyConnection) -> Result<(), Abandoned> {
        let Self { shard, staged, rows, entry, remains } = self;
        let Entry { digest, record, shard: verified, authority } = &entry;
        let header = record.header();
        let former = Former::find(connection, *digest).await?;
        if let Some(Former { seat, is_corrupt: false, .. }) = former {
            // Another upload of the same batch was faster.
            return Err(Abandoned::Refused(Commit::Stored(Stored::new(*digest, to_seat(seat)?))));
        }
        if staged > 0 {
            let mine =
                query("DELETE FROM uploads WHERE shard = $1").bind(shard).execute(&mut *connection).await?;
            if mine.rows_affected() != 1 {
                // Swept by another process on the same database: the staged rows are gone.
                return Err(Abandoned::Failed(StoreError::Lost));
            }
        }
        match authority {
            Authority::Submission { submission, quota, daily_payload_bytes } => {
                claim_header(connection, *submission, &entry).await?;
                charge(connection, *submission, *quota, *daily_payload_bytes, &entry).await?;
            }
            Authority::Certificate { submission } => note_header(connection, *submission, &entry).await?,
        }
        insert_rows(connection, shard, staged, rows).await?;
        failpoint!("node.store.rows_written");
        let leaf_hashes: Vec<u8> = verified.tree.leaf_hashes().iter().flat_map(|hash| hash.0).collect();
        query("INSERT INTO shard_trees (shard, leaf_hashes) VALUES ($1, $2)")
            .bind(shard)
            .bind(leaf_hashes)
            .execute(&mut *connection)
            .await?;
        let length = index_to_sql(verified.length);
        let (sequence, kept) = match former {
            None => (next_sequence(connection, length).await?, 0),
            Some(former) => former.replace(connection, length, remains).await?,
        };
        let owed: Option<i64> =
            query_scalar("SELECT max(keep_until) FROM duties WHERE digest = $1 AND rollup = $2")
                .bind(digest.as_bytes().to_vec())
                .bind(header.rollup.to_vec())
                .fetch_one(&mut *connection)
                .await?;
        let keep_until = header.expires_at.max(kept).max(owed.map_or(0, u64_from_sql));
        let (bytes, hash) = encode_record(record);
        let certified = i64::from(record.record().certificate.is_some());
        query(
            "INSERT INTO batches (sequence, digest, rollup, batch_number, epoch, seat, expires_at, payload_length, \
             n, k, shard, shard_length, certified, keep_until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(sequence)
        .bind(digest.as_bytes().to_vec())
        .bind(header.rollup.to_vec())
        .bind(u64_to_sql(header.batch_number))
        .bind(u64_to_sql(header.epoch))
        .bind(i64::from(verified.seat.0))
        .bind(u64_to_sql(header.expires_at))
        .bind(u64_to_sql(header.payload_length))
        .bind(i64::from(record.geometry().n()))
        .bind(i64::from(record.geometry().k()))
        .bind(shard)
        .bind(length)
        .bind(certified)
        .bind(u64_to_sql(keep_until))
        .execute(&mut *connection)
        .await?;
        query("INSERT INTO records (shard, record, record_hash) VALUES ($1, $2, $3)")
            .bind(shard)
            .bind(bytes)
            .bind(hash.to_vec())
            .execute(&mut *connection)
            .await?;
        Ok(())
    }
}

async fn next_sequence(connection: &mut AnyConnection, length: i64) -> Result<i64, Abandoned> {
    Ok(query_scalar(
        "UPDATE totals SET last_sequence = last_sequence + 1, batches = batches + 1, bytes = bytes + $1 \
         WHERE id = 0 RETURNING last_sequence",
    )
    .bind(length)
    .fetch_one(connection)
    .await?)
}

/// The line of a batch that is stored already.
struct Former {
    sequence: i64,
    shard: i64,
    length: i64,
    seat: i64,
    keep_until: u64,
    is_corrupt: bool,
}

impl Former {
    async fn find(connection: &mut AnyConnection, digest: BatchDigest) -> Result<Option<Self>, StoreError> {
        let line: Option<(i64, i64, i64, i64, i64, i64)> = query_as(
            "SELECT sequence, shard, shard_length, seat, keep_until, corrupt FROM batches WHERE digest = $1",
        )
        .bind(digest.as_bytes().to_vec())
        .fetch_optional(connection)
        .await?;
        Ok(line.map(|(sequence, shard, length, seat, keep_until, corrupt)| Self {
            sequence,
            shard,
            length,
            seat,
            keep_until: u64_from_sql(keep_until),
            is_corrupt: corrupt != 0,
        }))
    }

    /// Makes room for the intact one, which takes its place in the order and is kept at least as long.
    async fn replace(
        self,
        connection: &mut AnyConnection,
        length: i64,
        remains: Remains,
    ) -> Result<(i64, u64), Abandoned> {
        query("DELETE FROM batches WHERE sequence = $1")
            .bind(self.sequence)
            .execute(&mut *connection)
            .await?;
        remains.dispose(connection, self.shard).await?;
        query("UPDATE totals SET bytes = bytes + $1 - $2 WHERE id = 0")
            .bind(length)
            .bind(self.length)
            .execute(connection)
            .await?;
        failpoint!("node.store.replace_before_commit");
        Ok((self.sequence, self.keep_until))
    }
}

/// One header for a submission in an epoch.
async fn claim_header(
    connection: &mut AnyConnection,
    submission: B256,
    entry: &Entry,
) -> Result<(), Abandoned> {
    let header = entry.record.header();
    let existing: Option<Vec<u8>> =
        query_scalar("SELECT digest FROM submission_headers WHERE submission = $1 AND epoch = $2")
            .bind(submission.to_vec())
            .bind(u64_to_sql(header.epoch))
            .fetch_optional(&mut *connection)
            .await?;
    match existing.map(|bytes| to_digest(&bytes)).transpose()? {
        Some(existing) if existing == entry.digest => Ok(()),
        Some(existing) => Err(Abandoned::Refused(Commit::ConflictingHeader { existing })),
        None => note_header(connection, submission, entry).await,
    }
}

/// From now on this header holds its submission and epoch, unless another one does.
async fn note_header(
    connection: &mut AnyConnection,
    submission: B256,
    entry: &Entry,
) -> Result<(), Abandoned> {
    let header = entry.record.header();
    query(
        "INSERT INTO submission_headers (submission, epoch, digest, expires_at) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (submission, epoch) DO NOTHING",
    )
    .bind(submission.to_vec())
    .bind(u64_to_sql(header.epoch))
    .bind(entry.digest.as_bytes().to_vec())
    .bind(u64_to_sql(header.expires_at))
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// Charges a submission's payload to its rollup's day, the first time it is stored.
async fn charge(
    connection: &mut AnyConnection,
    submission: B256,
    quota: QuotaDay,
    daily_payload_bytes: u64,
    entry: &Entry,
) -> Result<(), Abandoned> {
    let header = entry.record.header();
    let first = query(
        "INSERT INTO charged_submissions (submission, expires_at) VALUES ($1, $2) ON CONFLICT (submission) DO NOTHING",
    )
    .bind(submission.to_vec())
    .bind(u64_to_sql(header.expires_at))
    .execute(&mut *connection)
    .await?;
    if first.rows_affected() == 0 {
        return Ok(());
    }
    let spent: Option<i64> = query_scalar("SELECT spent FROM quota_days WHERE rollup = $1 AND day = $2")
        .bind(quota.rollup.to_vec())
        .bind(u64_to_sql(quota.day))
        .fetch_optional(&mut *connection)
        .await?;
    let (spent, asked) = (spent.unwrap_or(0).max(0).cast_unsigned(), header.payload_length);
    // More than SQL can count is no limit that a day could reach.
    let limit = daily_payload_bytes.min(i64::MAX.cast_unsigned());
    let total = spent.saturating_add(asked);
    if total > limit {
        return Err(Abandoned::Refused(Commit::QuotaExceeded { spent, limit, asked }));
    }
    query(
        "INSERT INTO quota_days (rollup, day, spent) VALUES ($1, $2, $3) \
         ON CONFLICT (rollup, day) DO UPDATE SET spent = excluded.spent",
    )
    .bind(quota.rollup.to_vec())
    .bind(u64_to_sql(quota.day))
    .bind(total.cast_signed())
    .execute(&mut *connection)
    .await?;
    Ok(())
}

async fn insert_rows(
    connection: &mut AnyConnection,
    shard: i64,
    first: usize,
    rows: Vec<Bytes>,
) -> Result<(), DatabaseError> {
    for (index, row) in (first..).zip(rows) {
        query("INSERT INTO shard_rows (shard, row_index, data) VALUES ($1, $2, $3)")
            .bind(shard)
            .bind(index_to_sql(index))
            .bind(&row[..])
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Deletes an upload's staged rows, unless it was committed meanwhile.
pub(super) async fn discard(database: &Database, shard: i64) -> Result<(), StoreError> {
    database
        .transaction(move |connection| {
            Box::pin(async move {
                let mine = query("DELETE FROM uploads WHERE shard = $1")
                    .bind(shard)
                    .execute(&mut *connection)
                    .await
                    .map_err(DatabaseError::from)?;
                if mine.rows_affected() == 1 {
                    delete_shard(connection, shard).await?;
                }
                Ok(())
            })
        })
        .await
}

/// Whose shard of the batch is stored intact, asked over a connection of its own: what came of a commit is not to be learnt from one
/// that may have seen it fail.
async fn stored_seat(shared: &Shared, digest: BatchDigest) -> Result<Option<Seat>, StoreError> {
    let former = shared.database.reread(move |connection| Box::pin(Former::find(connection, digest))).await?;
    former.filter(|former| !former.is_corrupt).map(|former| to_seat(former.seat)).transpose()
}

fn to_seat(seat: i64) -> Result<Seat, StoreError> {
    let corrupt = || DatabaseError::Corrupt { what: format!("seat {seat}") };
    Ok(Seat(u8::try_from(seat).map_err(|_| corrupt())?))
}
