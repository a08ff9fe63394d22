//! What a commit that a server acknowledges has survived.

use std::fmt;

use sqlx::AnyConnection;
use tracing::{info, warn};

use crate::error::DatabaseError;

/// Where a commit is once it is acknowledged, by the server's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On the disk of one machine; no other follows it that is known of.
    OneServer,
    /// On the disk of one machine; others follow it some time later, so that a failover may lose the latest.
    AsynchronousStandby,
    /// On the disks of the server and of as many standbys as it is set to wait for.
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

/// Refuses a server that would acknowledge what a crash can take away, or a failover to a standby that commits are to wait for. Returns
/// whether it has such standbys.
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
    // Compatible servers may not know it.
    let standbys: Option<String> =
        sqlx::query_scalar("SELECT current_setting('synchronous_standby_names', true)")
            .fetch_one(&mut *connection)
            .await?;
    let standbys = standbys.unwrap_or_default();
    // Without standbys all forms of "on" are the same: on this server's disk. With them these two answer before a standby has it on its.
    if !standbys.is_empty() && matches!(synchronous_commit.as_str(), "local" | "remote_write") {
        return Err(DatabaseError::NotOnStandby { value: synchronous_commit, standbys });
    }
    Ok(!standbys.is_empty())
}

/// Says once what a failover would mean.
pub(crate) async fn tell(connection: &mut AnyConnection) -> Result<Durability, DatabaseError> {
    if check(connection).await? {
        info!("PostgreSQL: a commit waits until a synchronous standby has it, too");
        return Ok(Durability::SynchronousStandby);
    }
    // What follows is seen by anybody, its name not. Compatible servers may not have this view.
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
