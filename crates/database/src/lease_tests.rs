use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::*;
use crate::on_both_backends;
use crate::testing::TestDatabase;
use crate::{DatabaseUrl, sqlx::Connection};

const LONG: Duration = Duration::from_secs(600);

const TABLE: crate::Migration = crate::Migration {
    version: 1,
    name: "books",
    sql: "CREATE TABLE books (\n    entry BIGINT NOT NULL\n);",
};

on_both_backends!(
    one_of_many_gets_it,
    it_is_waited_for_until_it_runs_out,
    a_paused_holder_is_refused_by_the_guard,
    nobody_takes_it_while_a_guarded_transaction_runs,
    a_kept_lease_outlives_its_term_and_is_given_back,
    a_kept_lease_that_is_taken_is_known_to_be_lost,
);

/// Makes a lease run out at once, so that no test has to wait for its term.
async fn let_run_out(database: &Database, name: &str) {
    let statement = format!("UPDATE leases SET expires_at_ms = 1 WHERE name = '{name}'");
    let done: Result<u64, DatabaseError> = database
        .append(move |connection| {
            Box::pin(async move {
                Ok(sqlx::query(AssertSqlSafe(statement)).execute(connection).await?.rows_affected())
            })
        })
        .await;
    assert_eq!(done.unwrap(), 1);
}

async fn write(database: &Database, lease: &Arc<Lease>, entry: i64) -> Result<(), DatabaseError> {
    let lease = Arc::clone(lease);
    database
        .transaction(move |connection| {
            Box::pin(async move {
                sqlx::query("INSERT INTO books (entry) VALUES ($1)")
                    .bind(entry)
                    .execute(&mut *connection)
                    .await?;
                lease.guard(connection).await
            })
        })
        .await
}

async fn entries(database: &Database) -> Vec<i64> {
    sqlx::query_scalar("SELECT entry FROM books ORDER BY entry").fetch_all(database.reads()).await.unwrap()
}

fn holder_of(result: Result<Lease, DatabaseError>) -> String {
    match result {
        Err(DatabaseError::LeaseHeld { holder, left, .. }) => {
            assert!(left <= LONG, "{left:?}");
            holder
        }
        other => panic!("{other:?}"),
    }
}

async fn one_of_many_gets_it(backend: Backend) {
    let test = TestDatabase::new(backend).await;
    let database = test.open(&[]).await;
    let racers: Vec<_> = (0..8)
        .map(|racer| {
            let database = database.clone();
            tokio::spawn(async move { Lease::acquire(&database, "poster", &racer.to_string(), LONG).await })
        })
        .collect();
    let mut winners = Vec::new();
    let mut told = Vec::new();
    for racer in racers {
        match racer.await.unwrap() {
            Ok(lease) => winners.push(lease),
            refused => told.push(holder_of(refused)),
        }
    }
    assert_eq!(winners.len(), 1);
    assert!(told.iter().all(|holder| *holder == winners[0].holder), "{told:?}");
    // A lease with a different name is independent.
    Lease::acquire(&database, "signer", "somebody", LONG).await.unwrap();
}

async fn it_is_waited_for_until_it_runs_out(backend: Backend) {
    let test = TestDatabase::new(backend).await;
    let database = test.open(&[]).await;
    let first = Lease::acquire(&database, "poster", "first", Duration::from_millis(300)).await.unwrap();
    assert_eq!(holder_of(Lease::acquire(&database, "poster", "second", LONG).await), "first");
    let second = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match Lease::acquire(&database, "poster", "second", LONG).await {
                Ok(lease) => return lease,
                refused => assert_eq!(holder_of(refused), "first"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let second = second.await.expect("it runs out by the database's clock");
    assert_eq!((first.token(), second.token()), (1, 2));
    assert!(matches!(first.renew().await, Err(DatabaseError::LeaseLost { .. })));
    second.renew().await.unwrap();
    // Releasing the former lease does not release the present one.
    first.release().await.unwrap();
    second.renew().await.unwrap();
    second.release().await.unwrap();
    assert!(matches!(second.renew().await, Err(DatabaseError::LeaseLost { .. })));
    assert_eq!(Lease::acquire(&database, "poster", "third", LONG).await.unwrap().token(), 3);
}

async fn a_paused_holder_is_refused_by_the_guard(backend: Backend) {
    let test = TestDatabase::new(backend).await;
    let database = test.open(&[TABLE]).await;
    let first = Arc::new(Lease::acquire(&database, "poster", "first", LONG).await.unwrap());
    write(&database, &first, 1).await.unwrap();
    // The holder was paused beyond its term and the lease was not taken, so it may continue.
    let_run_out(&database, "poster").await;
    write(&database, &first, 2).await.unwrap();
    let second = Arc::new(Lease::acquire(&database, "poster", "second", LONG).await.unwrap());
    let refused = write(&database, &first, 3).await;
    assert!(
        matches!(&refused, Err(DatabaseError::LeaseLost { name, .. }) if name == "poster"),
        "{refused:?}"
    );
    write(&database, &second, 4).await.unwrap();
    assert_eq!(entries(&database).await, [1, 2, 4], "what was written before the guard went with it");
    second.release().await.unwrap();
    assert!(matches!(write(&database, &second, 5).await, Err(DatabaseError::LeaseLost { .. })));
}

async fn nobody_takes_it_while_a_guarded_transaction_runs(backend: Backend) {
    let test = TestDatabase::new(backend).await;
    let database = test.open(&[TABLE]).await;
    let first = Arc::new(Lease::acquire(&database, "poster", "first", LONG).await.unwrap());
    let_run_out(&database, "poster").await;
    let (guarded, on_guarded) = tokio::sync::oneshot::channel();
    let (go_on, on_go_on) = tokio::sync::oneshot::channel::<()>();
    let writing = {
        let (database, lease) = (database.clone(), Arc::clone(&first));
        tokio::spawn(async move {
            let done: Result<(), DatabaseError> = database
                .append(move |connection| {
                    Box::pin(async move {
                        lease.guard(connection).await?;
                        guarded.send(()).unwrap();
                        on_go_on.await.unwrap();
                        sqlx::query("INSERT INTO books (entry) VALUES (1)").execute(connection).await?;
                        Ok(())
                    })
                })
                .await;
            done
        })
    };
    on_guarded.await.unwrap();
    let mut taking = {
        let database = database.clone();
        tokio::spawn(async move {
            let lease = Lease::acquire(&database, "poster", "second", LONG).await.unwrap();
            (lease, entries(&database).await)
        })
    };
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut taking).await.is_err(), "it waits");
    go_on.send(()).unwrap();
    writing.await.unwrap().unwrap();
    let (second, seen) = taking.await.unwrap();
    assert_eq!((second.token(), seen), (2, vec![1]));
}

