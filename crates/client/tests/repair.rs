//! Collecting the shards that restore a member's own shard, from other members that lie, stall and
//! fail.

mod support;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dac_client::{
    CollectedShards, Dialer, Directory, EndpointPolicy, Evidence, Hint, RetrieveError, Retriever,
    ShardOutcome, Throttle, Wanted,
};
use dac_coding::{CheckedRecord, RebuildError, testing};
use dac_types::{Address, Committee, Geometry, Seat};
use support::{Plan, Scene, Vice, honest, options};

const SEAT: Seat = Seat(3);

/// A request of the member of [`SEAT`] for its own shard.
fn wanted(scene: &Scene) -> Wanted {
    Wanted { by: Some(scene.committee.members()[SEAT.index()].operator), ..Wanted::new(scene.digest, SEAT) }
}

#[tokio::test]
async fn any_k_peers_give_a_member_its_shard_back() {
    let dispersal = honest(7, 3);
    let vices = [
        [Vice::None, Vice::None, Vice::None, Vice::Endless, Vice::None, Vice::None, Vice::None],
        [Vice::WrongByte, Vice::Garbage, Vice::None, Vice::Silent, Vice::None, Vice::None, Vice::Down],
        [Vice::Stalls, Vice::Silent, Vice::None, Vice::Down, Vice::None, Vice::None, Vice::Corrupt],
    ];
    for vices in vices {
        let scene = Plan::new(7, 3, 5).play(&dispersal, &vices);
        let collected = scene
            .retriever()
            .collect(wanted(&scene))
            .await
            .unwrap_or_else(|error| panic!("{vices:?}: {error}"));
        assert!(matches!(collected.evidence, Evidence::Certificate(_)));
        assert!(collected.record.record().certificate.is_some());
        let asked_itself = |report: &dac_client::MemberReport| report.seat == SEAT;
        assert!(!collected.report.members.iter().any(asked_itself), "{vices:?}");
        let shard = collected.into_shard().unwrap();
        assert_eq!((shard.seat(), shard.bytes()), (SEAT, &dispersal.shards[SEAT.index()]), "{vices:?}");
    }
}

#[tokio::test]
async fn peers_that_fail_are_named_whether_or_not_the_others_are_enough() {
    let dispersal = honest(5, 3);
    // Seats 0, 1, 2 and 4 are asked for 3 shards.
    let scene = Plan::new(5, 3, 4).play(&dispersal, &[Vice::WrongByte, Vice::None, Vice::None]);
    let mut named = false;
    // The members that are asked first are chosen at random.
    for _ in 0..50 {
        let collected = scene.retriever().collect(wanted(&scene)).await.unwrap();
        let operator = scene.committee.members()[0].operator;
        named |= collected.report.faults().any(|(who, fault)| who == operator && fault.code() == "BAD_SHARD");
    }
    assert!(named);
    let scene = Plan::new(5, 3, 4).play(&dispersal, &[Vice::WrongByte, Vice::Forgetful]);
    let error = scene.retriever().collect(wanted(&scene)).await.unwrap_err();
    assert!(matches!(error, RetrieveError::NotEnoughShards { needed: 3, got: 2, .. }), "{error}");
    let codes = |seat: usize| -> Vec<&str> {
        let operator = scene.committee.members()[seat].operator;
        error
            .faults()
            .into_iter()
            .filter(|(who, _)| *who == operator)
            .map(|(_, fault)| fault.code())
            .collect()
    };
    assert!(codes(0).contains(&"BAD_SHARD"), "{error}");
    assert!(codes(1).contains(&"UNKNOWN_BATCH"), "{error}");
    assert!(codes(SEAT.index()).is_empty(), "{error}");
}

/// A seat has two holders: the former one serves the shard itself to the new one, and other members
/// are not asked.
#[tokio::test]
async fn another_holder_of_the_seat_gives_the_very_shard() {
    let dispersal = honest(5, 3);
    let scene = Plan::new(5, 3, 4).play(&dispersal, &[]);
    let newcomer = Address::repeat_byte(0x99);
    let directory = with_newcomer(&scene, newcomer);
    let retriever = Retriever::new(directory, Dialer::new(EndpointPolicy::AllowPrivate), options());
    let wanted = Wanted { by: Some(newcomer), ..Wanted::new(scene.digest, SEAT) };
    let collected = retriever.collect(wanted.clone()).await.unwrap();
    assert!(matches!(collected.shards, CollectedShards::Wanted(_)));
    let [report] = &collected.report.members[..] else { panic!("{:?}", collected.report) };
    assert_eq!(report.operator, scene.committee.members()[SEAT.index()].operator);
    assert!(matches!(report.outcome, ShardOutcome::Served { .. }));
    assert_eq!(*collected.into_shard().unwrap().bytes(), dispersal.shards[SEAT.index()]);

    // A former holder that lies about the shard is named, and any k other members serve theirs.
    let scene = Plan::new(5, 3, 4).play(&dispersal, &[Vice::None, Vice::None, Vice::None, Vice::WrongByte]);
    let retriever =
        Retriever::new(with_newcomer(&scene, newcomer), Dialer::new(EndpointPolicy::AllowPrivate), options());
    let collected = retriever.collect(wanted).await.unwrap();
    let former = scene.committee.members()[SEAT.index()].operator;
    assert!(collected.report.faults().any(|(who, fault)| who == former && fault.code() == "BAD_SHARD"));
    assert!(matches!(&collected.shards, CollectedShards::Others(shards) if shards.len() == 3));
    assert_eq!(*collected.into_shard().unwrap().bytes(), dispersal.shards[SEAT.index()]);
}

