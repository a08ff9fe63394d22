//! Tests the rules of the state machine, with chosen and with random sequences of events.

use std::sync::Arc;

use dac_types::{
    Address, AggregateAttestation, B256, BatchDigest, BatchHeader, BatchSubmission, EcdsaSignature, Geometry,
    HashKind, Quorum, Record, RowFingerprints, Seat, SignatureBytes, SignedSubmission,
};
use proptest::prelude::*;

use super::transitions::SUBMIT_BEFORE_SLACK_SECONDS;
use super::*;

const N: u16 = 4;
const Q: u16 = 3;
pub(super) const EXPIRES_AT: u64 = 10_000;
const SUBMIT_BEFORE: u64 = 1_000;

pub(super) fn ecdsa() -> EcdsaSignature {
    let mut bytes = [1; 65];
    bytes[64] = 27;
    EcdsaSignature::try_from(&bytes[..]).unwrap()
}

fn submission() -> SignedSubmission {
    SignedSubmission {
        submission: BatchSubmission {
            rollup: Address::repeat_byte(1),
            batch_number: 7,
            payload_length: 100,
            expires_at: EXPIRES_AT,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::repeat_byte(2),
            replaces: B256::ZERO,
            disperser: Address::repeat_byte(3),
            submit_before: SUBMIT_BEFORE,
        },
        signature: ecdsa(),
    }
}

pub(super) fn digest(epoch: u64) -> BatchDigest {
    BatchDigest(B256::left_padding_from(&epoch.to_be_bytes()))
}

pub(super) fn dispersal(epoch: u64) -> Box<Dispersal> {
    let geometry = Geometry::new(N, 2).unwrap();
    let record = Record {
        header: BatchHeader {
            rollup: Address::repeat_byte(1),
            batch_number: 7,
            epoch,
            expires_at: EXPIRES_AT,
            payload_length: 100,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::repeat_byte(2),
            shard_root: B256::ZERO,
            fingerprints_hash: B256::ZERO,
            payload_fingerprint: vec![0; 32],
        },
        shard_hashes: vec![B256::ZERO; usize::from(N)],
        row_fingerprints: RowFingerprints::new(geometry, vec![0; 64]).unwrap(),
        submission: submission(),
        disperser_signature: ecdsa(),
        certificate: None,
    };
    Box::new(Dispersal::new(digest(epoch), Quorum::new(N, 2, Q).unwrap(), Arc::new(record)))
}

pub(super) fn received() -> Batch {
    Batch::received(SubmissionDigest(B256::repeat_byte(9)), submission(), 5)
}

pub(super) fn dispersing() -> Batch {
    let mut batch = received();
    assert_eq!(batch.apply(Event::Resumed), [Action::Encode]);
    assert_eq!(batch.apply(Event::Encoded(dispersal(1))).len(), usize::from(N));
    batch
}

fn signature(seat: u8) -> SignatureBytes {
    SignatureBytes([seat + 1; 48])
}

pub(super) fn answered(seat: u8) -> Event {
    Event::Answered {
        digest: digest(1),
        seat: Seat(seat),
        signature: signature(seat),
        at_ms: 100,
        with_certificate: false,
    }
}

fn failed(seat: u8, kind: DeliveryFailure) -> Event {
    Event::DeliveryFailed {
        digest: digest(1),
        seat: Seat(seat),
        kind,
        reason: "BUSY".to_owned(),
        detail: "later".to_owned(),
    }
}

fn aggregate(signers: &[u8]) -> AggregateAttestation {
    let signers: Vec<Seat> = signers.iter().copied().map(Seat).collect();
    AggregateAttestation {
        absent: dac_types::AbsentSeats::from_signers(N, &signers),
        signature: SignatureBytes([0xaa; 48]),
    }
}

pub(super) fn aggregated(signers: &[u8]) -> Event {
    Event::Aggregated { digest: digest(1), aggregate: aggregate(signers), at_ms: 200 }
}

