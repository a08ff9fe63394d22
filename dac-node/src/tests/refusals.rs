//! Bad input: each case gets its reason, and nothing of it is stored.

use dac_database::testing::TestDatabase;
use dac_types::limits::{PAYLOAD_MAX_BYTES, QUOTA_DAY_SECONDS, SUBMIT_AHEAD_MAX_SECONDS};
use dac_types::{Address, AggregateAttestation, B256, BatchSubmission, HashKind, SignatureBytes};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::testing::{RETENTION, Wish, ecdsa};

/// A change to an ordinary delivery.
type Change = fn(&World, &mut v1::StoreShardOpen);

fn record(open: &mut v1::StoreShardOpen) -> &mut v1::Record {
    open.record.as_mut().unwrap()
}

fn order(open: &mut v1::StoreShardOpen) -> &mut v1::BatchSubmission {
    record(open).submission.as_mut().unwrap().submission.as_mut().unwrap()
}

fn flip(bytes: &mut Bytes, index: usize) {
    let mut changed = bytes.to_vec();
    changed[index] ^= 1;
    *bytes = changed.into();
}

/// Returns the other valid signature of the same message by the same key: s becomes n − s.
fn malleable(signature: &Bytes) -> Bytes {
    let order = dac_order();
    let mut twin = signature.to_vec();
    let mut borrow = 0_i16;
    for i in (0..32).rev() {
        let difference = i16::from(order[i]) - i16::from(signature[32 + i]) - borrow;
        borrow = i16::from(difference < 0);
        twin[32 + i] = u8::try_from(difference.rem_euclid(256)).unwrap();
    }
    twin[64] = 55 - signature[64];
    twin.into()
}

fn dac_order() -> [u8; 32] {
    let order = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    order.parse::<B256>().unwrap().0
}

