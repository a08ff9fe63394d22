//! Several processes on one database: each has a lease of its own, and batches carry the name of
//! the process that works on them. Taking a batch over raises its version, so that its former owner
//! finds out with its next change.

use std::sync::Arc;
use std::time::Duration;

use dac_database::sqlx::{self, AssertSqlSafe, Row};
use dac_database::{AnyConnection, DatabaseError, Lease, now_ms};

use super::SqlStore;
use super::postings::Books;
use crate::batch::SubmissionDigest;
use crate::store::{Claim, Claimed, Lead, StoreError};

/// The lease of the process that posts.
const POSTER: &str = "poster";
/// Processes' leases begin with this.
const PROCESS: &str = "process/";
/// A process's own lease is renewed so many times before it would run out.
const RENEWALS_PER_TERM: u32 = 4;
/// Leases of processes that are gone are forgotten after this time.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Batches taken at once; the rest with the next claim.
const CLAIM_MAX: i64 = 1000;

/// This process among those that share the database.
#[derive(Debug)]
pub(super) struct Process {
    lease: Lease,
    term: Duration,
    renewed: parking_lot::Mutex<tokio::time::Instant>,
}

impl Process {
    pub(super) fn name(&self) -> String {
        self.lease.name().to_owned()
    }
}

/// Whose leases are running; `{alive}` in a statement.
fn alive(backend: dac_database::Backend) -> String {
    format!("(SELECT name FROM leases WHERE expires_at_ms > {})", now_ms(backend))
}

pub(super) async fn join(database: &dac_database::Database, term: Duration) -> Result<Process, StoreError> {
    let id: u64 = rand::random();
    let holder = format!("dac-aggregator, process {}", std::process::id());
    database.be_the_only_process(&holder).await?;
    let clock = now_ms(database.backend());
    let old = i64::try_from(FORGOTTEN_AFTER.as_millis()).expect("a day");
    let forget =
        format!("DELETE FROM leases WHERE name LIKE '{PROCESS}%' AND expires_at_ms < {clock} - {old}");
    database
        .append(move |connection| {
            Box::pin(async move {
                sqlx::query(AssertSqlSafe(forget)).execute(connection).await?;
                Ok::<_, DatabaseError>(())
            })
        })
        .await?;
    let lease = Lease::acquire(database, &format!("{PROCESS}{id:016x}"), &holder, term).await?;
    Ok(Process { lease, term, renewed: parking_lot::Mutex::new(tokio::time::Instant::now()) })
}

