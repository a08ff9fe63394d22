//! The commit of a sealed shard: header, quota, last rows, tree and record in one transaction.

use dac_database::sqlx::{query, query_as, query_scalar};
use dac_database::{AnyConnection, DatabaseError, u64_from_sql, u64_to_sql};
use dac_runtime::failpoint;
use dac_types::{B256, BatchDigest};

use super::columns::{index_to_sql, to_digest, to_seat};
use super::records;
use super::remains::Remains;
use super::shards::insert_rows;
use super::store::SqlStore;
#[cfg(test)]
use super::testing::CommitFault;
use crate::store::{Authority, Commit, Entry, LastRows, Place, QuotaDay, Sealed, ShardId, StoreError};

/// Commits a shard as that of a batch.
pub(super) async fn commit(
    store: &SqlStore,
    sealed: Sealed,
    entry: Entry,
) -> Result<Commit<Place>, StoreError> {
    let (shard, last) = sealed.into_parts();
    let place = Place { seat: entry.shard.seat(), shard };
    let digest = entry.digest;
    #[cfg(test)]
    let fault = store.take_commit_fault();
    let work = Committing { shard, last, entry, remains: Remains::Deleted };
    let try_to = async |work: Committing| {
        let signing = store.clone();
        store
            .database()
            .transaction(move |connection| {
                Box::pin(async move {
                    signing.guard(connection).await?;
                    work.run(connection).await?;
                    failpoint!("node.store.before_commit");
                    #[cfg(test)]
                    if fault == Some(CommitFault::NotPersisted) {
                        return Err(Abandoned::Failed(DatabaseError::Closed.into()));
                    }
                    Ok(())
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
            Ok(Commit::Stored(place))
        }
        Err(Abandoned::Refused(commit)) => Ok(commit),
        Err(Abandoned::Failed(error)) => {
            // It may have been committed all the same. What another connection sees is durable.
            // What it does not see is not promised, even if it should appear later.
            match stored_place(store, digest).await {
                Ok(Some(place)) => {
                    tracing::warn!(%error, %digest, "a commit was reported as failed and took place");
                    Ok(Commit::Stored(place))
                }
                Ok(None) | Err(_) => Err(error),
            }
        }
    }
}

/// Why a commit's transaction is rolled back.
enum Abandoned {
    /// There is nothing to commit. This is the answer.
    Refused(Commit<Place>),
    /// Something failed. It is not known what became of the commit.
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
    shard: ShardId,
    last: LastRows,
    entry: Entry,
    /// What becomes of a corrupt shard that this one replaces.
    remains: Remains,
}

impl Committing {
    /// Runs as the only writer, so that what it reads stays true until its commit.
    async fn run(self, connection: &mut AnyConnection) -> Result<(), Abandoned> {
        let Self { shard, last, entry, remains } = self;
        let Entry { digest, record, shard: verified, authority } = &entry;
        let header = record.header();
        let former = Former::find(connection, *digest).await?;
        if let Some(former) = former.as_ref().filter(|former| !former.is_corrupt) {
            // Another draft of the same batch was faster.
            return Err(Abandoned::Refused(Commit::Stored(former.place()?)));
        }
        if let LastRows::Inline { first: 1.., .. } = last {
            let mine = query("DELETE FROM uploads WHERE shard = $1")
                .bind(shard.number())
                .execute(&mut *connection)
                .await?;
            if mine.rows_affected() != 1 {
                // Another process on the same database swept the rows that were put before.
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
        if let LastRows::Inline { first, rows } = last {
            insert_rows(connection, shard, first, rows).await?;
        }
        failpoint!("node.store.rows_written");
        let leaf_hashes: Vec<u8> = verified.tree().leaf_hashes().iter().flat_map(|hash| hash.0).collect();
        query("INSERT INTO shard_trees (shard, leaf_hashes) VALUES ($1, $2)")
            .bind(shard.number())
            .bind(leaf_hashes)
            .execute(&mut *connection)
            .await?;
        let length = index_to_sql(verified.length());
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
        let (bytes, hash) = records::encode(record);
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
        .bind(i64::from(verified.seat().0))
        .bind(u64_to_sql(header.expires_at))
        .bind(u64_to_sql(header.payload_length))
        .bind(i64::from(record.geometry().n()))
        .bind(i64::from(record.geometry().k()))
        .bind(shard.number())
        .bind(length)
        .bind(certified)
        .bind(u64_to_sql(keep_until))
        .execute(&mut *connection)
        .await?;
        query("INSERT INTO records (shard, record, record_hash) VALUES ($1, $2, $3)")
            .bind(shard.number())
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

/// The line of a batch that was stored before.
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

    /// Returns the place of the batch, for those who store it again.
    fn place(&self) -> Result<Place, StoreError> {
        Ok(Place { seat: to_seat(self.seat)?, shard: ShardId::from_number(self.shard) })
    }

    /// Makes room for the intact shard, which takes the place of this one in the order and is kept
    /// at least as long.
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

/// Makes sure that a submission has only one header in an epoch.
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

/// Notes the header of a submission in its epoch, unless another one is there.
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
    // No day reaches more than SQL can count.
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

/// Returns the place of a batch that is stored intact. It asks over a connection of its own,
/// because one that saw the commit fail may not know what became of it.
async fn stored_place(store: &SqlStore, digest: BatchDigest) -> Result<Option<Place>, StoreError> {
    let former =
        store.database().reread(move |connection| Box::pin(Former::find(connection, digest))).await?;
    former.filter(|former| !former.is_corrupt).map(|former| former.place()).transpose()
}
