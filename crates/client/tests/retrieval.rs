//! Retrieval from members that lie, stall and fail, and of batches that a malicious disperser made.

mod support;

use std::time::{Duration, Instant};

use dac_client::{
    Dialer, EndpointError, EndpointPolicy, Evidence, Hint, MemberFault, Progress, RetrieveError,
    RetrieveOptions, Retriever, ShardOutcome,
};
use dac_coding::testing;
use dac_types::{Geometry, Seat};
use support::{Plan, Vice, honest, options};

#[tokio::test]
async fn any_k_members_give_the_payload_back() {
    let dispersal = honest(7, 3);
    for alive in [[0, 1, 2], [4, 5, 6], [0, 3, 6]] {
        let vices: Vec<Vice> =
            (0..7).map(|seat| if alive.contains(&seat) { Vice::None } else { Vice::Down }).collect();
        let scene = Plan::new(7, 3, 5).play(&dispersal, &vices);
        let mut stages = Vec::new();
        let retrieved = scene
            .retriever()
            .retrieve(scene.digest, &Hint::default(), |progress| stages.push(progress))
            .await
            .unwrap_or_else(|error| panic!("{alive:?}: {error}"));
        assert_eq!(Some(retrieved.payload.clone()), scene.payload);
        assert_eq!(*retrieved.header(), scene.header);
        assert!(matches!(retrieved.evidence, Evidence::Certificate(_)));
        assert!(matches!(stages[0], Progress::Record { shards: 3, .. }));
        assert_eq!(stages.last(), Some(&Progress::Decoding));
    }
}

#[tokio::test]
async fn every_kind_of_liar_is_outvoted_by_k_others() {
    let dispersal = honest(7, 3);
    let vices = [
        [Vice::WrongByte, Vice::Truncated, Vice::Endless, Vice::EmptyPieces],
        [Vice::OversizedPiece, Vice::OtherSeat, Vice::OtherBatch, Vice::Garbage],
        [Vice::ForgedCertificate, Vice::WrongFingerprints, Vice::Forgetful, Vice::Corrupt],
        [Vice::Silent, Vice::Silent, Vice::Stalls, Vice::Stalls],
        [Vice::Stalls, Vice::Stalls, Vice::Stalls, Vice::Stalls],
        [Vice::Silent, Vice::Down, Vice::WrongByte, Vice::BusyFirst(1)],
    ];
    for vices in vices {
        let scene = Plan::new(7, 3, 5).play(&dispersal, &vices);
        let retrieved = scene
            .retriever()
            .retrieve(scene.digest, &Hint::default(), |_| {})
            .await
            .unwrap_or_else(|error| panic!("{vices:?}: {error}"));
        assert_eq!(Some(retrieved.payload), scene.payload, "{vices:?}");
        let served =
            |report: &&dac_client::MemberReport| matches!(report.outcome, ShardOutcome::Served { .. });
        assert_eq!(retrieved.report.members.iter().filter(served).count(), 3, "{vices:?}");
    }
}

/// Two of k + 1 seats fail, so that every member is asked and every failure is reported.
#[tokio::test]
async fn members_that_fail_are_named_with_what_they_did() {
    let dispersal = honest(4, 3);
    for (vice, code) in [
        (Vice::WrongByte, "BAD_SHARD"),
        (Vice::Truncated, "BAD_SHARD"),
        (Vice::Endless, "BAD_SHARD"),
        (Vice::EmptyPieces, "BAD_PIECE"),
        (Vice::OversizedPiece, "BAD_PIECE"),
        (Vice::OtherSeat, "BAD_SHARD"),
        (Vice::OtherBatch, "BAD_SHARD"),
        (Vice::Forgetful, "UNKNOWN_BATCH"),
        (Vice::Corrupt, "CORRUPT"),
        (Vice::Down, "UNREACHABLE"),
        (Vice::BusyFirst(100), "BUSY"),
    ] {
        let scene = Plan::new(4, 3, 3).play(&dispersal, &[vice, vice]);
        let error = scene.retriever().retrieve(scene.digest, &Hint::default(), |_| {}).await.unwrap_err();
        let RetrieveError::NotEnoughShards { needed: 3, got: 2, n: 4, report, .. } = &error else {
            panic!("{vice:?}: {error}");
        };
        for seat in [Seat(0), Seat(1)] {
            let named = report.members.iter().any(|member| {
                member.seat == seat
                    && matches!(&member.outcome, ShardOutcome::Failed(fault) if fault.code() == code)
            });
            assert!(named, "{vice:?}: seat {seat} is not named with {code}: {error}");
        }
        // Each member appears once, even if it was asked several times.
        let asked_again = matches!(vice, Vice::Down | Vice::BusyFirst(_));
        let text = error.to_string();
        assert_eq!((text.matches("seat 0 ").count(), text.matches("seat 1 ").count()), (1, 1), "{text}");
        assert_eq!(text.matches(", asked 3 times").count(), if asked_again { 2 } else { 0 }, "{text}");
    }
}

