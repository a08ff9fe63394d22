//! Tests that rollups and clients share memory, places and turns: none keeps the others from being
//! served, by malice or by mistake.

use std::time::Duration;

use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::aggregator_service_client::AggregatorServiceClient;
use dac_proto::v1::submit_batch_request::Message;
use dac_runtime::clients::ClientRates;
use dac_types::limits::QUOTA_DAY_SECONDS;
use dac_types::{Address, AdmittedRollup, BatchSubmission, HashKind, SignedSubmission};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::rollup::{digest, open, order, payload, request, sign, sign_by};
use crate::support::{
    Behaviour, DOMAIN, NOW, PATIENCE, RETENTION, Running, World, by_submission, key, poster,
};

/// The address of a second rollup.
const OTHER: Address = Address::repeat_byte(0x12);

fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> Reason {
    let status = result.expect_err("it was taken");
    Reason::of(&status).unwrap_or_else(|| panic!("no reason: {status:?}"))
}

fn admit_other(world: &World, daily_payload_bytes: u64) {
    let admitted = AdmittedRollup {
        rollup: OTHER,
        poster: poster().address(),
        retention_max_seconds: RETENTION,
        daily_payload_bytes,
    };
    world.publish(|view| {
        view.rollups.insert(OTHER, admitted);
    });
}

fn others(order: BatchSubmission) -> SignedSubmission {
    sign(BatchSubmission { rollup: OTHER, ..order })
}

/// Waits until `is_so` returns true.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    tokio::time::timeout(PATIENCE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("in vain: {what}"));
}

fn waits_for(batch: &v1::Batch, reason: &str) -> bool {
    batch.waiting.as_ref().is_some_and(|waiting| waiting.reason == reason)
}

#[tokio::test]
async fn a_batch_that_no_member_takes_keeps_no_other_waiting() {
    let metrics = dac_runtime::monitor::metrics();
    let mut world = World::small().await;
    // Each of the two batches takes a rollup's whole share of the memory for encoded payloads.
    world.options.encoded_bytes = 128 << 10;
    world.options.in_flight_bytes = 2 << 20;
    admit_other(&world, 1 << 40);
    for seat in 0..4 {
        world.behave(seat, Behaviour::RefuseRollup(OTHER, Reason::QuotaExceeded));
    }
    let running = world.start().await;
    let bytes = payload(1 << 20, 1);
    let stuck = others(order(1, HashKind::Opaque, &bytes));
    running.submit(&stuck, &bytes).await.unwrap();
    let batch = running.until(digest(&stuck), |batch| waits_for(batch, "QUOTA_EXCEEDED")).await;
    assert!(batch.waiting.unwrap().detail.contains("4 members"));
    let page = metrics.render();
    let series = "dac_aggregator_waits_total{reason=\"QUOTA_EXCEEDED\"} ";
    let counted = page.lines().find_map(|line| line.strip_prefix(series));
    assert!(counted.is_some_and(|count| count != "0"), "{page}");
    let budgets = running.aggregator.batches().budgets().clone();
    until("it gives back what it held in flight", || budgets.in_flight.used() == 0).await;
    assert_eq!(budgets.parked.used(), 1 << 20);
    // A call that is under way holds its memory a little longer.
    let context = running.aggregator.batches().context();
    until("its encoded bytes are the others'", || context.encoders.fresh_use() == (0, 0)).await;

    let honest = running.submit_new(1, 600_000).await;
    running.until_state(honest, v1::BatchState::Posted).await;
    let channel =
        tonic::transport::Channel::from_shared(format!("http://{}", running.aggregator.addresses().grpc));
    let mut client = AggregatorServiceClient::connect(channel.unwrap()).await.unwrap();
    let status = client.get_aggregator(v1::GetAggregatorRequest {}).await.unwrap().into_inner();
    assert_eq!((status.uncertified_batches, status.oldest_unencoded), (1, None));
    let oldest = status.oldest_undelivered.unwrap();
    assert_eq!(oldest.rollup, OTHER.to_vec());
    assert_eq!(oldest.waiting.unwrap().reason, "QUOTA_EXCEEDED");
    running.stop().await;

    // It is the same after a restart. No member is sent a byte of the shard as long as it refuses.
    let running = world.start().await;
    let honest = running.submit_new(2, 600_000).await;
    running.until_state(honest, v1::BatchState::Posted).await;
    running.until(digest(&stuck), |batch| waits_for(batch, "QUOTA_EXCEEDED")).await;
    // When the members would take the batch again, it continues without any request.
    for seat in 0..4 {
        world.behave(seat, Behaviour::Honest);
    }
    running.until_state(digest(&stuck), v1::BatchState::Posted).await;
    let budgets = running.aggregator.batches().budgets().clone();
    until("all is given back", || (budgets.in_flight.used(), budgets.parked.used()) == (0, 0)).await;
    running.stop().await;
}

