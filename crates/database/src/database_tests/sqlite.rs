//! Tests of SQLite: its files, its disk, and transactions that it ends itself.

use super::*;

#[tokio::test]
async fn sqlite_files_are_private_and_durable() {
    let _counted = dac_measure::counted!(SafeDatabase, 3);
    use std::os::unix::fs::PermissionsExt;
    let test = TestDatabase::sqlite();
    let database = test.open(&[]).await;
    let file = test.file().unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let mut writer = database.inner.connections.writers.acquire().await.unwrap();
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
    // A missing folder is created; if that is impossible, the error names the folder.
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
    *database.inner.connections.committed.lock().unwrap() = None;
    database.probe().await.unwrap();
    assert_eq!(probes().await, 2);
}
