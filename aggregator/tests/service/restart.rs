//! Tests that a process may end at any point, and that the next one goes on.

use std::sync::Arc;

use dac_aggregator::store::{Store, Upload};
use dac_proto::v1;
use dac_types::{B256, BatchDigest, HashKind};
use tonic::Code;

use crate::support::rollup::{digest, order, payload, sign};
use crate::support::{Behaviour, World};

#[tokio::test]
async fn a_batch_whose_creation_seemed_to_fail_goes_on_when_it_is_submitted_again() {
    let world = World::small().await;
    let running = world.start().await;
    let bytes = payload(100_000, 1);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    // This imitates a connection that broke between the commit and its answer: the store has the
    // batch, and no task works on it.
    let mut upload = Upload::begin(Arc::clone(running.store()), 1, 100_000);
    for piece in bytes.chunks(10_000) {
        upload.push(piece).await.unwrap();
    }
    let id = dac_aggregator::batch::SubmissionDigest(digest(&submission));
    let batch = dac_aggregator::batch::Batch::received(id, submission.clone(), 1);
    upload.create(batch).await.unwrap();
    let (first, second) =
        tokio::join!(running.submit(&submission, &bytes), running.submit(&submission, &bytes));
    assert_eq!(first.unwrap().received_at_ms, second.unwrap().received_at_ms);
    running.until_state(digest(&submission), v1::BatchState::Posted).await;
    assert_eq!(running.aggregator.batches().budgets().in_flight.used(), 0);
    running.stop().await;
}

#[tokio::test]
async fn received_batches_are_encoded_after_a_restart() {
    let world = World::small().await;
    let running = world.start().await;
    // This imitates a process that ended right after the commit.
    let bytes = payload(100_000, 1);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    running.stop().await;
    let store: Arc<dyn Store> = Arc::new(world.store().await);
    let mut upload = Upload::begin(Arc::clone(&store), 1, 100_000);
    for piece in bytes.chunks(10_000) {
        upload.push(piece).await.unwrap();
    }
    let id = dac_aggregator::batch::SubmissionDigest(digest(&submission));
    let batch = dac_aggregator::batch::Batch::received(id, submission.clone(), 1);
    upload.create(batch).await.unwrap();
    store.close().await;
    let running = world.start().await;
    running.until_state(digest(&submission), v1::BatchState::Posted).await;
    running.stop().await;
}

#[tokio::test]
async fn a_dispersed_header_is_the_same_after_a_restart() {
    let world = World::small().await;
    for seat in 0..2 {
        world.behave(seat, Behaviour::Fail(Code::Unavailable));
    }
    let running = world.start().await;
    let submission = running.submit_new(1, 50_000).await;
    let two_answered = |batch: &v1::Batch| {
        batch.members.iter().filter(|member| member.attested_at_ms > 0).count() == 2
            && batch.members[0].attempts > 0
    };
    let before = running.until(submission, two_answered).await;
    running.stop().await;

    for seat in 0..2 {
        world.behave(seat, Behaviour::Honest);
    }
    let delivered = world.member(2).delivered().len();
    let running = world.start().await;
    let after = running.until_state(submission, v1::BatchState::Posted).await;
    assert_eq!(before.digest, after.digest);
    assert_eq!(before.received_at_ms, after.received_at_ms);
    for member in &world.members {
        assert!(member.holds(BatchDigest(B256::from_slice(&after.digest))));
        let digests: std::collections::HashSet<_> =
            member.delivered().iter().map(|delivered| delivered.digest).collect();
        assert_eq!(digests.len(), 1, "one submission, one header");
    }
    // Members that had answered before were sent only the certificate.
    assert!(world.member(2).delivered()[delivered..].iter().all(|delivery| delivery.bytes == 0));
    running.stop().await;
}

#[tokio::test]
async fn a_certificate_survives_and_is_recorded_once() {
    let world = World::small().await;
    world.l1.set_withhold(true);
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let certified = running.until_state(submission, v1::BatchState::Certified).await;
    running.stop().await;
    for _ in 0..2 {
        let running = world.start().await;
        let again = running.get(submission).await;
        assert_eq!(again.state(), v1::BatchState::Certified);
        assert_eq!((&again.digest, again.certified_at_ms), (&certified.digest, certified.certified_at_ms));
        running.stop().await;
    }
    world.l1.set_withhold(false);
    let running = world.start().await;
    let posted = running.until_state(submission, v1::BatchState::Posted).await;
    assert!(posted.l1.unwrap().by_us);
    assert_eq!((world.l1.recorded(), world.l1.included()), (1, 1), "recorded once, paid once");
    running.stop().await;
}

#[tokio::test]
async fn stragglers_are_served_after_a_restart() {
    let world = World::small().await;
    world.behave(0, Behaviour::Fail(Code::Unavailable));
    let running = world.start().await;
    let submission = running.submit_new(1, 300_000).await;
    running.until_state(submission, v1::BatchState::Posted).await;
    running.stop().await;
    world.behave(0, Behaviour::Honest);
    let running = world.start().await;
    let batch =
        running.until(submission, |batch| batch.members[0].state() == v1::DeliveryState::Attested).await;
    assert_eq!(batch.state(), v1::BatchState::Posted);
    let digest = BatchDigest(B256::from_slice(&batch.digest));
    assert!(world.member(0).holds(digest) && world.member(0).has_certificate(digest));
    running.stop().await;
}

#[tokio::test]
async fn finished_batches_are_left_alone_and_still_known() {
    let world = World::small().await;
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let all_attested = |batch: &v1::Batch| {
        batch.state() == v1::BatchState::Posted
            && batch.members.iter().all(|member| member.state() == v1::DeliveryState::Attested)
    };
    running.until(submission, all_attested).await;
    tokio::time::timeout(crate::support::PATIENCE, async {
        while !running.store().unfinished().await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it is finished once all have shard and certificate");
    running.stop().await;
    let calls: Vec<usize> = world.members.iter().map(crate::support::FakeMember::calls).collect();
    let running = world.start().await;
    assert!(all_attested(&running.get(submission).await));
    running.stop().await;
    assert_eq!(calls, world.members.iter().map(crate::support::FakeMember::calls).collect::<Vec<_>>());
}