#[tokio::test]
async fn calls_that_hang_are_never_all_of_one_rollup() {
    /// The number of batches: more than an aggregator delivers to one member at once, for all
    /// rollups together.
    const BATCHES: u64 = 12;
    let mut world = World::small().await;
    world.options.call_timeout = 2 * PATIENCE;
    admit_other(&world, 1 << 40);
    for seat in 0..4 {
        world.behave(seat, Behaviour::SilentTo(OTHER));
    }
    let running = world.start().await;
    for number in 1..=BATCHES {
        let bytes = payload(1000, u8::try_from(number).unwrap());
        running.submit(&others(order(number, HashKind::Opaque, &bytes)), &bytes).await.unwrap();
    }
    // One rollup's share of 11 calls is three quarters, rounded up: 9.
    until("its share of the turns is held", || world.members.iter().all(|member| member.unanswered() == 9))
        .await;
    for number in 1..=3 {
        let honest = running.submit_new(number, 1000).await;
        running.until_state(honest, v1::BatchState::Posted).await;
    }
    assert!(world.members.iter().all(|member| member.unanswered() == 9), "no further turn was given");
    running.stop().await;
}

#[tokio::test]
async fn members_that_are_away_are_named_and_hold_nothing() {
    let world = World::small().await;
    for seat in 0..2 {
        world.behave(seat, Behaviour::Fail(Code::Unavailable));
    }
    let running = world.start().await;
    let submission = running.submit_new(1, 100_000).await;
    running.until(submission, |batch| waits_for(batch, "TRANSPORT")).await;
    let batches = running.aggregator.batches().clone();
    until("it is parked", || batches.budgets().parked.used() == 100_000).await;
    assert_eq!(batches.budgets().in_flight.used(), 0);
    for seat in 0..2 {
        world.behave(seat, Behaviour::Honest);
    }
    let batch = running.until_state(submission, v1::BatchState::Posted).await;
    assert_eq!(batch.waiting, None);
    running.stop().await;
}

#[tokio::test]
async fn a_day_that_is_spent_is_refused_at_once_and_after_a_restart() {
    let world = World::small().await;
    admit_other(&world, 2_500);
    let running = world.start().await;
    let bytes = payload(1_000, 1);
    let numbered = |number: u64, now: u64| {
        let order = BatchSubmission { submit_before: now + 3600, ..order(number, HashKind::Opaque, &bytes) };
        others(BatchSubmission { expires_at: now + 2 * QUOTA_DAY_SECONDS, ..order })
    };
    for number in 1..=2 {
        let submission = numbered(number, NOW);
        running.submit(&submission, &bytes).await.unwrap();
        // The same submission again costs no quota.
        running.submit(&submission, &bytes).await.unwrap();
        running.until_state(digest(&submission), v1::BatchState::Posted).await;
    }
    let third = numbered(3, NOW);
    let check = |status: Status| {
        assert_eq!(Reason::of(&status), Some(Reason::QuotaExceeded), "{status}");
        assert!(status.message().contains("2000 of 2500 bytes"), "{status}");
        let pause = status.get_details_retry_info().unwrap().retry_delay.unwrap();
        assert_eq!(pause.as_secs(), QUOTA_DAY_SECONDS - NOW % QUOTA_DAY_SECONDS);
    };
    check(running.submit(&third, &bytes).await.unwrap_err());
    // Each rollup has its own quota.
    running.submit_new(1, 1_000).await;
    running.stop().await;

    let running = world.start().await;
    check(running.submit(&third, &bytes).await.unwrap_err());
    // With a larger quota, or on the next day, the submission is taken.
    let tomorrow = NOW + QUOTA_DAY_SECONDS;
    world.clock.set(tomorrow);
    let third = numbered(3, tomorrow);
    running.submit(&third, &bytes).await.unwrap();
    running.until_state(digest(&third), v1::BatchState::Posted).await;
    running.stop().await;
}

