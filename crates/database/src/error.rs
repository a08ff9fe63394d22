//! What can go wrong with a database, and what to do about it.

use std::time::Duration;

use thiserror::Error;

/// What a failure calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Trying again later may help: busy, disconnected, out of space or of time.
    Retryable,
    /// Trying again will not help: configuration, schema, a fault in a statement.
    Fatal,
    /// What stands in the database is not what was written.
    Corrupt,
}

/// A failure of the database.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The driver or the server said so.
    #[error("database: {}", said(.0))]
    Sql(#[from] sqlx::Error),
    /// A transaction took too long and its connection was closed. Whether a commit under way took place is not known.
    #[error("database: a transaction took more than {limit:?} and was abandoned")]
    Timeout {
        /// The bound.
        limit: Duration,
    },
    /// Writers that shared a transaction lost it.
    #[error("database: a transaction that several writers shared was lost: {}", problem.as_deref().unwrap_or("one of them broke it"))]
    Group {
        /// What follows from it.
        class: ErrorClass,
        /// What its commit met, where it came so far.
        problem: Option<String>,
    },
    /// The process is stopping.
    #[error("database: closed")]
    Closed,
    /// The password file, or the SQLite file, cannot be used.
    #[error("database: {0}")]
    Secret(#[from] dac_secrets::SecretFileError),
    /// The SQLite file cannot be created or opened.
    #[error("database file {path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was acknowledged would not survive a power cut.
    #[error(
        "the PostgreSQL server runs with {setting} = {value}: acknowledged data would not survive a crash; set it to on"
    )]
    NotDurable {
        /// A server setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// What was acknowledged would not survive a failover to the standbys that are configured.
    #[error(
        "the PostgreSQL server has synchronous_standby_names = '{standbys}' but synchronous_commit = {value}: a failover could \
         lose acknowledged data; set it to on, for this user: ALTER ROLE … SET synchronous_commit = on"
    )]
    NotOnStandby {
        /// Of synchronous_commit.
        value: String,
        /// Of synchronous_standby_names.
        standbys: String,
    },
    /// The server answers, and takes no writes: after a failover it is the one that was demoted.
    #[error(
        "the PostgreSQL server takes no writes: it is a standby, or default_transaction_read_only is on for this role; \
         the database's URL must name the server that is the primary"
    )]
    ReadOnly,
    /// The database has answered reads, and taken no write within this time.
    #[error("the database took no write within {limit:?}")]
    NoWrite {
        /// The bound.
        limit: Duration,
    },
    /// SQLite did not take a pragma.
    #[error("SQLite answered {got} to PRAGMA {pragma} = {wanted}")]
    Pragma {
        /// The pragma.
        pragma: &'static str,
        /// Value set.
        wanted: &'static str,
        /// Value read back.
        got: String,
    },
    /// Written by a later version of this program.
    #[error(
        "the database has schema version {found}, this program knows up to {known}: it was opened by a newer version"
    )]
    SchemaTooNew {
        /// Version in the database.
        found: i64,
        /// Last version of this program.
        known: i64,
    },
    /// Not this program's database.
    #[error("the database's schema is not this program's: migration {version} {problem}")]
    SchemaForeign {
        /// A migration.
        version: i64,
        /// What is the matter with it.
        problem: &'static str,
    },
    /// A migration did not run.
    #[error("migrating the database: {}", of_migration(.0))]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// This role may not make tables: since PostgreSQL 15 only a database's owner may in its schema `public`.
    #[error(
        "migrating the database: {said}: as the database's owner, run `GRANT USAGE, CREATE ON SCHEMA public TO ROLE`, or \
         `CREATE SCHEMA NAME AUTHORIZATION ROLE` and add `?options[search_path]=NAME` to the database's URL"
    )]
    NoRights {
        /// What the server said.
        said: String,
    },
    /// The data belongs to somebody or somewhere else.
    #[error("this database belongs to {name} {stored}, the configuration says {given}")]
    Identity {
        /// What was bound.
        name: String,
        /// To what.
        stored: String,
        /// What was to be bound now.
        given: String,
    },
    /// The SQLite file is in use.
    #[error("database file {path} is in use by {holder}: one file serves one process at a time")]
    FileInUse {
        /// The file.
        path: std::path::PathBuf,
        /// Who has it.
        holder: String,
    },
    /// Somebody holds the lease.
    #[error("lease {name} is held by {holder}, for {left:?} unless it is renewed")]
    LeaseHeld {
        /// What it is for.
        name: String,
        /// Who has it.
        holder: String,
        /// Until it runs out.
        left: Duration,
    },
    /// The lease is somebody else's now, or nobody's.
    #[error("lease {name} is no longer held by {holder}")]
    LeaseLost {
        /// What it is for.
        name: String,
        /// Who had it.
        holder: String,
    },
    /// A value that no writer of ours writes.
    #[error("corrupt row: {what}")]
    Corrupt {
        /// Which, and why.
        what: String,
    },
}

