//! The PostgreSQL server of a service: its use of resources, and deleting what it stores.

use dac_database::sqlx;
use dac_tests::network::Service;
use dac_tests::{Context, Result, database};

use super::usage::Usage;

/// The PostgreSQL server that holds all stores of a system.
pub struct Server {
    process: u32,
}

impl Server {
    /// Finds the server of this service's database.
    pub async fn behind(service: &Service) -> Result<Self> {
        let mut connection = database::meddle(service).await?;
        let process: String =
            sqlx::query_scalar("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
                .fetch_one(&mut connection)
                .await
                .context("the server's process")?;
        Ok(Self { process: process.trim().parse()? })
    }

    /// Returns what the server and its child processes used so far, or `None` if this user may not
    /// read it or the server runs on another machine.
    pub fn usage(&self) -> Option<Usage> {
        Usage::of_family(self.process).ok()
    }
}

/// Drops the database schema of a service, which must have ended.
pub async fn drop_all(service: &Service) -> Result<()> {
    let mut connection = database::meddle(service).await?;
    let schema: String = sqlx::query_scalar("SELECT current_schema()::text")
        .fetch_one(&mut connection)
        .await
        .context("a service's schema")?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP SCHEMA {schema} CASCADE")))
        .execute(&mut connection)
        .await
        .context(format!("dropping {schema}"))?;
    Ok(())
}
