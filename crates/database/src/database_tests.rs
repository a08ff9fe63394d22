//! Tests of the handle. Most run on both backends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::Row;

use super::*;
use crate::error::ErrorClass;
use crate::testing::TestDatabase;

const NUMBERS: Migration = Migration {
    version: 1,
    name: "numbers",
    sql: "CREATE TABLE numbers (\n    n BIGINT PRIMARY KEY,\n    data BYTEA NOT NULL,\n    note TEXT\n);",
};

/// Makes the tests `NAME::sqlite` and `NAME::postgres` of one body.
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

/// Polls a call this number of times and then drops it, as a server does with the call of a client
/// that hung up.
async fn give_up_after<T>(polls: u32, call: impl Future<Output = T>) -> Option<T> {
    let mut call = std::pin::pin!(call);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        left -= 1;
        match call.as_mut().poll(context) {
            std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
            std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(None),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}

async fn numbers(database: &Database) -> Vec<i64> {
    sqlx::query_scalar("SELECT n FROM numbers ORDER BY n").fetch_all(database.reads()).await.unwrap()
}

on_both! {
    all_types_round_trip(test) {
        let database = test.open(&[NUMBERS]).await;
        let rows = [
            (i64::MIN, vec![0, 255], Some("ü\n".to_owned())),
            (0, vec![], Some(String::new())),
            (i64::MAX, vec![7; 300_000], None),
        ];
        for row in rows.clone() {
            database
                .append(move |connection| Box::pin(async move {
                    sqlx::query("INSERT INTO numbers (n, data, note) VALUES ($1, $2, $3)")
                        .bind(row.0).bind(row.1).bind(row.2).execute(connection).await?;
                    Ok::<_, DatabaseError>(())
                }))
                .await
                .unwrap();
        }
        let read: Vec<(i64, Vec<u8>, Option<String>)> =
            sqlx::query("SELECT n, data, note FROM numbers ORDER BY n").fetch_all(database.reads()).await.unwrap()
                .iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        assert_eq!(read, rows);
        let total: i64 = sqlx::query_scalar("SELECT CAST(sum(length(data)) AS BIGINT) FROM numbers WHERE n <> $1")
            .bind(5_i64).fetch_one(database.reads()).await.unwrap();
        assert_eq!(total, 300_002);
        database.ping().await.unwrap();
    }

    a_reading_of_its_own_needs_no_pooled_connection(test) {
        let _counted = dac_measure::counted!(UnknownOutcome, 1);
        let database = test.open(&[NUMBERS]).await;
        database.transaction(|connection| Box::pin(insert(connection, 1))).await.unwrap();
        // The pools are closed, as they may be after the failure that made the outcome unknown.
        database.close().await;
        assert!(database.snapshot(|connection| Box::pin(count(connection))).await.is_err());
        assert_eq!(database.reread(|connection| Box::pin(count(connection))).await.unwrap(), 1);
        let written: Result<(), DatabaseError> =
            database.reread(|connection| Box::pin(insert(connection, 2))).await;
        assert!(written.is_err(), "it reads");
    }

    wrong_types_are_refused(test) {
        let database = test.open(&[NUMBERS]).await;
        let result: Result<(), DatabaseError> = database
            .transaction(move |connection| Box::pin(async move {
                sqlx::query("INSERT INTO numbers (n, data) VALUES ('one', $1)")
                    .bind(vec![1_u8]).execute(connection).await?;
                Ok(())
            }))
            .await;
        assert_eq!(result.unwrap_err().class(), ErrorClass::Fatal);
    }

    a_failed_transaction_leaves_nothing(test) {
        let database = test.open(&[NUMBERS]).await;
        let failed: Result<(), DatabaseError> = database
            .transaction(move |connection| Box::pin(async move {
                insert(connection, 1).await?;
                Err(DatabaseError::Corrupt { what: "on purpose".into() })
            }))
            .await;
        assert_eq!(failed.unwrap_err().class(), ErrorClass::Corrupt);
        let duplicate: Result<(), DatabaseError> = database
            .transaction(move |connection| Box::pin(async move {
                insert(connection, 2).await?;
                insert(connection, 2).await
            }))
            .await;
        assert!(duplicate.unwrap_err().is_constraint_violation());
        assert!(numbers(&database).await.is_empty());
    }

    a_panic_reaches_the_caller_and_leaves_nothing(test) {
        let database = test.open(&[NUMBERS]).await;
        let cloned = database.clone();
        let caller = tokio::spawn(async move {
            cloned
                .transaction(move |connection| Box::pin(async move {
                    insert(connection, 1).await?;
                    if numbers_are_odd() { panic!("on purpose") }
                    Ok::<_, DatabaseError>(())
                }))
                .await
        });
        assert!(caller.await.unwrap_err().is_panic());
        assert!(numbers(&database).await.is_empty());
        database.transaction(|connection| Box::pin(insert(connection, 2))).await.unwrap();
        assert_eq!(numbers(&database).await, [2]);
    }

    reads_cannot_write(test) {
        let database = test.open(&[NUMBERS]).await;
        let statement = "INSERT INTO numbers (n, data) VALUES (1, $1)";
        assert!(sqlx::query(statement).bind(vec![1_u8]).execute(database.reads()).await.is_err());
        let snapshot: Result<(), DatabaseError> =
            database.snapshot(|connection| Box::pin(insert(connection, 1))).await;
        assert!(snapshot.is_err());
        assert!(numbers(&database).await.is_empty());
    }

    a_snapshot_shows_one_state(test) {
        let database = test.open(&[NUMBERS]).await;
        let writer = database.clone();
        let counts = database
            .snapshot(move |connection| Box::pin(async move {
                let count = "SELECT count(*) FROM numbers";
                let before: i64 = sqlx::query_scalar(count).fetch_one(&mut *connection).await?;
                writer.transaction(|connection| Box::pin(insert(connection, 1))).await?;
                let after: i64 = sqlx::query_scalar(count).fetch_one(&mut *connection).await?;
                Ok::<_, DatabaseError>((before, after))
            }))
            .await
            .unwrap();
        assert_eq!(counts, (0, 0));
        assert_eq!(numbers(&database).await, [1]);
    }

    // Each transaction reads the greatest number and adds the next; two at a time would collide.
    transactions_are_alone(test) {
        let database = test.open(&[NUMBERS]).await;
        let tasks: Vec<_> = (0..40)
            .map(|_| {
                let database = database.clone();
                tokio::spawn(async move {
                    database
                        .transaction(move |connection| Box::pin(async move {
                            let next: i64 = sqlx::query_scalar("SELECT coalesce(max(n) + 1, 0) FROM numbers")
                                .fetch_one(&mut *connection).await?;
                            tokio::task::yield_now().await;
                            insert(connection, next).await
                        }))
                        .await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(numbers(&database).await, (0..40).collect::<Vec<_>>());
    }

    // Callers are cancelled after different numbers of polls. The next reader must see what was
    // acknowledged, on any connection and after a restart.
    cancelled_callers_lose_nothing_that_was_acknowledged(test) {
        let _counted = dac_measure::counted!(Cancelled, 360 * dac_measure::scale());
        test.options_mut().max_connections = std::num::NonZeroU32::new(3).unwrap();
        let database = test.open(&[NUMBERS]).await;
        let next = Arc::new(AtomicI64::new(0));
        let callers: Vec<_> = (0..6_u32)
            .map(|caller| {
                let (database, next) = (database.clone(), next.clone());
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for call in 0..60 * u32::try_from(dac_measure::scale()).unwrap() {
                        let polls = 1 + (call + caller) % 7;
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        give_up_after(polls, database.snapshot(|connection| Box::pin(count(connection)))).await;
                        let written = match call % 4 {
                            0 => give_up_after(polls, database.append(move |c| Box::pin(insert(c, n)))).await,
                            1 => give_up_after(polls, database.transaction(move |c| Box::pin(insert(c, n)))).await,
                            2 => Some(database.append(move |c| Box::pin(insert(c, n))).await),
                            _ => Some(database.transaction(move |c| Box::pin(insert(c, n))).await),
                        };
                        if let Some(result) = written {
                            result.unwrap();
                            acknowledged.push(n);
                            let seen: Option<i64> = sqlx::query_scalar("SELECT n FROM numbers WHERE n = $1")
                                .bind(n).fetch_optional(database.reads()).await.unwrap();
                            assert_eq!(seen, Some(n), "acknowledged and not there");
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        let mut acknowledged = Vec::new();
        for caller in callers {
            acknowledged.extend(caller.await.unwrap());
        }
        assert!(acknowledged.len() >= 180);
        database.close().await;

        let reopened = test.open(&[NUMBERS]).await;
        let stored = numbers(&reopened).await;
        acknowledged.retain(|n| stored.binary_search(n).is_err());
        assert!(acknowledged.is_empty(), "acknowledged and lost: {acknowledged:?}");
    }

    // sqlx issue 4385 leaves a pooled connection in a transaction that the driver does not know
    // about.
    a_forgotten_transaction_swallows_no_later_write(test) {
        let _counted = dac_measure::counted!(Cancelled, 3);
        test.options_mut().max_connections = std::num::NonZeroU32::MIN;
        let database = test.open(&[NUMBERS]).await;
        for round in 0..3 {
            let mut connection = database.inner.writers.acquire().await.unwrap();
            sqlx::raw_sql("BEGIN").execute(&mut *connection).await.unwrap();
            insert(&mut connection, 1000 + round).await.unwrap();
            drop(connection);
            database.append(move |connection| Box::pin(insert(connection, round))).await.unwrap();
        }
        database.close().await;
        assert_eq!(numbers(&test.open(&[NUMBERS]).await).await, [0, 1, 2]);
    }

    a_transaction_that_hangs_is_abandoned(test) {
        test.options_mut().transaction_timeout = std::time::Duration::from_secs(5);
        let database = test.open(&[NUMBERS]).await;
        let hanging: Result<(), DatabaseError> = database
            .transaction(move |connection| Box::pin(async move {
                insert(connection, 1).await?;
                std::future::pending().await
            }))
            .await;
        let error = hanging.unwrap_err();
        assert!(matches!(error, DatabaseError::Timeout { .. }), "{error}");
        assert_eq!(error.class(), ErrorClass::Retryable);
        database.transaction(|connection| Box::pin(insert(connection, 2))).await.unwrap();
        assert_eq!(numbers(&database).await, [2]);
    }

    a_database_belongs_to_one_identity(test) {
        let database = test.open(&[]).await;
        let identity = [("chain id", "31337"), ("registry", "0xabc")];
        database.bind_identity(&identity).await.unwrap();
        database.bind_identity(&identity).await.unwrap();
        database.close().await;
        let reopened = test.open(&[]).await;
        reopened.bind_identity(&[("chain id", "31337"), ("member key", "0x1")]).await.unwrap();
        let error = reopened
            .bind_identity(&[("new", "x"), ("registry", "0xdef")]).await.unwrap_err();
        assert_eq!(error.to_string(), "this database belongs to registry 0xabc, the configuration says 0xdef");
        assert_eq!(error.class(), ErrorClass::Fatal);
        // The refused call stored nothing.
        reopened.bind_identity(&[("new", "y")]).await.unwrap();
    }

    a_database_from_before_there_were_leases_gets_them(test) {
        let former = test.open(&[NUMBERS]).await;
        former.bind_identity(&[("registry", "0xabc")]).await.unwrap();
        // A program without leases leaves a database without their table and without their
        // migration.
        let undone = former.append(|connection| {
            Box::pin(async move {
                insert(connection, 7).await?;
                for statement in ["DROP TABLE leases", "DELETE FROM _sqlx_migrations WHERE version = -1"] {
                    sqlx::query(statement).execute(&mut *connection).await?;
                }
                Ok::<(), DatabaseError>(())
            })
        });
        undone.await.unwrap();
        former.close().await;
        for token in 1..=2 {
            let database = test.open(&[NUMBERS]).await;
            assert_eq!(numbers(&database).await, [7]);
            database.bind_identity(&[("registry", "0xabc")]).await.unwrap();
            let lease = crate::Lease::acquire(&database, "signer", "somebody", Duration::from_secs(60)).await.unwrap();
            assert_eq!(lease.token(), token);
            lease.release().await.unwrap();
            database.close().await;
        }
        // A program refuses to write to a database if it does not know the tables that a later one
        // added.
        let later = test.open(&[NUMBERS]).await;
        let noted = later.append(|connection| {
            Box::pin(async move {
                let statement = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                                 SELECT -2, 'later', success, checksum, 0 FROM _sqlx_migrations WHERE version = -1";
                sqlx::query(statement).execute(connection).await?;
                Ok::<(), DatabaseError>(())
            })
        });
        noted.await.unwrap();
        later.close().await;
        let refused = Database::open(test.options(), &[NUMBERS]).await.unwrap_err();
        assert!(matches!(refused, DatabaseError::SchemaForeign { version: -2, .. }), "{refused}");
    }

    schemas_go_forward_only(test) {
        let _counted = dac_measure::counted!(Schema, 8);
        let second = Migration { version: 2, name: "second", sql: "ALTER TABLE numbers ADD COLUMN extra BIGINT" };
        test.open(&[NUMBERS]).await.close().await;
        test.open(&[NUMBERS, second]).await.close().await;
        test.open(&[NUMBERS, second]).await.close().await;
        let refused = async |migrations: &[Migration]| Database::open(test.options(), migrations).await.unwrap_err();
        assert!(matches!(refused(&[NUMBERS]).await, DatabaseError::SchemaTooNew { found: 2, known: 1 }));
        assert!(matches!(refused(&[second]).await, DatabaseError::SchemaForeign { version: 1, .. }));
        let changed = Migration { sql: "CREATE TABLE numbers (\n    n BIGINT\n);", ..NUMBERS };
        assert!(matches!(refused(&[changed, second]).await, DatabaseError::SchemaForeign { version: 1, .. }));
        assert!(matches!(refused(&[NUMBERS, NUMBERS]).await, DatabaseError::SchemaForeign { version: 1, .. }));
        let broken = Migration { version: 3, name: "broken", sql: "CREATE TABLE extra (n BIGINT); CREATE TABLE" };
        assert!(matches!(refused(&[NUMBERS, second, broken]).await, DatabaseError::Migration(_)));
        // The broken migration changed nothing.
        let mended = Migration { sql: "CREATE TABLE extra (n BIGINT)", ..broken };
        test.open(&[NUMBERS, second, mended]).await;
    }

    several_processes_may_open_at_once(test) {
        let _counted = dac_measure::counted!(Schema, 4);
        open_at_once(test.options()).await;
    }
}

/// Opens a database for the first time, four times at once.
async fn open_at_once(options: &DatabaseOptions) {
    let opened = (0..4).map(|_| {
        let options = options.clone();
        tokio::spawn(async move { Database::open(&options, &[NUMBERS]).await })
    });
    for database in opened.collect::<Vec<_>>() {
        database.await.unwrap().unwrap();
    }
}

/// Which of SQLite's locks the processes meet depends on their timing.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_may_be_opened_by_many_at_once() {
    for _ in 0..30 {
        open_at_once(TestDatabase::sqlite().options()).await;
    }
}

/// Returns true in a way that keeps the compiler from knowing that code after a panic is
/// unreachable.
fn numbers_are_odd() -> bool {
    std::hint::black_box(true)
}

#[tokio::test]
async fn sqlite_files_are_private_and_durable() {
    let _counted = dac_measure::counted!(SafeDatabase, 3);
    use std::os::unix::fs::PermissionsExt;
    let test = TestDatabase::sqlite();
    let database = test.open(&[]).await;
    let file = test.file().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut writer = database.inner.writers.acquire().await.unwrap();
    for (pragma, expected) in [("synchronous", 2_i64), ("foreign_keys", 1), ("busy_timeout", 20000)] {
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"));
        let value: i64 = sqlx::query_scalar(sql).fetch_one(&mut *writer).await.unwrap();
        assert_eq!(value, expected, "{pragma}");
    }
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *writer).await.unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn strange_file_names_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a b.db", "50%.db", "%41.db", "what?mode=ro.db", "x#y.db", "ü.db"] {
        let path = folder.path().join(name);
        let url: DatabaseUrl = format!("sqlite:{}", path.display()).parse().unwrap();
        Database::open(&DatabaseOptions::new(url), &[NUMBERS]).await.unwrap().close().await;
        assert!(std::fs::metadata(&path).unwrap().len() > 0, "{name}");
    }
    // A missing folder is created; the error names a folder that cannot be.
    let missing = DatabaseOptions::sqlite(folder.path().join("no/such.db"));
    Database::open(&missing, &[NUMBERS]).await.unwrap().close().await;
    let below_a_file = DatabaseOptions::sqlite(folder.path().join("no/such.db/file.db"));
    assert!(matches!(Database::open(&below_a_file, &[]).await, Err(DatabaseError::File { .. })));
}

#[tokio::test]
async fn a_full_disk_costs_one_transaction() {
    let test = TestDatabase::sqlite();
    let database = test.open(&[NUMBERS]).await;
    let transaction = |pages: &'static str, bytes: usize| {
        database.append::<_, DatabaseError, _>(move |connection| {
            Box::pin(async move {
                sqlx::raw_sql(pages).execute(&mut *connection).await?;
                let data = vec![7_u8; bytes];
                sqlx::query("INSERT INTO numbers (n, data) VALUES (1, $1)")
                    .bind(&data[..])
                    .execute(connection)
                    .await?;
                Ok(())
            })
        })
    };
    // SQLite may end the transaction itself; a rollback then fails.
    assert!(transaction("PRAGMA max_page_count = 20", 1 << 20).await.is_err());
    assert_eq!(numbers(&database).await, Vec::<i64>::new());
    transaction("PRAGMA max_page_count = 100000", 1 << 20).await.unwrap();
    assert_eq!(numbers(&database).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_ended_by_itself_is_not_gone_on_with() {
    let test = TestDatabase::sqlite();
    let database = test.open(&[NUMBERS]).await;
    for fails in [true, false] {
        let ended = database.append::<(), DatabaseError, _>(move |connection| {
            Box::pin(async move {
                insert(connection, 1).await?;
                sqlx::raw_sql("ROLLBACK").execute(connection).await?;
                if fails { Err(DatabaseError::Closed) } else { Ok(()) }
            })
        });
        assert!(ended.await.is_err(), "nothing was committed");
        assert_eq!(numbers(&database).await, Vec::<i64>::new());
    }
    database.append(|connection| Box::pin(insert(connection, 2))).await.unwrap();
    assert_eq!(numbers(&database).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_called_corrupt() {
    let test = TestDatabase::sqlite();
    std::fs::write(test.file().unwrap(), [b'x'; 8192]).unwrap();
    let error = Database::open(test.options(), &[]).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Corrupt, "{error}");
}

#[tokio::test]
async fn a_server_that_may_lose_data_is_refused() {
    let _counted = dac_measure::counted!(SafeDatabase, 6);
    let server = crate::testing::TestServer::start();
    let test = TestDatabase::postgres_at(server.url().clone()).await;
    let open = || Database::open(test.options(), &[NUMBERS]);
    let database = open().await.unwrap();
    assert_eq!(database.durability(), Durability::OneServer);
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        server.set(setting, "off").await;
        let error = open().await.unwrap_err();
        let is_named = matches!(&error, DatabaseError::NotDurable { setting: named, value } if *named == setting && value == "off");
        assert!(is_named, "{setting}: {error}");
        assert_eq!(error.class(), ErrorClass::Fatal);
        server.set(setting, "on").await;
        open().await.unwrap();
    }
    // There are no standbys, so all these settings mean that data is on this server's disk.
    for value in ["local", "remote_write", "remote_apply"] {
        server.set("synchronous_commit", value).await;
        assert_eq!(open().await.unwrap().durability(), Durability::OneServer, "{value}");
    }
}

#[tokio::test]
async fn a_server_whose_standbys_would_lose_data_is_refused() {
    let _counted = dac_measure::counted!(SafeDatabase, 3);
    let server = crate::testing::TestServer::start();
    let test = TestDatabase::postgres_at(server.url().clone()).await;
    test.open(&[NUMBERS]).await;
    let open = || Database::open(test.options(), &[NUMBERS]);
    // No standby has one of these names, so no commit could succeed; opening commits nothing new.
    server.set("synchronous_standby_names", "ANY 1 (a, b)").await;
    assert_eq!(open().await.unwrap().durability(), Durability::SynchronousStandby);
    for value in ["local", "remote_write"] {
        server.set("synchronous_commit", value).await;
        let error = open().await.unwrap_err();
        let is_named = matches!(&error, DatabaseError::NotOnStandby { value: named, standbys } if named == value && standbys == "ANY 1 (a, b)");
        assert!(is_named, "{value}: {error}");
    }
    server.set("synchronous_commit", "remote_apply").await;
    assert_eq!(open().await.unwrap().durability(), Durability::SynchronousStandby);
}

/// The writer behaves like a process that is stopped, or a machine that loses power, during a
/// transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_falls_silent_does_not_hold_up_the_others() {
    let _counted = dac_measure::counted!(SharedDatabase, 1);
    let mut test = TestDatabase::postgres().await;
    test.options_mut().silence_timeout = Duration::from_millis(300);
    let (silent, other) = (test.open(&[NUMBERS]).await, test.open(&[NUMBERS]).await);
    let (tell, has_written) = tokio::sync::oneshot::channel();
    let (resume, wait) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn(async move {
        let work = silent.transaction(move |connection| {
            Box::pin(async move {
                insert(connection, 1).await?;
                let _ = tell.send(());
                let _ = tokio::time::timeout(Duration::from_secs(20), wait).await;
                insert(connection, 2).await
            })
        });
        work.await
    });
    has_written.await.unwrap();
    // Without the timeout, this writer would wait until the first one continues.
    let second = other.transaction(|connection| Box::pin(insert(connection, 3)));
    tokio::time::timeout(Duration::from_secs(15), second)
        .await
        .expect("the first one's lock is let go")
        .unwrap();
    let stored: i64 = sqlx::query_scalar("SELECT n FROM numbers").fetch_one(other.reads()).await.unwrap();
    assert_eq!(stored, 3);
    drop(resume);
    let error = first.await.unwrap().unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retryable, "{error}");
}

/// This is what a failover looks like: the former primary comes back read-only, and the address
/// still leads to it. Later the address leads to a server that accepts writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_server_that_was_demoted_are_left_at_once() {
    let _counted = dac_measure::counted!(SafeDatabase, 1);
    let server = crate::testing::TestServer::start();
    let mut test = TestDatabase::postgres_at(server.url().clone()).await;
    test.options_mut().acquire_timeout = Duration::from_secs(2);
    let database = test.open(&[NUMBERS]).await;
    let write = async |n: i64| database.transaction(move |connection| Box::pin(insert(connection, n))).await;
    write(1).await.unwrap();
    database.probe().await.unwrap();

    server.set("default_transaction_read_only", "on").await;
    // Connections that were open stay open, as they do behind an address that has not moved yet.
    server.end_all_others().await;
    let refused = write(2).await.unwrap_err();
    assert_eq!(refused.class(), ErrorClass::Retryable, "{refused}");
    *database.inner.committed.lock().unwrap() = None;
    let refused = database.probe().await.unwrap_err();
    assert_eq!(refused.class(), ErrorClass::Retryable, "{refused}");
    let error = Database::open(test.options(), &[NUMBERS]).await.unwrap_err();
    assert!(matches!(error, DatabaseError::ReadOnly), "{error}");

    server.set("default_transaction_read_only", "off").await;
    let since = std::time::Instant::now();
    write(2).await.unwrap();
    database.probe().await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(10), "it took {:?}", since.elapsed());
}

#[tokio::test]
async fn a_role_without_rights_is_told_what_to_run() {
    let test = TestDatabase::postgres().await;
    let database = test.open(&[]).await;
    let role = format!("r{}", std::process::id());
    let DatabaseUrl::Postgres(url) = &test.options().url else { panic!("a server's URL") };
    let mut url = url.clone();
    url.set_username(&role).unwrap();
    let query = url.query().unwrap_or_default().replace("search_path", "application_name");
    url.set_query(Some(&format!("{query}&options[search_path]=forbidden_{role}")));
    let make = format!(
        "CREATE ROLE {role} LOGIN; CREATE SCHEMA forbidden_{role}; GRANT USAGE ON SCHEMA forbidden_{role} TO {role}"
    );
    let mut connection = database.inner.connect.connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(make)).execute(&mut connection).await.unwrap();
    let error = Database::open(&DatabaseOptions::new(DatabaseUrl::Postgres(url)), &[]).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("permission denied") && said.contains("GRANT") && !said.contains("at line"),
        "{said}"
    );
    let drop = format!("DROP SCHEMA forbidden_{role}; DROP ROLE {role}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn a_probe_writes_only_where_nothing_was_written_lately() {
    let test = TestDatabase::sqlite();
    let database = test.open(&[NUMBERS]).await;
    let probes = async || {
        let token = "SELECT COALESCE(max(token), 0) FROM leases WHERE name = 'probe'";
        sqlx::query_scalar::<_, i64>(token).fetch_one(database.reads()).await.unwrap()
    };
    database.probe().await.unwrap();
    database.probe().await.unwrap();
    assert_eq!(probes().await, 1);
    *database.inner.committed.lock().unwrap() = None;
    database.probe().await.unwrap();
    assert_eq!(probes().await, 2);
}

#[tokio::test]
async fn a_database_tells_its_size_where_its_disk_is_out_of_sight() {
    let bytes = TestDatabase::postgres().await.open(&[]).await.size_on_server().await.unwrap();
    assert!(bytes.is_some_and(|bytes| bytes > 1 << 20), "{bytes:?}");
    assert_eq!(TestDatabase::sqlite().open(&[]).await.size_on_server().await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_without_the_password() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    dac_secrets::create(&password, b"hunter2\n").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut options = DatabaseOptions::new(format!("postgres://dac@127.0.0.1:{port}/dac").parse().unwrap());
    options.password_file = Some(password);
    let error = Database::open(&options, &[]).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Retryable, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    options.password_file = Some(folder.path().join("none"));
    assert!(matches!(Database::open(&options, &[]).await, Err(DatabaseError::Secret(_))));
}
