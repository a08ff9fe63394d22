//! The poster's books: its postings, and the nonces that they were given.

use std::sync::Arc;

use async_trait::async_trait;
use dac_database::sqlx::{self, Row};
use dac_database::{AnyConnection, Database, Lease, u64_from_sql, u64_to_sql};
use dac_poster::{
    Change, NonceSlot, PosterStore, Posting, PostingDigest, StoreError as BooksError, Unfinished,
};
use dac_runtime::failpoint;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::StoreError;

/// The books in two tables of the database.
#[derive(Debug)]
pub(super) struct Books {
    database: Database,
    /// The lease without which changes are refused.
    lease: Option<Arc<Lease>>,
}

impl Books {
    pub(super) const fn new(database: Database) -> Self {
        Self { database, lease: None }
    }

    /// Makes books that take changes only while the lease lasts.
    pub(super) const fn guarded(database: Database, lease: Arc<Lease>) -> Self {
        Self { database, lease: Some(lease) }
    }
}

fn parse<T: DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::CorruptBooks { problem: error.to_string() })
}

fn text<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::CorruptBooks { problem: error.to_string() })
}

async fn load(connection: &mut AnyConnection) -> Result<Unfinished, StoreError> {
    let mut unfinished = Unfinished::default();
    for row in sqlx::query("SELECT body FROM postings WHERE done = 0 ORDER BY sequence")
        .fetch_all(&mut *connection)
        .await?
    {
        unfinished.postings.push(parse::<Posting>(&row.try_get::<String, _>(0)?)?);
    }
    for row in sqlx::query("SELECT body FROM nonce_slots ORDER BY nonce").fetch_all(&mut *connection).await? {
        unfinished.slots.push(parse::<NonceSlot>(&row.try_get::<String, _>(0)?)?);
    }
    let last: Option<i64> =
        sqlx::query_scalar("SELECT sequence FROM postings ORDER BY sequence DESC LIMIT 1")
            .fetch_optional(connection)
            .await?;
    unfinished.last_sequence = last.map_or(0, u64_from_sql);
    Ok(unfinished)
}

async fn apply(connection: &mut AnyConnection, changes: Vec<Change>) -> Result<(), StoreError> {
    for change in changes {
        let query = match &change {
            Change::SavePosting(posting) => sqlx::query(
                "INSERT INTO postings (digest, sequence, done, body) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (digest) DO UPDATE
                 SET sequence = excluded.sequence, done = excluded.done, body = excluded.body",
            )
            .bind(posting.digest.as_bytes().to_vec())
            .bind(u64_to_sql(posting.sequence))
            .bind(i64::from(posting.outcome.is_some()))
            .bind(text(posting)?),
            Change::SaveSlot(slot) => sqlx::query(
                "INSERT INTO nonce_slots (nonce, body) VALUES ($1, $2)
                 ON CONFLICT (nonce) DO UPDATE SET body = excluded.body",
            )
            .bind(u64_to_sql(slot.nonce))
            .bind(text(slot)?),
            Change::ForgetSlot { nonce } => {
                sqlx::query("DELETE FROM nonce_slots WHERE nonce = $1").bind(u64_to_sql(*nonce))
            }
        };
        query.execute(&mut *connection).await?;
    }
    failpoint!("aggregator.poster.before_commit");
    Ok(())
}

fn books_error(error: StoreError) -> BooksError {
    BooksError(error.to_string())
}

#[async_trait]
impl PosterStore for Books {
    async fn load(&self) -> Result<Unfinished, BooksError> {
        self.database.snapshot(|connection| Box::pin(load(connection))).await.map_err(books_error)
    }

    async fn posting(&self, digest: PostingDigest) -> Result<Option<Posting>, BooksError> {
        let read = async {
            let body: Option<String> = sqlx::query_scalar("SELECT body FROM postings WHERE digest = $1")
                .bind(digest.as_bytes().to_vec())
                .fetch_optional(self.database.reads())
                .await?;
            body.as_deref().map(parse).transpose()
        };
        read.await.map_err(books_error)
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), BooksError> {
        let (changes, lease) = (changes.to_vec(), self.lease.clone());
        self.database
            .transaction(|connection| {
                Box::pin(async move {
                    if let Some(lease) = lease {
                        lease.guard(connection).await?;
                    }
                    apply(connection, changes).await
                })
            })
            .await
            .map_err(books_error)?;
        failpoint!("aggregator.poster.after_commit");
        Ok(())
    }
}
