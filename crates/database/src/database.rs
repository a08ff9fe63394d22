//! The database handle: opening, reading, and transactions that outlive their cancelled callers.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{Instrument, log};

use crate::connections::{Connections, configure};
use crate::durability::{self, Durability};
use crate::error::DatabaseError;
use crate::group::{self, Queue};
use crate::migrate::{self, Migration};
use crate::options::{DatabaseOptions, DatabaseUrl};
use crate::transaction::{Access, Backend, TransactionFuture, begin};
use crate::{postgres, sqlite};

/// A statement that takes longer than this is logged.
const SLOW_STATEMENT: Duration = Duration::from_secs(5);

/// If a commit is younger than this, a probe need not write.
const COMMIT_IS_RECENT: Duration = Duration::from_secs(5);
/// How long a probe's write may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// How long opening waits for another process that has the file and may be about to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two attempts to lock the file.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// A handle to a database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    connections: Arc<Connections>,
    durability: Durability,
    /// Writers that wait to share a transaction. Only SQLite uses it.
    queue: Arc<Queue>,
    /// The path of the SQLite file.
    path: Option<PathBuf>,
    /// The lock that reserves the file for this process, while it has one.
    lock: Mutex<Option<File>>,
}

impl Database {
    /// Opens a database, refuses settings under which data could be lost, and brings its schema up
    /// to date.
    pub async fn open(options: &DatabaseOptions, migrations: &[Migration]) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let (backend, connect) = match &options.url {
            DatabaseUrl::Sqlite(path) => (Backend::Sqlite, sqlite::connect_options(path)?),
            DatabaseUrl::Postgres(url) => {
                (Backend::Postgres, postgres::connect_options(url, options.password()?.as_ref())?)
            }
        };
        let connect = connect
            .log_statements(log::LevelFilter::Off)
            .log_slow_statements(log::LevelFilter::Warn, SLOW_STATEMENT);

        // This uses a connection of its own, so that errors keep their type and the migrator's lock
        // ends with it.
        let migrations = migrations.to_vec();
        let first = connect.clone();
        let (limit, silence) = (options.transaction_timeout, options.silence_timeout);
        let prepared = tokio::spawn(
            async move { tokio::time::timeout(limit, prepare(first, backend, silence, &migrations)).await }
                .in_current_span(),
        );
        let durability = prepared
            .await
            .map_err(|_| DatabaseError::Closed)?
            .map_err(|_| DatabaseError::Timeout { limit })??;

