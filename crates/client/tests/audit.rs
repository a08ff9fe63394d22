//! Audits of members that forget, lie or are down.

mod support;

use std::sync::Arc;

use dac_bls::SecretKey;
use dac_client::Directory;
use dac_client::{
    AuditOptions, AuditPlan, AuditReport, AuditTarget, AuditVerdict, Auditor, CheckKind, CheckResult, Dialer,
    EndpointPolicy, Hint, Patience,
};
use dac_coding::testing;
use dac_types::{Address, Committee, Geometry, Member, Quorum, Seat};
use support::{Plan, Scene, Vice, honest};

async fn audit(scene: &Scene, hint: Hint) -> AuditReport {
    let target = AuditTarget { digest: scene.digest, hint, owed_until: Some(4_000_000_000) };
    audit_plan(scene.directory(), AuditPlan { epoch: Some(1), targets: vec![target] }).await
}

async fn audit_plan(directory: Arc<Directory>, plan: AuditPlan) -> AuditReport {
    let options = AuditOptions {
        chunks: 3,
        whole_shard_one_in: 1,
        patience: Patience { answer: std::time::Duration::from_secs(60), bytes_per_second_min: 1 },
        ..AuditOptions::default()
    };
    let auditor = Auditor::new(directory, Dialer::new(EndpointPolicy::AllowPrivate), options);
    auditor.audit(&plan, |_| {}).await
}

fn result(report: &AuditReport, seat: u8, check: CheckKind) -> &CheckResult {
    let row = report.rows.iter().find(|row| row.seat == Seat(seat) && row.check == check);
    &row.unwrap_or_else(|| panic!("no {check:?} of seat {seat} in {report:#?}")).result
}

#[tokio::test]
async fn honest_members_pass() {
    let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &[]);
    let report = audit(&scene, Hint::default()).await;
    let summary = report.summary();
    assert!(!summary.has_failures());
    assert_eq!((summary.chunks_ok, summary.shards_ok, summary.records_ok), (4 * 3, 4, 4));
    assert_eq!((summary.unreachable, summary.not_owed), (0, 0));
    assert_eq!(report.rows.len(), 12);
    let order: Vec<_> = report.rows.iter().map(|row| (row.seat, row.check as u8)).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(verdicts(&report), (AuditVerdict::Passed, AuditVerdict::Passed));
}

/// The verdicts without and with `--strict`.
fn verdicts(report: &AuditReport) -> (AuditVerdict, AuditVerdict) {
    (report.findings().verdict(false), report.findings().verdict(true))
}

#[tokio::test]
async fn every_lie_fails_the_check_that_it_concerns() {
    let dispersal = honest(4, 2);
    for (vice, check, code) in [
        (Vice::WrongByte, CheckKind::Chunks, "BAD_CHUNK"),
        (Vice::WrongByte, CheckKind::Shard, "BAD_SHARD"),
        (Vice::WrongPath, CheckKind::Chunks, "BAD_CHUNK"),
        (Vice::WrongChunks, CheckKind::Chunks, "WRONG_CHUNKS"),
        (Vice::Truncated, CheckKind::Shard, "BAD_SHARD"),
        (Vice::Endless, CheckKind::Shard, "BAD_SHARD"),
        (Vice::EmptyPieces, CheckKind::Shard, "BAD_PIECE"),
        (Vice::OtherSeat, CheckKind::Shard, "BAD_SHARD"),
        (Vice::Garbage, CheckKind::Record, "JUNK"),
        (Vice::WrongFingerprints, CheckKind::Record, "BAD_RECORD"),
        (Vice::ForgedCertificate, CheckKind::Record, "BAD_CERTIFICATE"),
        (Vice::OtherBatch, CheckKind::Record, "OTHER_BATCH"),
        (Vice::Impostor, CheckKind::Record, "OTHER_SEAT"),
        (Vice::Impostor, CheckKind::Chunks, "OTHER_SEAT"),
        (Vice::Forgetful, CheckKind::Chunks, "UNKNOWN_BATCH"),
        (Vice::Corrupt, CheckKind::Record, "CORRUPT"),
    ] {
        let scene = Plan::new(4, 2, 3).play(&dispersal, &[Vice::None, vice]);
        let report = audit(&scene, Hint::default()).await;
        match result(&report, 1, check) {
            CheckResult::Failed(fault) => assert_eq!(fault.code(), code, "{vice:?}, {check:?}"),
            other => panic!("{vice:?}, {check:?}: {other:?}"),
        }
        assert!(report.summary().has_failures(), "{vice:?}");
        for seat in [0, 2, 3] {
            assert!(matches!(result(&report, seat, CheckKind::Chunks), CheckResult::Ok { proved: 3 }));
        }
    }
}

