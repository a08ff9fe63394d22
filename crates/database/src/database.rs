//! The database handle: opening, reading, and transactions that outlive their cancelled callers.

use std::fs::File;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, ConnectOptions, Connection, Transaction};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::{Instrument, log};

use crate::durability::{self, Durability};
use crate::error::DatabaseError;
use crate::group::{self, Queue};
use crate::migrate::{self, Migration};
use crate::options::{DatabaseOptions, DatabaseUrl};
use crate::{postgres, sqlite};

/// A statement that takes longer than this is logged.
const SLOW_STATEMENT: Duration = Duration::from_secs(5);

/// How long a pooled connection may take to answer before it is discarded.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// If a commit is younger than this, a probe need not write.
const COMMIT_IS_RECENT: Duration = Duration::from_secs(5);
/// How long a probe's write may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// How long opening waits for another process that has the file and may be about to end.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// The pause between two attempts to lock the file.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The future that a transaction's closure returns: `Box::pin(async move { … })`.
pub type TransactionFuture<'t, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 't>>;

/// The kind of database behind the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// SQLite in an embedded file.
    Sqlite,
    /// A PostgreSQL server.
    Postgres,
}

#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// The transaction runs alone among writers.
    Exclusive,
    /// The transaction runs beside other writers, if the backend can do that.
    Append,
    /// The transaction reads one state of the database.
    Snapshot,
}