const CHANGES: &[(&str, Reason, Change)] = &[
    ("another chain", Reason::WrongDomain, |_, open| open.chain_id = 1),
    ("another registry", Reason::WrongDomain, |_, open| flip(&mut open.registry, 0)),
    ("a short registry", Reason::MalformedRequest, |_, open| open.registry = Bytes::from_static(&[1; 19])),
    ("no record", Reason::MalformedRequest, |_, open| open.record = None),
    ("no header", Reason::MalformedRequest, |_, open| record(open).header = None),
    ("no submission", Reason::MalformedRequest, |_, open| record(open).submission = None),
    ("a seat over 255", Reason::MalformedRequest, |_, open| open.seat = 256),
    ("a seat that does not exist", Reason::WrongSeat, |_, open| open.seat = 7),
    ("the seat of another member", Reason::WrongSeat, |_, open| open.seat = 0),
    ("an epoch that does not exist", Reason::UnknownEpoch, |_, open| {
        record(open).header.as_mut().unwrap().epoch = 99;
    }),
    ("an unknown hash kind", Reason::MalformedRequest, |_, open| {
        record(open).header.as_mut().unwrap().hash_kind = 9;
    }),
    ("no payload at all", Reason::BadRecord, |_, open| {
        record(open).header.as_mut().unwrap().payload_length = 0
    }),
    ("a payload over the limit", Reason::BadRecord, |_, open| {
        record(open).header.as_mut().unwrap().payload_length = PAYLOAD_MAX_BYTES + 1;
    }),
    ("a shard hash too few", Reason::BadRecord, |_, open| {
        let record = record(open);
        record.shard_hashes = record.shard_hashes.slice(32..);
    }),
    ("half a shard hash", Reason::MalformedRequest, |_, open| {
        let record = record(open);
        record.shard_hashes = record.shard_hashes.slice(16..);
    }),
    ("short fingerprints", Reason::BadRecord, |_, open| {
        let record = record(open);
        record.row_fingerprints = record.row_fingerprints.slice(1..);
    }),
    ("a short submission signature", Reason::BadSubmissionSignature, |_, open| {
        let submission = record(open).submission.as_mut().unwrap();
        submission.signature = submission.signature.slice(1..);
    }),
    ("a malleable submission signature", Reason::BadSubmissionSignature, |_, open| {
        let submission = record(open).submission.as_mut().unwrap();
        submission.signature = malleable(&submission.signature);
    }),
    ("a submission signature of zeros", Reason::BadSubmissionSignature, |_, open| {
        record(open).submission.as_mut().unwrap().signature = [&[0; 64][..], &[27]].concat().into();
    }),
    ("a submission signature above the order", Reason::BadSubmissionSignature, |_, open| {
        record(open).submission.as_mut().unwrap().signature =
            [&[0xff; 32][..], &[1; 32], &[27]].concat().into();
    }),
    ("a malleable disperser signature", Reason::BadDisperserSignature, |_, open| {
        let record = record(open);
        record.disperser_signature = malleable(&record.disperser_signature);
    }),
    ("a disperser signature with a wild v", Reason::BadDisperserSignature, |_, open| {
        let record = record(open);
        record.disperser_signature = [&record.disperser_signature[..64], &[29]].concat().into();
    }),
    ("a disperser signature of nobody", Reason::BadDisperserSignature, |_, open| {
        record(open).disperser_signature = [&[0xff; 32][..], &[1; 32], &[27]].concat().into();
    }),
    ("a submission changed after it was signed", Reason::WrongPoster, |_, open| {
        flip(&mut order(open).replaces, 0);
    }),
    ("another length in the header", Reason::SubmissionMismatch, |_, open| {
        record(open).header.as_mut().unwrap().payload_length += 1;
    }),
    ("another batch number in the submission", Reason::SubmissionMismatch, |_, open| {
        order(open).batch_number += 1;
    }),
    ("another rollup in the submission", Reason::SubmissionMismatch, |_, open| {
        flip(&mut order(open).rollup, 0);
    }),
    ("another length in the submission", Reason::SubmissionMismatch, |_, open| {
        order(open).payload_length += 1;
    }),
    ("another expiry in the submission", Reason::SubmissionMismatch, |_, open| order(open).expires_at -= 1),
    ("another hash kind in the submission", Reason::SubmissionMismatch, |_, open| {
        order(open).hash_kind = v1::HashKind::Sha256.into();
    }),
    ("another hash in the submission", Reason::SubmissionMismatch, |_, open| {
        flip(&mut order(open).batch_hash, 0);
    }),
    ("another root in the header", Reason::WrongDisperser, |_, open| {
        flip(&mut record(open).header.as_mut().unwrap().shard_root, 0);
    }),
    ("another shard hash", Reason::BadRecord, |_, open| flip(&mut record(open).shard_hashes, 0)),
    ("another z", Reason::BadRecord, |_, open| flip(&mut record(open).row_fingerprints, 0)),
    ("absent seats twice", Reason::BadCertificate, |_, open| {
        let signature = Bytes::from_static(&[1; 48]);
        record(open).certificate =
            Some(v1::AggregateAttestation { absent: Bytes::from_static(&[5, 5]), signature });
    }),
    ("absent seats unsorted", Reason::BadCertificate, |_, open| {
        let signature = Bytes::from_static(&[1; 48]);
        record(open).certificate =
            Some(v1::AggregateAttestation { absent: Bytes::from_static(&[6, 5]), signature });
    }),
    ("a false certificate with an order of nobody", Reason::BadSubmissionSignature, |_, open| {
        let record = record(open);
        let signature = Bytes::from_static(&[1; 48]);
        record.certificate = Some(v1::AggregateAttestation { absent: Bytes::new(), signature });
        let submission = record.submission.as_mut().unwrap();
        submission.signature = malleable(&submission.signature);
    }),
    ("a certificate signature with a trailing byte", Reason::MalformedRequest, |_, open| {
        let signature = Bytes::from_static(&[1; 49]);
        record(open).certificate = Some(v1::AggregateAttestation { absent: Bytes::new(), signature });
    }),
];

