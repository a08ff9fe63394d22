//! The errors of a database, with a class that says how to react.

use std::time::Duration;

use thiserror::Error;

/// The reaction that a failure calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// A later attempt may succeed: the database is busy, disconnected, or out of space or time.
    Retryable,
    /// Another attempt will fail too: the configuration, the schema or a statement is wrong.
    Fatal,
    /// The content of the database is not what was written.
    Corrupt,
}

/// An error of the database.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The driver or the server reported an error.
    #[error("database: {}", said(.0))]
    Sql(#[from] sqlx::Error),
    /// A transaction took too long and its connection was closed. If its commit had begun, its
    /// outcome is unknown.
    #[error("database: a transaction took more than {limit:?} and was abandoned")]
    Timeout {
        /// The longest time that a transaction may take.
        limit: Duration,
    },
    /// A transaction that several writers shared was lost.
    #[error("database: a transaction that several writers shared was lost: {}", problem.as_deref().unwrap_or("one of them broke it"))]
    Group {
        /// The class of the cause.
        class: ErrorClass,
        /// The error of its commit, if it got that far.
        problem: Option<String>,
    },
    /// The process is stopping.
    #[error("database: closed")]
    Closed,
    /// The password file or the SQLite file cannot be used.
    #[error("database: {0}")]
    Secret(#[from] dac_secrets::SecretFileError),
    /// The SQLite file cannot be created or opened.
    #[error("database file {path}: {source}")]
    File {
        /// The path of the file.
        path: std::path::PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The server's settings allow acknowledged data to be lost in a power cut.
    #[error(
        "the PostgreSQL server runs with {setting} = {value}: acknowledged data would not survive a crash; set it to on"
    )]
    NotDurable {
        /// The name of the server setting.
        setting: &'static str,
        /// The value of the setting.
        value: String,
    },
    /// The server's settings allow acknowledged data to be lost in a failover to a configured
    /// standby.
    #[error(
        "the PostgreSQL server has synchronous_standby_names = '{standbys}' but synchronous_commit = {value}: a failover could \
         lose acknowledged data; set it to on, for this user: ALTER ROLE … SET synchronous_commit = on"
    )]
    NotOnStandby {
        /// The value of synchronous_commit.
        value: String,
        /// The value of synchronous_standby_names.
        standbys: String,
    },
    /// The server answers but accepts no writes, as a former primary does after a failover.
    #[error(
        "the PostgreSQL server takes no writes: it is a standby, or default_transaction_read_only is on for this role; \
         the database's URL must name the server that is the primary"
    )]
    ReadOnly,
    /// The database answers reads but accepted no write in time.
    #[error("the database took no write within {limit:?}")]
    NoWrite {
        /// The longest time that the write may take.
        limit: Duration,
    },
    /// SQLite did not accept a pragma.
    #[error("SQLite answered {got} to PRAGMA {pragma} = {wanted}")]
    Pragma {
        /// The name of the pragma.
        pragma: &'static str,
        /// The value that was set.
        wanted: &'static str,
        /// The value that was read back.
        got: String,
    },
    /// The database was written by a later version of this program.
    #[error(
        "the database has schema version {found}, this program knows up to {known}: it was opened by a newer version"
    )]
    SchemaTooNew {
        /// The schema version of the database.
        found: i64,
        /// The latest schema version that this program knows.
        known: i64,
    },
    /// The database's schema belongs to a different program.
    #[error("the database's schema is not this program's: migration {version} {problem}")]
    SchemaForeign {
        /// The version of the migration that does not match.
        version: i64,
        /// How the migration differs.
        problem: &'static str,
    },
    /// A migration failed.
    #[error("migrating the database: {}", of_migration(.0))]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The role may not create tables. Since PostgreSQL 15, only the owner of a database may do so
    /// in its schema `public`.
    #[error(
        "migrating the database: {said}: as the database's owner, run `GRANT USAGE, CREATE ON SCHEMA public TO ROLE`, or \
         `CREATE SCHEMA NAME AUTHORIZATION ROLE` and add `?options[search_path]=NAME` to the database's URL"
    )]
    NoRights {
        /// The message of the server.
        said: String,
    },
    /// The data belongs to a different chain, registry or key than the configured one.
    #[error("this database belongs to {name} {stored}, the configuration says {given}")]
    Identity {
        /// The name of the value that differs, for example "registry".
        name: String,
        /// The value that the database is bound to.
        stored: String,
        /// The value in the configuration.
        given: String,
    },
    /// Another process uses the SQLite file.
    #[error("database file {path} is in use by {holder}: one file serves one process at a time")]
    FileInUse {
        /// The path of the file.
        path: std::path::PathBuf,
        /// The name that the other process gave.
        holder: String,
    },
    /// The lease is held.
    #[error("lease {name} is held by {holder}, for {left:?} unless it is renewed")]
    LeaseHeld {
        /// The name of the lease.
        name: String,
        /// The name that the holder gave.
        holder: String,
        /// The time until the lease runs out.
        left: Duration,
    },
    /// The lease was released, or another holder took it.
    #[error("lease {name} is no longer held by {holder}")]
    LeaseLost {
        /// The name of the lease.
        name: String,
        /// The name of the holder that lost it.
        holder: String,
    },
    /// A row has a value that this program never writes.
    #[error("corrupt row: {what}")]
    Corrupt {
        /// Which value is wrong, and why.
        what: String,
    },
}

