//! Tests of transactions: each is stored as a whole or not at all, one runs at a time, and this
//! also holds if callers fail, panic, hang or are cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;

on_both! {
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
            let mut connection = database.inner.connections.writers.acquire().await.unwrap();
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

/// Returns true in a way that keeps the compiler from knowing that code after a panic is
/// unreachable.
fn numbers_are_odd() -> bool {
    std::hint::black_box(true)
}
