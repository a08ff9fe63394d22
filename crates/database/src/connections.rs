//! The pools of connections, and transactions on one connection.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool};
use tokio::time::Instant;

use crate::error::DatabaseError;
use crate::options::DatabaseOptions;
use crate::transaction::{Access, Backend, TransactionFuture, begin, is_in_transaction};
use crate::{postgres, sqlite};

/// How long a pooled connection may take to answer before it is discarded.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// The connections to one database.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) backend: Backend,
    pub(crate) writers: AnyPool,
    pub(crate) readers: AnyPool,
    /// The options with which a connection outside the pools is opened.
    pub(crate) options: AnyConnectOptions,
    pub(crate) transaction_timeout: Duration,
    pub(crate) silence_timeout: Duration,
    /// The time of the last commit that wrote.
    pub(crate) committed: Mutex<Option<Instant>>,
}

impl Connections {
    /// Prepares the pools. They connect when a connection is first needed.
    pub(crate) fn new(options: &DatabaseOptions, backend: Backend, connect: AnyConnectOptions) -> Self {
        let readers = options.max_connections.get();
        let writers = if backend == Backend::Sqlite { 1 } else { readers };
        Self {
            backend,
            writers: pool(options, backend, writers, Access::Exclusive).connect_lazy_with(connect.clone()),
            readers: pool(options, backend, readers, Access::Snapshot).connect_lazy_with(connect.clone()),
            options: connect,
            transaction_timeout: options.transaction_timeout,
            silence_timeout: options.silence_timeout,
            committed: Mutex::default(),
        }
    }

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

    /// Does work in a transaction of its own, within the time that a transaction may take.
    pub(crate) async fn run<T, E, F>(&self, mut held: Held, access: Access, work: F) -> Result<T, E>
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

/// Prepares a new connection for its use.
pub(crate) async fn configure(
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
        // A file does not disconnect, and for a server `before_acquire` tests the connection.
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