pub(crate) fn certified() -> Batch {
    let mut batch = dispersing();
    for seat in 0..3 {
        batch.apply(answered(seat));
    }
    batch.apply(Event::GraceEnded { digest: digest(1) });
    batch.apply(aggregated(&[0, 1, 2]));
    assert_eq!(batch.phase, Phase::Certified);
    batch
}

pub(super) fn recorded() -> Event {
    Event::Recorded(L1Record { transaction: None, block: 3, gas_used: 0, by_us: false })
}

#[test]
fn quorum_waits_the_grace_and_then_certifies() {
    let mut batch = dispersing();
    assert_eq!(batch.apply(answered(0)), []);
    assert_eq!(batch.apply(answered(2)), []);
    assert_eq!(batch.apply(answered(3)), [Action::StartGrace]);
    let sum = batch.apply(Event::GraceEnded { digest: digest(1) });
    let signatures = [0, 2, 3].map(|seat| (Seat(seat), signature(seat))).to_vec();
    assert_eq!(sum, [Action::Aggregate { signatures }]);
    let actions = batch.apply(aggregated(&[0, 2, 3]));
    assert_eq!(actions[..2], [Action::Post, Action::Deliver { seat: Seat(1) }]);
    let with_certificate = actions.iter().filter(|a| matches!(a, Action::DeliverCertificate { .. })).count();
    assert_eq!(with_certificate, 3);
    let in_certificate: Vec<bool> =
        batch.dispersal.as_ref().unwrap().members.iter().map(|m| m.in_certificate).collect();
    assert_eq!(in_certificate, [true, false, true, true]);
}

#[test]
fn when_all_answered_nobody_is_waited_for() {
    let mut batch = dispersing();
    batch.apply(failed(3, DeliveryFailure::Refused));
    batch.apply(answered(0));
    batch.apply(answered(1));
    assert!(matches!(batch.apply(answered(2))[..], [Action::Aggregate { .. }]));
}

#[test]
fn a_liar_is_named_and_the_rest_goes_on() {
    let mut batch = dispersing();
    for seat in 0..4 {
        batch.apply(answered(seat));
    }
    let actions = batch.apply(Event::LiarsFound { digest: digest(1), seats: vec![Seat(1)] });
    let signatures = [0, 2, 3].map(|seat| (Seat(seat), signature(seat))).to_vec();
    assert_eq!(actions, [Action::Aggregate { signatures }]);
    assert_eq!(batch.dispersal.as_ref().unwrap().members[1].delivery, Delivery::Lied);
}

#[test]
fn two_liars_of_four_leave_no_quorum() {
    let mut batch = dispersing();
    for seat in 0..4 {
        batch.apply(answered(seat));
    }
    batch.apply(Event::LiarsFound { digest: digest(1), seats: vec![Seat(1), Seat(2)] });
    let Phase::Failed(failure) = &batch.phase else { panic!("{:?}", batch.phase) };
    assert_eq!(failure.reason, FailureReason::QuorumImpossible);
    assert!(batch.finished && batch.payload_dropped);
}

#[test]
fn only_what_members_said_to_a_saved_header_may_wait() {
    // Each event, and whether what it changes may wait to be saved.
    let retryable = failed(2, DeliveryFailure::Retryable);
    let delivered = |seat: u8| Event::CertificateDelivered { digest: digest(1), seat: Seat(seat) };
    let events = [
        (Event::Encoded(dispersal(1)), false),
        (answered(0), true),
        (retryable, true),
        (answered(1), true),
        (answered(3), true),
        (Event::GraceEnded { digest: digest(1) }, true),
        (aggregated(&[0, 1, 3]), false),
        (answered(2), true),
        (delivered(0), true),
        (recorded(), false),
        // All members have their shards now, so the payload is dropped.
        (Event::SignatureChecked { digest: digest(1), seat: Seat(2), good: true }, false),
        (delivered(1), true),
        (delivered(3), true),
        // The batch is finished now.
        (delivered(2), false),
    ];
    let mut batch = received();
    let mut saved = batch.clone();
    for (event, may_wait) in events {
        batch.apply(event.clone());
        assert_eq!(batch.may_wait(&saved), may_wait, "{event:?}");
        if !may_wait {
            saved.clone_from(&batch);
        }
    }
    assert!(batch.finished);

    let mut batch = dispersing();
    let saved = batch.clone();
    batch.apply(failed(0, DeliveryFailure::Refused));
    assert!(batch.may_wait(&saved));
    batch.apply(failed(1, DeliveryFailure::Refused));
    assert!(matches!(batch.phase, Phase::Failed(_)) && !batch.may_wait(&saved));
}

