//! Tests the rules of proofs and settlements, with chosen and with random sequences of events.

use dac_types::{B256, PostingMode, Seat, Transition};
use proptest::prelude::*;

use super::tests::{
    EXPIRES_AT, aggregated, answered, any_event, certified, digest, dispersal, dispersing, received, recorded,
};
use super::*;

fn proof(byte: u8) -> Proof {
    let transition = Transition {
        new_state_root: B256::repeat_byte(byte),
        inputs_consumed: byte.into(),
        outputs: B256::ZERO,
    };
    Proof::received(transition, vec![byte; 256].into(), 7)
}

fn offered(byte: u8) -> Event {
    Event::ProofOffered { digest: digest(1), proof: Box::new(proof(byte)) }
}

fn hash(byte: u8) -> B256 {
    proof(byte).hash
}

fn block(block: u64, by_us: bool) -> L1Record {
    L1Record { transaction: Some(B256::repeat_byte(5)), block, gas_used: 9, by_us }
}

fn included(byte: u8) -> Event {
    Event::SettlementIncluded { hash: hash(byte), record: block(3, true) }
}

fn rejected(byte: u8) -> Event {
    Event::ProofRejected { hash: hash(byte), reason: "no".repeat(500) }
}

fn certify(batch: &mut Batch) -> Vec<Action> {
    for seat in 0..3 {
        batch.apply(answered(seat));
    }
    batch.apply(Event::GraceEnded { digest: digest(1) });
    batch.apply(aggregated(&[0, 1, 2]))
}

fn settling() -> Batch {
    dispersing().posted_by(PostingMode::Settle)
}

fn proved() -> Batch {
    let mut batch = settling();
    certify(&mut batch);
    assert_eq!(batch.apply(offered(1)), [Action::Settle]);
    assert_eq!(batch.phase, Phase::Proved);
    batch
}

#[test]
fn certificate_and_proof_come_in_any_order() {
    let mut batch = settling();
    assert_eq!(batch.apply(offered(1)), []);
    assert_eq!(batch.phase, Phase::Dispersing);
    assert_eq!(certify(&mut batch)[0], Action::Settle);
    assert_eq!(batch.phase, Phase::Proved);

    let mut batch = settling();
    assert_eq!(certify(&mut batch)[0], Action::WatchSettlement);
    assert_eq!(batch.phase, Phase::Certified);
    assert_eq!(batch.apply(offered(1)), [Action::Settle]);
    assert_eq!(batch.phase, Phase::Proved);
}

#[test]
fn a_settlement_is_posted_then_settled_and_its_proof_dropped() {
    let mut batch = proved();
    batch.apply(Event::ProofAccepted { hash: hash(1) });
    assert_eq!((&batch.phase, &batch.proof.as_ref().unwrap().state), (&Phase::Proved, &ProofState::Accepted));
    batch.apply(included(1));
    assert_eq!((&batch.phase, batch.settlement), (&Phase::Posted, Some(block(3, true))));
    batch.apply(Event::Settled(block(4, true)));
    assert_eq!((&batch.phase, batch.settlement), (&Phase::Settled, Some(block(4, true))));
    assert!(batch.proof.as_ref().unwrap().bytes.is_empty());
    assert!(!batch.finished, "seat 3 still gets its shard");
    assert!(batch.l1.is_none(), "nothing is recorded in the log");
    // The same proof is still known, and another one comes too late.
    assert_eq!(batch.weigh_proof(digest(1), &proof(1), 0), Ok(ProofVerdict::Known));
    assert_eq!(batch.weigh_proof(digest(1), &proof(2), 0), Err(ProofRefusal::Ended { phase: "settled" }));
}

#[test]
fn a_reorganised_settlement_is_proved_again() {
    for gone in [Event::ProofAccepted { hash: hash(1) }, Event::SettlementWaits { hash: hash(1) }] {
        let mut batch = proved();
        batch.apply(included(1));
        batch.apply(gone);
        assert_eq!((&batch.phase, batch.settlement), (&Phase::Proved, None));
        assert!(!batch.proof.as_ref().unwrap().bytes.is_empty());
        batch.apply(included(1));
        assert_eq!(batch.phase, Phase::Posted);
    }
}

