//! The registry's snapshots and their follower, on a real chain.

use std::sync::Arc;
use std::time::Duration;

use dac_chain::contracts::{CommitteeRegistry, Effect};
use dac_chain::testing::{Anvil, AnvilOptions, CommitteeSpec, deploy_committee};
use dac_chain::{
    Address, ChainError, Endpoints, ErrorClass, Follower, Refusal, RegistryReader, RegistryView,
    RegistryWatch, RpcRegistryReader,
};
use dac_types::Seat;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_millis(50);
const ROLLUP: Address = Address::repeat_byte(0x77);
const POSTER: Address = Address::repeat_byte(0x78);
/// A generous deadline: the tests wait for events on a machine that may be busy.
const DEADLINE: Duration = Duration::from_secs(60);

fn follow(anvil: &Anvil, registry: Address) -> (RegistryWatch, CancellationToken) {
    let cancellation = CancellationToken::new();
    let reader = Arc::new(RpcRegistryReader::new(anvil.endpoints(), registry));
    (Follower::spawn(reader, INTERVAL, 0, cancellation.clone()), cancellation)
}

async fn wait_for<T>(future: impl Future<Output = Result<T, ChainError>>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time").expect("the follower lives")
}

#[tokio::test]
async fn a_snapshot_says_what_was_deployed() {
    let anvil = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(7, 3, 5)).await;
    let rollup = committee.admit(&anvil, ROLLUP, POSTER).await;
    let reader = RpcRegistryReader::new(anvil.endpoints(), committee.deployment.registry);

    let view = reader.read(0).await.unwrap();

    assert_eq!(view.domain(), committee.domain);
    assert_eq!(view.domain(), reader.domain());
    assert_eq!(view.head, anvil.head().await);
    assert_eq!(view.current_epoch, Some(1));
    assert!(!view.paused);
    assert_eq!(view.rollups.len(), 1);
    assert_eq!(view.rollup(ROLLUP), Some(&rollup));
    assert_eq!(view.rollup(POSTER), None);
    let seen = view.committee(1).unwrap();
    assert_eq!(seen.quorum(), committee.quorum);
    assert_eq!((seen.active_until(), seen.postable_until()), (u64::MAX, u64::MAX));
    for (seat, member) in seen.seats() {
        let expected = &committee.members[seat.index()];
        assert_eq!(member.operator, expected.operator.address());
        assert_eq!(member.public_key, expected.secret_key.public_key().to_compressed());
        assert_eq!(member.dispersal_url, expected.dispersal_url);
        assert_eq!(member.retrieval_url, expected.retrieval_url);
    }
    assert_eq!(view.active_committee(view.head.timestamp), Some(seen));
    assert_eq!(view.active_committee(seen.active_from() - 1), None);

    // If nothing changed, reading again gives the very same committee.
    let again = reader.read(0).await.unwrap();
    assert!(Arc::ptr_eq(again.committee(1).unwrap(), seen));
}

#[tokio::test]
async fn committees_and_rollups_of_more_than_a_page_are_read_whole() {
    let anvil = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(67, 22, 44)).await;
    let reader = RpcRegistryReader::new(anvil.endpoints(), committee.deployment.registry);
    let view = reader.read(0).await.unwrap();
    let seen = view.committee(1).unwrap();
    assert_eq!(seen.members().len(), 67);
    for member in &committee.members {
        let key = member.secret_key.public_key().to_compressed();
        let seat = seen.seat_of(&key).unwrap();
        assert_eq!(seen.member(seat).unwrap().operator, member.operator.address());
    }
}

#[tokio::test]
async fn a_new_epoch_waits_replaces_and_leaves_a_grace() {
    let anvil = Anvil::start().await;
    let spec = CommitteeSpec { activation_delay: 100, grace: 1_000, ..CommitteeSpec::new(4, 2, 3) };
    let mut committee = deploy_committee(&anvil, &spec).await;
    let (watch, _stop) = follow(&anvil, committee.deployment.registry);
    let before = wait_for(watch.wait_ready()).await;
    assert_eq!(before.current_epoch, Some(1));

    committee.register(&anvil, "http://new.example".into(), "http://new.example/r".into()).await;
    let mut operators = committee.operators();
    operators.swap_remove(0);
    let (epoch, _) = committee.admin(&anvil).open_epoch(&operators, 2, 3).await.unwrap();
    assert_eq!(epoch, 2);

    let pending = wait_for(watch.wait_for(|view| view.committees.len() == 2)).await;
    assert_eq!(pending.current_epoch, Some(1));
    let (old, new) = (pending.committee(1).unwrap(), pending.committee(2).unwrap());
    assert_eq!(old.active_until(), new.active_from());
    assert_eq!(old.postable_until(), new.active_from() - 1 + 1_000);
    assert_eq!(pending.active_committee(new.active_from() - 1), Some(old));
    assert_eq!(pending.active_committee(new.active_from()), Some(new));
    // Seat 0 got another member; the others kept their key and seat.
    assert_ne!(old.member(Seat(0)), new.member(Seat(0)));
    assert_eq!(old.member(Seat(1)), new.member(Seat(1)));

    anvil.advance(101).await;
    let active = wait_for(watch.wait_for(|view| view.current_epoch == Some(2))).await;
    assert!(active.committee(1).unwrap().is_postable(active.head.timestamp));
}