#[test]
fn stragglers_are_served_after_quorum_until_all_have_their_shard() {
    let mut batch = certified();
    batch.apply(recorded());
    assert_eq!(batch.phase, Phase::Posted);
    assert!(!batch.finished && !batch.payload_dropped);
    batch.apply(failed(3, DeliveryFailure::Retryable));
    assert_eq!(batch.apply(answered(3)), [Action::CheckSignature { seat: Seat(3), signature: signature(3) }]);
    let actions = batch.apply(Event::SignatureChecked { digest: digest(1), seat: Seat(3), good: true });
    assert_eq!(actions, [Action::DeliverCertificate { seat: Seat(3) }]);
    assert!(batch.payload_dropped);
    assert!(!batch.finished);
    for seat in 0..4 {
        batch.apply(Event::CertificateDelivered { digest: digest(1), seat: Seat(seat) });
    }
    assert!(batch.finished);
    // A member that signed at once counts one attempt, although the certificate took a second call.
    let attempts: Vec<u32> = batch.dispersal.iter().flat_map(|d| &d.members).map(|m| m.attempts).collect();
    assert_eq!(attempts, [1, 1, 1, 2]);
}

#[test]
fn who_refused_before_the_certificate_is_asked_again_with_it() {
    let mut batch = dispersing();
    batch.apply(failed(3, DeliveryFailure::Refused));
    for seat in 0..3 {
        batch.apply(answered(seat));
    }
    assert!(batch.apply(aggregated(&[0, 1, 2])).contains(&Action::Deliver { seat: Seat(3) }));
}

#[test]
fn a_new_epoch_asks_its_own_committee_and_ignores_the_old() {
    let mut batch = dispersing();
    batch.apply(answered(0));
    assert_eq!(batch.apply(Event::EpochOver { epoch: 1 }), [Action::StopDelivery, Action::Encode]);
    batch.apply(Event::Encoded(dispersal(2)));
    assert_eq!(batch.apply(answered(1)), [], "an answer to the old header");
    assert_eq!(batch.dispersal.as_ref().unwrap().signatures(), []);
    assert_eq!(batch.apply(Event::EpochOver { epoch: 1 }), []);
}

#[test]
fn an_epoch_that_ends_while_a_quorum_is_summed_up_changes_nothing() {
    let mut batch = dispersing();
    for seat in 0..3 {
        batch.apply(answered(seat));
    }
    assert_eq!(batch.apply(Event::EpochOver { epoch: 1 }), []);
    assert_eq!(batch.phase, Phase::Dispersing);
}

#[test]
fn submit_before_ends_what_no_quorum_signed_and_nothing_else() {
    let late = Event::TimePassed { now: SUBMIT_BEFORE + SUBMIT_BEFORE_SLACK_SECONDS + 1 };
    let mut batch = dispersing();
    batch.apply(Event::TimePassed { now: SUBMIT_BEFORE + SUBMIT_BEFORE_SLACK_SECONDS });
    assert_eq!(batch.phase, Phase::Dispersing);
    batch.apply(late.clone());
    assert!(matches!(&batch.phase, Phase::Failed(f) if f.reason == FailureReason::SubmitBeforePassed));
    let mut batch = certified();
    assert_eq!(batch.apply(late), []);
}

