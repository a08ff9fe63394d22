//! Connections to PostgreSQL, which are refused if the server could lose acknowledged data in a
//! crash.

use std::time::Duration;

use dac_secrets::Password;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Row};
use tracing::warn;
use url::Url;

use crate::durability;
use crate::error::DatabaseError;

/// Makes the driver's options from the URL and the password.
pub(crate) fn connect_options(
    url: &Url,
    password: Option<&Password>,
) -> Result<AnyConnectOptions, DatabaseError> {
    let mut url = url.clone();
    if let Some(password) = password {
        url.set_password(Some(password.expose()))
            .map_err(|()| sqlx::Error::Configuration("this URL cannot hold a password".into()))?;
    }
    warn_where_not_encrypted(&url);
    Ok(AnyConnectOptions::from_url(&url)?)
}

/// Prepares a connection that writes.
pub(crate) async fn configure_writer(
    connection: &mut AnyConnection,
    silence_timeout: Duration,
) -> Result<(), DatabaseError> {
    // The pool sends a ROLLBACK outside of a transaction before each use. Without this setting,
    // each causes a warning.
    sqlx::raw_sql("SET client_min_messages TO error").execute(&mut *connection).await?;
    limit_silence(connection, silence_timeout).await?;
    if !takes_writes(connection).await? {
        return Err(DatabaseError::ReadOnly);
    }
    durability::check(connection).await.map(drop)
}

/// Ends a transaction that the driver has forgotten, in which later writes would be lost. Returns
/// whether the server accepts writes. A server that was demoted by a failover still answers reads,
/// so its connections must be discarded.
pub(crate) async fn takes_writes(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    // This fetches all rows of both statements; for a single row the driver looks only at the first
    // statement.
    let rows = sqlx::raw_sql("ROLLBACK; SHOW transaction_read_only").fetch_all(connection).await?;
    let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.try_get::<String, _>(0)? == "off")
}

/// Does the same for a connection that reads. Its own transactions are read-only, so this tries to
/// begin one that writes, which a standby refuses.
pub(crate) async fn is_no_standby(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    Ok(sqlx::raw_sql("ROLLBACK; BEGIN READ WRITE; ROLLBACK").execute(connection).await.is_ok())
}

/// Prepares a connection that reads.
pub(crate) async fn configure_reader(
    connection: &mut AnyConnection,
    silence_timeout: Duration,
) -> Result<(), DatabaseError> {
    sqlx::raw_sql("SET client_min_messages TO error; SET default_transaction_read_only TO on")
        .execute(&mut *connection)
        .await?;
    if !is_no_standby(connection).await? {
        return Err(DatabaseError::ReadOnly);
    }
    limit_silence(connection, silence_timeout).await
}

/// Limits the time between two statements of a transaction. Otherwise a process that is stopped, or
/// a machine that disappeared, would keep the only writer's lock and block every other process
/// until it comes back or the server's TCP connection times out, hours later.
async fn limit_silence(
    connection: &mut AnyConnection,
    silence_timeout: Duration,
) -> Result<(), DatabaseError> {
    let milliseconds = silence_timeout.as_millis();
    let statement = format!("SET idle_in_transaction_session_timeout TO {milliseconds}");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?;
    Ok(())
}

/// Waits until no other transaction of [`crate::Database::transaction`] runs in this schema.
pub(crate) async fn become_only_writer(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    // 6578531 is 0x646163, "dac". The schema is part of the key, so that schemas do not wait for
    // each other.
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(6578531, hashtext(current_schema()))")
        .execute(connection)
        .await?;
    Ok(())
}

fn warn_where_not_encrypted(url: &Url) {
    let parameter = |wanted: &str| url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let host =
        parameter("host").map_or_else(|| url.host_str().unwrap_or("").to_owned(), |host| host.into_owned());
    let local = host.is_empty()
        || host.starts_with('/')
        || host.starts_with("%2F")
        || host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let encrypted = matches!(parameter("sslmode").as_deref(), Some("require" | "verify-ca" | "verify-full"));
    if !local && !encrypted {
        warn!(host, "the connection to PostgreSQL may go unencrypted: add sslmode=verify-full to its URL");
    }
}
