//! Tests of opening a database: its identity and its tables.

use super::*;

on_both! {
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
