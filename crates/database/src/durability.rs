//! The failures that a commit survives once a server has acknowledged it.

use std::fmt;

use sqlx::AnyConnection;
use tracing::{info, warn};

use crate::error::DatabaseError;

/// The places where an acknowledged commit is stored, according to the server's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A commit is on the disk of one machine, and no standby is known.
    OneServer,
    /// A commit is on the disk of one machine. Standbys get it later, so a failover may lose the
    /// latest commits.
    AsynchronousStandby,
    /// A commit is on the disks of the server and of as many standbys as it is configured to wait
    /// for.
    SynchronousStandby,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::OneServer => "one server",
            Durability::AsynchronousStandby => "asynchronous standby",
            Durability::SynchronousStandby => "synchronous standby",
        })
    }
}

/// Checks the server's settings. Refuses a server that could lose acknowledged commits in a crash,
/// or in a failover to a synchronous standby. Returns whether synchronous standbys are configured.
pub(crate) async fn check(connection: &mut AnyConnection) -> Result<bool, DatabaseError> {
    let mut synchronous_commit = String::new();
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let value: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&mut *connection)
            .await?;
        if value == "off" {
            return Err(DatabaseError::NotDurable { setting, value });
        }
        synchronous_commit = value;
    }
    // Servers that are only compatible with PostgreSQL may not have this setting.
    let standbys: Option<String> =
        sqlx::query_scalar("SELECT current_setting('synchronous_standby_names', true)")
            .fetch_one(&mut *connection)
            .await?;
    let standbys = standbys.unwrap_or_default();
    // Without standbys, all values other than "off" mean that a commit is on this server's disk.
    // With standbys, these two values acknowledge a commit before a standby has it on disk.
    if !standbys.is_empty() && matches!(synchronous_commit.as_str(), "local" | "remote_write") {
        return Err(DatabaseError::NotOnStandby { value: synchronous_commit, standbys });
    }
    Ok(!standbys.is_empty())
}

/// Checks the settings and logs once what a failover would do to commits.
pub(crate) async fn tell(connection: &mut AnyConnection) -> Result<Durability, DatabaseError> {
    if check(connection).await? {
        info!("PostgreSQL: a commit waits until a synchronous standby has it, too");
        return Ok(Durability::SynchronousStandby);
    }
    // All roles can see that there are standbys, but not their names. Servers that are only
    // compatible with PostgreSQL may not have this view.
    let followers =
        sqlx::query_scalar("SELECT count(*) FROM pg_stat_replication").fetch_one(connection).await;
    match followers {
        Ok(0_i64) | Err(_) => Ok(Durability::OneServer),
        Ok(followers) => {
            warn!(
                followers,
                "PostgreSQL: standbys follow asynchronously, synchronous_standby_names is not set: a failover may lose the \
                 latest commits, which is as if an older backup had been restored"
            );
            Ok(Durability::AsynchronousStandby)
        }
    }
}