#[tokio::test]
async fn the_unreachable_are_told_from_liars() {
    let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &[Vice::Down, Vice::BusyFirst(1000)]);
    let report = audit(&scene, Hint::default()).await;
    let summary = report.summary();
    assert!(!summary.has_failures());
    // The member that is down has one row; the busy one is asked for everything.
    assert_eq!(summary.unreachable, 1 + 3);
    assert_eq!(summary.chunks_ok, 2 * 3);
    // k = 2 seats can rebuild the batch, so it is available.
    assert_eq!(verdicts(&report), (AuditVerdict::Passed, AuditVerdict::Failed));
    let gone: Vec<Seat> =
        report.seats.iter().filter(|seat| seat.problem.is_some()).map(|seat| seat.seat).collect();
    assert_eq!(gone, [Seat(0), Seat(1)]);
}

#[tokio::test]
async fn fewer_than_k_seats_checked_is_nothing_to_say() {
    use Vice::{Down, None as Honest};
    for (vices, checked) in [([Honest, Down, Down, Down], Some(1)), ([Down; 4], None)] {
        let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &vices);
        let report = audit(&scene, Hint { epoch: Some(1), recorded_at: Some(1), ..Hint::default() }).await;
        assert_eq!(report.batches.first().map(|batch| batch.seats.checked), checked);
        assert_eq!(verdicts(&report), (AuditVerdict::NothingToSay, AuditVerdict::Failed), "{vices:?}");
        assert_eq!(report.seats.len(), 4, "every seat is asked for something");
        let gone = report.seats.iter().filter(|seat| seat.problem.is_some()).count();
        assert_eq!(gone, vices.iter().filter(|vice| **vice == Down).count());
    }
}

#[tokio::test]
async fn without_a_batch_or_an_epoch_there_is_nothing_to_say_and_seats_are_asked_all_the_same() {
    let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &[Vice::None, Vice::Down]);
    let report = audit_plan(scene.directory(), AuditPlan { epoch: Some(1), targets: Vec::new() }).await;
    assert_eq!(verdicts(&report), (AuditVerdict::NothingToSay, AuditVerdict::Failed));
    let reached: Vec<bool> = report.seats.iter().map(|seat| seat.problem.is_none()).collect();
    assert_eq!(reached, [true, false, true, true]);
    let report = audit_plan(scene.directory(), AuditPlan::default()).await;
    assert_eq!(verdicts(&report), (AuditVerdict::NothingToSay, AuditVerdict::NothingToSay));
    // A node with another key at a member's URL is not that member.
    let mut members = scene.committee.members().to_vec();
    members[0].public_key = SecretKey::derive(&[0x99; 32]).public_key().to_compressed();
    let other = Committee::new(1, scene.quorum, members, 0, u64::MAX, u64::MAX).unwrap();
    let directory = Arc::new(Directory::new(scene.domain, [Arc::new(other)]).unwrap());
    let report = audit_plan(directory, AuditPlan { epoch: Some(1), targets: Vec::new() }).await;
    let problem = report.seats[0].problem.as_ref().unwrap().to_string();
    assert!(problem.contains("the node there has key"), "{problem}");
}