#[test]
fn a_rejected_proof_makes_room_for_another() {
    let mut batch = proved();
    assert_eq!(batch.weigh_proof(digest(1), &proof(2), 0), Err(ProofRefusal::Conflict { present: hash(1) }));
    assert_eq!(batch.apply(offered(2)), []);
    assert_eq!(batch.apply(rejected(2)), [], "not the one under way");
    assert_eq!(batch.apply(rejected(1)), [Action::WatchSettlement]);
    assert_eq!(batch.phase, Phase::Certified);
    let former = batch.proof.clone().unwrap();
    assert!(matches!(&former.state, ProofState::Rejected { reason } if reason.len() <= 256));
    assert!(former.bytes.is_empty());
    // The same proof may be tried again: a reorganisation may have removed the cause of its
    // refusal.
    assert_eq!(batch.weigh_proof(digest(1), &proof(1), 0), Ok(ProofVerdict::Taken));
    assert_eq!(batch.apply(offered(2)), [Action::Settle]);
    // Events about the former proof do not concern the new one.
    assert_eq!(batch.apply(rejected(1)), []);
    assert_eq!(batch.apply(included(1)), []);
    assert_eq!(batch.phase, Phase::Proved);
}

#[test]
fn the_same_proof_with_other_claims_is_another_one() {
    let batch = proved();
    let mut other = proof(1);
    other.transition.inputs_consumed += 1;
    assert_eq!(batch.weigh_proof(digest(1), &proof(1), 0), Ok(ProofVerdict::Known));
    assert!(matches!(batch.weigh_proof(digest(1), &other, 0), Err(ProofRefusal::Conflict { .. })));
}

#[test]
fn proofs_are_weighed_by_digest_and_time() {
    assert_eq!(received().weigh_proof(digest(1), &proof(1), 0), Err(ProofRefusal::NotEncoded));
    let batch = certified();
    let other = ProofRefusal::OtherDigest { expected: digest(1), got: digest(2) };
    assert_eq!(batch.weigh_proof(digest(2), &proof(1), 0), Err(other));
    assert_eq!(batch.weigh_proof(digest(1), &proof(1), EXPIRES_AT), Ok(ProofVerdict::Taken));
    let late = Err(ProofRefusal::Ended { phase: "expired" });
    assert_eq!(batch.weigh_proof(digest(1), &proof(1), EXPIRES_AT + 1), late);
}

#[test]
fn a_recorded_batch_is_settled_when_its_proof_comes() {
    let mut batch = certified();
    // The proof waits until the batch is recorded.
    assert_eq!(batch.apply(offered(1)), []);
    assert_eq!(batch.phase, Phase::Certified);
    assert_eq!(batch.apply(recorded())[0], Action::Settle);
    assert!(!batch.is_over());
    batch.apply(included(1));
    batch.apply(Event::Settled(block(4, true)));
    assert_eq!(batch.phase, Phase::Settled);
    assert!(batch.l1.is_some() && batch.settlement.is_some());
}

#[test]
fn a_finished_recorded_batch_begins_again_for_a_proof() {
    let mut batch = certified();
    batch.apply(recorded());
    batch.apply(answered(3));
    batch.apply(Event::SignatureChecked { digest: digest(1), seat: Seat(3), good: true });
    for seat in 0..4 {
        batch.apply(Event::CertificateDelivered { digest: digest(1), seat: Seat(seat) });
    }
    assert!(batch.finished && batch.is_over());
    assert_eq!(batch.apply(offered(1)), [Action::Settle]);
    assert!(!batch.finished);
    // The proof is refused, and the batch is recorded as before.
    batch.apply(rejected(1));
    assert!(batch.finished && batch.phase == Phase::Posted && batch.l1.is_some());
    batch.apply(offered(2));
    batch
        .apply(Event::SettlingFailed(Failure { reason: FailureReason::RollupFrozen, detail: String::new() }));
    assert!(batch.finished && batch.phase == Phase::Posted);
    let proof = batch.proof.unwrap();
    assert!(matches!(proof.state, ProofState::Rejected { reason } if reason.starts_with("ROLLUP_FROZEN")));
}

#[test]
fn what_somebody_else_settled_is_settled() {
    let mut batch = settling();
    certify(&mut batch);
    batch.apply(Event::Settled(block(4, false)));
    assert_eq!((&batch.phase, batch.settlement), (&Phase::Settled, Some(block(4, false))));
    let mut batch = proved();
    batch.apply(Event::Settled(block(4, false)));
    assert_eq!(batch.phase, Phase::Settled);
}

#[test]
fn what_will_never_settle_fails() {
    for reason in [FailureReason::NumberUsed, FailureReason::RollupFrozen, FailureReason::SettlementRefused] {
        let mut batch = proved();
        batch.apply(Event::SettlingFailed(Failure { reason, detail: "because".to_owned() }));
        assert!(matches!(&batch.phase, Phase::Failed(failure) if failure.reason == reason));
        assert!(batch.finished && batch.proof.unwrap().bytes.is_empty());
    }
}

