//! Tests of the handle. Most run on both backends.

use super::*;
use crate::error::ErrorClass;
use crate::testing::TestDatabase;

const NUMBERS: Migration = Migration {
    version: 1,
    name: "numbers",
    sql: "CREATE TABLE numbers (\n    n BIGINT PRIMARY KEY,\n    data BYTEA NOT NULL,\n    note TEXT\n);",
};

/// Makes the two tests `NAME::sqlite` and `NAME::postgres` from one function body.
macro_rules! on_both {
    ($($name:ident($test:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            #[allow(unused_mut)]
            async fn body(mut $test: TestDatabase) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                body(TestDatabase::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                body(TestDatabase::postgres().await).await;
            }
        }
    )*};
}

mod reading;
mod schema;
mod server;
mod sqlite;
mod transactions;

async fn insert(connection: &mut AnyConnection, n: i64) -> Result<(), DatabaseError> {
    sqlx::query("INSERT INTO numbers (n, data) VALUES ($1, $2)")
        .bind(n)
        .bind(&n.to_be_bytes()[..])
        .execute(connection)
        .await?;
    Ok(())
}

async fn count(connection: &mut AnyConnection) -> Result<i64, DatabaseError> {
    Ok(sqlx::query_scalar("SELECT count(*) FROM numbers").fetch_one(connection).await?)
}

async fn numbers(database: &Database) -> Vec<i64> {
    sqlx::query_scalar("SELECT n FROM numbers ORDER BY n").fetch_all(database.reads()).await.unwrap()
}
