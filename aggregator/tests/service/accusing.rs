//! Tests that members and rollups that do what no honest one does are named.

use dac_aggregator::accusations::{Accusation, Accused};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::aggregator_service_client::AggregatorServiceClient;
use dac_runtime::monitor;
use dac_types::{Address, HashKind};

use crate::support::rollup::{order, payload, sign, sign_by};
use crate::support::{Behaviour, ROLLUP, Running, World, disperser, key};

fn accusations(running: &Running) -> Vec<Accusation> {
    running.aggregator.batches().context().accusations.list(100)
}

fn has(list: &[Accusation], accused: Accused, kind: &str, is_proven: bool) -> bool {
    list.iter().any(|line| line.accused == accused && line.kind == kind && line.is_proven == is_proven)
}

fn reason(result: Result<v1::Batch, tonic::Status>) -> Option<Reason> {
    Reason::of(&result.expect_err("it was taken"))
}

#[tokio::test]
async fn members_and_rollups_that_lie_are_named() {
    let metrics = monitor::metrics();
    let world = World::small().await;
    world.behave(1, Behaviour::OtherDigest);
    let running = world.start().await;
    let submission = running.submit_new(1, 100).await;
    running
        .until(submission, |batch| batch.members.iter().any(|m| m.state() == v1::DeliveryState::Lied))
        .await;
    let liar = Accused::Member(Address::repeat_byte(2));
    let list = accusations(&running);
    assert!(has(&list, liar, "OTHER_DIGEST", false), "{list:?}");
    assert_eq!(list.len(), 1, "nobody else: {list:?}");

    // The poster signs two payloads for one number. Then a submission names a rollup that the
    // registry does not list.
    let bytes = payload(100, 7);
    let second = sign(order(1, HashKind::Opaque, &bytes));
    assert_eq!(reason(running.submit(&second, &bytes).await), Some(Reason::ConflictingBatch));
    let mut stranger = order(3, HashKind::Opaque, &bytes);
    stranger.rollup = Address::repeat_byte(0x99);
    assert_eq!(reason(running.submit(&sign(stranger), &bytes).await), Some(Reason::UnknownRollup));
    // A submission that another key signed in a rollup's name does not count against the rollup.
    let forged = sign_by(order(4, HashKind::Opaque, &bytes), &key(0x55));
    assert_eq!(reason(running.submit(&forged, &bytes).await), Some(Reason::WrongPoster));
    // A submission that its own poster signed counts against the rollup, even if it is refused
    // before the signature is checked.
    let mut too_late = order(5, HashKind::Opaque, &bytes);
    too_late.expires_at = u64::MAX >> 24;
    assert_eq!(reason(running.submit(&sign(too_late.clone()), &bytes).await), Some(Reason::ExpiresTooLate));
    assert_eq!(
        reason(running.submit(&sign_by(too_late, &key(0x55)), &bytes).await),
        Some(Reason::ExpiresTooLate)
    );
    let list = accusations(&running);
    assert_eq!(list.len(), 3, "{list:?}");
    assert!(has(&list, Accused::Other, "WRONG_POSTER", false), "{list:?}");
    assert_eq!((list[0].accused, list[0].kind.as_str()), (Accused::Rollup(ROLLUP), "CONFLICTING_BATCH"));
    assert!(list[0].is_proven);
    let url = format!("http://{}", running.aggregator.addresses().grpc);
    let mut client = AggregatorServiceClient::connect(url).await.unwrap();
    let said = client.get_aggregator(v1::GetAggregatorRequest {}).await.unwrap().into_inner();
    assert_eq!(said.disperser, disperser().address().as_slice());
    let faults: Vec<_> = said.faults.iter().map(|fault| (&fault.operator[..], &*fault.kind)).collect();
    assert_eq!(faults, [(&[2; 20][..], "OTHER_DIGEST")]);
    let told: Vec<_> =
        said.accusations.iter().map(|line| (&line.rollup[..], &*line.kind, line.proven)).collect();
    assert_eq!(told, [(ROLLUP.as_slice(), "CONFLICTING_BATCH", true), (&[][..], "WRONG_POSTER", false)]);
    let told = metrics.render();
    let name = "dac_aggregator_submissions_refused_total";
    for labels in [
        format!("reason=\"CONFLICTING_BATCH\",rollup=\"{ROLLUP}\""),
        format!("reason=\"EXPIRES_TOO_LATE\",rollup=\"{ROLLUP}\""),
        "reason=\"EXPIRES_TOO_LATE\",rollup=\"other\"".to_owned(),
        "reason=\"UNKNOWN_ROLLUP\",rollup=\"other\"".to_owned(),
        "reason=\"WRONG_POSTER\",rollup=\"other\"".to_owned(),
    ] {
        let series = format!("{name}{{{labels}}} ");
        let counted = told.lines().find_map(|line| line.strip_prefix(&series));
        assert!(counted.is_some_and(|count| count != "0"), "{series}: {told}");
    }
    let counted = format!("{name}{{reason=\"WRONG_POSTER\",rollup=\"{ROLLUP}\"}}");
    assert!(told.lines().all(|line| !line.starts_with(&counted) || line.ends_with(" 0")), "{told}");
    running.stop().await;
}
