//! Leases: rights that only one process has at a time. They are timed by the database's clock and
//! not by that of any process.
//!
//! A lease is a row with a holder, an expiry time and a fencing token that grows with each holder.
//! A process that was paused does not know that its lease is over. Therefore each transaction that
//! depends on a lease checks it with [`Lease::guard`], which also keeps others from taking the
//! lease before that transaction has ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::{AnyConnection, AssertSqlSafe};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

use crate::database::Database;
use crate::error::DatabaseError;
use crate::transaction::Backend;

/// A kept lease is renewed this many times in each term.
const RENEWALS_PER_TERM: u32 = 4;

/// A lease that was taken. It is not renewed by itself; see [`Lease::keep`].
#[derive(Debug)]
pub struct Lease {
    database: Database,
    name: String,
    holder: String,
    token: i64,
    term: Duration,
}

impl Lease {
    /// Takes a lease that is not held, for `term`. `holder` is a name for people who ask who has
    /// it.
    ///
    /// # Errors
    /// It fails with [`DatabaseError::LeaseHeld`] while the lease is held, even by this process.
    pub async fn acquire(
        database: &Database,
        name: &str,
        holder: &str,
        term: Duration,
    ) -> Result<Self, DatabaseError> {
        let clock = now_ms(database.backend());
        let (name, holder) = (name.to_owned(), holder.to_owned());
        let (key, who, length) = (name.clone(), holder.clone(), milliseconds(term));
        let take = format!(
            "INSERT INTO leases (name, holder, token, expires_at_ms) VALUES ($1, $2, 1, {clock} + $3)
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = leases.token + 1,
                expires_at_ms = excluded.expires_at_ms
             WHERE leases.expires_at_ms <= {clock} RETURNING token"
        );
        let look = format!("SELECT holder, expires_at_ms - {clock} FROM leases WHERE name = $1");
        let token = database
            .append(move |connection| {
                Box::pin(async move {
                    let taken: Option<i64> = sqlx::query_scalar(AssertSqlSafe(take))
                        .bind(key.clone())
                        .bind(who)
                        .bind(length)
                        .fetch_optional(&mut *connection)
                        .await?;
                    if let Some(token) = taken {
                        return Ok(token);
                    }
                    let (holder, left): (String, i64) =
                        sqlx::query_as(AssertSqlSafe(look)).bind(key.clone()).fetch_one(connection).await?;
                    let left = Duration::from_millis(left.max(0).cast_unsigned());
                    Err(DatabaseError::LeaseHeld { name: key, holder, left })
                })
            })
            .await?;
        Ok(Self { database: database.clone(), name, holder, token, term })
    }

    /// Returns the name of the lease.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the fencing token, which is larger than that of every earlier holder.
    pub const fn token(&self) -> u64 {
        self.token.cast_unsigned()
    }

    /// Holds the lease for another term from now on. This works even if it has run out, unless it
    /// was taken since.
    ///
    /// # Errors
    /// It fails with [`DatabaseError::LeaseLost`] if another holder took it or it was released.
    pub async fn renew(&self) -> Result<(), DatabaseError> {
        let clock = now_ms(self.database.backend());
        let statement = format!(
            "UPDATE leases SET expires_at_ms = {clock} + $1 WHERE name = $2 AND token = $3 AND expires_at_ms > 0"
        );
        self.update(statement, Some(milliseconds(self.term))).await
    }

    /// Releases the lease, so that the next holder need not wait.
    pub async fn release(&self) -> Result<(), DatabaseError> {
        let statement = "UPDATE leases SET holder = '', expires_at_ms = 0 WHERE name = $1 AND token = $2";
        match self.update(statement.to_owned(), None).await {
            Err(DatabaseError::LeaseLost { .. }) => Ok(()),
            other => other,
        }
    }

    /// Checks within a transaction that no other holder has taken the lease, and keeps others from
    /// taking it until the transaction ends.
    ///
    /// # Errors
    /// It fails with [`DatabaseError::LeaseLost`] if another holder took it or it was released.
    pub async fn guard(&self, connection: &mut AnyConnection) -> Result<(), DatabaseError> {
        let lock = match self.database.backend() {
            Backend::Postgres => " FOR SHARE",
            // SQLite's transactions that write run alone, so no row lock is needed.
            Backend::Sqlite => "",
        };
        let statement =
            format!("SELECT token FROM leases WHERE name = $1 AND token = $2 AND expires_at_ms > 0{lock}");
        let ours: Option<i64> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(self.name.clone())
            .bind(self.token)
            .fetch_optional(connection)
            .await?;
        ours.map(drop).ok_or_else(|| self.lost())
    }