#[tokio::test]
async fn a_batch_that_failed_spends_nothing() {
    let world = World::small().await;
    admit_other(&world, 1_500);
    for seat in 0..2 {
        world.behave(seat, Behaviour::Refuse(Reason::BadShard));
    }
    let running = world.start().await;
    let bytes = payload(1_000, 1);
    let first = others(order(1, HashKind::Opaque, &bytes));
    running.submit(&first, &bytes).await.unwrap();
    running.until_state(digest(&first), v1::BatchState::Failed).await;
    for seat in 0..2 {
        world.behave(seat, Behaviour::Honest);
    }
    let second = others(order(2, HashKind::Opaque, &bytes));
    running.submit(&second, &bytes).await.unwrap();
    running.until_state(digest(&second), v1::BatchState::Posted).await;
    let third = others(order(3, HashKind::Opaque, &bytes));
    assert_eq!(reason(running.submit(&third, &bytes).await), Reason::QuotaExceeded);
    running.stop().await;
}

/// Begins an upload; returns the sender of its pieces and the task that waits for the answer.
async fn begin(
    running: &Running,
    submission: &SignedSubmission,
) -> (tokio::sync::mpsc::Sender<v1::SubmitBatchRequest>, tokio::task::JoinHandle<Result<(), Status>>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    sender.send(request(Message::Open(open(submission)))).await.unwrap();
    let mut client = running.client.clone();
    let call =
        tokio::spawn(async move { client.submit_batch(ReceiverStream::new(receiver)).await.map(drop) });
    (sender, call)
}

