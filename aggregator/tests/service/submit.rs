//! Tests which submissions are taken, which are refused for which reason, and that a refusal leaves
//! nothing behind.

use bytes::Bytes;
use dac_database::sqlx;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::submit_batch_request::Message;
use dac_types::limits::{PAYLOAD_MAX_BYTES, STREAM_PIECE_MAX_BYTES, SUBMIT_AHEAD_MAX_SECONDS};
use dac_types::{Address, B256, BatchSubmission, HashKind};
use std::time::Duration;
use tonic::{Code, Status};

use crate::support::rollup::{digest, messages, open, order, payload, request, sign, sign_by};
use crate::support::{Behaviour, NOW, PATIENCE, RETENTION, Running, World, key};

fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> Reason {
    let status = result.expect_err("it was taken");
    Reason::of(&status).unwrap_or_else(|| panic!("no reason: {status:?}"))
}

/// Waits until the store has no rows of unfinished uploads; fails if some stay.
async fn nothing_staged(world: &World) {
    let store = world.opened();
    let count = async || -> i64 {
        sqlx::query_scalar(
            "SELECT CAST((SELECT count(*) FROM uploads) + (SELECT count(*) FROM payload_rows) AS BIGINT)",
        )
        .fetch_one(store.database().reads())
        .await
        .unwrap()
    };
    tokio::time::timeout(PATIENCE, async {
        while count().await != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("an upload left rows behind");
}

/// Waits until `wanted` accepts the number of bytes in flight.
async fn in_flight(running: &Running, wanted: impl Fn(u64) -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !wanted(running.aggregator.batches().budgets().in_flight.used()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("bytes in flight change");
}

#[tokio::test]
async fn every_rule_of_a_submission_has_its_reason() {
    let world = World::small().await;
    let running = world.start().await;
    let bytes = payload(1000, 1);
    let good = || order(1, HashKind::Keccak256, &bytes);
    let changed = |change: &dyn Fn(&mut BatchSubmission)| {
        let mut order = good();
        change(&mut order);
        sign(order)
    };
    let cases: Vec<(&str, Reason, dac_types::SignedSubmission)> = vec![
        ("rollup", Reason::UnknownRollup, changed(&|o| o.rollup = Address::repeat_byte(0x99))),
        ("disperser", Reason::WrongDisperser, changed(&|o| o.disperser = Address::repeat_byte(0x98))),
        ("empty", Reason::BadPayload, changed(&|o| o.payload_length = 0)),
        ("over 64 MiB", Reason::BadPayload, changed(&|o| o.payload_length = PAYLOAD_MAX_BYTES + 1)),
        ("expired", Reason::ExpiresTooSoon, changed(&|o| o.expires_at = NOW)),
        ("too long", Reason::ExpiresTooLate, changed(&|o| o.expires_at = NOW + RETENTION + 1)),
        ("void", Reason::SubmitBeforePassed, changed(&|o| o.submit_before = NOW - 1)),
        (
            "far ahead",
            Reason::SubmitBeforeTooFar,
            changed(&|o| o.submit_before = NOW + SUBMIT_AHEAD_MAX_SECONDS + 1),
        ),
        ("huge numbers", Reason::ExpiresTooLate, changed(&|o| o.expires_at = u64::MAX)),
        ("poster", Reason::WrongPoster, sign_by(good(), &key(0x55))),
        ("wrong hash", Reason::BadPayload, changed(&|o| o.batch_hash = B256::repeat_byte(1))),
        ("wrong kind", Reason::BadPayload, changed(&|o| o.hash_kind = HashKind::Sha256)),
    ];
    for (name, wanted, submission) in cases {
        assert_eq!(reason(running.submit(&submission, &bytes).await), wanted, "{name}");
    }
    // Signatures that must be refused: one of another message, a malleable one, and an empty one.
    let mut stolen = sign(good());
    stolen.submission.batch_number = 2;
    assert_eq!(reason(running.submit(&stolen, &bytes).await), Reason::WrongPoster);
    for signature in
        [malleable(&sign(good())), Bytes::from_static(&[0; 65]), Bytes::from_static(&[1; 64]), Bytes::new()]
    {
        let mut open = open(&sign(good()));
        open.submission.as_mut().unwrap().signature = signature;
        assert_eq!(reason(running.upload(messages(open, &bytes)).await), Reason::BadSubmissionSignature);
    }
    // Requests for another chain and another registry are refused.
    let mut other_chain = open(&sign(good()));
    other_chain.chain_id += 1;
    assert_eq!(reason(running.upload(messages(other_chain, &bytes)).await), Reason::WrongDomain);
    let mut other_registry = open(&sign(good()));
    other_registry.registry = vec![0xab; 20].into();
    assert_eq!(reason(running.upload(messages(other_registry, &bytes)).await), Reason::WrongDomain);

    nothing_staged(&world).await;
    // After all these refusals the good submission is taken.
    running.submit(&sign(good()), &bytes).await.unwrap();
    running.stop().await;
}

/// Returns the same signature with n − s in place of s, which careless verifiers accept.
fn malleable(submission: &dac_types::SignedSubmission) -> Bytes {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
        0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
    ];
    let mut bytes = *submission.signature.as_bytes();
    let mut borrow = 0i16;
    for place in (0..32).rev() {
        let difference = i16::from(ORDER[place]) - i16::from(bytes[32 + place]) - borrow;
        borrow = i16::from(difference < 0);
        bytes[32 + place] = difference.rem_euclid(256) as u8;
    }
    bytes[64] ^= 27 ^ 28;
    bytes.to_vec().into()
}

#[tokio::test]
async fn streams_that_are_none_are_refused() {
    let world = World::small().await;
    let running = world.start().await;
    let bytes = payload(600_000, 2);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    let good = messages(open(&submission), &bytes);
    let piece = |length: usize| request(Message::Piece(vec![7; length].into()));
    let cases: Vec<(&str, Reason, Vec<v1::SubmitBatchRequest>)> = vec![
        ("nothing", Reason::MalformedRequest, vec![]),
        ("no open", Reason::MalformedRequest, good[1..].to_vec()),
        ("open twice", Reason::MalformedRequest, [&good[..1], &good[..]].concat()),
        (
            "an empty message",
            Reason::MalformedRequest,
            vec![good[0].clone(), v1::SubmitBatchRequest { message: None }],
        ),
        ("an empty piece", Reason::MalformedRequest, vec![good[0].clone(), piece(0)]),
        ("a long piece", Reason::MalformedRequest, vec![good[0].clone(), piece(STREAM_PIECE_MAX_BYTES + 1)]),
        ("a huge message", Reason::MalformedRequest, vec![good[0].clone(), piece(2 << 20)]),
        ("too short", Reason::LengthMismatch, good[..good.len() - 1].to_vec()),
        ("too long", Reason::LengthMismatch, [&good[..], &[piece(1)]].concat()),
        (
            "no submission",
            Reason::MalformedRequest,
            vec![request(Message::Open(v1::SubmitBatchOpen { submission: None, ..open(&submission) }))],
        ),
    ];
    for (name, wanted, messages) in cases {
        assert_eq!(reason(running.upload(messages).await), wanted, "{name}");
    }
    nothing_staged(&world).await;
    running.stop().await;
}

#[tokio::test]
async fn the_registry_decides_whether_anything_is_taken() {
    let mut world = World::small().await;
    let bytes = payload(100, 3);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    let running = world.start().await;
    world.publish(|view| view.paused = true);
    assert_eq!(reason(running.submit(&submission, &bytes).await), Reason::Paused);
    world.publish(|view| {
        view.paused = false;
        view.committees.clear();
    });
    assert_eq!(reason(running.submit(&submission, &bytes).await), Reason::NoActiveCommittee);
    world.publish(|view| view.rollups.clear());
    assert_eq!(reason(running.submit(&submission, &bytes).await), Reason::UnknownRollup);
    running.stop().await;

    world.options.registry_max_age = Duration::ZERO;
    let running = world.start().await;
    assert_eq!(reason(running.submit(&submission, &bytes).await), Reason::L1Stale);
    running.stop().await;
}

#[tokio::test]
async fn a_rollup_with_less_quota_than_the_payload_is_told_so() {
    let world = World::small().await;
    world.publish(|view| view.rollups.values_mut().for_each(|rollup| rollup.daily_payload_bytes = 99));
    let running = world.start().await;
    let bytes = payload(100, 3);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    assert_eq!(reason(running.submit(&submission, &bytes).await), Reason::QuotaExceeded);
    running.stop().await;
}

#[tokio::test]
async fn bytes_and_uploads_in_flight_are_bounded() {
    let mut world = World::small().await;
    // One rollup may have half of the uploads and half of the bytes in flight.
    world.options.in_flight_bytes = 3000;
    world.options.uploads = 2;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Silent);
    }
    let running = world.start().await;
    running.submit_new(1, 1000).await;
    let bytes = payload(1000, 9);
    let submission = sign(order(2, HashKind::Opaque, &bytes));
    assert_eq!(reason(running.submit(&submission, &bytes).await), Reason::Busy);

    // One upload that does not end takes the only place.
    let small = payload(100, 10);
    let waiting = sign(order(3, HashKind::Opaque, &small));
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    sender.send(request(Message::Open(open(&waiting)))).await.unwrap();
    sender.send(request(Message::Piece(small.slice(..50)))).await.unwrap();
    let mut client = running.client.clone();
    let call = tokio::spawn(async move {
        client.submit_batch(tokio_stream::wrappers::ReceiverStream::new(receiver)).await
    });
    let other = sign(order(4, HashKind::Opaque, &small));
    // An upload holds the bytes that have arrived, not those that it announced.
    in_flight(&running, |bytes| bytes == 1050).await;
    assert_eq!(reason(running.submit(&other, &small).await), Reason::Busy);
    // It ends, and the place is free again.
    sender.send(request(Message::Piece(small.slice(50..)))).await.unwrap();
    drop(sender);
    call.await.unwrap().unwrap();
    running.submit(&other, &small).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn who_says_nothing_takes_no_place() {
    let mut world = World::small().await;
    world.options.uploads = 1;
    let running = world.start().await;
    let mut client = running.client.clone();
    // A client that is refused tries again at once, so it would get a place if there were one.
    let mute = tokio::spawn(async move {
        loop {
            let _ = client.submit_batch(tokio_stream::pending()).await;
        }
    });
    for number in 1..=5 {
        running.submit_new(number, 1000).await;
    }
    mute.abort();
    running.stop().await;
}

#[tokio::test]
async fn cancelled_and_stalled_uploads_leave_nothing() {
    let _counted = dac_measure::counted!(Cancelled, 1);
    let mut world = World::small().await;
    world.options.piece_timeout = Duration::from_millis(300);
    let running = world.start().await;
    let bytes = payload(5 << 20, 4);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    let all = messages(open(&submission), &bytes);

    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    for message in &all[..12] {
        sender.send(message.clone()).await.unwrap();
    }
    let mut client = running.client.clone();
    let result = client.submit_batch(tokio_stream::wrappers::ReceiverStream::new(receiver)).await;
    assert_eq!(reason(result), Reason::TimedOut, "stalled");
    drop(sender);
    nothing_staged(&world).await;

    let (sender, receiver) = tokio::sync::mpsc::channel(64);
    for message in &all[..12] {
        sender.send(message.clone()).await.unwrap();
    }
    let mut client = running.client.clone();
    let call = tokio::spawn(async move {
        client.submit_batch(tokio_stream::wrappers::ReceiverStream::new(receiver)).await
    });
    in_flight(&running, |bytes| bytes > 0).await;
    call.abort();
    in_flight(&running, |bytes| bytes == 0).await;
    nothing_staged(&world).await;

    // The same submission is taken afterwards.
    running.submit(&submission, &bytes).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn the_same_submission_is_the_same_batch_at_any_time() {
    let world = World::small().await;
    let running = world.start().await;
    let bytes = payload(3000, 5);
    let submission = sign(order(1, HashKind::Sha256, &bytes));
    let first = running.submit(&submission, &bytes).await.unwrap();
    let again = running.submit(&submission, &bytes).await.unwrap();
    assert_eq!(first.submission_digest, again.submission_digest);
    assert_eq!(first.received_at_ms, again.received_at_ms);
    let posted = running.until_state(digest(&submission), v1::BatchState::Posted).await;
    // A repeated submission is answered as soon as `open` was read, even long after its times have
    // passed.
    world.clock.set(NOW + 10_000);
    let late = running.upload(vec![request(Message::Open(open(&submission)))]).await.unwrap();
    assert_eq!((&late.digest, late.state()), (&posted.digest, v1::BatchState::Posted));
    running.stop().await;
}

#[tokio::test]
async fn racing_uploads_of_one_number_make_one_batch() {
    let world = World::small().await;
    let running = world.start().await;
    let mut calls = Vec::new();
    for seed in 0..6u8 {
        let bytes = payload(20_000, seed % 3);
        let submission = sign(order(1, HashKind::Opaque, &bytes));
        let mut client = running.client.clone();
        let messages = messages(open(&submission), &bytes);
        calls.push(tokio::spawn(async move { client.submit_batch(tokio_stream::iter(messages)).await }));
    }
    let mut taken = Vec::new();
    for call in calls {
        match call.await.unwrap() {
            Ok(response) => taken.push(response.into_inner().batch.unwrap().submission_digest),
            Err(status) => assert_eq!(Reason::of(&status), Some(Reason::ConflictingBatch), "{status:?}"),
        }
    }
    assert_eq!(taken.len(), 2, "the winner and its twin");
    assert_eq!(taken[0], taken[1]);
    running.stop().await;
}

#[tokio::test]
async fn a_taken_number_is_refused_unless_replaced_by_name() {
    let world = World::small().await;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Silent);
    }
    let running = world.start().await;
    let first = running.submit_new(1, 1000).await;
    let dispersing = running.until_state(first, v1::BatchState::Dispersing).await;

    let bytes = payload(1000, 77);
    let plain = order(1, HashKind::Opaque, &bytes);
    assert_eq!(reason(running.submit(&sign(plain.clone()), &bytes).await), Reason::ConflictingBatch);
    let wrong = BatchSubmission { replaces: B256::repeat_byte(3), ..plain.clone() };
    assert_eq!(reason(running.submit(&sign(wrong), &bytes).await), Reason::ReplacesMismatch);

    let named = sign(BatchSubmission { replaces: B256::from_slice(&dispersing.digest), ..plain });
    for seat in 0..4 {
        world.behave(seat, Behaviour::Honest);
    }
    running.submit(&named, &bytes).await.unwrap();
    let former = running.until_state(first, v1::BatchState::Failed).await;
    assert!(former.failure.starts_with("REPLACED"), "{}", former.failure);
    running.until_state(digest(&named), v1::BatchState::Posted).await;
    assert_eq!(world.l1.recorded(), 1, "the replaced batch was not posted");

    // A batch that is posted cannot be replaced.
    let posted = running.get(digest(&named)).await;
    let bytes = payload(1000, 78);
    let late =
        BatchSubmission { replaces: B256::from_slice(&posted.digest), ..order(1, HashKind::Opaque, &bytes) };
    assert_eq!(reason(running.submit(&sign(late), &bytes).await), Reason::ReplacesMismatch);
    running.stop().await;
}