#[tokio::test]
async fn changes_of_terms_urls_and_pause_are_seen() {
    let anvil = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(2, 1, 2)).await;
    let (watch, _stop) = follow(&anvil, committee.deployment.registry);
    wait_for(watch.wait_ready()).await;

    committee.operator(&anvil, 1).set_endpoints("https://a.example", "https://b.example").await.unwrap();
    let view = wait_for(watch.wait_for(|view| {
        view.committee(1).unwrap().member(Seat(1)).unwrap().dispersal_url == "https://a.example"
    }))
    .await;
    assert_eq!(view.committee(1).unwrap().member(Seat(1)).unwrap().retrieval_url, "https://b.example");

    committee.admit(&anvil, ROLLUP, POSTER).await;
    wait_for(watch.wait_for(|view| view.rollup(ROLLUP).is_some())).await;
    committee.admin(&anvil).remove_rollup(ROLLUP).await.unwrap();
    wait_for(watch.wait_for(|view| view.rollups.is_empty())).await;
    committee.admin(&anvil).pause().await.unwrap();
    wait_for(watch.wait_for(|view| view.paused)).await;
    committee.admin(&anvil).unpause().await.unwrap();
    wait_for(watch.wait_for(|view| !view.paused)).await;
}

#[tokio::test]
async fn a_retired_epochs_urls_are_read_again_in_turn() {
    let anvil = Anvil::start().await;
    let spec = CommitteeSpec { activation_delay: 1, grace: 1, ..CommitteeSpec::new(4, 2, 4) };
    let mut committee = deploy_committee(&anvil, &spec).await;
    committee.register(&anvil, "http://new.example".into(), "http://new.example/r".into()).await;
    let mut operators = committee.operators();
    operators.swap_remove(0);
    committee.admin(&anvil).open_epoch(&operators, 2, 4).await.unwrap();
    anvil.advance(10).await;
    let (watch, _stop) = follow(&anvil, committee.deployment.registry);
    let view = wait_for(watch.wait_ready()).await;
    assert!(!view.committee(1).unwrap().is_postable(view.head.timestamp));

    // The operator of seat 0 has a seat only in the retired epoch.
    committee
        .operator(&anvil, 0)
        .set_endpoints("http://moved.example", "http://moved.example/r")
        .await
        .unwrap();
    wait_for(watch.wait_for(|view| {
        view.committee(1).unwrap().member(Seat(0)).unwrap().dispersal_url == "http://moved.example"
    }))
    .await;
    // The operator of seat 1 has a seat in both epochs, so its change is seen in both at once.
    committee
        .operator(&anvil, 1)
        .set_endpoints("http://moved1.example", "http://moved1.example/r")
        .await
        .unwrap();
    let view = wait_for(watch.wait_for(|view| {
        view.committee(2).unwrap().member(Seat(1)).unwrap().dispersal_url == "http://moved1.example"
    }))
    .await;
    assert_eq!(view.committee(1).unwrap().member(Seat(1)).unwrap().dispersal_url, "http://moved1.example");
}