#[tokio::test]
async fn members_that_lie_about_the_record_are_named() {
    let dispersal = honest(4, 3);
    for (vice, code) in [
        (Vice::Garbage, "JUNK"),
        (Vice::OtherBatch, "OTHER_BATCH"),
        (Vice::WrongFingerprints, "BAD_RECORD"),
        (Vice::ForgedCertificate, "BAD_CERTIFICATE"),
        (Vice::Forgetful, "UNKNOWN_BATCH"),
    ] {
        let scene = Plan::new(4, 3, 3).play(&dispersal, &[vice; 4]);
        let error = scene.retriever().find_record(scene.digest, &Hint::default()).await.unwrap_err();
        let RetrieveError::NoRecord { asked: 4, faults, .. } = &error else { panic!("{vice:?}: {error}") };
        assert_eq!(faults.len(), 4);
        assert!(faults.iter().all(|fault| fault.fault.code() == code), "{vice:?}: {error}");
    }
}

#[tokio::test]
async fn a_busy_member_is_asked_again() {
    // Both members are needed, and both are busy for the first two requests.
    let scene = Plan::new(3, 2, 2).play(&honest(3, 2), &[Vice::Down, Vice::BusyFirst(2), Vice::BusyFirst(2)]);
    let retrieved = scene.retriever().retrieve(scene.digest, &Hint::default(), |_| {}).await.unwrap();
    assert_eq!(Some(retrieved.payload), scene.payload);
}

