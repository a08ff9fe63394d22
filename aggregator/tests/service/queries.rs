//! Tests of the methods GetBatch, WatchBatch, ListBatches and GetCertificate.

use dac_aggregator::store::Store;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_types::{B256, HashKind};
use tonic::Status;

use crate::support::rollup::{digest, order, payload, sign};
use crate::support::{Behaviour, PATIENCE, ROLLUP, Running, World, by_submission};

fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> Reason {
    Reason::of(&result.unwrap_err()).expect("a reason")
}

async fn list(running: &Running, rollup: &[u8], page_size: u32, token: &str) -> v1::ListBatchesResponse {
    let request =
        v1::ListBatchesRequest { rollup: rollup.to_vec().into(), page_size, page_token: token.to_owned() };
    running.client.clone().list_batches(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_watcher_sees_the_batch_to_its_end() {
    let world = World::small().await;
    world.l1.set_withhold(true);
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let mut client = running.client.clone();
    let request = v1::WatchBatchRequest { batch: Some(by_submission(submission)) };
    let mut stream = client.watch_batch(request).await.unwrap().into_inner();
    let mut states = Vec::new();
    let watching = async {
        while let Some(response) = stream.message().await.unwrap() {
            let state = response.batch.unwrap().state();
            if states.last() != Some(&state) {
                states.push(state);
            }
            if state == v1::BatchState::Certified {
                world.l1.set_withhold(false);
            }
        }
    };
    tokio::time::timeout(PATIENCE, watching).await.expect("it ends by itself");
    assert_eq!(states.last(), Some(&v1::BatchState::Posted));
    assert!(states.contains(&v1::BatchState::Certified) && states.is_sorted(), "{states:?}");

    // The stream for a batch at its end has one message.
    let request = v1::WatchBatchRequest { batch: Some(by_submission(submission)) };
    let mut stream = client.watch_batch(request).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    assert!(stream.message().await.unwrap().is_none());
    running.stop().await;
}

#[tokio::test]
async fn watchers_are_bounded_and_told_when_the_service_stops() {
    let mut world = World::small().await;
    world.options.watchers = 1;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Silent);
    }
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let request = || v1::WatchBatchRequest { batch: Some(by_submission(submission)) };
    let mut client = running.client.clone();
    let mut stream = client.watch_batch(request()).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    assert_eq!(reason(client.watch_batch(request()).await), Reason::Busy);
    running.stop().await;
    let end = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(reason(end), Reason::ShuttingDown);
}

#[tokio::test]
async fn listings_come_in_pages_newest_first() {
    let world = World::small().await;
    let running = world.start().await;
    let mut submitted = Vec::new();
    for number in 1..=5 {
        submitted.push(running.submit_new(number, 100).await);
    }
    let mut listed = Vec::new();
    let mut token = String::new();
    loop {
        let page = list(&running, ROLLUP.as_slice(), 2, &token).await;
        assert!(page.batches.len() <= 2);
        for batch in &page.batches {
            assert!(batch.members.is_empty(), "listings have no outcomes");
            listed.push((batch.received_at_ms, B256::from_slice(&batch.submission_digest)));
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert!(listed.is_sorted_by(|a, b| a > b), "newest first");
    let mut found: Vec<B256> = listed.into_iter().map(|(_, digest)| digest).collect();
    found.sort();
    submitted.sort();
    assert_eq!(found, submitted);
    assert_eq!(list(&running, &[], 0, "").await.batches.len(), 5);
    assert_eq!(list(&running, &[9; 20], 0, "").await.batches.len(), 0);
    for (rollup, token) in [(vec![1; 19], String::new()), (vec![], "x".to_owned()), (vec![], "0".repeat(79))]
    {
        let request = v1::ListBatchesRequest { rollup: rollup.into(), page_size: 1, page_token: token };
        assert_eq!(reason(running.client.clone().list_batches(request).await), Reason::MalformedRequest);
    }
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_not_there() {
    let world = World::small().await;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Silent);
    }
    let running = world.start().await;
    let mut client = running.client.clone();
    let nobody = v1::GetBatchRequest { batch: Some(by_submission(B256::repeat_byte(1))) };
    assert_eq!(reason(client.get_batch(nobody).await), Reason::UnknownBatch);
    let by = Some(v1::batch_selector::By::Digest(vec![1; 32].into()));
    let nobody = v1::GetCertificateRequest { batch: Some(v1::BatchSelector { by }) };
    assert_eq!(reason(client.get_certificate(nobody).await), Reason::UnknownBatch);
    assert_eq!(reason(client.get_batch(v1::GetBatchRequest { batch: None }).await), Reason::MalformedRequest);
    let by = Some(v1::batch_selector::By::SubmissionDigest(vec![1; 31].into()));
    let short = v1::WatchBatchRequest { batch: Some(v1::BatchSelector { by }) };
    assert_eq!(reason(client.watch_batch(short).await), Reason::MalformedRequest);

    let bytes = payload(100, 1);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    running.submit(&submission, &bytes).await.unwrap();
    let request = v1::GetCertificateRequest { batch: Some(by_submission(digest(&submission))) };
    assert_eq!(reason(client.get_certificate(request).await), Reason::NotCertified);
    running.stop().await;
}

#[tokio::test]
async fn a_failing_store_is_said_to_fail_and_nothing_more() {
    let world = World::small().await;
    let running = world.start().await;
    let submission = running.submit_new(1, 100).await;
    running.until_state(submission, v1::BatchState::Posted).await;
    running.store().close().await;
    let unknown = v1::GetBatchRequest { batch: Some(by_submission(B256::repeat_byte(1))) };
    let status = running.client.clone().get_batch(unknown).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::StorageFailed));
    assert!(!status.message().contains("pool"), "internals stay here: {}", status.message());
    let bytes = payload(100, 2);
    let second = sign(order(2, HashKind::Opaque, &bytes));
    assert_eq!(reason(running.submit(&second, &bytes).await), Reason::StorageFailed);
    running.stop().await;
}

#[tokio::test]
async fn a_corrupt_batch_is_said_to_be_corrupt_and_the_others_go_on() {
    let world = World::small().await;
    let running = world.start().await;
    let spoiled = running.submit_new(1, 100).await;
    running.until_state(spoiled, v1::BatchState::Posted).await;
    running.stop().await;
    let store = world.store().await;
    let done: Result<(), dac_aggregator::store::StoreError> = store
        .database()
        .transaction(|connection| {
            Box::pin(async move {
                let statement = "UPDATE batches SET submission = submission_digest, finished = 0";
                dac_database::sqlx::query(statement).execute(connection).await?;
                Ok(())
            })
        })
        .await;
    done.unwrap();
    store.close().await;
    let running = world.start().await;
    let request = v1::GetBatchRequest { batch: Some(by_submission(spoiled)) };
    assert_eq!(reason(running.client.clone().get_batch(request).await), Reason::Corrupt);
    let other = running.submit_new(2, 100).await;
    running.until_state(other, v1::BatchState::Posted).await;
    running.stop().await;
}
