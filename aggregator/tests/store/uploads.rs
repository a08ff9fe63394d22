//! Tests of uploads: small payloads are held in memory until they are stored with their batch,
//! large ones are staged, and an upload that ends early leaves nothing behind.

use std::time::Duration;

use dac_aggregator::store::{Creation, SqlStore, Store, StoreError};
use dac_database::testing::TestDatabase;
use dac_database::{Backend, on_both_backends};
use dac_types::B256;

use dac_aggregator::batch::{Event, Failure, FailureReason};

use super::{apply, bytes, create, open, payload, received, rows, run, submission, upload};

/// The largest payload that is held in memory.
const HELD_MAX_BYTES: u32 = 8 * 256 * 1024;

on_both_backends!(
    small_payloads_are_held_and_large_ones_staged,
    payloads_come_back_and_corruption_is_found,
    unfinished_uploads_leave_nothing,
    a_second_upload_of_a_batch_leaves_nothing,
    an_upload_that_was_removed_takes_no_more_rows,
);

fn failed() -> Event {
    Event::Failed(Failure { reason: FailureReason::Internal, detail: String::new() })
}

async fn small_payloads_are_held_and_large_ones_staged(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let cases = [(1, 0), (HELD_MAX_BYTES, 0), (HELD_MAX_BYTES + 1, 8), (3 * HELD_MAX_BYTES + 100_000, 24)];
    for (number, (length, staged)) in (1..).zip(cases) {
        let payload = bytes(length);
        run(&store, "DELETE FROM payload_rows".to_owned()).await;
        let upload = upload(&store, &payload).await;
        assert_eq!(rows(&store, "uploads").await, i64::from(staged > 0), "{length}");
        assert_eq!(rows(&store, "payload_rows").await, staged, "{length}");
        let (id, batch) = (upload.id(), received(submission(number, 1, B256::ZERO), 1));
        let (creation, held) = upload.create(batch).await.unwrap();
        assert_eq!(creation, Creation::Created { replaced: None });
        assert_eq!(held, (staged == 0).then(|| payload.clone()), "{length}");
        assert_eq!(store.read_payload(id, length.into()).await.unwrap(), payload);
        assert_eq!(rows(&store, "uploads").await, 0);
    }
}

async fn payloads_come_back_and_corruption_is_found(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let batch = received(submission(1, 1, B256::ZERO), 1);
    create(&store, batch.clone()).await;
    let id = store.batch(batch.id).await.unwrap().unwrap().upload;
    assert_eq!(store.read_payload(id, 700_000).await.unwrap(), payload());
    assert!(matches!(store.read_payload(id, 699_999).await, Err(StoreError::CorruptPayload { .. })));
    let spoil = async |statement: &str| run(&store, statement.to_owned()).await;
    let problem = async || match store.read_payload(id, 700_000).await {
        Err(StoreError::CorruptPayload { problem }) => problem,
        other => panic!("{other:?}"),
    };
    // Rows that are swapped, a row of another batch, and a missing row are all noticed.
    spoil("UPDATE payload_rows SET row_index = row_index + 10").await;
    spoil("UPDATE payload_rows SET row_index = 11 - row_index WHERE row_index < 12").await;
    assert_eq!(problem().await, "row 0 of 3 does not match its hash");
    spoil("UPDATE payload_rows SET row_index = 21 - row_index WHERE row_index < 2").await;
    spoil("UPDATE payload_rows SET row_index = row_index - 20 WHERE row_index > 19").await;
    spoil("UPDATE payload_rows SET row_index = 2 WHERE row_index = 12").await;
    assert_eq!(store.read_payload(id, 700_000).await.unwrap(), payload());
    spoil("DELETE FROM payload_rows WHERE row_index = 1").await;
    assert_eq!(problem().await, "row 1 of 3 is missing");
    // The change that drops the payload removes its rows, and no other batch's.
    let other = received(submission(2, 1, B256::ZERO), 1);
    create(&store, other.clone()).await;
    let (mut ended, mut version) = (batch, 1);
    apply(&store, &mut ended, &mut version, failed()).await;
    assert!(ended.payload_dropped);
    assert_eq!(problem().await, "row 0 of 3 is missing");
    assert_eq!(rows(&store, "payload_rows").await, 3);
}

async fn is_removed(store: &SqlStore, rows_left: i64) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while rows(store, "payload_rows").await + rows(store, "uploads").await > rows_left {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the upload is removed");
}

async fn unfinished_uploads_leave_nothing(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let dropped = upload(&store, &bytes(HELD_MAX_BYTES + 1)).await;
    assert_eq!(rows(&store, "payload_rows").await, 8);
    drop(dropped);
    is_removed(&store, 0).await;
    // The upload of a killed process is removed at the next start.
    let killed = upload(&store, &bytes(HELD_MAX_BYTES + 1)).await;
    Box::leak(Box::new(killed));
    assert_eq!(rows(&store, "uploads").await, 1);
    store.close().await;
    let store = open(&database).await;
    assert_eq!(rows(&store, "payload_rows").await + rows(&store, "uploads").await, 0);
}

async fn a_second_upload_of_a_batch_leaves_nothing(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let batch = received(submission(1, 1, B256::ZERO), 1);
    let (first, second) =
        (upload(&store, &bytes(HELD_MAX_BYTES + 1)).await, upload(&store, &bytes(HELD_MAX_BYTES + 1)).await);
    first.create(batch.clone()).await.unwrap();
    assert_eq!(second.create(batch).await.unwrap().0, Creation::Exists);
    is_removed(&store, 9).await;
    assert_eq!(rows(&store, "payload_rows").await, 9, "the batch's own");
}

async fn an_upload_that_was_removed_takes_no_more_rows(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let mut paused = upload(&store, &bytes(HELD_MAX_BYTES + 1)).await;
    let whole = upload(&store, &bytes(HELD_MAX_BYTES + 1)).await;
    // Does what another process does with the uploads of a process whose lease ran out.
    for table in ["uploads", "payload_rows"] {
        run(&store, format!("DELETE FROM {table}")).await;
    }
    let error = paused.push(&bytes(HELD_MAX_BYTES)).await.unwrap_err();
    assert!(matches!(error, StoreError::CorruptPayload { .. }), "{error}");
    let error = whole.create(received(submission(1, 1, B256::ZERO), 1)).await.unwrap_err();
    assert!(matches!(error, StoreError::CorruptPayload { .. }), "{error}");
    assert_eq!(rows(&store, "payload_rows").await + rows(&store, "batches").await, 0);
}
