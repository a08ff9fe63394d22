//! Tests the way from the payload to the certificate, with members that fail, lie or hang.

use std::sync::Arc;
use std::time::Duration;

use dac_aggregator::store::{SqlStore, Store};
use dac_bls::CommitteeKeys;
use dac_client::EndpointPolicy;
use dac_database::sqlx;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_types::{B256, BatchDigest, Certificate, HashKind};
use tokio::sync::Notify;
use tonic::Code;

use crate::support::rollup::{digest, order, payload, sign};
use crate::support::{Behaviour, DOMAIN, NOW, PATIENCE, Running, World, by_submission};

fn batch_digest(batch: &v1::Batch) -> BatchDigest {
    BatchDigest(B256::from_slice(&batch.digest))
}

async fn certificate(running: &Running, submission: B256) -> Certificate {
    let mut client = running.client.clone();
    let request = v1::GetCertificateRequest { batch: Some(by_submission(submission)) };
    let certificate = client.get_certificate(request).await.unwrap().into_inner().certificate.unwrap();
    certificate.try_into().unwrap()
}

fn verify(world: &World, certificate: &Certificate) {
    let view = world.registry.latest().unwrap();
    let keys = CommitteeKeys::new(view.committee(certificate.header.epoch).unwrap()).unwrap();
    keys.verify_certificate(certificate, &DOMAIN).unwrap();
}

fn attested(batch: &v1::Batch) -> usize {
    batch.members.iter().filter(|member| member.state() == v1::DeliveryState::Attested).count()
}