#[tokio::test]
async fn a_changed_field_gets_its_reason() {
    let member = Member::start().await;
    let batch = member.world.batch(1, 1000);
    for (what, reason, change) in CHANGES {
        let mut open = batch.open(&member.world, SEAT);
        change(&member.world, &mut open);
        let result = member.send(stream::iter(messages(open, &batch.body(SEAT)))).await;
        println!("{what}: {result:?}");
        assert_reason(result, *reason);
    }
    assert_eq!(member.store.totals().await.unwrap().batches, 0);
    member.put(&batch).await.unwrap();
}

#[tokio::test]
async fn times_are_bounded_on_both_sides() {
    let member = Member::start().await;
    let wish = Wish::default();
    let cases = [
        (Wish { expires_at: NOW, ..wish.clone() }, Some(Reason::ExpiresTooSoon)),
        (Wish { expires_at: NOW + RETENTION + 1, ..wish.clone() }, Some(Reason::ExpiresTooLate)),
        (Wish { expires_at: u64::MAX, ..wish.clone() }, Some(Reason::ExpiresTooLate)),
        (Wish { submit_before: NOW - 1, ..wish.clone() }, Some(Reason::SubmitBeforePassed)),
        (
            Wish { submit_before: NOW + SUBMIT_AHEAD_MAX_SECONDS + 1, ..wish.clone() },
            Some(Reason::SubmitBeforeTooFar),
        ),
        (Wish { epoch: 1, ..wish.clone() }, Some(Reason::EpochNotActive)),
        (Wish { epoch: 3, ..wish.clone() }, Some(Reason::EpochNotActive)),
        (Wish { rollup: Address::repeat_byte(9), ..wish.clone() }, Some(Reason::UnknownRollup)),
        // These are the last moments that are still good.
        (Wish { expires_at: NOW + 1, ..wish.clone() }, None),
        (Wish { expires_at: NOW + RETENTION, ..wish.clone() }, None),
        (Wish { submit_before: NOW, ..wish.clone() }, None),
        (Wish { submit_before: NOW + SUBMIT_AHEAD_MAX_SECONDS, ..wish }, None),
    ];
    for (number, (wish, expected)) in (1..).zip(cases) {
        let batch = member.world.batch_with(number, 1000, &Wish { batch_number: number, ..wish });
        match expected {
            Some(reason) => {
                assert_reason(member.put(&batch).await, reason);
                member.assert_not_stored(&batch).await;
            }
            None => member.assert_signed(&member.put(&batch).await.unwrap(), &batch),
        }
    }
}

#[tokio::test]
async fn only_poster_and_named_disperser_are_heard() {
    let member = Member::start().await;
    let world = &member.world;
    let mut batch = world.batch(1, 1000);
    batch.submission.signature = ecdsa(&world.disperser, batch.submission.submission.digest(&world.domain));
    assert_reason(member.put(&batch).await, Reason::WrongPoster);

    let mut batch = world.batch(1, 1000);
    batch.disperser_signature = ecdsa(&world.poster, batch.digest.0);
    assert_reason(member.put(&batch).await, Reason::WrongDisperser);

    let mut batch = world.batch(1, 1000);
    let order = BatchSubmission { disperser: Address::repeat_byte(5), ..batch.submission.submission.clone() };
    batch.submission = world.order(order);
    assert_reason(member.put(&batch).await, Reason::WrongDisperser);

    // A signature for another registry is no signature of the poster here.
    let mut elsewhere = World::new();
    elsewhere.domain.registry = Address::repeat_byte(0xDB);
    let foreign = elsewhere.batch(1, 1000);
    let mut batch = world.batch(1, 1000);
    batch.submission = foreign.submission;
    assert_reason(member.put(&batch).await, Reason::WrongPoster);
    assert_eq!(member.store.totals().await.unwrap().batches, 0);
}

