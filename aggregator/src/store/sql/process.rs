//! The processes on one database: each has a lease, and batches and uploads carry the lease's name.

use std::time::Duration;

use dac_database::sqlx::{self, AssertSqlSafe};
use dac_database::{Backend, Database, DatabaseError, Lease, now_ms};

use crate::store::StoreError;

/// The beginning of the names of processes' leases.
const PROCESS: &str = "process/";
/// How often a process renews its own lease in the time in which it would run out.
const RENEWALS_PER_TERM: u32 = 4;
/// Time after which leases of processes that are gone are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// This process's lease among those of all processes that share the database.
#[derive(Debug)]
pub(super) struct Process {
    lease: Lease,
    term: Duration,
    renewed: parking_lot::Mutex<tokio::time::Instant>,
}

impl Process {
    /// Takes a lease for this process, as the only one on the machine that uses a SQLite file.
    /// Other processes count it as gone when the lease was not renewed for `term`.
    pub(super) async fn join(database: &Database, term: Duration) -> Result<Self, StoreError> {
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
        Ok(Self { lease, term, renewed: parking_lot::Mutex::new(tokio::time::Instant::now()) })
    }

    /// Returns the name by which batches and uploads name this process.
    pub(super) fn name(&self) -> String {
        self.lease.name().to_owned()
    }

    /// Returns the time after which a lease that was not renewed runs out.
    pub(super) const fn term(&self) -> Duration {
        self.term
    }

    /// Renews the lease, if that is due.
    pub(super) async fn keep_lease(&self) -> Result<(), StoreError> {
        if self.renewed.lock().elapsed() < self.term / RENEWALS_PER_TERM {
            return Ok(());
        }
        let asked_at = tokio::time::Instant::now();
        self.lease.renew().await?;
        *self.renewed.lock() = asked_at;
        Ok(())
    }

    /// Gives the lease back, so that the process's batches are free at once.
    pub(super) async fn depart(&self) {
        if let Err(error) = self.lease.release().await {
            tracing::info!(%error, "this process's lease was not given back: it runs out by itself");
        }
    }
}

/// Returns a subquery of the names of all leases that are running.
pub(super) fn alive(backend: Backend) -> String {
    format!("(SELECT name FROM leases WHERE expires_at_ms > {})", now_ms(backend))
}