#[test]
fn expiry_ends_what_is_not_in_a_block() {
    let late = Event::TimePassed { now: EXPIRES_AT + 1 };
    let mut batch = proved();
    batch.apply(late.clone());
    assert_eq!(batch.phase, Phase::Expired);
    assert!(batch.proof.unwrap().bytes.is_empty());

    let mut batch = proved();
    batch.apply(included(1));
    assert_eq!(batch.apply(late.clone()), [], "it settled in time");
    batch.apply(Event::Settled(block(4, true)));
    assert_eq!(batch.phase, Phase::Settled);
    batch.apply(late.clone());
    assert!(batch.finished && batch.phase == Phase::Settled);

    let mut batch = certified();
    batch.apply(recorded());
    batch.apply(offered(1));
    batch.apply(late);
    assert!(batch.finished && batch.phase == Phase::Posted, "recorded it stays");
    assert!(matches!(batch.proof.unwrap().state, ProofState::Rejected { .. }));
}

#[test]
fn a_new_header_voids_the_proof() {
    let mut batch = settling();
    batch.apply(offered(1));
    batch.apply(Event::EpochOver { epoch: 1 });
    assert!(matches!(batch.proof.as_ref().unwrap().state, ProofState::Rejected { .. }));
    batch.apply(Event::Encoded(dispersal(2)));
    assert_eq!(batch.weigh_proof(digest(2), &proof(1), 0), Ok(ProofVerdict::Taken));
}

fn any_settling_event() -> impl Strategy<Value = Event> {
    let byte = 1u8..3;
    prop_oneof![
        6 => any_event(),
        3 => (byte.clone(), 1u64..3).prop_map(|(byte, epoch)| Event::ProofOffered {
            digest: digest(epoch), proof: Box::new(proof(byte))
        }),
        1 => byte.clone().prop_map(|byte| Event::ProofAccepted { hash: hash(byte) }),
        1 => byte.clone().prop_map(rejected),
        1 => byte.clone().prop_map(|byte| Event::SettlementWaits { hash: hash(byte) }),
        1 => byte.prop_map(included),
        1 => any::<bool>().prop_map(|by_us| Event::Settled(block(4, by_us))),
        1 => Just(Event::SettlingFailed(Failure { reason: FailureReason::NumberUsed, detail: String::new() })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn no_story_breaks_the_rules_of_settling(
        settle: bool,
        events in proptest::collection::vec(any_settling_event(), 0..120),
        restart in 0usize..120,
    ) {
        let mode = if settle { PostingMode::Settle } else { PostingMode::Record };
        let mut batch = received().posted_by(mode);
        for (at, event) in events.into_iter().enumerate() {
            let before = batch.clone();
            let mut actions = batch.apply(event.clone());
            if at == restart {
                let phase = batch.phase.clone();
                actions.extend(batch.apply(Event::Resumed));
                prop_assert_eq!(&batch.phase, &phase, "a restart changes no phase");
            }
            let live = batch.live_proof().is_some();
            if actions.contains(&Action::Settle) {
                prop_assert!(live && batch.certificate.is_some() && !batch.live_proof().unwrap().bytes.is_empty());
                prop_assert!(settle || batch.l1.is_some(), "recorded first where that was asked for");
            }
            prop_assert!(!(settle && actions.contains(&Action::Post)), "one transaction, not two");
            prop_assert_eq!(batch.phase == Phase::Proved, settle && live && batch.certificate.is_some()
                && batch.settlement.is_none() && !batch.is_over());
            if batch.phase == Phase::Posted {
                let there = if settle { batch.settlement.is_some() && live } else { batch.l1.is_some() };
                prop_assert!(there);
            }
            if batch.phase == Phase::Settled {
                prop_assert!(batch.settlement.is_some() && batch.certificate.is_some());
            }
            if batch.is_over() {
                prop_assert!(batch.proof.as_ref().is_none_or(|proof| proof.bytes.is_empty()), "{:?}", batch.phase);
            }
            if matches!(before.phase, Phase::Settled | Phase::Failed(_) | Phase::Expired) {
                prop_assert_eq!(&batch.phase, &before.phase, "ends are ends");
            }
            // A proof that may still settle its batch is handed to L1.
            if before.live_proof().is_none() && live && batch.certificate.is_some() && (settle || batch.l1.is_some()) {
                prop_assert!(actions.contains(&Action::Settle), "{:?}", event);
            }
        }
    }
}