#[tokio::test]
async fn all_hash_kinds_and_sizes_are_certified_and_posted() {
    let world = World::small().await;
    let running = world.start().await;
    let mut number = 0;
    for kind in [HashKind::Opaque, HashKind::Keccak256, HashKind::Sha256] {
        for length in [1, 33, 4096 * 2 + 1, (1 << 20) + 7] {
            number += 1;
            let bytes = payload(length, number as u8);
            let submission = sign(order(number, kind, &bytes));
            running.submit(&submission, &bytes).await.unwrap();
            let batch = running
                .until(digest(&submission), |batch| {
                    batch.state() == v1::BatchState::Posted && attested(batch) == 4
                })
                .await;
            let certificate = certificate(&running, digest(&submission)).await;
            verify(&world, &certificate);
            assert_eq!(certificate.header.digest(&DOMAIN), batch_digest(&batch));
            assert_eq!(certificate.header.batch_hash, submission.submission.batch_hash);
            assert!(batch.certified_at_ms >= batch.received_at_ms);
            for (seat, member) in world.members.iter().enumerate() {
                assert!(member.holds(batch_digest(&batch)), "seat {seat}");
                let sent: usize = member
                    .delivered()
                    .iter()
                    .filter(|delivered| delivered.digest == batch_digest(&batch))
                    .map(|delivered| delivered.bytes)
                    .sum();
                let expected = if kind.is_checked() { length } else { length.div_ceil(32) * 16 };
                assert_eq!(sent, expected, "each member is sent its due, once");
            }
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn a_committee_of_many_is_served() {
    let world = World::new(40, 14, 27).await;
    let running = world.start().await;
    let submission = running.submit_new(1, 300_000).await;
    let batch = running.until(submission, |batch| attested(batch) == 40).await;
    verify(&world, &certificate(&running, submission).await);
    assert!(batch.members.iter().filter(|member| member.in_certificate).count() >= 27);
    running.stop().await;
}

#[tokio::test]
async fn liars_are_named_and_cost_nothing_but_their_signature() {
    for lie in [
        Behaviour::WrongSignature,
        Behaviour::OtherMessage,
        Behaviour::OtherDigest,
        Behaviour::OtherSeat,
        Behaviour::NoPoint,
        Behaviour::Infinity,
        Behaviour::Empty,
    ] {
        let world = World::small().await;
        world.behave(2, lie);
        let running = world.start().await;
        let submission = running.submit_new(1, 5000).await;
        let batch = running
            .until(submission, |batch| {
                batch.state() == v1::BatchState::Posted && batch.members[2].state() == v1::DeliveryState::Lied
            })
            .await;
        assert!(!batch.members[2].reason.is_empty() && !batch.members[2].detail.is_empty());
        assert!(!batch.members[2].in_certificate);
        assert_eq!(attested(&batch), 3);
        let certificate = certificate(&running, submission).await;
        verify(&world, &certificate);
        assert_eq!(certificate.aggregate.absent.as_bytes(), [2]);
        running.stop().await;
    }
}

#[tokio::test]
async fn oversized_and_unexplained_answers_are_retried() {
    let world = World::small().await;
    world.behave(1, Behaviour::Oversized);
    world.behave(3, Behaviour::Fail(Code::Unknown));
    let running = world.start().await;
    let submission = running.submit_new(1, 5000).await;
    let retrying = |seat: usize| {
        move |batch: &v1::Batch| {
            batch
                .members
                .get(seat)
                .is_some_and(|member| member.state() == v1::DeliveryState::Retrying && member.attempts >= 2)
        }
    };
    let batch = running.until(submission, retrying(1)).await;
    assert_eq!(batch.members[1].reason, "TRANSPORT");
    running.until(submission, retrying(3)).await;
    assert_ne!(running.get(submission).await.state(), v1::BatchState::Certified, "two of four are no quorum");
    world.behave(1, Behaviour::Honest);
    running.until_state(submission, v1::BatchState::Posted).await;
    world.behave(3, Behaviour::Honest);
    running.until(submission, |batch| attested(batch) == 4).await;
    running.stop().await;
}

#[tokio::test]
async fn a_member_that_recovers_signs_after_all() {
    for reason in
        [Reason::Busy, Reason::StorageFailed, Reason::L1Stale, Reason::EpochNotActive, Reason::QuotaExceeded]
    {
        let world = World::small().await;
        world.behave(0, Behaviour::RefuseFirst(3, reason));
        let running = world.start().await;
        // The member refuses while megabytes are being sent.
        let submission = running.submit_new(1, 3 << 20).await;
        let batch = running.until(submission, |batch| attested(batch) == 4).await;
        assert!(batch.members[0].attempts >= 4, "{reason}");
        assert_eq!(batch.members[0].reason, "", "what is over is not shown");
        running.stop().await;
    }
}

#[tokio::test]
async fn stragglers_get_their_shard_and_the_certificate_after_quorum() {
    let world = World::small().await;
    world.behave(3, Behaviour::Fail(Code::Unavailable));
    let running = world.start().await;
    let submission = running.submit_new(1, 700_000).await;
    let batch = running
        .until(submission, |batch| {
            batch.state() == v1::BatchState::Posted && batch.members[3].state() == v1::DeliveryState::Retrying
        })
        .await;
    let digest = batch_digest(&batch);
    assert_eq!(certificate(&running, submission).await.aggregate.absent.as_bytes(), [3]);
    assert_eq!(running.aggregator.batches().budgets().in_flight.used(), 0, "it holds up nobody else");
    world.behave(3, Behaviour::Honest);
    let batch = running.until(submission, |batch| attested(batch) == 4).await;
    assert!(!batch.members[3].in_certificate);
    assert!(world.member(3).holds(digest) && world.member(3).has_certificate(digest));
    // The others are given the certificate without their shard being sent again.
    let all_have = async {
        while !world.members.iter().all(|member| member.has_certificate(digest)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_have).await.unwrap();
    // Then the payload is dropped.
    payload_gone(&world.opened()).await;
    running.stop().await;
}

async fn payload_gone(store: &SqlStore) {
    let gone = async {
        loop {
            let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM payload_rows")
                .fetch_one(store.database().reads())
                .await
                .unwrap();
            if rows == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the payload is dropped");
}

#[tokio::test]
async fn a_straggler_that_lies_is_named_too() {
    let world = World::small().await;
    world.behave(3, Behaviour::Fail(Code::Unavailable));
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    running.until_state(submission, v1::BatchState::Posted).await;
    world.behave(3, Behaviour::WrongSignature);
    running.until(submission, |batch| batch.members[3].state() == v1::DeliveryState::Lied).await;
    assert_eq!(running.get(submission).await.state(), v1::BatchState::Posted);
    running.stop().await;
}

#[tokio::test]
async fn who_refused_is_asked_again_with_the_certificate() {
    let world = World::small().await;
    world.behave(3, Behaviour::RefuseFirst(1, Reason::SubmitBeforePassed));
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running.until(submission, |batch| attested(batch) == 4).await;
    assert!(world.member(3).has_certificate(batch_digest(&batch)));
    running.stop().await;
}

#[tokio::test]
async fn fast_members_within_the_grace_are_all_in_the_certificate() {
    let mut world = World::small().await;
    // The long grace is not waited for once all members have answered.
    world.options.grace = PATIENCE;
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running.until_state(submission, v1::BatchState::Posted).await;
    assert!(batch.members.iter().all(|member| member.in_certificate), "{batch:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_slow_member_does_not_hold_the_certificate_up() {
    let world = World::small().await;
    let go_on = Arc::new(Notify::new());
    world.behave(0, Behaviour::Wait(Arc::clone(&go_on)));
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running.until_state(submission, v1::BatchState::Posted).await;
    assert_eq!(batch.members[0].state(), v1::DeliveryState::Pending);
    go_on.notify_one();
    running.until(submission, |batch| attested(batch) == 4).await;
    running.stop().await;
}

#[tokio::test]
async fn silent_members_are_given_up_at_the_deadline_and_tried_again() {
    let mut world = World::small().await;
    world.options.call_timeout = Duration::from_millis(300);
    for seat in 0..2 {
        world.behave(seat, Behaviour::Silent);
    }
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running
        .until(submission, |batch| batch.members.first().is_some_and(|member| member.attempts >= 2))
        .await;
    assert_eq!(batch.members[0].reason, "TIMED_OUT");
    for seat in 0..2 {
        world.behave(seat, Behaviour::Honest);
    }
    running.until_state(submission, v1::BatchState::Posted).await;
    running.stop().await;
}

#[tokio::test]
async fn private_addresses_are_not_called_unless_allowed() {
    let mut world = World::small().await;
    world.options.policy = EndpointPolicy::PublicOnly;
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running
        .until(submission, |batch| batch.members.first().is_some_and(|member| member.attempts > 0))
        .await;
    assert!(batch.members[0].detail.contains("loopback"), "{:?}", batch.members[0]);
    assert_eq!(world.member(0).calls(), 0);
    running.stop().await;
}

#[tokio::test]
async fn a_member_that_is_down_is_reported_as_unreachable() {
    let world = World::small().await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    world.publish(|view| {
        let committee = view.committees[&1].clone();
        let mut members = committee.members().to_vec();
        members[1].dispersal_url = format!("http://{gone}");
        let changed =
            dac_types::Committee::new(1, committee.quorum(), members, 0, u64::MAX, u64::MAX).unwrap();
        view.committees.insert(1, Arc::new(changed));
    });
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let batch = running
        .until(submission, |batch| {
            batch.state() == v1::BatchState::Posted && batch.members[1].state() == v1::DeliveryState::Retrying
        })
        .await;
    assert_eq!(batch.members[1].reason, "UNREACHABLE");
    // The operator changes its URL, and is found at the new one.
    world.publish(|view| {
        let committee = view.committees[&1].clone();
        let mut members = committee.members().to_vec();
        members[1].dispersal_url = world.member(1).url();
        let changed =
            dac_types::Committee::new(1, committee.quorum(), members, 0, u64::MAX, u64::MAX).unwrap();
        view.committees.insert(1, Arc::new(changed));
    });
    running.until(submission, |batch| attested(batch) == 4).await;
    running.stop().await;
}

/// Members refuse more often than the task ticks, and the end of the epoch is noticed all the same.
#[tokio::test]
async fn refusals_without_end_hide_no_end_of_an_epoch() {
    let mut world = World::small().await;
    // Each of the four members is asked every 50 ms, ten times per tick.
    world.options.tick = Duration::from_millis(500);
    for seat in 0..4 {
        world.behave(seat, Behaviour::Refuse(Reason::EpochNotActive));
    }
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    running.until_state(submission, v1::BatchState::Dispersing).await;
    world.open_epoch(2);
    world.clock.advance(10);
    running.until(submission, |batch| batch.epoch == 2).await;
    running.stop().await;
}

#[tokio::test]
async fn a_new_epoch_takes_over_what_the_old_one_did_not_certify() {
    let world = World::small().await;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Refuse(Reason::EpochNotActive));
    }
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let old = running.until_state(submission, v1::BatchState::Dispersing).await;
    assert_eq!(old.epoch, 1);
    world.open_epoch(2);
    world.clock.advance(10);
    running.until(submission, |batch| batch.epoch == 2).await;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Honest);
    }
    let new = running.until_state(submission, v1::BatchState::Posted).await;
    assert_eq!(new.epoch, 2);
    assert_ne!(old.digest, new.digest);
    verify(&world, &certificate(&running, submission).await);
    // Both headers' digests select the batch.
    for digest in [old.digest, new.digest.clone()] {
        let by = Some(v1::batch_selector::By::Digest(digest));
        let request = v1::GetBatchRequest { batch: Some(v1::BatchSelector { by }) };
        let found = running.client.clone().get_batch(request).await.unwrap().into_inner().batch.unwrap();
        assert_eq!(found.digest, new.digest);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_certified_batch_stays_in_its_epoch() {
    let world = World::small().await;
    world.l1.set_withhold(true);
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let certified = running.until_state(submission, v1::BatchState::Certified).await;
    world.open_epoch(2);
    world.clock.advance(100);
    world.l1.set_withhold(false);
    let posted = running.until_state(submission, v1::BatchState::Posted).await;
    assert_eq!((posted.epoch, posted.digest), (1, certified.digest));
    running.stop().await;
}

#[tokio::test]
async fn orders_that_nobody_signs_in_time_fail_and_batches_expire() {
    let world = World::small().await;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Fail(Code::Unavailable));
    }
    let running = world.start().await;
    let late = running.submit_new(1, 1000).await;
    running.until_state(late, v1::BatchState::Dispersing).await;
    world.clock.set(NOW + 3600 + 31);
    let failed = running.until_state(late, v1::BatchState::Failed).await;
    assert!(failed.failure.starts_with("SUBMIT_BEFORE_PASSED"), "{}", failed.failure);
    assert_eq!(running.aggregator.batches().budgets().in_flight.used(), 0);
    running.stop().await;

    let world = World::small().await;
    world.l1.set_withhold(true);
    let running = world.start().await;
    let expires = running.submit_new(1, 1000).await;
    running.until_state(expires, v1::BatchState::Certified).await;
    world.clock.set(NOW + 24 * 3600 + 1);
    running.until_state(expires, v1::BatchState::Expired).await;
    // The certificate is still served, and the number is free.
    certificate(&running, expires).await;
    running.stop().await;
}

#[tokio::test]
async fn a_corrupt_payload_is_never_dispersed() {
    let world = World::small().await;
    // No epoch is active yet, so the payload stays in the store.
    let running = world.start().await;
    let committees = world.registry.latest().unwrap().committees.clone();
    let bytes = payload(600_000, 1);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    for seat in 0..4 {
        world.behave(seat, Behaviour::Silent);
    }
    running.submit(&submission, &bytes).await.unwrap();
    running.stop().await;
    let store = world.store().await;
    let spoiled: Result<u64, dac_aggregator::store::StoreError> = store
        .database()
        .transaction(|connection| {
            Box::pin(async move {
                let row = vec![0u8; 262_144];
                let done = sqlx::query("UPDATE payload_rows SET data = $1 WHERE row_index = 1")
                    .bind(row)
                    .execute(connection)
                    .await?;
                Ok(done.rows_affected())
            })
        })
        .await;
    assert_eq!(spoiled.unwrap(), 1);
    store.close().await;
    let before: Vec<usize> = world.members.iter().map(|member| member.delivered().len()).collect();
    for seat in 0..4 {
        world.behave(seat, Behaviour::Honest);
    }
    world.publish(|view| view.committees = committees);
    let running = world.start().await;
    let failed = running.until_state(digest(&submission), v1::BatchState::Failed).await;
    assert!(failed.failure.starts_with("CORRUPT_PAYLOAD"), "{}", failed.failure);
    assert!(failed.failure.contains("row 1 of 3"), "{}", failed.failure);
    let after: Vec<usize> = world.members.iter().map(|member| member.delivered().len()).collect();
    assert_eq!(before, after);
    running.stop().await;
}

#[tokio::test]
async fn a_payload_that_was_held_is_dispersed_as_it_came() {
    let world = World::small().await;
    let store = world.store().await;
    let spoiling: Result<(), dac_aggregator::store::StoreError> = store
        .database()
        .transaction(|connection| {
            Box::pin(async move {
                let statement = "CREATE TRIGGER spoiling AFTER INSERT ON payload_rows BEGIN
                    UPDATE payload_rows SET data = hash WHERE upload_id = NEW.upload_id; END";
                sqlx::query(statement).execute(connection).await?;
                Ok(())
            })
        })
        .await;
    spoiling.unwrap();
    store.close().await;
    let running = world.start().await;
    let small = running.submit_new(1, 2 << 20).await;
    let large = running.submit_new(2, (2 << 20) + 1).await;
    running.until_state(small, v1::BatchState::Posted).await;
    // A payload that was staged is read back and checked.
    let failed = running.until_state(large, v1::BatchState::Failed).await;
    assert!(failed.failure.starts_with("CORRUPT_PAYLOAD"), "{}", failed.failure);
    running.stop().await;
}

#[tokio::test]
async fn a_member_that_never_answers_keeps_no_memory_of_fresh_batches() {
    let mut world = World::small().await;
    // There is room for two uncertified batches, and every call to the silent member lasts as long
    // as the test.
    world.options.encoded_bytes = 2 * 2 * 100_000;
    world.options.call_timeout = 10 * PATIENCE;
    world.behave(3, Behaviour::Silent);
    let running = world.start().await;
    let mut submissions = Vec::new();
    for number in 1..=20 {
        submissions.push(running.submit_new(number, 100_000).await);
    }
    for submission in submissions {
        running.until_state(submission, v1::BatchState::Posted).await;
    }
    assert!(world.member(3).calls() >= 8, "it was called for as many as are called at once");
    running.stop().await;
}
