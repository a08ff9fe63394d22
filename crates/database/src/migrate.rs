//! Schema versions. sqlx's migrator keeps track of them; this module translates the text and the
//! errors.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, MigrationType, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe, SqlSafeStr};

use crate::error::{DatabaseError, said};
use crate::transaction::{Backend, begin_exclusive as begin};

/// One step of a schema. It is never changed after its release.
///
/// The text is PostgreSQL's. For SQLite, `BIGINT` becomes INTEGER, `BYTEA` becomes BLOB, and tables
/// whose definition ends with `);` on a separate line become STRICT, so that both backends refuse
/// values of the wrong type.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The version, from 1 upwards. Lists of several crates in one database use separate ranges.
    pub version: i64,
    /// A description of a few words.
    pub name: &'static str,
    /// The statements. All migrations that are due run in one transaction.
    pub sql: &'static str,
}

/// The tables of this crate itself. Their versions go from 0 downwards.
const OWN: [Migration; 2] = [
    Migration { version: 0, name: "identity", sql: include_str!("../migrations/0000_identity.sql") },
    Migration { version: -1, name: "leases", sql: include_str!("../migrations/leases.sql") },
];

impl Migration {
    fn text(&self, backend: Backend) -> String {
        match backend {
            Backend::Postgres => self.sql.to_owned(),
            Backend::Sqlite => {
                self.sql.replace("BIGINT", "INTEGER").replace("BYTEA", "BLOB").replace("\n);", "\n) STRICT;")
            }
        }
    }
}

/// Brings the schema up to date, or returns the reason why it cannot.
pub(crate) async fn run(
    connection: &mut AnyConnection,
    backend: Backend,
    migrations: &[Migration],
) -> Result<(), DatabaseError> {
    let mut all: Vec<_> = OWN.iter().chain(migrations).copied().collect();
    all.sort_by_key(|migration| migration.version);
    if let Some(pair) = all.windows(2).find(|pair| pair[0].version == pair[1].version) {
        return Err(DatabaseError::SchemaForeign { version: pair[0].version, problem: "occurs twice" });
    }
    let known = all.last().map_or(0, |migration| migration.version);
    let migrations = all
        .iter()
        .map(|migration| {
            sqlx::migrate::Migration::new(
                migration.version,
                Cow::Borrowed(migration.name),
                MigrationType::Simple,
                AssertSqlSafe(migration.text(backend)).into_sql_str(),
                false,
            )
        })
        .collect();
    // All run in one exclusive transaction: a program that starts at the same time waits and then
    // finds nothing to do.
    let mut transaction = begin(connection, backend).await?;
    let mut migrator = Migrator::with_migrations(migrations);
    migrator.set_locking(false);
    let result = migrator.run_direct(None, &mut *transaction, false).await;
    if result.is_ok() {
        transaction.commit().await?;
    }
    result.map_err(|error| match error {
        MigrateError::VersionMissing(found) if found > known => DatabaseError::SchemaTooNew { found, known },
        MigrateError::VersionMissing(version) => {
            DatabaseError::SchemaForeign { version, problem: "is not known to this program" }
        }
        MigrateError::VersionMismatch(version) => {
            DatabaseError::SchemaForeign { version, problem: "was another text when it ran" }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) if is_refused(&error) => {
            DatabaseError::NoRights { said: said(&error) }
        }
        other => DatabaseError::Migration(other),
    })
}

/// Returns whether the role lacks a right.
fn is_refused(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("42501"))
}