#[tokio::test]
async fn lengths_must_be_those_announced() {
    let member = Member::start().await;
    for (number, hash_kind) in [(1, HashKind::Opaque), (2, HashKind::Sha256)] {
        let wish = Wish { batch_number: number, hash_kind, ..Wish::default() };
        let batch = member.world.batch_with(number, LARGE, &wish);
        let (open, body) = (batch.open(&member.world, SEAT), batch.body(SEAT));
        let short = messages(open.clone(), &body.slice(1..));
        assert_reason(member.send(stream::iter(short)).await, Reason::LengthMismatch);
        let nothing = messages(open.clone(), &Bytes::new());
        assert_reason(member.send(stream::iter(nothing)).await, Reason::LengthMismatch);
        let long = messages(open.clone(), &[&body[..], &[0]].concat().into());
        assert_reason(member.send(stream::iter(long)).await, Reason::LengthMismatch);
        // A stream that is longer than announced is refused at once. The rest, which has no end, is
        // not waited for.
        let endless =
            stream::iter(messages(open, &body)).chain(stream::repeat(piece(Bytes::from_static(&[0; 1000]))));
        assert_reason(member.send(endless).await, Reason::LengthMismatch);
        member.assert_not_stored(&batch).await;
    }
}

#[tokio::test]
async fn what_is_sent_must_be_what_was_committed() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    let open = batch.open(&member.world, SEAT);
    let other_seat = messages(open.clone(), &batch.shard(Seat(5)));
    assert_reason(member.send(stream::iter(other_seat)).await, Reason::BadShard);
    let mut bytes = batch.shard(SEAT).to_vec();
    bytes[700_000] ^= 1;
    assert_reason(member.send(stream::iter(messages(open, &bytes.into()))).await, Reason::BadShard);
    member.assert_not_stored(&batch).await;

    let wish = Wish { batch_number: 2, hash_kind: HashKind::Keccak256, ..Wish::default() };
    let batch = member.world.batch_with(2, LARGE, &wish);
    let mut bytes = batch.payload.to_vec();
    bytes[0] ^= 1;
    let messages_ = messages(batch.open(&member.world, SEAT), &bytes.into());
    assert_reason(member.send(stream::iter(messages_)).await, Reason::BadPayload);
    // The header has the hash of another kind.
    let mut dispersal = batch.dispersal.clone();
    dispersal.payload = Some(batch.payload.clone());
    let wish = Wish { hash_kind: HashKind::Sha256, ..wish };
    let batch = member.world.sign(dispersal, &wish);
    assert_reason(member.put(&batch).await, Reason::BadPayload);
    member.assert_not_stored(&batch).await;
}

#[tokio::test]
async fn streams_must_have_their_form() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    let open = || opening(batch.open(&member.world, SEAT));
    let malformed: Vec<Vec<v1::StoreShardRequest>> = vec![
        vec![],
        vec![piece(Bytes::from_static(b"x"))],
        vec![v1::StoreShardRequest { message: None }],
        vec![open(), open()],
        vec![open(), piece(Bytes::new())],
        vec![open(), v1::StoreShardRequest { message: None }],
        vec![open(), piece(vec![0; STREAM_PIECE_MAX_BYTES + 1])],
        // This message is over the limit of any message.
        vec![open(), piece(vec![0; 1 << 20])],
    ];
    for messages in malformed {
        assert_reason(member.send(stream::iter(messages)).await, Reason::MalformedRequest);
    }
    member.assert_not_stored(&batch).await;
    member.put(&batch).await.unwrap();
}

#[tokio::test]
async fn slow_uploads_are_cut_off() {
    let short = Duration::from_millis(200);
    for (piece_timeout, upload_timeout) in [(short, PATIENCE), (PATIENCE, short)] {
        let mut config = Config::default();
        (config.settings.piece_timeout, config.settings.upload_timeout) = (piece_timeout, upload_timeout);
        let member = Member::start_with(config).await;
        let batch = member.world.batch(1, LARGE);
        let (sender, receiver) = mpsc::channel(2);
        assert_reason(member.send(ReceiverStream::new(receiver)).await, Reason::TimedOut);
        drop(sender);
        let (sender, receiver) = mpsc::channel(2);
        sender.send(opening(batch.open(&member.world, SEAT))).await.unwrap();
        assert_reason(member.send(ReceiverStream::new(receiver)).await, Reason::TimedOut);
        drop(sender);
        member.assert_not_stored(&batch).await;
        assert_eq!(member.node.context().uploads.bytes(), 0);
    }
}