#[tokio::test]
async fn one_rollup_has_half_of_the_uploads_and_each_order_one() {
    let mut world = World::small().await;
    world.options.uploads = 4;
    world.options.piece_timeout = PATIENCE;
    admit_other(&world, 1 << 40);
    let running = world.start().await;
    let bytes = payload(100, 1);
    let piece = || request(Message::Piece(bytes.slice(..1)));
    let mut begun = Vec::new();
    for number in 1..=2 {
        let (sender, call) = begin(&running, &others(order(number, HashKind::Opaque, &bytes))).await;
        sender.send(piece()).await.unwrap();
        begun.push((sender, call));
    }
    let budgets = running.aggregator.batches().budgets().clone();
    until("both have begun", || budgets.in_flight.used() == 2).await;
    // Repeated uploads of the same submissions wait for the first ones without taking a place. As
    // many may wait as half of the queue holds.
    let mut crowd = Vec::new();
    for number in [1, 1, 1, 1, 2, 2, 2] {
        crowd.push(begin(&running, &others(order(number, HashKind::Opaque, &bytes))).await.1);
    }
    until("two wait", || crowd.iter().filter(|call| call.is_finished()).count() == 5).await;
    let third = others(order(3, HashKind::Opaque, &bytes));
    assert_eq!(reason(running.submit(&third, &bytes).await), Reason::Busy);
    running.submit_new(1, 100).await;

    for (sender, _) in &begun {
        sender.send(request(Message::Piece(bytes.slice(1..)))).await.unwrap();
    }
    for (sender, call) in begun {
        drop(sender);
        tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
    }
    // The waiting uploads are answered with the batches that the first ones became.
    let mut answered = 0;
    for call in crowd {
        match tokio::time::timeout(PATIENCE, call).await.unwrap().unwrap() {
            Ok(()) => answered += 1,
            Err(status) => assert_eq!(Reason::of(&status), Some(Reason::Busy), "{status}"),
        }
    }
    assert_eq!(answered, 2);
    running.submit(&third, &bytes).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn an_upload_that_trickles_is_ended() {
    let mut world = World::small().await;
    world.options.upload_rate = 1 << 20;
    world.options.piece_timeout = Duration::from_millis(500);
    let running = world.start().await;
    let bytes = payload(1 << 20, 1);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    let (sender, mut call) = begin(&running, &submission).await;
    let trickle = async {
        let mut sent = 0;
        loop {
            // Each piece arrives long before the longest allowed pause is over.
            let _ = sender.send(request(Message::Piece(bytes.slice(sent..sent + 8)))).await;
            sent += 8;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::select! {
        () = trickle => unreachable!(),
        ended = tokio::time::timeout(PATIENCE, &mut call) => ended.expect("it is ended").unwrap(),
    };
    let status = ended.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::TimedOut), "{status}");
    assert!(status.message().contains("1048576 bytes a second"), "{status}");
    // At a sufficient rate the same submission is taken.
    running.submit(&submission, &bytes).await.unwrap();
    running.stop().await;
}

#[tokio::test]
async fn one_client_has_a_quarter_of_the_watchers() {
    let mut world = World::small().await;
    world.options.watchers = 8;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Silent);
    }
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let request = || v1::WatchBatchRequest { batch: Some(by_submission(submission)) };
    let mut client = running.client.clone();
    let first = client.watch_batch(request()).await.unwrap();
    let _second = client.watch_batch(request()).await.unwrap();
    let status = client.watch_batch(request()).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::Busy), "{status}");
    assert!(status.get_details_retry_info().is_some());
    drop(first);
    let again = async {
        while client.watch_batch(request()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("its place comes back");
    running.stop().await;
}

#[tokio::test]
async fn one_client_reads_at_a_rate() {
    let mut world = World::small().await;
    world.options.reads = ClientRates {
        requests_per_second: 1e-3,
        request_burst: 5.0,
        bytes_per_second: 1e6,
        byte_burst: 1e6,
        streams: u32::MAX,
        clients: 10,
    };
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let mut client = running.client.clone();
    let list =
        || v1::ListBatchesRequest { rollup: Vec::new().into(), page_size: 1, page_token: String::new() };
    let get = || v1::GetBatchRequest { batch: Some(by_submission(submission)) };
    for _ in 0..2 {
        client.list_batches(list()).await.unwrap();
        client.get_batch(get()).await.unwrap();
    }
    client.watch_batch(v1::WatchBatchRequest { batch: Some(by_submission(submission)) }).await.unwrap();
    assert_eq!(reason(client.list_batches(list()).await), Reason::RateLimited);
    let status = client.get_batch(get()).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::RateLimited));
    assert!(status.get_details_retry_info().is_some());
    // Submissions are limited by the rollup's shares, not by the client's rates.
    running.submit_new(2, 1000).await;
    running.stop().await;
}

#[tokio::test]
async fn a_wrong_signature_is_answered_with_what_was_understood() {
    let world = World::small().await;
    let running = world.start().await;
    let bytes = payload(100, 1);
    let submission = sign_by(order(7, HashKind::Keccak256, &bytes), &key(0x55));
    let status = running.submit(&submission, &bytes).await.unwrap_err();
    assert_eq!(Reason::of(&status), Some(Reason::WrongPoster));
    let message = status.message();
    for part in [
        digest(&submission).to_string(),
        format!("chain {}", DOMAIN.chain_id),
        format!("registry {}", DOMAIN.registry),
        "hash kind KECCAK256".to_owned(),
        "batch 7, 100 bytes".to_owned(),
        "replaces 0x00000000".to_owned(),
    ] {
        assert!(message.contains(&part), "{part}: {message}");
    }
    running.stop().await;
}