/// A handle to a database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    backend: Backend,
    writers: AnyPool,
    readers: AnyPool,
    connect: AnyConnectOptions,
    durability: Durability,
    pub(crate) transaction_timeout: Duration,
    silence_timeout: Duration,
    /// Writers that wait to share a transaction. Only SQLite uses it.
    pub(crate) queue: Queue,
    /// Time of the last commit that wrote.
    committed: Mutex<Option<Instant>>,
    /// Path of the SQLite file.
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

        let readers = options.max_connections.get();
        let writers = if backend == Backend::Sqlite { 1 } else { readers };
        Ok(Self {
            inner: Arc::new(Inner {
                backend,
                writers: pool(options, backend, writers, Access::Exclusive)
                    .connect_lazy_with(connect.clone()),
                readers: pool(options, backend, readers, Access::Snapshot).connect_lazy_with(connect.clone()),
                connect,
                durability,
                transaction_timeout: limit,
                silence_timeout: silence,
                queue: Queue::default(),
                committed: Mutex::default(),
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
        self.inner.backend
    }

    /// Returns which failures an acknowledged commit survives, as it was when the database was
    /// opened.
    pub fn durability(&self) -> Durability {
        self.inner.durability
    }

    /// Returns the size of the database's files in bytes, including free space in them. For a
    /// SQLite file it returns `None`, because the caller can look at the disk itself.
    pub async fn size_on_server(&self) -> Result<Option<u64>, DatabaseError> {
        if self.inner.backend == Backend::Sqlite {
            return Ok(None);
        }
        let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
            .fetch_one(&self.inner.readers)
            .await?;
        Ok(Some(bytes.max(0).cast_unsigned()))
    }

    /// Returns the connections for single SELECT statements. They refuse to write.
    pub fn reads(&self) -> &AnyPool {
        &self.inner.readers
    }

    /// Runs `work` as the only writer. Commits its changes if it succeeds, and none of them if it
    /// fails. On SQLite, writers that wait at the same time share one commit, and none is told of
    /// success before it.
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

    /// Does what [`Database::transaction`] does, but on PostgreSQL beside other writers. It is for
    /// work whose result does not depend on rows that others may write meanwhile, such as adding
    /// rows under a new key.
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
        let inner = Arc::clone(&self.inner);
        let limit = inner.transaction_timeout;
        let whole = async move {
            let mut connection = inner.connect.connect().await.map_err(DatabaseError::from)?;
            configure(&mut connection, inner.backend, Access::Snapshot, inner.silence_timeout).await?;
            let mut transaction = begin(&mut connection, inner.backend, Access::Snapshot).await?;
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
        let _: i64 = sqlx::query_scalar("SELECT CAST(1 AS BIGINT)").fetch_one(&self.inner.readers).await?;
        Ok(())
    }

    /// Checks that the database accepts writes. Health checks call it. The call changes and commits
    /// a row, unless something was committed within the last 5 s.
    ///
    /// # Errors
    /// It returns the error of the write, or [`DatabaseError::NoWrite`] if the write took more than
    /// 10 s.
    pub async fn probe(&self) -> Result<(), DatabaseError> {
        let committed = *self.inner.committed.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.inner.readers.close().await;
        self.inner.writers.close().await;
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
        let inner = Arc::clone(&self.inner);
        if inner.backend == Backend::Sqlite && !matches!(access, Access::Snapshot) {
            return group::write(&inner, work).await;
        }
        let connection = inner.acquire(access).await?;
        let whole = async move { inner.run(connection, access, work).await }.in_current_span();
        let task = match self.inner.backend {
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

/// A pooled connection. Dropping it closes the connection, unless [`Held::give_back`] was called,
/// which says that it is in no transaction.
pub(crate) struct Held(Option<PoolConnection<Any>>);

impl Held {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        self.0.as_mut().expect("held until it is dropped")
    }

    pub(crate) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            // Neither this code nor the driver knows whether the connection is still in a
            // transaction: SQLite ends one by itself if the disk is full, and the driver could then
            // begin no other. Closing the connection discards everything that was not committed.
            drop(connection.detach());
        }
    }
}

impl Inner {
    /// Records that a commit happened just now.
    pub(crate) fn note_commit(&self) {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Takes a connection that is in no transaction from a pool.
    pub(crate) async fn acquire<E: From<DatabaseError>>(&self, access: Access) -> Result<Held, E> {
        let pool = if matches!(access, Access::Snapshot) { &self.readers } else { &self.writers };
        let connection = pool.acquire().await.map_err(|error| E::from(error.into()))?;
        Ok(Held(Some(connection)))
    }

    async fn run<T, E, F>(&self, mut held: Held, access: Access, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send,
        E: From<DatabaseError>,
    {
        let mut work = Some(work);
        let whole = async {
            loop {
                if let Some(value) = self.attempt(held, access, &mut work).await? {
                    return Ok(value);
                }
                held = self.acquire(access).await?;
            }
        };
        let limit = self.transaction_timeout;
        tokio::time::timeout(limit, whole)
            .await
            .unwrap_or_else(|_| Err(DatabaseError::Timeout { limit }.into()))
    }

    /// Does the work. If the connection turns out to be in a transaction already, does nothing,
    /// returns `None` and closes the connection.
    async fn attempt<T, E, F>(
        &self,
        mut held: Held,
        access: Access,
        work: &mut Option<F>,
    ) -> Result<Option<T>, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send,
        E: From<DatabaseError>,
    {
        let mut transaction = match begin(held.connection(), self.backend, access).await {
            Err(error) if is_in_transaction(&error) => return Ok(None),
            begun => begun?,
        };
        let Some(work) = work.take() else { return Err(DatabaseError::Closed.into()) };
        match work(&mut transaction).await {
            Ok(value) => {
                transaction.commit().await.map_err(DatabaseError::from)?;
                held.give_back();
                if !matches!(access, Access::Snapshot) {
                    self.note_commit();
                }
                Ok(Some(value))
            }
            Err(error) => {
                if transaction.rollback().await.is_ok() {
                    held.give_back();
                }
                Err(error)
            }
        }
    }
}

/// Returns whether the error of a BEGIN shows that the connection is in a transaction already. The
/// driver forgets a transaction whose BEGIN was cancelled on the way (sqlx issue 4385).
pub(crate) fn is_in_transaction(error: &DatabaseError) -> bool {
    let DatabaseError::Sql(sqlx::Error::Database(error)) = error else { return false };
    error.message().contains("within a transaction")
}

/// Opens a transaction during which no other writer runs.
pub(crate) async fn begin_exclusive(
    connection: &mut AnyConnection,
    backend: Backend,
) -> Result<Transaction<'_, Any>, DatabaseError> {
    begin(connection, backend, Access::Exclusive).await
}

pub(crate) async fn begin(
    connection: &mut AnyConnection,
    backend: Backend,
    access: Access,
) -> Result<Transaction<'_, Any>, DatabaseError> {
    let statement = match (backend, access) {
        // A deferred transaction that first reads and then writes fails if another process wrote in
        // between.
        (Backend::Sqlite, Access::Exclusive | Access::Append) => "BEGIN IMMEDIATE",
        (Backend::Sqlite, Access::Snapshot) => "BEGIN DEFERRED",
        // At this isolation level each statement after the lock sees everything that was committed
        // before the lock.
        (Backend::Postgres, Access::Exclusive | Access::Append) => "BEGIN ISOLATION LEVEL READ COMMITTED",
        (Backend::Postgres, Access::Snapshot) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    };
    let mut transaction = connection.begin_with(statement).await?;
    if matches!((backend, access), (Backend::Postgres, Access::Exclusive)) {
        postgres::become_only_writer(&mut transaction).await?;
    }
    Ok(transaction)
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

async fn configure(
    connection: &mut AnyConnection,
    backend: Backend,
    access: Access,
    silence_timeout: Duration,
) -> Result<(), DatabaseError> {
    match (backend, access) {
        (Backend::Sqlite, Access::Snapshot) => sqlite::configure_reader(connection).await,
        (Backend::Sqlite, _) => sqlite::configure_writer(connection).await,
        (Backend::Postgres, Access::Snapshot) => {
            postgres::configure_reader(connection, silence_timeout).await
        }
        (Backend::Postgres, _) => postgres::configure_writer(connection, silence_timeout).await,
    }
}

fn pool(options: &DatabaseOptions, backend: Backend, connections: u32, access: Access) -> AnyPoolOptions {
    let silence = options.silence_timeout;
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(options.acquire_timeout)
        // A file does not go away, and for a server `before_acquire` tests the connection.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                configure(connection, backend, access, silence).await.map_err(|error| match error {
                    DatabaseError::Sql(error) => error,
                    other => sqlx::Error::Configuration(Box::new(other)),
                })
            })
        });
    match backend {
        // Each transaction starts with a BEGIN, which fails if the connection is in a forgotten
        // transaction.
        Backend::Sqlite => pool.max_lifetime(None).idle_timeout(None),
        Backend::Postgres => {
            pool.before_acquire(move |connection, _| Box::pin(is_worth_keeping(connection, access)))
        }
    }
}

/// Returns whether a pooled connection may be used again: it is in no transaction, and its server
/// is the primary. A connection that does not answer within 3 s is discarded, so that old
/// connections to a dead server delay a failover only by seconds.
async fn is_worth_keeping(connection: &mut AnyConnection, access: Access) -> Result<bool, sqlx::Error> {
    let look = async {
        match access {
            Access::Snapshot => postgres::is_no_standby(connection).await,
            Access::Exclusive | Access::Append => postgres::takes_writes(connection).await,
        }
    };
    Ok(matches!(tokio::time::timeout(LOOK_LIMIT, look).await, Ok(Ok(true))))
}

#[cfg(test)]
#[path = "database_tests/mod.rs"]
mod tests;