/// Audits a batch whose seat 1 went to another operator after the members signed it. The arguments
/// are the behaviour of the new operator and of the former one.
async fn audit_rotated(newcomer: Vice, former: Vice) -> (AuditReport, Address) {
    let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &[Vice::None, former]);
    // The same batch of the same keys: its node of seat 1 serves as the new operator's node.
    let elsewhere = Plan::new(4, 2, 3).play(&honest(4, 2), &[Vice::None, newcomer]);
    assert_eq!(scene.digest, elsewhere.digest);
    let operator = Address::repeat_byte(0x77);
    let mut members = scene.committee.members().to_vec();
    members[1] = Member {
        operator,
        public_key: SecretKey::derive(&[0x77; 32]).public_key().to_compressed(),
        retrieval_url: elsewhere.urls[1].clone(),
        ..members[1].clone()
    };
    let second = Committee::new(2, Quorum::new(4, 2, 3).unwrap(), members, 1, u64::MAX, u64::MAX).unwrap();
    let directory = Directory::new(scene.domain, [scene.committee.clone(), Arc::new(second)]).unwrap();
    let target = AuditTarget { digest: scene.digest, hint: Hint::default(), owed_until: Some(4_000_000_000) };
    let report = audit_plan(Arc::new(directory), AuditPlan { epoch: Some(2), targets: vec![target] }).await;
    (report, operator)
}

#[tokio::test]
async fn a_newcomer_is_asked_and_so_is_the_former_holder_while_it_owes_the_batch() {
    use AuditVerdict::{Failed, Passed};
    for (newcomer, former, asked, results, expected) in [
        // A new operator that serves the seat's shards relieves the former one.
        (Vice::None, Vice::Down, 1, ["ok", ""], (Passed, Passed)),
        (Vice::Forgetful, Vice::None, 2, ["pending", "ok"], (Passed, Passed)),
        (Vice::Down, Vice::None, 2, ["unreachable", "ok"], (Passed, Failed)),
        (Vice::Down, Vice::Down, 2, ["unreachable", "unreachable"], (Passed, Failed)),
        (Vice::Forgetful, Vice::Forgetful, 2, ["pending", "failed"], (Failed, Failed)),
        (Vice::Down, Vice::Forgetful, 2, ["unreachable", "failed"], (Failed, Failed)),
        (Vice::WrongByte, Vice::None, 1, ["failed", ""], (Failed, Failed)),
    ] {
        let case = format!("newcomer {newcomer:?}, former {former:?}");
        let (report, operator) = audit_rotated(newcomer, former).await;
        assert_eq!(verdicts(&report), expected, "{case}");
        let of_seat: Vec<_> = report.rows.iter().filter(|row| row.seat == Seat(1)).collect();
        let mut holders: Vec<Address> = of_seat.iter().map(|row| row.operator).collect();
        holders.dedup();
        assert_eq!((holders[0], holders.len()), (operator, asked), "{case}");
        for (holder, result) in holders.iter().zip(results) {
            let named = of_seat.iter().any(|row| row.operator == *holder && row.result.name() == result);
            assert!(named, "{case}: {result} is not said of {holder}: {of_seat:?}");
        }
        let contact = &report.seats[1];
        assert_eq!(
            (contact.operator, contact.problem.is_some()),
            (operator, newcomer == Vice::Down),
            "{case}"
        );
    }
}

#[tokio::test]
async fn who_did_not_sign_owes_nothing() {
    let mut plan = Plan::new(4, 2, 3);
    plan.signers = Some(vec![Seat(0), Seat(1), Seat(2)]);
    let scene = plan.play(&honest(4, 2), &[Vice::None, Vice::None, Vice::Forgetful, Vice::Forgetful]);
    let report = audit(&scene, Hint::default()).await;
    assert!(matches!(result(&report, 2, CheckKind::Chunks), CheckResult::Failed(_)));
    assert!(matches!(result(&report, 3, CheckKind::Chunks), CheckResult::NotOwed));
    assert_eq!(report.summary().chunks_failed, 3);
}

#[tokio::test]
async fn where_nobody_knows_who_signed_at_most_n_minus_q_are_excused() {
    let hint = Hint { recorded_at: Some(1), ..Hint::default() };
    for (forgetful, has_failures) in [(1, false), (2, true)] {
        let mut plan = Plan::new(4, 2, 3);
        plan.with_certificate = false;
        let vices = vec![Vice::Forgetful; forgetful];
        let scene = plan.play(&honest(4, 2), &vices);
        let summary = audit(&scene, hint.clone()).await.summary();
        assert_eq!(summary.has_failures(), has_failures, "{forgetful} forgetful: {summary:?}");
    }
}

