//! Tests with PostgreSQL servers that may lose data, that fall silent, that fail over, and that
//! refuse.

use super::*;

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
    *database.inner.connections.committed.lock().unwrap() = None;
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
    let mut connection = database.inner.connections.options.connect().await.unwrap();
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