#[tokio::test]
async fn an_upload_that_trickles_is_ended() {
    let mut config = Config::default();
    config.settings.upload_timeout = PATIENCE * 2;
    config.settings.piece_timeout = Duration::from_millis(500);
    let member = Member::start_with(config).await;
    let batch = member.world.batch(1, LARGE);
    let body = batch.body(SEAT);
    let bytes = stream::iter(0..body.len()).then(move |index| {
        let next = piece(body.slice(index..=index));
        // The pieces come far more often than they must.
        async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            next
        }
    });
    let all = stream::iter([opening(batch.open(&member.world, SEAT))]).chain(bytes);
    let status = member.send(Box::pin(all)).await.unwrap_err();
    assert!(status.message().contains("bytes a second are asked for"), "{status:?}");
    assert_reason(Err::<(), _>(status), Reason::TimedOut);
    assert_eq!(member.node.context().uploads.bytes(), 0);
}

#[tokio::test]
async fn l1_decides_whether_anything_is_taken() {
    let mut config = Config::default();
    config.settings.registry_max_age = Duration::ZERO;
    let member = Member::start_with(config).await;
    let batch = member.world.batch(1, 1000);
    assert_reason(member.put(&batch).await, Reason::L1Stale);

    let member = Member::start().await;
    let mut view = member.world.view();
    view.paused = true;
    member.registry.publish(view.clone());
    assert_reason(member.put(&batch).await, Reason::Paused);
    view.paused = false;
    view.rollups.clear();
    member.registry.publish(view);
    assert_reason(member.put(&batch).await, Reason::UnknownRollup);
    member.registry.publish(member.world.view());
    member.put(&batch).await.unwrap();
}

#[tokio::test]
async fn quotas_are_of_a_rollup_and_a_day() {
    let member = Member::start().await;
    let mut view = member.world.view();
    view.rollups.get_mut(&crate::testing::ROLLUP).unwrap().daily_payload_bytes = 2500;
    member.registry.publish(view.clone());
    let batch = |seed| {
        member.world.batch_with(
            seed,
            1000,
            &Wish {
                batch_number: seed,
                submit_before: NOW + SUBMIT_AHEAD_MAX_SECONDS,
                expires_at: NOW + 3 * QUOTA_DAY_SECONDS,
                ..Wish::default()
            },
        )
    };
    member.put(&batch(1)).await.unwrap();
    member.put(&batch(1)).await.unwrap();
    member.put(&batch(2)).await.unwrap();
    assert_reason(member.put(&batch(3)).await, Reason::QuotaExceeded);
    member.assert_not_stored(&batch(3)).await;
    // A batch over the whole quota never fits. The others fit on the next day.
    assert_reason(member.put(&member.world.batch(4, 2501)).await, Reason::QuotaExceeded);
    member.clock.set((NOW / QUOTA_DAY_SECONDS + 1) * QUOTA_DAY_SECONDS);
    view.committees.insert(2, Arc::new(member.world.committee(2, NOW - 1000, u64::MAX - 9999)));
    member.registry.publish(view);
    member.put(&batch(3)).await.unwrap();
}

#[tokio::test]
async fn one_order_is_good_for_one_header() {
    let member = Member::start().await;
    let first = member.world.batch(1, 1000);
    let mut rival = member.world.batch(2, 1000);
    rival.submission = first.submission.clone();
    rival.header.batch_number = 1;
    rival.digest = rival.header.digest(&member.world.domain);
    rival.disperser_signature = ecdsa(&member.world.disperser, rival.digest.0);
    member.put(&first).await.unwrap();
    assert_reason(member.put(&rival).await, Reason::ConflictingHeader);
    member.assert_not_stored(&rival).await;
    rival.certificate = Some(member.world.certify(&rival));
    member.put(&rival).await.unwrap();
}

/// Returns the member's accusations: rollup, disperser, kind, whether it is proven, and how often.
async fn accused(member: &Member) -> Vec<(Bytes, Bytes, String, bool, u64)> {
    let accusations = member.describe().await.accusations;
    accusations.into_iter().map(|it| (it.rollup, it.disperser, it.kind, it.proven, it.count)).collect()
}