#[tokio::test]
async fn a_bad_seat_that_did_not_sign_is_the_dispersers_doing() {
    let geometry = Geometry::new(4, 2).unwrap();
    let payload = bytes::Bytes::from(testing::noise(5, 30_000));
    let dispersal = testing::bad_seat(geometry, payload, dac_types::B256::repeat_byte(1), Seat(3)).unwrap();
    let mut plan = Plan::new(4, 2, 3);
    plan.signers = Some(vec![Seat(0), Seat(1), Seat(2)]);
    let report = audit(&plan.play(&dispersal, &[]), Hint::default()).await;
    assert!(matches!(result(&report, 3, CheckKind::Shard), CheckResult::BadSeat(_)));
    assert!(!report.summary().has_failures());
    // If it had signed, its signature would be a lie.
    let report = audit(&Plan::new(4, 2, 3).play(&dispersal, &[]), Hint::default()).await;
    assert!(matches!(result(&report, 3, CheckKind::Shard), CheckResult::Failed(_)));
}

/// A member may report that its seat is bad. That excuses a seat that did not sign, and no other.
#[tokio::test]
async fn a_member_that_calls_its_seat_bad_is_excused_where_it_did_not_sign() {
    for (signed, result_name) in [(false, "bad_seat"), (true, "failed")] {
        let mut plan = Plan::new(4, 2, 3);
        if !signed {
            plan.signers = Some(vec![Seat(0), Seat(1), Seat(2)]);
        }
        let vices = [Vice::None, Vice::None, Vice::None, Vice::SeatBad];
        let report = audit(&plan.play(&honest(4, 2), &vices), Hint::default()).await;
        assert_eq!(result(&report, 3, CheckKind::Chunks).name(), result_name);
        assert_eq!(report.findings().is_wrong, signed);
    }
}

/// If L1 does not say that members owe a batch, no member is accused of lacking it.
#[tokio::test]
async fn a_batch_that_l1_does_not_know_is_no_failure() {
    let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &[Vice::Forgetful; 4]);
    let target = AuditTarget { digest: scene.digest, hint: Hint::default(), owed_until: None };
    let plan = AuditPlan { epoch: Some(1), targets: vec![target] };
    let report = audit_plan(scene.directory(), plan).await;
    assert_eq!(verdicts(&report).0, AuditVerdict::NothingToSay);
}

/// An expired batch is not owed either.
#[tokio::test]
async fn an_expired_batch_is_left_out() {
    let mut plan = Plan::new(4, 2, 3);
    plan.expires_at = 1_000;
    let scene = plan.play(&honest(4, 2), &[Vice::WrongByte]);
    let target = AuditTarget { digest: scene.digest, hint: Hint::default(), owed_until: None };
    let plan = AuditPlan { epoch: Some(1), targets: vec![target] };
    let report = audit_plan(scene.directory(), plan).await;
    assert_eq!((report.expired, report.rows.len()), (1, 0));
    assert_eq!(verdicts(&report).0, AuditVerdict::NothingToSay);
}

#[tokio::test]
async fn a_batch_that_nobody_serves_is_a_failure_unless_they_are_merely_away() {
    let hint = Hint { epoch: Some(1), recorded_at: Some(1), ..Hint::default() };
    for (vices, is_failure) in [
        ([Vice::Forgetful; 4], true),
        ([Vice::Down; 4], false),
        ([Vice::Forgetful, Vice::Down, Vice::Down, Vice::Down], false),
        ([Vice::Forgetful, Vice::Forgetful, Vice::Down, Vice::Down], true),
    ] {
        let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &vices);
        let report = audit(&scene, hint.clone()).await;
        assert_eq!(report.unaudited.len(), 1);
        assert_eq!(report.summary().has_failures(), is_failure, "{vices:?}");
        // Members that cannot be reached count, whether or not the batch is lost.
        assert_eq!(report.summary().has_unreachable(), vices.contains(&Vice::Down), "{vices:?}");
    }
}