#[test]
fn expiry_includes_its_second() {
    let mut batch = certified();
    batch.apply(Event::TimePassed { now: EXPIRES_AT });
    assert_eq!(batch.phase, Phase::Certified);
    assert_eq!(batch.apply(Event::TimePassed { now: EXPIRES_AT + 1 }), [Action::StopDelivery]);
    assert_eq!(batch.phase, Phase::Expired);
}

#[test]
fn a_corrupt_payload_fails_what_is_not_certified() {
    let corrupt = Event::PayloadCorrupt { detail: "row 3".to_owned() };
    let mut batch = dispersing();
    batch.apply(corrupt.clone());
    assert!(matches!(&batch.phase, Phase::Failed(f) if f.reason == FailureReason::CorruptPayload));
    let mut batch = certified();
    batch.apply(corrupt);
    assert_eq!(batch.phase, Phase::Certified);
    assert_eq!(batch.dispersal.as_ref().unwrap().members[3].delivery, Delivery::Refused);
}

#[test]
fn text_of_peers_is_cut() {
    let mut batch = dispersing();
    batch.apply(Event::DeliveryFailed {
        digest: digest(1),
        seat: Seat(0),
        kind: DeliveryFailure::Retryable,
        reason: "x".repeat(5000),
        detail: "ä".repeat(5000),
    });
    let member = &batch.dispersal.as_ref().unwrap().members[0];
    assert!(member.reason.len() <= 256 && member.detail.len() <= 256);
}

pub(super) fn any_event() -> impl Strategy<Value = Event> {
    let seat = 0u8..5;
    let epoch = 1u64..3;
    prop_oneof![
        1 => Just(Event::Resumed),
        3 => epoch.clone().prop_map(|epoch| Event::Encoded(dispersal(epoch))),
        12 => (epoch.clone(), seat.clone(), any::<bool>()).prop_map(|(epoch, seat, with_certificate)| Event::Answered {
            digest: digest(epoch), seat: Seat(seat), signature: signature(seat), at_ms: 1, with_certificate
        }),
        4 => (epoch.clone(), seat.clone(), 0..6u8).prop_map(|(epoch, seat, kind)| Event::DeliveryFailed {
            digest: digest(epoch),
            seat: Seat(seat),
            kind: match kind {
                0 => DeliveryFailure::Refused,
                1 => DeliveryFailure::Lied,
                _ => DeliveryFailure::Retryable,
            },
            reason: String::new(),
            detail: String::new(),
        }),
        2 => (epoch.clone(), seat.clone()).prop_map(|(epoch, seat)| Event::CertificateDelivered {
            digest: digest(epoch), seat: Seat(seat)
        }),
        3 => epoch.clone().prop_map(|epoch| Event::GraceEnded { digest: digest(epoch) }),
        3 => (epoch.clone(), 0u8..4).prop_map(|(epoch, absent)| Event::Aggregated {
            digest: digest(epoch),
            aggregate: aggregate(&(0..4).filter(|seat| *seat != absent).collect::<Vec<_>>()),
            at_ms: 2,
        }),
        1 => (epoch.clone(), seat.clone()).prop_map(|(epoch, seat)| Event::LiarsFound {
            digest: digest(epoch), seats: vec![Seat(seat)]
        }),
        2 => (epoch.clone(), seat, any::<bool>()).prop_map(|(epoch, seat, good)| Event::SignatureChecked {
            digest: digest(epoch), seat: Seat(seat), good
        }),
        1 => epoch.prop_map(|epoch| Event::EpochOver { epoch }),
        1 => Just(recorded()),
        1 => Just(Event::PostingProblem("fees".to_owned())),
        1 => Just(Event::PayloadCorrupt { detail: String::new() }),
        1 => (0..EXPIRES_AT * 2).prop_map(|now| Event::TimePassed { now }),
    ]
}