    /// Renews the lease in the background until it is lost, released or dropped.
    pub fn keep(self) -> KeptLease {
        let (lease, lost) = (Arc::new(self), Arc::new(watch::Sender::new(false)));
        let renewing = Mutex::new(renew_in_background(&lease, &lost));
        KeptLease { lease, lost, renewing }
    }

    async fn update(&self, statement: String, term_ms: Option<i64>) -> Result<(), DatabaseError> {
        let (name, token) = (self.name.clone(), self.token);
        let updated = self
            .database
            .append(move |connection| {
                Box::pin(async move {
                    let mut query = sqlx::query(AssertSqlSafe(statement));
                    if let Some(term_ms) = term_ms {
                        query = query.bind(term_ms);
                    }
                    let done = query.bind(name).bind(token).execute(connection).await?;
                    Ok::<_, DatabaseError>(done.rows_affected())
                })
            })
            .await?;
        if updated == 1 { Ok(()) } else { Err(self.lost()) }
    }

    fn lost(&self) -> DatabaseError {
        DatabaseError::LeaseLost { name: self.name.clone(), holder: self.holder.clone() }
    }
}

fn renew_in_background(lease: &Arc<Lease>, lost: &Arc<watch::Sender<bool>>) -> JoinHandle<()> {
    tokio::spawn(renew_again(Arc::clone(lease), Arc::clone(lost)).in_current_span())
}

async fn renew_again(lease: Arc<Lease>, tell: Arc<watch::Sender<bool>>) {
    let mut renewed_at = Instant::now();
    loop {
        tokio::time::sleep(lease.term / RENEWALS_PER_TERM).await;
        let asked_at = Instant::now();
        // If the database does not answer, the term runs on.
        let answer = tokio::time::timeout(lease.term, lease.renew()).await;
        match answer {
            Ok(Ok(())) => {
                renewed_at = asked_at;
                continue;
            }
            Ok(Err(error @ DatabaseError::LeaseLost { .. })) => warn!(%error, "a lease is lost"),
            Ok(Err(error)) if renewed_at.elapsed() < lease.term => {
                warn!(lease = lease.name, %error, "renewing a lease; trying again");
                continue;
            }
            Ok(Err(_)) | Err(_) => warn!(lease = lease.name, "a lease ran out: the database did not answer"),
        }
        tell.send_replace(true);
        return;
    }
}

/// A lease that is renewed until it is lost. Dropping it releases the lease, if there is time left
/// for that.
#[derive(Debug)]
pub struct KeptLease {
    lease: Arc<Lease>,
    lost: Arc<watch::Sender<bool>>,
    renewing: Mutex<JoinHandle<()>>,
}

impl KeptLease {
    /// Returns the lease, for [`Lease::guard`].
    pub const fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// Returns whether the lease is known to be lost. Only a guard can tell that it is not.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Waits until the lease is known to be lost.
    pub async fn lost(&self) {
        let mut lost = self.lost.subscribe();
        // The wait cannot fail, because this value owns the sender.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// Continues to keep a lease that ran out while the database did not answer, unless another
    /// holder took it. It also works if a renewal that was given up took effect after all.
    ///
    /// # Errors
    /// It fails with [`DatabaseError::LeaseLost`] if another holder took it or it was released, and
    /// with other errors while the database does not answer.
    pub async fn resume(&self) -> Result<(), DatabaseError> {
        self.lease.renew().await?;
        let mut renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        renewing.abort();
        self.lost.send_replace(false);
        *renewing = renew_in_background(&self.lease, &self.lost);
        Ok(())
    }

    /// Stops renewing and releases the lease.
    pub async fn release(&self) -> Result<(), DatabaseError> {
        self.stop_renewing();
        self.lease.release().await
    }

    fn stop_renewing(&self) {
        self.renewing.lock().unwrap_or_else(PoisonError::into_inner).abort();
    }
}

impl Drop for KeptLease {
    fn drop(&mut self) {
        self.stop_renewing();
        // If the process is ending and there is no runtime, the next holder waits until the lease
        // runs out.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let lease = Arc::clone(&self.lease);
            runtime.spawn(async move {
                if let Err(error) = lease.release().await {
                    info!(lease = lease.name, %error, "a lease was not given back: it runs out by itself");
                }
            });
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Returns an SQL expression for the database's clock in Unix milliseconds. SQLite's clock is that
/// of its only process.
pub const fn now_ms(backend: Backend) -> &'static str {
    match backend {
        Backend::Postgres => "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
        Backend::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