#[tokio::test]
async fn a_reorganised_registry_is_read_as_it_is_now() {
    let anvil = Anvil::start().await;
    let spec = CommitteeSpec { activation_delay: 0, ..CommitteeSpec::new(4, 2, 3) };
    let mut committee = deploy_committee(&anvil, &spec).await;
    committee.register(&anvil, "http://a.example".into(), "http://a.example".into()).await;
    committee.register(&anvil, "http://b.example".into(), "http://b.example".into()).await;
    let all = committee.operators();
    let (watch, _stop) = follow(&anvil, committee.deployment.registry);
    wait_for(watch.wait_ready()).await;

    let snapshot = anvil.snapshot().await;
    let first = [all[0], all[1], all[2], all[4]];
    committee.admin(&anvil).open_epoch(&first, 2, 3).await.unwrap();
    anvil.advance(5).await;
    let view = wait_for(watch.wait_for(|view| view.current_epoch == Some(2))).await;
    assert_eq!(view.committee(2).unwrap().member(Seat(3)).unwrap().operator, all[4]);

    // The same epoch number now has another committee, in blocks of the same height.
    anvil.revert(&snapshot).await;
    let second = [all[0], all[1], all[2], all[5]];
    committee.admin(&anvil).open_epoch(&second, 2, 3).await.unwrap();
    anvil.advance(5).await;
    let view = wait_for(watch.wait_for(|view| {
        view.committee(2).is_some_and(|epoch| epoch.member(Seat(3)).unwrap().operator == all[5])
    }))
    .await;
    assert_eq!(view.committees.len(), 2);

    // Then the epoch is gone altogether.
    anvil.reorganise(2).await;
    let view = wait_for(watch.wait_for(|view| view.committees.len() == 1)).await;
    assert_eq!(view.committee(1).unwrap().active_until(), u64::MAX);
}

#[tokio::test]
async fn confirmations_hold_the_view_back() {
    let anvil = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(2, 1, 2)).await;
    let reader = RpcRegistryReader::new(anvil.endpoints(), committee.deployment.registry);
    committee.admin(&anvil).pause().await.unwrap();
    assert!(!reader.read(1).await.unwrap().paused);
    assert!(reader.read(0).await.unwrap().paused);
    anvil.mine(1).await;
    assert!(reader.read(1).await.unwrap().paused);
}

#[tokio::test]
async fn while_l1_is_down_the_last_view_stays_and_ages() {
    let mut anvil = Anvil::start().await;
    // A reserve endpoint, where nothing is deployed yet.
    let spare = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(2, 1, 2)).await;
    let endpoints = Endpoints::new(&[anvil.url(), spare.url()], anvil.chain_id(), DEADLINE).unwrap();
    let reader = Arc::new(CountingReader {
        inner: RpcRegistryReader::new(endpoints, committee.deployment.registry),
        failures: watch::Sender::new(0),
    });
    let mut failures = reader.failures.subscribe();
    let stop = CancellationToken::new();
    let watch = Follower::spawn(reader, INTERVAL, 0, stop.clone());
    let view = wait_for(watch.wait_ready()).await;
    assert_eq!(watch.fresh(DEADLINE).unwrap().committees, view.committees);

    anvil.stop();
    failures.wait_for(|failures| *failures >= 3).await.unwrap();
    let last = watch.last_success().unwrap();
    let limit = Duration::from_nanos(1);
    let stale = watch.fresh(limit).unwrap_err();
    assert!(stale.age.unwrap() > limit && stale.limit == limit, "{stale}");
    assert_eq!(watch.latest().unwrap().committees, view.committees);

    // The same contracts get the same addresses, so the registry is read again, from the reserve
    // endpoint.
    let committee = deploy_committee(&spare, &CommitteeSpec::new(2, 1, 2)).await;
    while watch.last_success() == Some(last) {
        wait_for(watch.clone().changed()).await;
    }
    assert_eq!(watch.latest().unwrap().registry, committee.deployment.registry);

    // Once it is cancelled, tasks that wait for it get an error.
    stop.cancel();
    let gone = tokio::time::timeout(DEADLINE, watch.wait_for(|_| false)).await.expect("in time");
    assert!(matches!(gone, Err(ChainError::Stopped)));
}

/// Counts readings that failed.
struct CountingReader {
    inner: RpcRegistryReader,
    failures: watch::Sender<usize>,
}

#[async_trait::async_trait]
impl RegistryReader for CountingReader {
    async fn read(&self, confirmations: u64) -> Result<RegistryView, ChainError> {
        let result = self.inner.read(confirmations).await;
        if result.is_err() {
            self.failures.send_modify(|failures| *failures += 1);
        }
        result
    }
}