#[tokio::test]
async fn what_malicious_dispersers_made_comes_to_the_same_end_for_everybody() {
    let geometry = Geometry::new(7, 3).unwrap();
    for dispersal in testing::all(geometry).unwrap() {
        let name = dispersal.name;
        let scene = Plan::new(7, 3, 5).play(&dispersal, &[]);
        let outcome = scene.retriever().retrieve(scene.digest, &Hint::default(), |_| {}).await;
        match (name, &outcome) {
            ("dirty_padding", Err(RetrieveError::Malformed { .. }))
            | (
                "wrong_fingerprints_hash" | "wrong_payload_fingerprint" | "wrong_shard_root",
                Err(RetrieveError::NoRecord { .. }),
            )
            | ("wrong_row_fingerprint" | "misdelivered", Err(RetrieveError::NotEnoughShards { .. })) => {}
            (_, Ok(retrieved)) => assert_eq!(Some(retrieved.payload.clone()), dispersal.payload, "{name}"),
            (_, Err(error)) => panic!("{name}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_bad_seat_is_the_dispersers_doing_and_costs_nobody_the_batch() {
    let geometry = Geometry::new(4, 2).unwrap();
    let payload = bytes::Bytes::from(testing::noise(5, 30_000));
    let hash = dac_types::B256::repeat_byte(1);
    let dispersal = testing::bad_seat(geometry, payload.clone(), hash, Seat(3)).unwrap();
    // One honest member is down, so that the bad seat is asked.
    let scene = Plan::new(4, 2, 3).play(&dispersal, &[Vice::Down]);
    let retrieved = scene.retriever().retrieve(scene.digest, &Hint::default(), |_| {}).await.unwrap();
    assert_eq!(retrieved.payload, payload);
    // If one more is down, the bad seat is needed, and named.
    let scene = Plan::new(4, 2, 3).play(&dispersal, &[Vice::Down, Vice::Down]);
    let error = scene.retriever().retrieve(scene.digest, &Hint::default(), |_| {}).await.unwrap_err();
    let RetrieveError::NotEnoughShards { report, .. } = error else { panic!("{error}") };
    assert_eq!(report.bad_seats(), [Seat(3)]);
}

#[tokio::test]
async fn without_a_certificate_l1_must_vouch() {
    let mut plan = Plan::new(4, 2, 3);
    plan.with_certificate = false;
    let scene = plan.play(&honest(4, 2), &[]);
    let error = scene.retriever().retrieve(scene.digest, &Hint::default(), |_| {}).await.unwrap_err();
    assert!(matches!(error, RetrieveError::NotCertified { asked: 4, .. }), "{error}");
    let hint = Hint { recorded_at: Some(1_700_000_000), ..Hint::default() };
    let retrieved = scene.retriever().retrieve(scene.digest, &hint, |_| {}).await.unwrap();
    assert!(matches!(retrieved.evidence, Evidence::RecordedOnL1 { at: 1_700_000_000 }));
    assert_eq!(Some(retrieved.payload), scene.payload);
}

#[tokio::test]
async fn too_few_signers_are_no_certificate() {
    // The certificate has the signatures of q = 2 members; the registry demands 3.
    let mut plan = Plan::new(4, 2, 2);
    plan.signers = Some(vec![Seat(0), Seat(1)]);
    let scene = plan.play(&honest(4, 2), &[]);
    let stricter = dac_types::Committee::new(
        1,
        dac_types::Quorum::new(4, 2, 3).unwrap(),
        scene.committee.members().to_vec(),
        0,
        u64::MAX,
        u64::MAX,
    )
    .unwrap();
    let directory = dac_client::Directory::new(scene.domain, [std::sync::Arc::new(stricter)]).unwrap();
    let retriever =
        Retriever::new(std::sync::Arc::new(directory), Dialer::new(EndpointPolicy::AllowPrivate), options());
    let error = retriever.retrieve(scene.digest, &Hint::default(), |_| {}).await.unwrap_err();
    let RetrieveError::NoRecord { faults, .. } = error else { panic!("{error}") };
    assert!(faults.iter().all(|fault| matches!(fault.fault, MemberFault::Certificate(_))));
}

#[tokio::test]
async fn private_members_are_not_connected_to_unless_allowed() {
    let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &[]);
    let retriever = Retriever::new(scene.directory(), Dialer::new(EndpointPolicy::PublicOnly), options());
    let error = retriever.retrieve(scene.digest, &Hint::default(), |_| {}).await.unwrap_err();
    let RetrieveError::NoRecord { faults, .. } = error else { panic!("{error}") };
    let refused =
        |fault: &MemberFault| matches!(fault, MemberFault::Endpoint(EndpointError::NotPublic { .. }));
    assert!(faults.iter().all(|fault| refused(&fault.fault)), "{faults:?}");
}

#[tokio::test]
async fn the_deadline_holds_whatever_members_do() {
    let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &[Vice::Silent; 4]);
    let limit = Duration::from_millis(300);
    let retriever = scene.retriever_with(RetrieveOptions { deadline: limit, ..options() });
    let start = Instant::now();
    let error = retriever.retrieve(scene.digest, &Hint::default(), |_| {}).await.unwrap_err();
    assert!(matches!(error, RetrieveError::Deadline { .. }), "{error}");
    // This is far below the deadline of a minute for one member.
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_wrong_digest_is_nobodys_batch() {
    let scene = Plan::new(4, 2, 3).play(&honest(4, 2), &[]);
    let other = dac_types::BatchDigest(dac_types::B256::repeat_byte(9));
    let error = scene.retriever().retrieve(other, &Hint::default(), |_| {}).await.unwrap_err();
    let RetrieveError::NoRecord { faults, .. } = error else { panic!("{error}") };
    assert!(faults.iter().all(|fault| matches!(fault.fault, MemberFault::OtherBatch { .. })));
}
