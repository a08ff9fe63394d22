//! The database server behind a service: what it uses up, and what it keeps.

use dac_database::sqlx;
use dac_tests::network::Service;
use dac_tests::{Context, Result, database};

use super::usage::Usage;

/// The server of all stores of a system.
pub struct Server {
    process: u32,
}

impl Server {
    /// The one that this service's database is on.
    pub async fn behind(service: &Service) -> Result<Self> {
        let mut connection = database::meddle(service).await?;
        let process: String =
            sqlx::query_scalar("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)")
                .fetch_one(&mut connection)
                .await
                .context("the server's process")?;
        Ok(Self { process: process.trim().parse()? })
    }

    /// What it and its processes used up so far; nothing where this user may not look, or it runs
    /// on another machine.
    pub fn usage(&self) -> Option<Usage> {
        Usage::of_family(self.process).ok()
    }
}

/// Drops all that this service, which has ended, stored there.
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
