//! How several processes on one database divide its batches. Taking a batch over raises its
//! version, so that the process that worked on it finds out with its next change.

use std::sync::Arc;

use dac_database::sqlx::{self, AssertSqlSafe, Row};
use dac_database::{AnyConnection, DatabaseError, Lease};

use super::columns::b256;
use super::connection::SqlStore;
use super::postings::Books;
use super::process::alive;
use crate::batch::SubmissionDigest;
use crate::store::{Claim, Claimed, Lead, StoreError};

/// The lease of the process that posts.
const POSTER: &str = "poster";
/// Number of batches that are taken at once; the rest is taken with the next claim.
const CLAIM_MAX: i64 = 1000;

impl SqlStore {
    /// Removes rows that unfinished uploads of processes that are gone left behind, and those that
    /// former versions of this program left behind of batches that do not need them.
    pub(super) async fn remove_leftovers(&self) -> Result<(), StoreError> {
        let alive = alive(self.database.backend());
        let remove = format!("DELETE FROM uploads WHERE owner NOT IN {alive} RETURNING upload_id");
        self.database
            .transaction(move |connection| {
                Box::pin(async move {
                    // Uploads are removed before their rows: a process that still writes rows keeps
                    // its upload until they are committed.
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
        match Lease::acquire(&self.database, POSTER, &process.name(), process.term()).await {
            Ok(lease) => {
                let lease = Arc::new(lease.keep());
                let books = Books::guarded(self.database.clone(), Arc::clone(lease.lease()));
                Ok(Some(Lead::by(lease, Arc::new(books))))
            }
            Err(DatabaseError::LeaseHeld { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn take_work(&self, claim: Claim) -> Result<Claimed, StoreError> {
        self.process.keep_lease().await?;
        let backend = self.database.backend();
        let stage = if claim.posting { "" } else { "AND phase IN ('received', 'dispersing')" };
        let free = format!("finished = 0 AND owner NOT IN {} {stage}", alive(backend));
        let me = self.process.name();
        // Most of the time there is nothing to take, and a read does not wait for writers.
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
        found.extend(b256(&id).map(|id| (at, SubmissionDigest(id))));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, id)| id).collect())
}