const fn rank(phase: &Phase) -> u8 {
    match phase {
        Phase::Received => 0,
        Phase::Dispersing => 1,
        Phase::Certified | Phase::Proved => 2,
        Phase::Posted | Phase::Settled => 3,
        Phase::Failed(_) | Phase::Expired => 4,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_story_breaks_the_rules(events in proptest::collection::vec(any_event(), 0..80)) {
        let mut batch = received();
        for event in events {
            let before = batch.clone();
            let actions = batch.apply(event.clone());
            if before.is_over() {
                prop_assert_eq!(&batch.phase, &before.phase, "terminal states stay");
                prop_assert_eq!(&batch.l1, &before.l1);
            }
            if before.certificate.is_some() {
                prop_assert_eq!(&batch.certificate, &before.certificate, "a certificate is made once");
                prop_assert_eq!(batch.digest(), before.digest(), "a certified batch keeps its header");
            }
            if rank(&batch.phase) < rank(&before.phase) {
                let epoch_over = matches!(event, Event::EpochOver { .. });
                prop_assert!(epoch_over, "only the end of an epoch leads back");
                prop_assert!(before.certificate.is_none());
            }
            if actions.contains(&Action::Post) {
                prop_assert!(batch.certificate.is_some() && batch.phase == Phase::Certified);
            }
            for action in &actions {
                if let Action::Aggregate { signatures } = action {
                    prop_assert!(signatures.len() >= usize::from(Q));
                }
            }
            if before.finished {
                prop_assert!(batch.finished);
                let works = actions.iter().any(|a| matches!(a, Action::Deliver { .. } | Action::Post | Action::Encode));
                prop_assert!(!works);
            }
            if before.payload_dropped {
                prop_assert!(batch.payload_dropped);
                let needs_payload = actions.iter().any(|a| matches!(a, Action::Deliver { .. } | Action::Encode));
                prop_assert!(!needs_payload, "{:?}", event);
            }
            if matches!(batch.phase, Phase::Failed(_) | Phase::Expired) {
                prop_assert!(batch.finished && batch.payload_dropped);
            }
            prop_assert_eq!(batch.l1.is_some(), batch.phase == Phase::Posted);
        }
    }

    #[test]
    fn a_restart_at_any_point_loses_nothing(
        events in proptest::collection::vec(any_event(), 0..60),
        restart in 0usize..60,
    ) {
        let mut batch = received();
        for (at, event) in events.into_iter().enumerate() {
            batch.apply(event);
            if at == restart {
                let before = batch.clone();
                let actions = batch.apply(Event::Resumed);
                prop_assert_eq!(&batch.phase, &before.phase);
                prop_assert_eq!(&batch.dispersal, &before.dispersal);
                prop_assert_eq!(&batch.certificate, &before.certificate);
                // In every state a batch goes on with its work or has none left.
                prop_assert!(batch.finished || !actions.is_empty() || batch.payload_dropped
                    || batch.dispersal.as_ref().is_some_and(|d| d.signatures().len() >= usize::from(Q)));
            }
        }
    }
}

/// Makes a batch that is not encoded yet.
pub(crate) fn received_at(ms: u64) -> Batch {
    Batch::received(SubmissionDigest(B256::repeat_byte(9)), submission(), ms)
}

/// Makes a batch that is encoded, and that all members refuse for now.
pub(crate) fn held_up(reason: &str, received_at_ms: u64) -> Batch {
    let mut batch = Batch { received_at_ms, ..dispersing() };
    for seat in 0..N {
        let seat = u8::try_from(seat).unwrap();
        let Event::DeliveryFailed { digest, seat, kind, detail, .. } =
            failed(seat, DeliveryFailure::Retryable)
        else {
            unreachable!()
        };
        batch.apply(Event::DeliveryFailed { digest, seat, kind, reason: reason.to_owned(), detail });
    }
    assert!(batch.is_held_up());
    batch
}