impl DatabaseError {
    /// Returns the reaction that this error calls for.
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

    /// Returns whether the statement met data that the database cannot read, because the disk lost
    /// or damaged it. Other rows may still be readable.
    pub fn is_unreadable(&self) -> bool {
        let DatabaseError::Sql(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| is_code_of_unreadable(&code))
    }

    /// Returns whether the statement violated a uniqueness or other constraint.
    pub fn is_constraint_violation(&self) -> bool {
        use sqlx::error::ErrorKind::{
            CheckViolation, ForeignKeyViolation, NotNullViolation, UniqueViolation,
        };
        matches!(self, DatabaseError::Sql(sqlx::Error::Database(error)) if matches!(
            error.kind(), UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation
        ))
    }
}

/// Returns a server's message without the line of its source code that the driver adds.
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
        // SQLite's codes IOERR_READ, IOERR_SHORT_READ, IOERR_DATA and IOERR_CORRUPTFS, and all
        // kinds of CORRUPT.
        Ok(number) if code.len() < 5 => matches!(number, 266 | 522 | 8202 | 8458) || number & 0xff == 11,
        // PostgreSQL's codes for corrupted data, for a corrupted index, and for a failed read.
        _ => matches!(code, "XX001" | "XX002" | "58030"),
    }
}

/// Classifies an error code. PostgreSQL's codes have five characters; SQLite's are numbers whose
/// low byte is the primary code.
fn class_of_code(code: &str) -> ErrorClass {
    match code.parse::<i64>() {
        Ok(number) if code.len() < 5 => match number & 0xff {
            // SQLite's BUSY, LOCKED, NOMEM, INTERRUPT, IOERR and FULL.
            5 | 6 | 7 | 9 | 10 | 13 => ErrorClass::Retryable,
            // SQLite's CORRUPT and NOTADB.
            11 | 26 => ErrorClass::Corrupt,
            _ => ErrorClass::Fatal,
        },
        _ => match code.get(..2) {
            // PostgreSQL's classes for connections, transaction rollbacks, insufficient resources,
            // operator intervention (which includes shutdowns) and system errors.
            Some("08" | "40" | "53" | "57" | "58") => ErrorClass::Retryable,
            // A lock was not available.
            Some("55") if code == "55P03" => ErrorClass::Retryable,
            // A transaction was silent for too long, or the server was demoted. The pool discards
            // connections to a demoted server when they are next used.
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
