//! Tests of writers that share a transaction: all are stored or none, and a failure affects only
//! its writer.

use std::sync::Arc;

use sqlx::AnyConnection;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::database::Database;
use crate::error::{DatabaseError, ErrorClass};
use crate::migrate::Migration;
use crate::testing::TestDatabase;
use crate::transaction::TransactionFuture;

const NUMBERS: Migration =
    Migration { version: 1, name: "numbers", sql: "CREATE TABLE numbers (n BIGINT PRIMARY KEY);" };

/// What a writer does after it has written its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Succeed,
    Fail,
    Panic,
    /// Ends the transaction without the knowledge of the driver.
    RollBack,
}

type Written = JoinHandle<Result<(), DatabaseError>>;

fn write(database: &Database, n: i64, then: Then, gate: Arc<Semaphore>) -> Written {
    let database = database.clone();
    tokio::spawn(async move {
        database
            .append(move |connection| -> TransactionFuture<'_, (), DatabaseError> {
                Box::pin(async move {
                    insert(connection, n).await?;
                    let _open = gate.acquire().await;
                    match then {
                        Then::Succeed => Ok(()),
                        Then::Fail => Err(DatabaseError::Closed),
                        Then::Panic => panic!("a writer panics"),
                        Then::RollBack => {
                            sqlx::raw_sql("ROLLBACK").execute(connection).await?;
                            Ok(())
                        }
                    }
                })
            })
            .await
    })
}

async fn insert(connection: &mut AnyConnection, n: i64) -> Result<(), DatabaseError> {
    sqlx::query("INSERT INTO numbers (n) VALUES ($1)").bind(n).execute(connection).await?;
    Ok(())
}

async fn numbers(database: &Database) -> Vec<i64> {
    sqlx::query_scalar("SELECT n FROM numbers ORDER BY n").fetch_all(database.reads()).await.unwrap()
}

/// Makes writers, numbered from 1, that share a transaction. A writer before them writes 0 and
/// keeps the transaction open until all are in the queue.
async fn together(database: &Database, writers: &[Then]) -> (Written, Vec<Written>, Arc<Semaphore>) {
    let (first_gate, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let first = write(database, 0, Then::Succeed, Arc::clone(&first_gate));
    // The first writer has left the queue and has not ended.
    while !database.is_writing() || database.waiting_writers() > 0 {
        tokio::task::yield_now().await;
    }
    let mut written = Vec::new();
    for (n, then) in (1..).zip(writers) {
        written.push(write(database, n, *then, Arc::clone(&gate)));
        // The writers enter the queue in this order.
        while database.waiting_writers() < written.len() {
            tokio::task::yield_now().await;
        }
    }
    first_gate.add_permits(1);
    (first, written, gate)
}

async fn open() -> (TestDatabase, Database) {
    let test = TestDatabase::sqlite();
    let database = test.open(&[NUMBERS]).await;
    (test, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_success_before_the_commit_of_all() {
    let (_test, database) = open().await;
    let (first, written, gate) = together(&database, &[Then::Succeed; 10]).await;
    while database.waiting_writers() == 10 {
        tokio::task::yield_now().await;
    }
    // The first writer is done, and the second has written its number. Neither is stored, and none
    // is told of success.
    assert!(!first.is_finished());
    assert_eq!(numbers(&database).await, Vec::<i64>::new());
    gate.add_permits(10);
    first.await.unwrap().unwrap();
    for one in written {
        one.await.unwrap().unwrap();
    }
    assert_eq!(numbers(&database).await, Vec::from_iter(0..=10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_fails_takes_back_its_own_and_nothing_else() {
    let (_test, database) = open().await;
    let writers = [Then::Succeed, Then::Fail, Then::Succeed, Then::Fail];
    let (first, written, gate) = together(&database, &writers).await;
    gate.add_permits(writers.len());
    first.await.unwrap().unwrap();
    for (then, one) in writers.iter().zip(written) {
        assert_eq!(one.await.unwrap().is_ok(), *then == Then::Succeed);
    }
    assert_eq!(numbers(&database).await, [0, 1, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_breaks_the_connection_leaves_nothing_of_its_group_and_all_are_told() {
    for breaks in [Then::Panic, Then::RollBack] {
        let (_test, database) = open().await;
        let (first, written, gate) = together(&database, &[Then::Succeed, breaks, Then::Succeed]).await;
        gate.add_permits(3);
        let error = first.await.unwrap().unwrap_err();
        assert_eq!(error.class(), ErrorClass::Retryable, "{error}");
        let mut written = written.into_iter();
        let mut next = async || written.next().unwrap().await;
        assert!(matches!(next().await.unwrap(), Err(DatabaseError::Group { .. })));
        let broke = next().await;
        assert!(if breaks == Then::Panic { broke.is_err() } else { broke.unwrap().is_err() });
        // A writer that had not begun is in the next group.
        next().await.unwrap().unwrap();
        assert_eq!(numbers(&database).await, [3], "{breaks:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_many_writers_are_served() {
    let (_test, database) = open().await;
    let gate = Arc::new(Semaphore::new(1000));
    let written: Vec<_> = (0..1000).map(|n| write(&database, n, Then::Succeed, Arc::clone(&gate))).collect();
    for one in written {
        one.await.unwrap().unwrap();
    }
    assert_eq!(numbers(&database).await, Vec::from_iter(0..1000));
}