#[tokio::test]
async fn who_lied_is_told() {
    let member = Member::start().await;
    let world = &member.world;
    let rollup = Bytes::copy_from_slice(crate::testing::ROLLUP.as_slice());
    let disperser = Bytes::copy_from_slice(world.disperser.address().as_slice());
    // Signatures of strangers say nothing about the parties that are named, so none of them is
    // accused.
    let mut forged = world.batch(1, 1000);
    forged.disperser_signature = ecdsa(&world.poster, forged.digest.0);
    assert_reason(member.put(&forged).await, Reason::WrongDisperser);
    let mut forged = world.batch(1, 1000);
    forged.submission.signature = ecdsa(&world.disperser, forged.submission.submission.digest(&world.domain));
    assert_reason(member.put(&forged).await, Reason::WrongPoster);
    let by_strangers = |kind: &str| (Bytes::new(), Bytes::new(), kind.to_owned(), false, 1);
    let mut of_strangers = accused(&member).await;
    of_strangers.sort();
    assert_eq!(of_strangers, [by_strangers("WRONG_DISPERSER"), by_strangers("WRONG_POSTER")]);
    // No name is kept of a rollup that is not admitted.
    let batch = world.batch_with(2, 1000, &Wish { rollup: Address::repeat_byte(9), ..Wish::default() });
    assert_reason(member.put(&batch).await, Reason::UnknownRollup);

    let batch = world.batch(3, LARGE);
    for _ in 0..2 {
        let other_seat = messages(batch.open(world, SEAT), &batch.shard(Seat(5)));
        assert_reason(member.send(stream::iter(other_seat)).await, Reason::BadShard);
    }
    // Both headers of one order bear the disperser's signature.
    member.put(&batch).await.unwrap();
    let mut rival = world.batch(4, LARGE);
    rival.submission = batch.submission.clone();
    rival.header.batch_number = batch.header.batch_number;
    rival.digest = rival.header.digest(&world.domain);
    rival.disperser_signature = ecdsa(&world.disperser, rival.digest.0);
    assert_reason(member.put(&rival).await, Reason::ConflictingHeader);
    let expected = [
        (rollup.clone(), disperser.clone(), "CONFLICTING_HEADER".to_owned(), true, 1),
        (rollup, disperser, "BAD_SHARD".to_owned(), false, 2),
    ];
    assert_eq!(accused(&member).await[..2], expected);
    // A delivery that broke on the way is held against no party.
    let short = messages(world.batch(5, 1000).open(world, SEAT), &Bytes::from_static(b"x"));
    assert_reason(member.send(stream::iter(short)).await, Reason::LengthMismatch);
    assert_eq!(accused(&member).await.len(), expected.len() + of_strangers.len());
}

#[tokio::test]
async fn certificates_are_verified() {
    let member = Member::start().await;
    let batch = member.world.batch(1, 1000);
    let good = member.world.certify(&batch);
    let absent = |bytes: &[u8]| dac_types::AbsentSeats::try_from(bytes).unwrap();
    let mut infinity = [0; 48];
    infinity[0] = 0xc0;
    let signature =
        |bytes: [u8; 48]| AggregateAttestation { signature: SignatureBytes(bytes), ..good.clone() };
    let forged = [
        AggregateAttestation { absent: absent(&[]), ..good.clone() },
        AggregateAttestation { absent: absent(&[5, 7]), ..good.clone() },
        AggregateAttestation { absent: absent(&[4, 5, 6]), ..good.clone() },
        AggregateAttestation { absent: absent(&[0, 1]), ..good.clone() },
        signature(infinity),
        signature([0xff; 48]),
        signature([0; 48]),
        member.world.certify(&member.world.batch(2, 1000)),
    ];
    for aggregate in forged {
        let batch = Batch { certificate: Some(aggregate), ..batch.clone() };
        assert_reason(member.put(&batch).await, Reason::BadCertificate);
        member.assert_not_stored(&batch).await;
    }
    // A forged certificate is not added to a stored record either.
    member.put(&batch).await.unwrap();
    let forged = Batch { certificate: Some(signature(infinity)), ..batch.clone() };
    assert_reason(member.put(&forged).await, Reason::BadCertificate);
    let good = Batch { certificate: Some(good), ..batch };
    member.put(&good).await.unwrap();
    // No batch is accepted after its expiry, certified or not.
    member.clock.set(good.header.expires_at);
    assert_reason(member.put(&good).await, Reason::ExpiresTooSoon);
}