async fn a_kept_lease_outlives_its_term_and_is_given_back(backend: Backend) {
    let test = TestDatabase::new(backend).await;
    let database = test.open(&[]).await;
    let term = Duration::from_millis(1500);
    let kept = Lease::acquire(&database, "poster", "first", term).await.unwrap().keep();
    let started = Instant::now();
    while started.elapsed() < term * 2 {
        assert_eq!(holder_of(Lease::acquire(&database, "poster", "second", LONG).await), "first");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!kept.is_lost());
    kept.release().await.unwrap();
    let kept = Lease::acquire(&database, "poster", "second", LONG).await.unwrap().keep();
    drop(kept);
    tokio::time::timeout(Duration::from_secs(60), async {
        while Lease::acquire(&database, "poster", "third", LONG).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("a dropped lease is given back");
}

async fn a_kept_lease_that_is_taken_is_known_to_be_lost(backend: Backend) {
    let test = TestDatabase::new(backend).await;
    let database = test.open(&[]).await;
    let kept = Lease::acquire(&database, "poster", "first", Duration::from_millis(200)).await.unwrap().keep();
    // The lease may be renewed between the two statements.
    while Lease::acquire(&database, "poster", "second", LONG).await.is_err() {
        let_run_out(&database, "poster").await;
    }
    tokio::time::timeout(Duration::from_secs(60), kept.lost()).await.expect("the next renewal fails");
    assert!(kept.is_lost());
}

/// Locks the table of leases until the connection is dropped, like a server that does not answer.
async fn stall(test: &TestDatabase) -> sqlx::AnyConnection {
    let DatabaseUrl::Postgres(url) = &test.options().url else { unreachable!() };
    let mut connection = sqlx::AnyConnection::connect(url.as_str()).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE leases IN ACCESS EXCLUSIVE MODE")
        .execute(&mut connection)
        .await
        .unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_ran_out_during_a_stall_is_gone_on_with() {
    let test = TestDatabase::postgres().await;
    let database = test.open(&[]).await;
    let term = Duration::from_millis(400);
    let kept = Lease::acquire(&database, "poster", "first", term).await.unwrap().keep();
    for _ in 0..2 {
        let stalled = stall(&test).await;
        tokio::time::timeout(Duration::from_secs(60), kept.lost()).await.expect("no answer within the term");
        stalled.close().await.unwrap();
        // The row may name this holder for another term, because a renewal that was given up takes
        // effect now.
        kept.resume().await.unwrap();
        assert!(!kept.is_lost());
    }
    let token = kept.lease().token();
    let started = Instant::now();
    while started.elapsed() < term * 3 {
        assert_eq!(holder_of(Lease::acquire(&database, "poster", "second", LONG).await), "first");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(token, 1, "nobody else had it");
    // If another holder takes the lease during a stall, it is lost.
    while Lease::acquire(&database, "poster", "second", LONG).await.is_err() {
        let_run_out(&database, "poster").await;
    }
    tokio::time::timeout(Duration::from_secs(60), kept.lost()).await.expect("it is taken");
    assert!(matches!(kept.resume().await, Err(DatabaseError::LeaseLost { .. })));
    assert!(kept.is_lost());
}

#[tokio::test]
async fn one_sqlite_file_has_one_process_and_its_leases_end_with_it() {
    let test = TestDatabase::sqlite();
    let first = test.open(&[]).await;
    first.be_the_only_process("aggregator, process 7").await.unwrap();
    let _lease = Lease::acquire(&first, "poster", "first", LONG).await.unwrap();
    let second = test.open(&[]).await;
    let refused = second.be_the_only_process("another").await;
    match &refused {
        Err(DatabaseError::FileInUse { path, holder }) => {
            assert_eq!(
                (path, holder.as_str()),
                (&test.file().unwrap().canonicalize().unwrap(), "aggregator, process 7")
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(refused.unwrap_err().to_string().contains("aggregator, process 7"));
    // This is what happens when a process is killed: the file lock ends, and the lease's row stays.
    first.close().await;
    second.be_the_only_process("another").await.unwrap();
    assert_eq!(Lease::acquire(&second, "poster", "second", LONG).await.unwrap().token(), 2);
}
