//! Tests of reading: each type is read as it was written, a snapshot shows one state, and a reader
//! cannot change anything.

use sqlx::Row;

use super::*;

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
}