        Ok(Self {
            inner: Arc::new(Inner {
                connections: Arc::new(Connections::new(options, backend, connect)),
                durability,
                queue: Arc::default(),
                path: match &options.url {
                    DatabaseUrl::Sqlite(path) => Some(path.clone()),
                    DatabaseUrl::Postgres(_) => None,
                },
                lock: Mutex::default(),
            }),
        })
    }

    /// Returns whether this is SQLite or PostgreSQL.
    pub fn backend(&self) -> Backend {
        self.inner.connections.backend
    }

    /// Returns which failures an acknowledged commit survives, as it was when the database was
    /// opened.
    pub fn durability(&self) -> Durability {
        self.inner.durability
    }

    /// Returns the size of the database's files in bytes, including free space in them. For a
    /// SQLite file it returns `None`, because the caller can look at the disk itself.
    pub async fn size_on_server(&self) -> Result<Option<u64>, DatabaseError> {
        if self.inner.connections.backend == Backend::Sqlite {
            return Ok(None);
        }
        let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
            .fetch_one(&self.inner.connections.readers)
            .await?;
        Ok(Some(bytes.max(0).cast_unsigned()))
    }

    /// Returns the connections for single SELECT statements. They refuse to write.
    pub fn reads(&self) -> &AnyPool {
        &self.inner.connections.readers
    }

    /// Runs `work` as the only writer. If it succeeds, its changes are committed; if it fails, none
    /// of them is. On SQLite, writers that wait at the same time share one commit, and none is told
    /// of success before it.
    ///
    /// The work runs in a task of its own: if the caller is cancelled, the work is neither stopped
    /// half-way nor is its connection left in a transaction, in which later writes would be
    /// acknowledged and then lost. Therefore it may still commit after its caller is gone.
    pub async fn transaction<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.run(Access::Exclusive, work).await
    }

    /// Does what [`Database::transaction`] does, but on PostgreSQL at the same time as other
    /// writers. It is for work whose result does not depend on rows that others may write
    /// meanwhile, such as adding rows under a new key.
    pub async fn append<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.run(Access::Append, work).await
    }

    /// Runs several SELECT statements on one state of the database.
    pub async fn snapshot<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.run(Access::Snapshot, work).await
    }

    /// Runs several SELECT statements on one state of the database, over a new connection that is
    /// then closed. Use it to learn the outcome of a transaction that is unknown: pooled
    /// connections may be affected by the failure that made it unknown.
    pub async fn reread<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let connections = Arc::clone(&self.inner.connections);
        let limit = connections.transaction_timeout;
        let whole = async move {
            let mut connection = connections.options.connect().await.map_err(DatabaseError::from)?;
            configure(&mut connection, connections.backend, Access::Snapshot, connections.silence_timeout)
                .await?;
            let mut transaction = begin(&mut connection, connections.backend, Access::Snapshot).await?;
            let value = work(&mut transaction).await?;
            transaction.rollback().await.map_err(DatabaseError::from)?;
            connection.close().await.map_err(DatabaseError::from)?;
            Ok(value)
        };
        let task = tokio::spawn(async move { tokio::time::timeout(limit, whole).await }.in_current_span());
        match task.await {
            Ok(result) => result.unwrap_or_else(|_| Err(DatabaseError::Timeout { limit }.into())),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(DatabaseError::Closed.into()),
        }
    }

    /// On SQLite, reserves the file for this process until it is closed, and ends the leases of
    /// earlier processes. Other processes that try the same get an error with `holder`. On
    /// PostgreSQL it does nothing, because processes share a server by leases.
    ///
    /// # Errors
    /// It fails with [`DatabaseError::FileInUse`] if another process has the file and does not end
    /// within 2 s.
    pub async fn be_the_only_process(&self, holder: &str) -> Result<(), DatabaseError> {
        let Some(path) = &self.inner.path else { return Ok(()) };
        let started = Instant::now();
        let file = loop {
            match sqlite::lock(path, holder) {
                Err(DatabaseError::FileInUse { .. }) if started.elapsed() < LOCK_PATIENCE => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                result => break result?,
            }
        };
        *self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        self.append(|connection| {
            Box::pin(async move {
                sqlx::query("UPDATE leases SET holder = '', expires_at_ms = 0").execute(connection).await?;
                Ok(())
            })
        })
        .await
    }

    /// Checks that the database answers. Health checks call it.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        let _: i64 =
            sqlx::query_scalar("SELECT CAST(1 AS BIGINT)").fetch_one(&self.inner.connections.readers).await?;
        Ok(())
    }

    /// Checks that the database accepts writes. Health checks call it. The call changes and commits
    /// a row, unless something was committed within the last 5 s.
    ///
    /// # Errors
    /// It returns the error of the write, or [`DatabaseError::NoWrite`] if the write took more than
    /// 10 s.
    pub async fn probe(&self) -> Result<(), DatabaseError> {
        let committed = *self.inner.connections.committed.lock().unwrap_or_else(PoisonError::into_inner);
        if committed.is_some_and(|committed| committed.elapsed() < COMMIT_IS_RECENT) {
            return self.ping().await;
        }
        // The row is a lease that no process holds or asks for.
        let write = self.append(|connection| {
            Box::pin(async move {
                let statement =
                    "INSERT INTO leases (name, holder, token, expires_at_ms) VALUES ('probe', '', 1, 0)
                     ON CONFLICT (name) DO UPDATE SET token = leases.token + 1";
                sqlx::query(statement).execute(connection).await?;
                Ok(())
            })
        });
        let limit = PROBE_LIMIT;
        tokio::time::timeout(limit, write).await.unwrap_or(Err(DatabaseError::NoWrite { limit }))
    }

    /// Waits for running transactions and closes all connections.
    pub async fn close(&self) {
        self.inner.connections.readers.close().await;
        self.inner.connections.writers.close().await;
        self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Returns the number of writers that wait in the queue of a SQLite file.
    #[cfg(test)]
    pub(crate) fn waiting_writers(&self) -> usize {
        self.inner.queue.len()
    }

    /// Returns whether a thread serves that queue.
    #[cfg(test)]
    pub(crate) fn is_writing(&self) -> bool {
        self.inner.queue.is_served()
    }

    async fn run<T, E, F>(&self, access: Access, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        let connections = Arc::clone(&self.inner.connections);
        let backend = connections.backend;
        if backend == Backend::Sqlite && !matches!(access, Access::Snapshot) {
            return group::write(&connections, &self.inner.queue, work).await;
        }
        let held = connections.acquire(access).await?;
        let whole = async move { connections.run(held, access, work).await }.in_current_span();
        let task = match backend {
            Backend::Postgres => tokio::spawn(whole),
            // The driver runs the statements on a thread of its own, one after the other. Passing
            // them from a blocking thread costs much less than from a task of the runtime, which is
            // woken through the runtime's queues for each statement.
            Backend::Sqlite => {
                let runtime = Handle::current();
                tokio::task::spawn_blocking(move || runtime.block_on(whole))
            }
        };
        match task.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(DatabaseError::Closed.into()),
        }
    }
}

async fn prepare(
    options: AnyConnectOptions,
    backend: Backend,
    silence_timeout: Duration,
    migrations: &[Migration],
) -> Result<Durability, DatabaseError> {
    let mut connection = options.connect().await?;
    configure(&mut connection, backend, Access::Exclusive, silence_timeout).await?;
    let durability = match backend {
        Backend::Sqlite => Durability::OneServer,
        Backend::Postgres => durability::tell(&mut connection).await?,
    };
    let migrated = migrate::run(&mut connection, backend, migrations).await;
    connection.close().await?;
    migrated.map(|()| durability)
}

#[cfg(test)]
#[path = "database_tests/mod.rs"]
mod tests;