#[tokio::test]
async fn a_failed_batch_frees_its_number() {
    let world = World::small().await;
    world.behave(0, Behaviour::Refuse(Reason::BadShard));
    world.behave(1, Behaviour::Refuse(Reason::ConflictingHeader));
    let running = world.start().await;
    let first = running.submit_new(1, 1000).await;
    let failed = running.until_state(first, v1::BatchState::Failed).await;
    assert!(failed.failure.starts_with("QUORUM_IMPOSSIBLE"), "{}", failed.failure);
    assert_eq!(failed.members[0].state(), v1::DeliveryState::Refused);
    assert_eq!(failed.members[0].reason, "BAD_SHARD");
    for seat in 0..2 {
        world.behave(seat, Behaviour::Honest);
    }
    let bytes = payload(1000, 99);
    let second = sign(order(1, HashKind::Opaque, &bytes));
    running.submit(&second, &bytes).await.unwrap();
    running.until_state(digest(&second), v1::BatchState::Posted).await;
    running.stop().await;
}

#[tokio::test]
async fn a_stopping_aggregator_takes_nothing_new() {
    let world = World::small().await;
    let running = world.start().await;
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let bytes = payload(100, 1);
    sender.send(request(Message::Open(open(&sign(order(1, HashKind::Opaque, &bytes)))))).await.unwrap();
    sender.send(request(Message::Piece(bytes.slice(..1)))).await.unwrap();
    let mut client = running.client.clone();
    let call = tokio::spawn(async move {
        client.submit_batch(tokio_stream::wrappers::ReceiverStream::new(receiver)).await
    });
    in_flight(&running, |bytes| bytes > 0).await;
    running.stop().await;
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::ShuttingDown), "{status:?}");
    assert_ne!(status.code(), Code::Ok);
    drop(sender);
}