impl SqlStore {
    /// Removes what unfinished uploads of processes that are gone left behind, and finished batches
    /// of former versions.
    pub(super) async fn remove_leftovers(&self) -> Result<(), StoreError> {
        let alive = alive(self.database.backend());
        let remove = format!("DELETE FROM uploads WHERE owner NOT IN {alive} RETURNING upload_id");
        self.database
            .transaction(move |connection| {
                Box::pin(async move {
                    // Uploads before their rows: a process that still writes rows keeps its upload
                    // until they are committed.
                    let gone = sqlx::query(AssertSqlSafe(remove)).fetch_all(&mut *connection).await?;
                    for upload in gone {
                        sqlx::query("DELETE FROM payload_rows WHERE upload_id = $1")
                            .bind(upload.try_get::<Vec<u8>, _>(0)?)
                            .execute(&mut *connection)
                            .await?;
                    }
                    sqlx::query(
                        "DELETE FROM payload_rows WHERE upload_id IN
                            (SELECT upload_id FROM batches WHERE payload_dropped = 1)",
                    )
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    pub(super) async fn take_lead(&self) -> Result<Option<Lead>, StoreError> {
        let process = &self.process;
        match Lease::acquire(&self.database, POSTER, &process.name(), process.term).await {
            Ok(lease) => {
                let lease = Arc::new(lease.keep());
                let books = Books::guarded(self.database.clone(), Arc::clone(lease.lease()));
                Ok(Some(Lead::by(lease, Arc::new(books))))
            }
            Err(DatabaseError::LeaseHeld { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Says that this process is there, now and then.
    async fn be_there(&self) -> Result<(), StoreError> {
        let process = &self.process;
        if process.renewed.lock().elapsed() < process.term / RENEWALS_PER_TERM {
            return Ok(());
        }
        let asked_at = tokio::time::Instant::now();
        process.lease.renew().await?;
        *process.renewed.lock() = asked_at;
        Ok(())
    }

    pub(super) async fn take_work(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.be_there().await?;
        let backend = self.database.backend();
        let stage = if claim.posting { "" } else { "AND phase IN ('received', 'dispersing')" };
        let free = format!("finished = 0 AND owner NOT IN {} {stage}", alive(backend));
        let me = self.process.name();
        // Most of the time there is nothing: a look does not wait for writers.
        let look = format!(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM batches WHERE owner = $1 AND touched = 1)
                OR EXISTS (SELECT 1 FROM batches WHERE {free}) THEN 1 ELSE 0 END"
        );
        let found =
            sqlx::query(AssertSqlSafe(look)).bind(me.clone()).fetch_one(self.database.reads()).await?;
        let mut claimed = Claimed::default();
        let something = found.try_get::<i64, _>(0).or_else(|_| found.try_get::<i32, _>(0).map(i64::from))?;
        if something != 0 {
            let touched = "UPDATE batches SET touched = 0 WHERE owner = $1 AND touched = 1
                RETURNING submission_digest, received_at_ms"
                .to_owned();
            let take = format!(
                "UPDATE batches SET owner = $1, touched = 0, version = version + 1 WHERE submission_digest IN
                    (SELECT submission_digest FROM batches WHERE {free} ORDER BY received_at_ms LIMIT {CLAIM_MAX})
                    AND {free} RETURNING submission_digest, received_at_ms"
            );
            let name = me.clone();
            (claimed.touched, claimed.work) = self
                .database
                .append(move |connection| {
                    Box::pin(async move {
                        let touched = named(&mut *connection, touched, name.clone()).await?;
                        Ok::<_, StoreError>((touched, named(connection, take, name).await?))
                    })
                })
                .await?;
        }
        if claim.all {
            let rows = sqlx::query(
                "SELECT submission_digest, received_at_ms FROM batches WHERE finished = 0 AND owner = $1",
            )
            .bind(me)
            .fetch_all(self.database.reads())
            .await?;
            claimed.work = in_order(&rows)?;
        }
        Ok(claimed)
    }

    pub(super) async fn leave(&self, id: SubmissionDigest, version: i64) -> Result<(), StoreError> {
        let me = self.process.name();
        self.database
            .append(move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE batches SET owner = '', version = version + 1
                         WHERE submission_digest = $1 AND version = $2 AND owner = $3",
                    )
                    .bind(id.0.to_vec())
                    .bind(version)
                    .bind(me)
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    pub(super) async fn is_mine(&self, id: SubmissionDigest) -> Result<bool, StoreError> {
        let owner: Option<String> =
            sqlx::query_scalar("SELECT owner FROM batches WHERE submission_digest = $1")
                .bind(id.0.to_vec())
                .fetch_optional(self.database.reads())
                .await?;
        Ok(owner.is_some_and(|owner| owner == self.process.name()))
    }

    pub(super) async fn versions_of(
        &self,
        ids: Vec<SubmissionDigest>,
    ) -> Result<Vec<(SubmissionDigest, i64)>, StoreError> {
        self.database
            .snapshot(move |connection| {
                Box::pin(async move {
                    let mut versions = Vec::with_capacity(ids.len());
                    for id in ids {
                        let version: Option<i64> =
                            sqlx::query_scalar("SELECT version FROM batches WHERE submission_digest = $1")
                                .bind(id.0.to_vec())
                                .fetch_optional(&mut *connection)
                                .await?;
                        versions.extend(version.map(|version| (id, version)));
                    }
                    Ok(versions)
                })
            })
            .await
    }

    /// Gives back the process's lease: its batches are free at once.
    pub(super) async fn depart(&self) {
        if let Err(error) = self.process.lease.release().await {
            tracing::info!(%error, "this process's lease was not given back: it runs out by itself");
        }
    }
}

async fn named(
    connection: &mut AnyConnection,
    statement: String,
    owner: String,
) -> Result<Vec<SubmissionDigest>, StoreError> {
    let rows = sqlx::query(AssertSqlSafe(statement)).bind(owner).fetch_all(connection).await?;
    in_order(&rows)
}

fn in_order(rows: &[sqlx::any::AnyRow]) -> Result<Vec<SubmissionDigest>, StoreError> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let (id, at): (Vec<u8>, i64) = (row.try_get(0)?, row.try_get(1)?);
        found.extend(super::b256(&id).map(|id| (at, SubmissionDigest(id))));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, id)| id).collect())
}
