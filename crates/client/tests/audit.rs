//! Audits of members that forget, lie or are not there.

mod support;

use dac_client::{
    AuditOptions, AuditReport, AuditTarget, Auditor, CheckKind, CheckResult, Dialer, EndpointPolicy, Hint,
    Patience,
};
use dac_coding::testing;
use dac_types::{Geometry, Seat};
use support::{Plan, Scene, Vice, honest};

async fn audit(scene: &Scene, hint: Hint) -> AuditReport {
    let options = AuditOptions {
        chunks: 3,
        whole_shard_one_in: 1,
        patience: Patience { answer: std::time::Duration::from_secs(60), bytes_per_second_min: 1 },
        ..AuditOptions::default()
    };
    let auditor = Auditor::new(scene.directory(), Dialer::new(EndpointPolicy::AllowPrivate), options);
    auditor.audit(&[AuditTarget { digest: scene.digest, hint }], |_| {}).await
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
    // One row says that it is gone; one that is busy is asked everything.
    assert_eq!(summary.unreachable, 1 + 3);
    assert_eq!(summary.chunks_ok, 2 * 3);
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
    // Had it signed, it would have lied.
    let report = audit(&Plan::new(4, 2, 3).play(&dispersal, &[]), Hint::default()).await;
    assert!(matches!(result(&report, 3, CheckKind::Shard), CheckResult::Failed(_)));
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
        assert_eq!(report.summary().has_unreachable(), !is_failure, "{vices:?}");
    }
}