#[tokio::test]
async fn another_chain_and_no_contract_are_fatal() {
    let anvil = Anvil::start().await;
    let reader = RpcRegistryReader::new(anvil.endpoints(), Address::repeat_byte(9));
    let error = reader.read(0).await.unwrap_err();
    assert!(matches!(error, ChainError::NoContract { .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Fatal);

    let endpoints = Endpoints::new(&[anvil.url()], 1, DEADLINE).unwrap();
    let error = RpcRegistryReader::new(endpoints, Address::repeat_byte(9)).read(0).await.unwrap_err();
    assert!(matches!(error, ChainError::WrongChain { expected: 1, got: 31_337, .. }), "{error}");
    assert_eq!(error.class(), ErrorClass::Fatal);

    let found = Endpoints::discover(&[anvil.url()], DEADLINE).await.unwrap();
    assert_eq!(found.chain_id(), 31_337);
}

#[tokio::test]
async fn the_next_endpoint_answers_when_the_first_is_down_or_of_another_chain() {
    let anvil = Anvil::start().await;
    let other = Anvil::with(AnvilOptions { chain_id: 5, ..AnvilOptions::default() }).await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(2, 1, 2)).await;
    // Nothing listens on port 9.
    let urls = ["http://127.0.0.1:9".to_owned(), other.url(), anvil.url()];
    let endpoints = Endpoints::new(&urls, 31_337, DEADLINE).unwrap();
    let reader = RpcRegistryReader::new(endpoints, committee.deployment.registry);
    assert_eq!(reader.read(0).await.unwrap().current_epoch, Some(1));
}

#[tokio::test]
async fn refusals_of_the_registry_have_names_and_values() {
    let anvil = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(4, 2, 3)).await;
    let owner = committee.admin(&anvil);
    let operators = committee.operators();
    let refused = |result: Result<_, ChainError>| match result {
        Err(ChainError::Reverted(revert)) => revert,
        other => panic!("{other:?}"),
    };

    let stranger = committee.operator(&anvil, 0);
    let account = committee.members[0].operator.address();
    assert_eq!(
        refused(stranger.pause().await),
        Refusal::of(&CommitteeRegistry::OwnableUnauthorizedAccount { account })
    );
    assert_eq!(refused(owner.unpause().await), Refusal::of(&CommitteeRegistry::ExpectedPause {}));
    assert_eq!(
        refused(owner.remove_rollup(ROLLUP).await),
        Refusal::of(&CommitteeRegistry::UnknownRollup { rollup: ROLLUP })
    );
    let url = "u".repeat(257);
    assert!(refused(stranger.set_endpoints(&url, "x").await).is::<CommitteeRegistry::UrlLength>());
    let open = |operators: Vec<Address>, k, q| {
        let owner = owner.clone();
        async move { owner.open_epoch(&operators, k, q).await.map(|(_, receipt)| receipt) }
    };
    assert!(refused(open(operators.clone(), 0, 3).await).is::<CommitteeRegistry::Geometry>());
    assert!(refused(open(operators.clone(), 2, 5).await).is::<CommitteeRegistry::Geometry>());
    let twice = vec![operators[0], operators[1], operators[2], operators[0]];
    let duplicate = refused(open(twice, 2, 3).await).get::<CommitteeRegistry::DuplicateOperator>();
    assert!(duplicate.is_some_and(|duplicate| duplicate.operator == account));
    let unknown = vec![operators[0], operators[1], ROLLUP];
    assert_eq!(
        refused(open(unknown, 1, 2).await),
        Refusal::of(&CommitteeRegistry::UnknownOperator { operator: ROLLUP })
    );
    open(operators.clone(), 2, 3).await.unwrap();
    let pending = refused(open(operators, 2, 3).await);
    let epoch = pending.get::<CommitteeRegistry::EpochPending>().map(|pending| pending.epoch);
    assert_eq!(epoch, Some(2), "{pending}");
    assert_eq!(pending.effect(), Effect::MayPass);

    // A proof of possession made for another operator.
    let key = &committee.members[0].secret_key;
    let possession = key.prove_possession(&committee.domain, ROLLUP);
    let result = stranger.register(&key.public_key(), &possession, "http://a", "http://a").await;
    assert_eq!(refused(result), Refusal::of(&CommitteeRegistry::PossessionMismatch {}));
}

#[tokio::test]
async fn ownership_changes_hands_in_two_steps() {
    let anvil = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(2, 1, 2)).await;
    let heir = committee.operator(&anvil, 0);
    committee.admin(&anvil).transfer_ownership(committee.operators()[0]).await.unwrap();
    committee.admin(&anvil).pause().await.unwrap();
    heir.accept_ownership().await.unwrap();
    assert!(matches!(committee.admin(&anvil).unpause().await, Err(ChainError::Reverted(_))));
    heir.unpause().await.unwrap();
}
