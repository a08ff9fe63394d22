//! Tests of dormant batches: certified ones that wait for a proof have no task, and an event that
//! concerns one of them wakes it.

use dac_database::testing::TestDatabase;
use dac_proto::v1::{self, BatchState};
use dac_types::B256;

use crate::support::proof::good_proof;
use crate::support::{Behaviour, PATIENCE, Running, World, by_submission};

/// Waits until `count` batches are dormant.
async fn rest(running: &Running, count: usize) {
    let resting = async {
        while running.aggregator.batches().dormant() != count {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, resting).await;
    waited.unwrap_or_else(|_| panic!("{} rest, not {count}", running.aggregator.batches().dormant()));
}

async fn certified(running: &Running, number: u64) -> B256 {
    let submission = running.submit_to_settle(number).await;
    running.until_state(submission, BatchState::Certified).await;
    submission
}

async fn watch(running: &Running, submission: B256) -> tonic::Streaming<v1::WatchBatchResponse> {
    let request = v1::WatchBatchRequest { batch: Some(by_submission(submission)) };
    running.client.clone().watch_batch(request).await.unwrap().into_inner()
}

async fn last_state(mut stream: tonic::Streaming<v1::WatchBatchResponse>) -> BatchState {
    let watching = async {
        let mut last = None;
        while let Some(response) = stream.message().await.unwrap() {
            last = Some(response.batch.unwrap().state());
        }
        last.unwrap()
    };
    tokio::time::timeout(PATIENCE, watching).await.expect("it ends by itself")
}

#[tokio::test]
async fn a_proof_wakes_a_batch() {
    let world = World::small().await;
    let running = world.start().await;
    let submission = certified(&running, 1).await;
    rest(&running, 1).await;
    let batch = running.get(submission).await;
    assert_eq!(batch.state(), BatchState::Certified);
    assert!(batch.members.iter().all(|member| member.attested_at_ms > 0), "what members said is stored");
    assert_eq!(running.aggregator.batches().dormant(), 1, "who asks does not wake it");
    running.prove(submission, good_proof(1)).await.unwrap();
    running.until_state(submission, BatchState::Settled).await;
    assert_eq!(running.aggregator.batches().dormant(), 0);
    running.stop().await;
}

#[tokio::test]
async fn what_others_settle_wakes_their_batches_and_no_others() {
    let world = World::small().await;
    let running = world.start().await;
    let mut submissions = Vec::new();
    for number in 1..=4 {
        submissions.push(certified(&running, number).await);
    }
    rest(&running, 4).await;
    for submission in &submissions[..3] {
        world.l1.settle_for_somebody(&running.header(*submission).await);
    }
    for submission in &submissions[..3] {
        let batch = running.until_state(*submission, BatchState::Settled).await;
        assert!(!batch.settlement.unwrap().by_us);
    }
    rest(&running, 1).await;
    assert_eq!(running.get(submissions[3]).await.state(), BatchState::Certified);
    running.stop().await;
}

#[tokio::test]
async fn a_batch_that_rests_expires() {
    let world = World::small().await;
    let running = world.start().await;
    let submission = certified(&running, 1).await;
    rest(&running, 1).await;
    world.clock.set(running.header(submission).await.expires_at + 1);
    running.until_state(submission, BatchState::Expired).await;
    assert_eq!(running.aggregator.batches().dormant(), 0);
    running.stop().await;
}

#[tokio::test]
async fn nothing_rests_while_somebody_watches_or_a_member_lacks_something() {
    let world = World::small().await;
    world.behave(3, Behaviour::Fail(tonic::Code::Unavailable));
    let running = world.start().await;
    let submission = certified(&running, 1).await;
    // Many ticks later its deliveries still go on.
    let calls = world.member(3).calls();
    running.until(submission, |_| world.member(3).calls() > calls + 3).await;
    assert_eq!(running.aggregator.batches().dormant(), 0);
    world.behave(3, Behaviour::Honest);
    rest(&running, 1).await;
    assert!(
        world.member(3).has_certificate(running.header(submission).await.digest(&crate::support::DOMAIN))
    );
    let watching = watch(&running, submission).await;
    rest(&running, 0).await;
    running.prove(submission, good_proof(1)).await.unwrap();
    assert_eq!(last_state(watching).await, BatchState::Settled);
    // When its last watcher leaves, the batch becomes dormant again.
    let second = certified(&running, 2).await;
    rest(&running, 1).await;
    let watching = watch(&running, second).await;
    rest(&running, 0).await;
    drop(watching);
    rest(&running, 1).await;
    running.stop().await;
}

#[tokio::test]
async fn batches_rest_again_after_a_restart() {
    let world = World::small().await;
    let running = world.start().await;
    let (first, second) = (certified(&running, 1).await, certified(&running, 2).await);
    rest(&running, 2).await;
    running.stop().await;
    let running = world.start().await;
    rest(&running, 2).await;
    for submission in [first, second] {
        running.prove(submission, good_proof(1)).await.unwrap();
    }
    for submission in [first, second] {
        running.until_state(submission, BatchState::Settled).await;
    }
    running.stop().await;
}

#[tokio::test]
async fn a_proof_handed_to_another_process_wakes_a_batch_and_the_next_poster_has_those_that_rest() {
    let mut world = World::small().await;
    world.database = TestDatabase::postgres().await;
    let posting = world.start().await;
    let (first, second) = (certified(&posting, 1).await, certified(&posting, 2).await);
    rest(&posting, 2).await;
    let other = world.start().await;
    other.prove(first, good_proof(1)).await.unwrap();
    posting.until_state(first, BatchState::Settled).await;
    rest(&posting, 1).await;
    posting.stop().await;
    rest(&other, 1).await;
    other.prove(second, good_proof(1)).await.unwrap();
    other.until_state(second, BatchState::Settled).await;
    other.stop().await;
}

/// A process that loses the poster's lease gives its dormant batches to the process that posts
/// then.
#[tokio::test]
async fn who_does_not_post_any_more_leaves_what_rests() {
    let mut world = World::small().await;
    world.database = TestDatabase::postgres().await;
    let posting = world.start().await;
    let submission = certified(&posting, 1).await;
    rest(&posting, 1).await;
    let other = world.start().await;
    world.pass_the_lead_to(&other).await;
    rest(&other, 1).await;
    assert_eq!(posting.aggregator.batches().dormant(), 0);
    other.prove(submission, good_proof(1)).await.unwrap();
    other.until_state(submission, BatchState::Settled).await;
    assert_eq!((world.l1.settled().len(), world.l1.included()), (1, 1));
    other.stop().await;
    posting.stop().await;
}