impl DatabaseError {
    /// What to do about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Group { class, .. } => *class,
            DatabaseError::Sql(error) => class_of(error),
            DatabaseError::Timeout { .. }
            | DatabaseError::Closed
            | DatabaseError::LeaseHeld { .. }
            | DatabaseError::ReadOnly
            | DatabaseError::NoWrite { .. } => ErrorClass::Retryable,
            DatabaseError::Migration(sqlx::migrate::MigrateError::Execute(error)) => class_of(error),
            DatabaseError::Corrupt { .. } => ErrorClass::Corrupt,
            _ => ErrorClass::Fatal,
        }
    }

    /// Whether the statement met something that the database cannot read, be it that the disk has lost it or that it makes no sense:
    /// other rows may well be readable.
    pub fn is_unreadable(&self) -> bool {
        let DatabaseError::Sql(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| is_code_of_unreadable(&code))
    }

    /// A uniqueness or other constraint was violated by the statement.
    pub fn is_constraint_violation(&self) -> bool {
        use sqlx::error::ErrorKind::{
            CheckViolation, ForeignKeyViolation, NotNullViolation, UniqueViolation,
        };
        matches!(self, DatabaseError::Sql(sqlx::Error::Database(error)) if matches!(
            error.kind(), UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation
        ))
    }
}

/// What a server said, without the line of its own source that the driver adds.
pub(crate) fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

fn of_migration(error: &sqlx::migrate::MigrateError) -> String {
    match error {
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => said(error),
        other => other.to_string(),
    }
}

fn class_of(error: &sqlx::Error) -> ErrorClass {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => ErrorClass::Retryable,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => ErrorClass::Corrupt,
        sqlx::Error::Database(error) => error.code().map_or(ErrorClass::Fatal, |code| class_of_code(&code)),
        _ => ErrorClass::Fatal,
    }
}

fn is_code_of_unreadable(code: &str) -> bool {
    match code.parse::<i64>() {
        // IOERR_READ, IOERR_SHORT_READ, IOERR_DATA, IOERR_CORRUPTFS; all kinds of CORRUPT
        Ok(number) if code.len() < 5 => matches!(number, 266 | 522 | 8202 | 8458) || number & 0xff == 11,
        // Data or an index is corrupted; a read failed.
        _ => matches!(code, "XX001" | "XX002" | "58030"),
    }
}

/// PostgreSQL's codes have five characters, SQLite's are numbers whose low byte is the primary code.
fn class_of_code(code: &str) -> ErrorClass {
    match code.parse::<i64>() {
        Ok(number) if code.len() < 5 => match number & 0xff {
            // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL
            5 | 6 | 7 | 9 | 10 | 13 => ErrorClass::Retryable,
            // CORRUPT, NOTADB
            11 | 26 => ErrorClass::Corrupt,
            _ => ErrorClass::Fatal,
        },
        _ => match code.get(..2) {
            // Connection, transaction rollback, insufficient resources, operator intervention, system error, locks.
            Some("08" | "40" | "53" | "57" | "58") => ErrorClass::Retryable,
            Some("55") if code == "55P03" => ErrorClass::Retryable,
            // A transaction that fell silent; a server that was demoted, which its next user finds out and leaves.
            Some("25") if matches!(code, "25P03" | "25006") => ErrorClass::Retryable,
            Some("XX") if code != "XX000" => ErrorClass::Corrupt,
            _ => ErrorClass::Fatal,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unreadable_is_told_from_what_is_busy_or_full() {
        for code in ["11", "779", "266", "522", "8202", "8458", "XX001", "XX002", "58030"] {
            assert!(is_code_of_unreadable(code), "{code}");
        }
        for code in ["5", "10", "13", "26", "778", "53100", "57P01", "XX000", "08006", "23505"] {
            assert!(!is_code_of_unreadable(code), "{code}");
        }
    }

    #[test]
    fn codes_of_both_backends_are_classified() {
        use ErrorClass::{Corrupt, Fatal, Retryable};
        let table = [
            ("5", Retryable),     // SQLITE_BUSY
            ("261", Retryable),   // SQLITE_BUSY_RECOVERY
            ("13", Retryable),    // SQLITE_FULL
            ("11", Corrupt),      // SQLITE_CORRUPT
            ("26", Corrupt),      // SQLITE_NOTADB
            ("1", Fatal),         // SQLITE_ERROR
            ("2067", Fatal),      // SQLITE_CONSTRAINT_UNIQUE
            ("40001", Retryable), // serialization failure
            ("40P01", Retryable), // deadlock
            ("53100", Retryable), // disk full
            ("57P01", Retryable), // admin shutdown
            ("25006", Retryable), // the server was demoted
            ("08006", Retryable), // connection failure
            ("XX001", Corrupt),   // data corrupted
            ("23505", Fatal),     // unique violation
            ("42601", Fatal),     // syntax error
        ];
        for (code, class) in table {
            assert_eq!(class_of_code(code), class, "{code}");
        }
    }
}
