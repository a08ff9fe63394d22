//! Tests which submissions a live aggregator accepts and refuses.

use bytes::Bytes;
use dac_chain::EcdsaKey;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_tests::network::{MOMENT, Network, Shape, real_payload};
use dac_tests::rollup::now;
use dac_tests::{Result, Spoiled, rpc, wait};
use dac_types::limits::{PAYLOAD_MAX_BYTES, SUBMIT_AHEAD_MAX_SECONDS};
use dac_types::{Address, AdmittedRollup, B256, BatchSubmission, HashKind, SignedSubmission};
use futures::{Stream, StreamExt, stream};
use tonic::Status;

async fn submit(
    network: &Network,
    order: &SignedSubmission,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<v1::Batch, Status> {
    let channel = network.api().map_err(|failure| Status::internal(failure.to_string()))?;
    rpc::submit(channel, rpc::submit_open(&network.domain(), order), pieces).await
}

async fn is_unknown(network: &Network, order: &SignedSubmission) -> Result<()> {
    let digest = order.submission.digest(&network.domain());
    let status = rpc::batch(network.api()?, rpc::by_submission(digest)).await.expect_err("it was refused");
    assert_eq!(rpc::reason(&status), Reason::UnknownBatch, "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_order_is_named() -> Result<()> {
    let network = Network::start(Shape::SMALL).await?;
    let payload = real_payload(20_000);
    let good = network.rollup.order(1, HashKind::Keccak256, &payload);

    let orders: [Spoiled<'_, BatchSubmission>; 10] = [
        ("unknown rollup", Reason::UnknownRollup, &|order| order.rollup = Address::repeat_byte(0x99)),
        ("other disperser", Reason::WrongDisperser, &|order| order.disperser = Address::repeat_byte(0x99)),
        ("expired", Reason::ExpiresTooSoon, &|order| order.expires_at = now()),
        ("beyond retention", Reason::ExpiresTooLate, &|order| order.expires_at = now() + 40 * 86_400),
        ("never expires", Reason::ExpiresTooLate, &|order| order.expires_at = u64::MAX),
        ("void", Reason::SubmitBeforePassed, &|order| order.submit_before = now() - 1),
        ("good for too long", Reason::SubmitBeforeTooFar, &|order| {
            order.submit_before = now() + SUBMIT_AHEAD_MAX_SECONDS + 60;
        }),
        ("empty", Reason::BadPayload, &|order| order.payload_length = 0),
        ("over 64 MiB", Reason::BadPayload, &|order| order.payload_length = PAYLOAD_MAX_BYTES + 1),
        ("wrong hash", Reason::BadPayload, &|order| order.batch_hash = B256::repeat_byte(9)),
    ];
    for (what, reason, change) in orders {
        let mut order = good.clone();
        change(&mut order);
        let order = network.rollup.signed(order);
        let refused = submit(&network, &order, stream::iter(rpc::pieces(&payload))).await;
        let status = refused.expect_err(what);
        assert_eq!(rpc::reason(&status), reason, "{what}: {status}");
        is_unknown(&network, &order).await?;
    }

    let stranger = EcdsaKey::random();
    let mut order = network.rollup.signed(good.clone());
    order.signature = stranger.sign(good.digest(&network.domain()));
    let status = submit(&network, &order, stream::pending()).await.expect_err("a stranger's order");
    assert_eq!(rpc::reason(&status), Reason::WrongPoster);

    let order = network.rollup.signed(good.clone());
    let opens: [Spoiled<'_, v1::SubmitBatchOpen>; 7] = [
        ("other chain", Reason::WrongDomain, &|open| open.chain_id += 1),
        ("other registry", Reason::WrongDomain, &|open| open.registry = Bytes::copy_from_slice(&[9; 20])),
        ("short registry", Reason::MalformedRequest, &|open| open.registry.truncate(19)),
        ("no submission", Reason::MalformedRequest, &|open| open.submission = None),
        ("short signature", Reason::BadSubmissionSignature, &|open| {
            open.submission.as_mut().expect("set").signature.truncate(64);
        }),
        ("no kind", Reason::MalformedRequest, &|open| {
            open.submission.as_mut().expect("set").submission.as_mut().expect("set").hash_kind = 0;
        }),
        ("unknown kind", Reason::MalformedRequest, &|open| {
            open.submission.as_mut().expect("set").submission.as_mut().expect("set").hash_kind = 77;
        }),
    ];
    for (what, reason, change) in opens {
        let mut open = rpc::submit_open(&network.domain(), &order);
        change(&mut open);
        let status = rpc::submit(network.api()?, open, stream::pending()).await.expect_err(what);
        assert_eq!(rpc::reason(&status), reason, "{what}: {status}");
    }
    is_unknown(&network, &order).await?;

    // After all these refusals the aggregator still works, and accepts the valid submission.
    let batch = submit(&network, &order, stream::iter(rpc::pieces(&payload))).await?;
    network.certified(&batch).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_of_the_wrong_length_leave_nothing_behind() -> Result<()> {
    let network = Network::start(Shape::SMALL).await?;
    let payload = real_payload(600_000);
    let order = network.rollup.signed(network.rollup.order(1, HashKind::Opaque, &payload));
    let longer = Bytes::from([payload.as_ref(), &[0]].concat());
    let cases = [
        ("nothing", vec![]),
        ("a byte less", rpc::pieces(&payload.slice(..payload.len() - 1))),
        ("a byte more", rpc::pieces(&longer)),
    ];
    for (what, pieces) in cases {
        let status = submit(&network, &order, stream::iter(pieces)).await.expect_err(what);
        assert_eq!(rpc::reason(&status), Reason::LengthMismatch, "{what}: {status}");
        is_unknown(&network, &order).await?;
    }
    // The submission is cut off half-way.
    let half = stream::iter(rpc::pieces(&payload.slice(..300_000))).chain(stream::pending());
    assert!(
        tokio::time::timeout(MOMENT, submit(&network, &order, half)).await.is_err(),
        "an upload is awaited"
    );
    is_unknown(&network, &order).await?;
    // The submission is complete.
    let batch = submit(&network, &order, stream::iter(rpc::pieces(&payload))).await?;
    let digest = network.certified(&batch).await?;
    network.posted(&batch).await?;
    assert!(network.retrieve(digest).await? == payload);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_is_the_same_batch_and_another_needs_leave_to_replace_it() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    // Too few members are up for a certificate: the batch can still be replaced.
    network.members[0].service.kill();
    network.members[1].service.kill();
    let (payload, other) = (real_payload(10_000), real_payload(10_001));
    let order = network.rollup.signed(network.rollup.order(1, HashKind::Sha256, &payload));
    let first = submit(&network, &order, stream::iter(rpc::pieces(&payload))).await?;
    let again = submit(&network, &order, stream::pending()).await?;
    assert_eq!(
        (&first.submission_digest, first.received_at_ms),
        (&again.submission_digest, again.received_at_ms)
    );

    let conflicting = network.rollup.signed(network.rollup.order(1, HashKind::Sha256, &other));
    let status = submit(&network, &conflicting, stream::pending()).await.expect_err("the number is taken");
    assert_eq!(rpc::reason(&status), Reason::ConflictingBatch);
    let mut replacing = network.rollup.order(1, HashKind::Sha256, &other);
    replacing.replaces = B256::repeat_byte(9);
    let status = submit(&network, &network.rollup.signed(replacing.clone()), stream::pending()).await;
    assert_eq!(rpc::reason(&status.expect_err("it names another batch")), Reason::ReplacesMismatch);

    let encoded = network.reaches(&first, &[v1::BatchState::Dispersing]).await?;
    replacing.replaces = dac_proto::wire::hash("digest", &encoded.digest)?;
    let replacing = network.rollup.signed(replacing);
    let second = submit(&network, &replacing, stream::iter(rpc::pieces(&other))).await?;
    network.members[0].service.start().await?;
    network.members[1].service.start().await?;
    let digest = network.certified(&second).await?;
    network.posted(&second).await?;
    assert!(network.retrieve(digest).await? == other);

    // A batch on L1 cannot be replaced any more.
    let mut late = network.rollup.order(1, HashKind::Sha256, &payload);
    late.replaces = B256::from(*digest.as_bytes());
    let status =
        submit(&network, &network.rollup.signed(late), stream::pending()).await.expect_err("it is posted");
    assert_eq!(rpc::reason(&status), Reason::ReplacesMismatch);
    Ok(())
}

/// Waits until every member has read the newest block.
async fn read_by_all(network: &Network) -> Result<()> {
    let head = network.anvil.head().await.number;
    for member in &network.members {
        let what = format!("seat {} to read block {head}", member.seat);
        let read = async || {
            let member = rpc::member(member.retrieval().ok()?).await.ok()?;
            (member.l1_block >= head).then_some(())
        };
        wait::until(&what, wait::LIMIT, read).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_spent_is_named_and_counts_each_order_once() -> Result<()> {
    let network = Network::start(Shape::SMALL).await?;
    let terms = AdmittedRollup {
        rollup: network.rollup.address,
        poster: network.rollup.poster.address(),
        retention_max_seconds: 86_400,
        daily_payload_bytes: 50_000,
    };
    network.committee.admin(&network.anvil).admit_rollup(&terms).await?;
    read_by_all(&network).await?;
    let (large, small) = (real_payload(50_001), real_payload(30_000));
    let order = network.rollup.signed(network.rollup.order(9, HashKind::Opaque, &large));
    // An aggregator that has not read the new terms yet accepts the order, and fails because the
    // payload is missing.
    let refused = async || {
        let status = submit(&network, &order, stream::empty()).await.err()?;
        (rpc::reason(&status) == Reason::QuotaExceeded).then_some(())
    };
    wait::until("a payload above a day's bytes to be refused", wait::LIMIT, refused).await?;

    let first = network.submit(1, HashKind::Opaque, &small).await?;
    network.certified(&first).await?;
    // The aggregator refuses at once what the members would refuse until the day ends.
    let order = network.rollup.signed(network.rollup.order(2, HashKind::Opaque, &small));
    let status = submit(&network, &order, stream::pending()).await.expect_err("the day is spent");
    assert_eq!(rpc::reason(&status), Reason::QuotaExceeded, "{status}");
    assert!(status.message().contains("30000 of 50000 bytes"), "{status}");
    is_unknown(&network, &order).await?;
    // With a higher quota the same order goes through.
    let terms = AdmittedRollup { daily_payload_bytes: 1 << 20, ..terms };
    network.committee.admin(&network.anvil).admit_rollup(&terms).await?;
    let taken = async || submit(&network, &order, stream::iter(rpc::pieces(&small))).await.ok();
    let second = wait::until("the aggregator to read the new terms", wait::LIMIT, taken).await?;
    network.certified(&second).await?;
    Ok(())
}
