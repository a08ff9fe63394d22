//! The handle: opening, reading, and transactions that outlive whoever asked for them.

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

/// A statement that takes longer is logged.
const SLOW_STATEMENT: Duration = Duration::from_secs(5);

/// How long a pooled connection may take to say that it is alive.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// A commit as recent as this shows that the database takes writes.
const COMMIT_IS_RECENT: Duration = Duration::from_secs(5);
/// How long a write that is made to see whether the database takes any may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// How long a process that is about to end is waited for where it has the file.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What a transaction's closure returns: `Box::pin(async move { … })`.
pub type TransactionFuture<'t, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 't>>;

/// Which database stands behind the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// An embedded file.
    Sqlite,
    /// A server.
    Postgres,
}

#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Alone among writers.
    Exclusive,
    /// Beside other writers, where the backend can.
    Append,
    /// Reading one state.
    Snapshot,
}

/// A database. Clones share its connections.
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
    /// Who waits to write, where writers share transactions.
    pub(crate) queue: Queue,
    /// When something was committed last.
    committed: Mutex<Option<Instant>>,
    /// Where it is a file.
    path: Option<PathBuf>,
    /// The file is this process's alone while this is there.
    lock: Mutex<Option<File>>,
}

impl Database {
    /// Opens it, refuses settings under which data could be lost, and brings its schema up to date.
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

        // On a connection of its own, so that errors keep their type and the migrator's lock ends with it.
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

    /// SQLite or PostgreSQL.
    pub fn backend(&self) -> Backend {
        self.inner.backend
    }

    /// Where a commit was once it was acknowledged, as of when this was opened.
    pub fn durability(&self) -> Durability {
        self.inner.durability
    }

    /// Bytes of the database's files, free space in them included. Of a SQLite file nothing is told: its disk can be looked at.
    pub async fn size_on_server(&self) -> Result<Option<u64>, DatabaseError> {
        if self.inner.backend == Backend::Sqlite {
            return Ok(None);
        }
        let bytes: i64 = sqlx::query_scalar("SELECT pg_database_size(current_database())")
            .fetch_one(&self.inner.readers)
            .await?;
        Ok(Some(bytes.max(0).cast_unsigned()))
    }

    /// Connections for single SELECTs. They refuse to write.
    pub fn reads(&self) -> &AnyPool {
        &self.inner.readers
    }

    /// Runs `work` as the only writer and commits what it did, or nothing of it where it fails. On SQLite writers that wait at the same
    /// time share one commit; none is told of success before.
    ///
    /// It runs in a task of its own: a caller that goes away neither stops it half-way nor leaves its connection in a
    /// transaction, in which later writes would be acknowledged and then lost. So it may commit after its caller has gone.
    pub async fn transaction<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.run(Access::Exclusive, work).await
    }

    /// Like [`Database::transaction`], beside other writers on PostgreSQL: for work whose result does not depend on rows
    /// that others may write meanwhile, such as adding rows under a new key.
    pub async fn append<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.run(Access::Append, work).await
    }

    /// Several SELECTs of one state of the database.
    pub async fn snapshot<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<DatabaseError> + Send + 'static,
    {
        self.run(Access::Snapshot, work).await
    }

    /// Several SELECTs of one state of the database over a connection that is opened for them and closed again: what a transaction
    /// whose outcome is not known came to is not to be learnt from pooled connections, which may have seen the server fail.
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

    /// On SQLite: keeps other processes that ask for the same from this file until it is closed, and ends the leases of
    /// former ones. `holder` is what they are told. On PostgreSQL nothing: processes share it by leases.
    ///
    /// # Errors
    /// [`DatabaseError::FileInUse`] where another process has the file and does not end within a short time.
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

    /// Whether it answers, for health checks.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        let _: i64 = sqlx::query_scalar("SELECT CAST(1 AS BIGINT)").fetch_one(&self.inner.readers).await?;
        Ok(())
    }

    /// Whether it takes writes, for health checks: a row is changed and committed, unless something was committed within
    /// the last five seconds.
    ///
    /// # Errors
    /// What the write met, or [`DatabaseError::NoWrite`] where it took too long.
    pub async fn probe(&self) -> Result<(), DatabaseError> {
        let committed = *self.inner.committed.lock().unwrap_or_else(PoisonError::into_inner);
        if committed.is_some_and(|committed| committed.elapsed() < COMMIT_IS_RECENT) {
            return self.ping().await;
        }
        // A lease that nobody holds or asks for.
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

    /// Waits for transactions under way and closes all connections.
    pub async fn close(&self) {
        self.inner.readers.close().await;
        self.inner.writers.close().await;
        self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Writers that wait in the queue of a SQLite file.
    #[cfg(test)]
    pub(crate) fn waiting_writers(&self) -> usize {
        self.inner.queue.len()
    }

    /// Whether somebody serves that queue.
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
            // Its statements are done by another thread, one after the other: handing them over and back costs a thread of our own much
            // less than a task of the runtime, which is woken for each through the runtime's queues.
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

/// A pooled connection that is closed when it is dropped, unless [`Held::give_back`] says that it is in no transaction.
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
            // Whether it is still in a transaction, neither it nor the driver knows: SQLite ends one by itself when the disk is full,
            // and the driver would begin none any more. What was not committed ends with the connection.
            drop(connection.detach());
        }
    }
}

impl Inner {
    /// Something was committed just now.
    pub(crate) fn note_commit(&self) {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// A connection that is in no transaction.
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

    /// Does the work, unless the connection turns out to be in a transaction already: then nothing, and it is closed.
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

/// The driver forgets a transaction whose BEGIN was cancelled under way (sqlx issue 4385); the next BEGIN tells.
pub(crate) fn is_in_transaction(error: &DatabaseError) -> bool {
    let DatabaseError::Sql(sqlx::Error::Database(error)) = error else { return false };
    error.message().contains("within a transaction")
}

/// Opens a transaction that no other writer runs beside.
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
        // A deferred transaction that reads and then writes fails where another process wrote in between.
        (Backend::Sqlite, Access::Exclusive | Access::Append) => "BEGIN IMMEDIATE",
        (Backend::Sqlite, Access::Snapshot) => "BEGIN DEFERRED",
        // Read committed: the lock comes first, and each statement after it sees what was committed before it.
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
        // A file does not go away, and with a server `before_acquire` talks.
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
        // Each transaction begins with a BEGIN that tells of a forgotten one.
        Backend::Sqlite => pool.max_lifetime(None).idle_timeout(None),
        Backend::Postgres => {
            pool.before_acquire(move |connection, _| Box::pin(is_worth_keeping(connection, access)))
        }
    }
}

/// Whether a pooled connection may be used once more: it is in no transaction, and its server is the primary. One that
/// does not answer at once is thrown away, so that the connections to a server that has gone cost a failover seconds.
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
#[path = "database_tests.rs"]
mod tests;
