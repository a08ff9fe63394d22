//! Tests of malicious dispersers against live members: a delivery that does not pass the member's
//! check is refused by name and not stored.

use bytes::Bytes;
use dac_bls::CommitteeKeys;
use dac_chain::EcdsaKey;
use dac_coding::testing::{self, Dispersal};
use dac_proto::reason::Reason;
use dac_tests::disperser::{Delivery, send};
use dac_tests::measure::{Measure, Promise};
use dac_tests::network::{Member, Network, Shape, real_payload};
use dac_tests::rollup::{batch_hash, now};
use dac_tests::rpc;
use dac_tests::{Result, Spoiled};
use dac_types::limits::{PAYLOAD_MAX_BYTES, SUBMIT_AHEAD_MAX_SECONDS};
use dac_types::{Address, B256, BatchSubmission, Committee, Geometry, HashKind, Seat};
use futures::{StreamExt, stream};

const SEVEN: Shape = Shape { n: 7, k: 3, q: 5, ..Shape::SMALL };

/// Starts members without an aggregator.
async fn members(shape: Shape) -> Result<(Network, EcdsaKey)> {
    let mut network = Network::prepare(shape).await?;
    for member in &mut network.members {
        member.service.start().await?;
    }
    Ok((network, EcdsaKey::random()))
}

fn geometry(shape: Shape) -> Geometry {
    Geometry::new(shape.n, shape.k).expect("a possible committee")
}

fn keys(network: &Network) -> CommitteeKeys {
    let members = network.committee.members.iter();
    let members = members.map(|member| dac_types::Member {
        operator: member.operator.address(),
        public_key: member.secret_key.public_key().to_compressed(),
        dispersal_url: member.dispersal_url.clone(),
        retrieval_url: member.retrieval_url.clone(),
    });
    let committee = Committee::new(1, network.committee.quorum, members.collect(), 0, u64::MAX, u64::MAX);
    CommitteeKeys::new(&committee.expect("a committee")).expect("good keys")
}