#[tokio::test]
async fn work_in_flight_and_space_are_bounded() {
    let config = Config { uploads: UploadLimits { bytes: 1_500_000, per_rollup: 64 }, ..Config::default() };
    let member = Member::start_with(config).await;
    let (first, second) = (member.world.batch(1, LARGE), member.world.batch(2, LARGE));
    let (sender, receiver) = mpsc::channel(64);
    let mut client = member.dispersal().await;
    let call = tokio::spawn(async move { client.store_shard(ReceiverStream::new(receiver)).await });
    let mut all = messages(first.open(&member.world, SEAT), &first.body(SEAT)).into_iter();
    sender.send(all.next().unwrap()).await.unwrap();
    let under_way = async {
        while member.node.context().uploads.bytes() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, under_way).await.unwrap();
    let busy = member.put(&second).await.unwrap_err();
    assert!(tonic_retry(&busy).is_some(), "{busy:?}");
    assert_reason(Err::<(), _>(busy), Reason::Busy);
    for message in all {
        sender.send(message).await.unwrap();
    }
    drop(sender);
    call.await.unwrap().unwrap();
    member.put(&second).await.unwrap();

    let mut config = Config::default();
    config.settings.space.capacity_bytes = Some(1_500_000);
    let member = Member::start_with(config).await;
    member.put(&first).await.unwrap();
    assert_reason(member.put(&second).await, Reason::StorageFailed);
    member.put(&first).await.unwrap();
}

/// Returns the estimate that a status carries.
fn tonic_retry(status: &Status) -> Option<Duration> {
    use tonic_types::StatusExt;
    status.get_details_retry_info()?.retry_delay
}

#[tokio::test]
async fn a_database_on_a_server_stays_within_its_size() {
    let database = TestDatabase::postgres().await;
    let size = database.open(&[]).await.size_on_server().await.unwrap().unwrap();
    let start = async |room: u64| {
        let mut config = Config { server: Some(database.options().clone()), ..Config::default() };
        config.settings.space.database_size_max_bytes = Some(size + room);
        Member::start_with(config).await
    };
    let member = start(0).await;
    let batch = member.world.batch(1, LARGE);
    assert_reason(member.put(&batch).await, Reason::StorageFailed);
    member.assert_not_stored(&batch).await;
    assert_eq!(member.describe().await.storage, "PostgreSQL, one server");
    member.node.stop().await;
    // The size includes the member's own tables and those that other tests create meanwhile.
    let member = start(1 << 40).await;
    member.put(&batch).await.unwrap();
    member.node.stop().await;
    // What is held is still served and signed for.
    let member = start(0).await;
    member.put(&batch).await.unwrap();
    assert_reason(member.put(&member.world.batch(2, LARGE)).await, Reason::StorageFailed);
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
}

#[tokio::test]
async fn a_full_disk_keeps_its_reserve() {
    let disk = FakeDisk(Arc::new(AtomicU64::new(0)));
    let member = Member::start_with(Config { disk: Arc::new(disk.clone()), ..Config::default() }).await;
    let batch = member.world.batch(1, LARGE);
    for free in [2_000_000 - 1, 0, u64::MAX] {
        disk.0.store(free, Ordering::SeqCst);
        assert_reason(member.put(&batch).await, Reason::StorageFailed);
        member.assert_not_stored(&batch).await;
    }
    disk.0.store(2_000_000, Ordering::SeqCst);
    member.put(&batch).await.unwrap();
    // What is held is still served and signed for.
    disk.0.store(0, Ordering::SeqCst);
    member.put(&batch).await.unwrap();
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
}
