//! How a transaction begins on each kind of database.

use std::future::Future;
use std::pin::Pin;

use sqlx::{Any, AnyConnection, Connection, Transaction};

use crate::error::DatabaseError;
use crate::postgres;

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

/// What a transaction may do.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// The transaction runs alone among writers.
    Exclusive,
    /// The transaction runs beside other writers, if the backend can do that.
    Append,
    /// The transaction reads one state of the database.
    Snapshot,
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