/// Returns the reason of a member that must refuse: the record itself is wrong, or the shard does
/// not match it.
fn expected_reason(dispersal: &Dispersal) -> Reason {
    match dispersal.name {
        "per_member_fingerprints"
        | "wrong_fingerprints_hash"
        | "wrong_payload_fingerprint"
        | "wrong_shard_root" => Reason::BadRecord,
        _ => Reason::BadShard,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_malicious_disperser_gets_the_signatures_it_deserves_and_no_more() -> Result<()> {
    let name = "dispersers::each_malicious_disperser_gets_the_signatures_it_deserves_and_no_more";
    let mut measure = Measure::begin(Promise::Byzantine, name);
    let (network, disperser) = members(SEVEN).await?;
    let keys = keys(&network);
    for (number, dispersal) in testing::all(geometry(SEVEN))?.into_iter().enumerate() {
        let name = dispersal.name;
        let delivery = Delivery::new(&network.rollup, &disperser, number as u64, HashKind::Opaque, dispersal);
        for member in &network.members {
            let passes = delivery.dispersal.seats_that_pass.contains(&member.seat);
            measure.tried(1);
            match delivery.deliver(member).await {
                Ok(attestation) => {
                    assert!(passes, "{name}: seat {} signed", member.seat);
                    assert_eq!((attestation.digest, attestation.seat), (delivery.digest(), member.seat));
                    keys.verify_attestation(&attestation)?;
                }
                Err(status) => {
                    assert!(!passes, "{name}: seat {} refused: {status}", member.seat);
                    assert_eq!(
                        rpc::reason(&status),
                        expected_reason(&delivery.dispersal),
                        "{name}: {status}"
                    );
                }
            }
            assert_eq!(
                member.has(delivery.digest()).await?,
                passes,
                "{name}: what seat {} stored",
                member.seat
            );
        }
    }
    measure.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_seat_does_not_cost_the_others_their_data() -> Result<()> {
    let (network, disperser) = members(SEVEN).await?;
    let payload = real_payload(100_000);
    let dispersal = testing::bad_seat(geometry(SEVEN), payload.clone(), B256::repeat_byte(7), Seat(6))?;
    let delivery = Delivery::new(&network.rollup, &disperser, 1, HashKind::Opaque, dispersal);
    let refused = delivery.deliver(&network.members[6]).await.expect_err("garbage is refused");
    assert_eq!(rpc::reason(&refused), Reason::BadShard);
    for member in &network.members[..6] {
        delivery.deliver(member).await?;
    }
    for member in &network.members[..6] {
        let shard = rpc::shard(member.retrieval()?, delivery.digest()).await?;
        assert_eq!(shard, delivery.dispersal.shards[member.seat.index()], "seat {}", member.seat);
    }
    Ok(())
}

fn honest(network: &Network, disperser: &EcdsaKey, number: u64, kind: HashKind) -> Result<Delivery> {
    let payload = real_payload(40_000);
    let hash = batch_hash(kind, &payload);
    let dispersal = testing::honest(geometry(network.shape()), payload, hash)?;
    Ok(Delivery::new(&network.rollup, disperser, number, kind, dispersal))
}

async fn refused(member: &Member, delivery: &Delivery, expected: Reason, what: &str) -> Result<()> {
    match delivery.deliver(member).await {
        Ok(_) => panic!("{what}: signed"),
        Err(status) => assert_eq!(rpc::reason(&status), expected, "{what}: {status}"),
    }
    assert!(!member.has(delivery.digest()).await?, "{what}: stored");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_delivery_is_named() -> Result<()> {
    let (network, disperser) = members(Shape::SMALL).await?;
    let member = &network.members[0];
    let good = honest(&network, &disperser, 1, HashKind::Opaque)?;

    let order = |change: &dyn Fn(&mut BatchSubmission)| {
        let mut delivery = good.clone();
        let mut order = delivery.order.submission.clone();
        change(&mut order);
        delivery.header.expires_at = order.expires_at;
        delivery.header.rollup = order.rollup;
        delivery.order = network.rollup.signed(order);
        delivery
    };
    let orders: [Spoiled<'_, BatchSubmission>; 7] = [
        ("expired", Reason::ExpiresTooSoon, &|order| order.expires_at = now() - 1),
        ("expires now", Reason::ExpiresTooSoon, &|order| order.expires_at = now()),
        ("beyond retention", Reason::ExpiresTooLate, &|order| order.expires_at = now() + 40 * 86_400),
        ("never expires", Reason::ExpiresTooLate, &|order| order.expires_at = u64::MAX),
        ("void order", Reason::SubmitBeforePassed, &|order| order.submit_before = now() - 1),
        ("order far ahead", Reason::SubmitBeforeTooFar, &|order| {
            order.submit_before = now() + SUBMIT_AHEAD_MAX_SECONDS + 60;
        }),
        ("unknown rollup", Reason::UnknownRollup, &|order| order.rollup = Address::repeat_byte(0x99)),
    ];
    for (what, reason, change) in orders {
        refused(member, &order(change), reason, what).await?;
    }

    let stranger = EcdsaKey::random();
    let changes: [Spoiled<'_, Delivery>; 9] = [
        ("other poster", Reason::WrongPoster, &|delivery| {
            delivery.order.signature = stranger.sign(delivery.order.submission.digest(&delivery.domain));
        }),
        ("other disperser", Reason::WrongDisperser, &|delivery| delivery.disperser = stranger.clone()),
        ("unknown epoch", Reason::UnknownEpoch, &|delivery| delivery.header.epoch = 9),
        ("other number", Reason::SubmissionMismatch, &|delivery| delivery.header.batch_number += 1),
        ("other length", Reason::SubmissionMismatch, &|delivery| delivery.header.payload_length += 1),
        ("other expiry", Reason::SubmissionMismatch, &|delivery| delivery.header.expires_at -= 1),
        ("other kind", Reason::SubmissionMismatch, &|delivery| delivery.header.hash_kind = HashKind::Sha256),
        ("other hash", Reason::SubmissionMismatch, &|delivery| {
            delivery.header.batch_hash = B256::repeat_byte(9)
        }),
        ("other root", Reason::BadRecord, &|delivery| delivery.header.shard_root = B256::repeat_byte(9)),
    ];
    for (what, reason, change) in changes {
        let mut delivery = good.clone();
        change(&mut delivery);
        refused(member, &delivery, reason, what).await?;
    }

    // These messages cannot be made with the typed delivery.
    let pieces = || stream::iter(rpc::pieces(&good.body(Seat(0))));
    let mut open = good.open(Seat(0));
    open.chain_id += 1;
    let status = send(member, open, pieces()).await.expect_err("another chain");
    assert_eq!(rpc::reason(&status), Reason::WrongDomain);
    let mut open = good.open(Seat(0));
    open.registry = Bytes::copy_from_slice(&[9; 20]);
    let status = send(member, open, pieces()).await.expect_err("another registry");
    assert_eq!(rpc::reason(&status), Reason::WrongDomain);
    let status = send(member, good.open(Seat(1)), pieces()).await.expect_err("another seat");
    assert_eq!(rpc::reason(&status), Reason::WrongSeat);
    let mut open = good.open(Seat(0));
    open.seat = 300;
    let status = send(member, open, pieces()).await.expect_err("no seat");
    assert_eq!(rpc::reason(&status), Reason::MalformedRequest);
    let mut open = good.open(Seat(0));
    let record = open.record.as_mut().expect("there is a record");
    let submission = record.submission.as_mut().expect("there is a submission");
    submission.signature = malleable(&submission.signature);
    let status = send(member, open, pieces()).await.expect_err("a malleable signature");
    assert_eq!(rpc::reason(&status), Reason::BadSubmissionSignature);
    let mut open = good.open(Seat(0));
    let record = open.record.as_mut().expect("there is a record");
    record.disperser_signature = malleable(&record.disperser_signature);
    let status = send(member, open, pieces()).await.expect_err("a malleable signature");
    assert_eq!(rpc::reason(&status), Reason::BadDisperserSignature);

    // After all these refusals the member still works, and accepts the valid delivery.
    good.deliver(member).await?;
    assert!(member.has(good.digest()).await?);
    Ok(())
}

/// Returns the other form of a signature: s becomes the group order minus s, and v flips. It
/// recovers to the same address.
fn malleable(signature: &[u8]) -> Bytes {
    use alloy::primitives::{U256, uint};
    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
    let mut twin = signature.to_vec();
    let s = ORDER - U256::from_be_slice(&signature[32..64]);
    twin[32..64].copy_from_slice(&s.to_be_bytes::<32>());
    twin[64] = 27 + 28 - signature[64];
    twin.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_the_wrong_length_leave_nothing_behind() -> Result<()> {
    let (network, disperser) = members(Shape::SMALL).await?;
    let member = &network.members[1];
    for (number, kind) in [(1, HashKind::Opaque), (2, HashKind::Keccak256), (3, HashKind::Sha256)] {
        let delivery = honest(&network, &disperser, number, kind)?;
        let body = delivery.body(member.seat);
        let longer = Bytes::from([body.as_ref(), &[0]].concat());
        let cases = [
            ("nothing", vec![]),
            ("a byte less", rpc::pieces(&body.slice(..body.len() - 1))),
            ("a byte more", rpc::pieces(&longer)),
        ];
        for (what, pieces) in cases {
            let status =
                send(member, delivery.open(member.seat), stream::iter(pieces)).await.expect_err(what);
            assert_eq!(rpc::reason(&status), Reason::LengthMismatch, "{kind:?}, {what}: {status}");
            assert!(!member.has(delivery.digest()).await?, "{kind:?}, {what}: stored");
        }
        let mut wrong = body.to_vec();
        wrong[body.len() / 2] ^= 1;
        let wrong = rpc::pieces(&wrong.into());
        let status =
            send(member, delivery.open(member.seat), stream::iter(wrong)).await.expect_err("a flipped bit");
        let expected = if kind.is_checked() { Reason::BadPayload } else { Reason::BadShard };
        assert_eq!(rpc::reason(&status), expected, "{kind:?}: {status}");
        assert!(!member.has(delivery.digest()).await?, "{kind:?}: stored");

        // The delivery is cut off half-way, then repeated: the same seat accepts it, and answers
        // the same again.
        let half = stream::iter(rpc::pieces(&body.slice(..body.len() / 2))).chain(stream::pending());
        let upload = send(member, delivery.open(member.seat), half);
        assert!(
            tokio::time::timeout(dac_tests::network::MOMENT, upload).await.is_err(),
            "an upload is awaited"
        );
        let first = delivery.deliver(member).await?;
        assert_eq!(delivery.deliver(member).await?, first);
        let rest = stream::pending();
        assert_eq!(
            send(member, delivery.open(member.seat), rest).await?,
            first,
            "answered as soon as open was read"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_beyond_the_limit_are_refused_before_they_are_sent() -> Result<()> {
    let (network, disperser) = members(Shape::SMALL).await?;
    let member = &network.members[0];
    for (number, length) in [(1, 0), (2, PAYLOAD_MAX_BYTES + 1), (3, u64::MAX)] {
        let mut delivery = honest(&network, &disperser, number, HashKind::Opaque)?;
        let mut order = delivery.order.submission.clone();
        order.payload_length = length;
        delivery.header.payload_length = length;
        delivery.order = network.rollup.signed(order);
        let status = send(member, delivery.open(member.seat), stream::pending()).await.expect_err("too long");
        assert_eq!(rpc::reason(&status), Reason::BadRecord, "{length}: {status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_makes_one_header() -> Result<()> {
    let (network, disperser) = members(Shape::SMALL).await?;
    let member = &network.members[2];
    let first = honest(&network, &disperser, 1, HashKind::Opaque)?;
    first.deliver(member).await?;
    // Another codeword for the same submission: members cannot check an opaque hash.
    let other =
        testing::honest(geometry(Shape::SMALL), testing::noise(5, 40_000).into(), first.header.batch_hash)?;
    let mut second = first.clone();
    other.fill(&mut second.header);
    second.dispersal = other;
    refused(member, &second, Reason::ConflictingHeader, "a second header").await?;
    Ok(())
}