#[tokio::test]
async fn without_a_certificate_l1_must_vouch() {
    let mut plan = Plan::new(4, 2, 3);
    plan.with_certificate = false;
    let dispersal = honest(4, 2);
    let scene = plan.play(&dispersal, &[]);
    let error = scene.retriever().collect(wanted(&scene)).await.unwrap_err();
    assert!(matches!(error, RetrieveError::NotCertified { .. }), "{error}");
    let recorded = Hint { recorded_at: Some(1_700_000_000), ..Hint::default() };
    let collected =
        scene.retriever().collect(Wanted { hint: recorded.clone(), ..wanted(&scene) }).await.unwrap();
    assert!(matches!(collected.evidence, Evidence::RecordedOnL1 { at: 1_700_000_000 }));
    // If the caller has the record, no member is asked for it, so that not even one that would send
    // a false record is noticed.
    let held = collected.record.clone();
    let mut plan = Plan::new(4, 2, 3);
    plan.with_certificate = false;
    let scene = plan.play(&dispersal, &[Vice::WrongFingerprints, Vice::Garbage, Vice::OtherBatch]);
    let error =
        scene.retriever().collect(Wanted { hint: recorded.clone(), ..wanted(&scene) }).await.unwrap_err();
    assert!(matches!(error, RetrieveError::NoRecord { .. }), "{error}");
    let collected = scene
        .retriever()
        .collect(Wanted { hint: recorded, record: Some(held.clone()), ..wanted(&scene) })
        .await
        .unwrap();
    assert!(collected.report.record_faults.is_empty());
    assert_eq!(*collected.into_shard().unwrap().bytes(), dispersal.shards[SEAT.index()]);
    // The caller has the record, but the batch is neither certified nor on L1: a member must have
    // the certificate.
    let error = scene.retriever().collect(Wanted { record: Some(held), ..wanted(&scene) }).await.unwrap_err();
    assert!(matches!(error, RetrieveError::NoRecord { .. }), "{error}");
}

#[tokio::test]
async fn a_bad_seat_is_a_verdict() {
    let payload = bytes::Bytes::from(testing::noise(5, 30_000));
    let hash = dac_types::B256::repeat_byte(1);
    let dispersal = testing::bad_seat(Geometry::new(4, 2).unwrap(), payload, hash, SEAT).unwrap();
    let scene = Plan::new(4, 2, 3).play(&dispersal, &[]);
    let collected = scene.retriever().collect(wanted(&scene)).await.unwrap();
    let record: Arc<CheckedRecord> = collected.record.clone();
    let verdict = collected.into_shard().unwrap_err();
    let RebuildError::BadSeat { seat: SEAT, expected, .. } = verdict else { panic!("{verdict}") };
    assert_eq!(Some(expected), record.shard_hash(SEAT));
}

/// Members are not taken for slow when the pace holds them back: none is dropped or replaced, and
/// the rate stays within the limit.
#[tokio::test]
async fn a_pace_is_kept_and_nobody_is_blamed_for_it() {
    let dispersal = honest(7, 3);
    let scene = Plan::new(7, 3, 5).play(&dispersal, &[]);
    let bytes = 3 * dispersal.shards[0].len() as u64;
    let pace = Throttle::new(NonZeroU64::new(bytes).unwrap());
    let start = Instant::now();
    let collected =
        scene.retriever().collect(Wanted { pace: Some(Arc::new(pace)), ..wanted(&scene) }).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(collected.report.members.len(), 3, "{:?}", collected.report);
    assert_eq!(*collected.into_shard().unwrap().bytes(), dispersal.shards[SEAT.index()]);
}

/// The scene's committee, and a second epoch in which [`SEAT`] belongs to another operator.
fn with_newcomer(scene: &Scene, newcomer: Address) -> Arc<Directory> {
    let mut members = scene.committee.members().to_vec();
    let member = &mut members[SEAT.index()];
    member.operator = newcomer;
    member.public_key = dac_bls::SecretKey::derive(&[0x99; 32]).public_key().to_compressed();
    // Nothing listens at this URL: the new operator does not ask itself.
    member.retrieval_url = "http://127.0.0.1:1".to_owned();
    let second = Committee::new(2, scene.quorum, members, 1, u64::MAX, u64::MAX).unwrap();
    Arc::new(Directory::new(scene.domain, [scene.committee.clone(), Arc::new(second)]).unwrap())
}
