//! PostgreSQL: refused where it would acknowledge what a crash can take away.

use std::time::Duration;

use dac_secrets::Password;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Row};
use tracing::warn;
use url::Url;

use crate::durability;
use crate::error::DatabaseError;

/// The URL with its password, for the driver.
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

/// Settings of a connection that writes.
pub(crate) async fn configure_writer(
    connection: &mut AnyConnection,
    silence_timeout: Duration,
) -> Result<(), DatabaseError> {
    // A ROLLBACK outside of a transaction, which the pool sends before each use, would be warned about each time.
    sqlx::raw_sql("SET client_min_messages TO error").execute(&mut *connection).await?;
    limit_silence(connection, silence_timeout).await?;
    if !takes_writes(connection).await? {
        return Err(DatabaseError::ReadOnly);
    }
    durability::check(connection).await.map(drop)
}

/// Ends a transaction that the driver has forgotten, in which the next user's writes would vanish, and says whether the
/// server takes writes. A server that was demoted by a failover answers reads for ever: its connections must not stay.
pub(crate) async fn takes_writes(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    // All rows of both statements: for one row alone the driver looks at the first statement only.
    let rows = sqlx::raw_sql("ROLLBACK; SHOW transaction_read_only").fetch_all(connection).await?;
    let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
    Ok(row.try_get::<String, _>(0)? == "off")
}

/// The same for a connection that reads, whose own transactions are read-only: a standby begins none that writes.
pub(crate) async fn is_no_standby(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    Ok(sqlx::raw_sql("ROLLBACK; BEGIN READ WRITE; ROLLBACK").execute(connection).await.is_ok())
}

/// Settings of a connection that reads.
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

/// Between two statements of a transaction. A process that stands still, or a machine that is gone without a word, would else keep the
/// only writer's lock, and with it every other process, until it comes back or the server's TCP gives it up, hours later.
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
    // 0x646163 is "dac"; schemas of one database do not wait for each other.
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
