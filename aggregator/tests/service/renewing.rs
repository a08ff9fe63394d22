//! Tests that coverage is renewed before it runs short, with any quorum that signs.

use std::sync::Arc;
use std::time::Duration;

use dac_aggregator::aggregator::Renewal;
use dac_aggregator::renew::{CoverageSource, Covered, RenewSettings};
use dac_chain::ChainError;
use dac_proto::reason::Reason;
use dac_runtime::monitor;
use dac_runtime::service::ServiceError;
use dac_types::Address;
use parking_lot::Mutex;

use crate::support::{Behaviour, NOW, PATIENCE, RETENTION, ROLLUP, Running, World};

/// A fake of the rollup's contract that says how long batches are kept.
struct Contract {
    covered: Mutex<Covered>,
    looks: tokio::sync::watch::Sender<u64>,
}

#[async_trait::async_trait]
impl CoverageSource for Contract {
    async fn covered(&self, rollup: Address) -> Result<Covered, ChainError> {
        assert_eq!(rollup, ROLLUP);
        self.looks.send_modify(|looks| *looks += 1);
        Ok(*self.covered.lock())
    }
}

async fn start(world: &World, until: u64) -> (Running, Arc<Contract>) {
    let covered = Covered { batch_count: 9, until: Some(until), freeze_delay: 3600, exit_window: 3600 };
    let contract =
        Arc::new(Contract { covered: Mutex::new(covered), looks: tokio::sync::watch::Sender::new(0) });
    let settings = RenewSettings { interval: Duration::from_millis(30), ahead: None };
    let mut parts = world.parts().await;
    parts.renewal = Some(Renewal { source: Arc::clone(&contract) as Arc<dyn CoverageSource>, settings });
    (Running::start(parts).await, contract)
}

/// Waits until the contract was read `more` times.
async fn looks(contract: &Contract, more: u64) {
    let mut looks = contract.looks.subscribe();
    let enough = *looks.borrow() + more;
    tokio::time::timeout(PATIENCE, looks.wait_for(|looks| *looks >= enough)).await.unwrap().unwrap();
}

async fn until_renewed(world: &World) {
    tokio::time::timeout(PATIENCE, async {
        while world.l1.recorded() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it is renewed");
}

#[tokio::test]
async fn coverage_that_runs_short_is_renewed_in_spite_of_a_liar() {
    let _counted = dac_measure::counted!(Renewal, 1);
    let world = World::small().await;
    world.behave(1, Behaviour::WrongSignature);
    let (running, contract) = start(&world, NOW + RETENTION / 4).await;
    until_renewed(&world).await;
    contract.covered.lock().until = Some(NOW + RETENTION - 120);
    looks(&contract, 3).await;
    // The same coverage is not renewed again. A round that was under way may have asked for the
    // same once more, but L1 has it already.
    assert_eq!((world.l1.recorded(), world.l1.included()), (1, 1));
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_posted_before_a_quorum_signs() {
    let _counted = dac_measure::counted!(Renewal, 1);
    let world = World::small().await;
    world.behave(1, Behaviour::Refuse(Reason::NotHeld));
    world.behave(2, Behaviour::WrongSignature);
    let (running, contract) = start(&world, NOW + RETENTION / 4).await;
    looks(&contract, 3).await;
    assert_eq!(world.l1.included(), 0);
    world.behave(1, Behaviour::Honest);
    until_renewed(&world).await;
    running.stop().await;
}

#[tokio::test]
async fn a_member_that_is_busy_is_asked_again_within_the_look() {
    let _counted = dac_measure::counted!(Renewal, 1);
    let world = World::small().await;
    // One member is silent, so all others are needed, and each of them is busy most of the time.
    world.behave(0, Behaviour::Silent);
    for (seat, times) in [(1, 3), (2, 1), (3, 5)] {
        world.behave(seat, Behaviour::RefuseFirst(times, Reason::Busy));
    }
    let (running, _contract) = start(&world, NOW + RETENTION / 4).await;
    until_renewed(&world).await;
    // One round was enough.
    assert_eq!([1, 2, 3].map(|seat: usize| world.members[seat].calls()), [4, 2, 6]);
    running.stop().await;
}

#[tokio::test]
async fn coverage_that_is_long_enough_costs_nothing() {
    let world = World::small().await;
    let (running, contract) = start(&world, NOW + RETENTION - 3600).await;
    looks(&contract, 3).await;
    assert_eq!((world.l1.included(), world.members[0].calls()), (0, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_contract_that_counts_no_renewal_is_not_paid_for_at_every_look() {
    let metrics = monitor::metrics();
    let world = World::small().await;
    let (running, contract) = start(&world, NOW + RETENTION / 4).await;
    // The pause begins with one second and doubles, so there are renewals at 0, 1, 3 and 7 seconds
    // and none in between.
    for (second, renewals) in [(0, 1), (1, 2), (2, 2), (3, 3), (4, 3), (6, 3), (7, 4), (14, 4)] {
        world.clock.set(NOW + second);
        tokio::time::timeout(PATIENCE, async {
            while world.l1.included() < renewals {
                looks(&contract, 1).await;
            }
        })
        .await
        .expect("it is renewed once the pause is over");
        // The last of these readings may belong to the second before.
        looks(&contract, 3).await;
        assert_eq!(world.l1.included(), renewals, "after {second} seconds");
    }
    let told = metrics.render();
    let held_back = format!("dac_aggregator_renewals_held_back_total{{rollup=\"{ROLLUP}\"}}");
    assert!(told.contains(&held_back), "{told}");
    // More batches than were renewed do not wait.
    contract.covered.lock().batch_count += 1;
    tokio::time::timeout(PATIENCE, async {
        while world.l1.included() < 5 {
            looks(&contract, 1).await;
        }
    })
    .await
    .expect("a new batch is renewed at once");
    running.stop().await;
}

#[tokio::test]
async fn a_quorum_does_not_wait_for_a_member_that_never_answers() {
    let mut world = World::small().await;
    world.options.call_timeout = Duration::from_secs(24 * 3600);
    world.behave(0, Behaviour::Silent);
    let (running, _contract) = start(&world, NOW + RETENTION / 4).await;
    until_renewed(&world).await;
    running.stop().await;
}

#[tokio::test]
async fn members_that_sign_something_else_are_named() {
    let metrics = monitor::metrics();
    for (behaviour, reason) in [
        (Behaviour::WrongSignature, "BAD_SIGNATURE"),
        (Behaviour::OtherDigest, "OTHER_DIGEST"),
        (Behaviour::OtherSeat, "OTHER_SEAT"),
    ] {
        let mut world = World::small().await;
        // The grace is long enough for the liar's answer to arrive.
        world.options.grace = PATIENCE;
        world.behave(3, behaviour);
        let (running, _contract) = start(&world, NOW + RETENTION / 4).await;
        until_renewed(&world).await;
        let operator = Address::repeat_byte(4);
        let line =
            format!("dac_aggregator_renewal_liars_total{{operator=\"{operator}\",reason=\"{reason}\"}}");
        let told = metrics.render();
        assert!(told.contains(&line), "{told}");
        running.stop().await;
    }
}

struct Broken;

#[async_trait::async_trait]
impl CoverageSource for Broken {
    async fn covered(&self, _: Address) -> Result<Covered, ChainError> {
        panic!("told to fail")
    }
}

#[tokio::test]
async fn a_task_that_panics_stops_the_aggregator() {
    let world = World::small().await;
    let mut parts = world.parts().await;
    let settings = RenewSettings { interval: Duration::from_millis(30), ahead: None };
    parts.renewal = Some(Renewal { source: Arc::new(Broken), settings });
    let mut running = Running::start(parts).await;
    let error = tokio::time::timeout(PATIENCE, running.aggregator.failed()).await.expect("it is noticed");
    let expected = "told to fail";
    assert!(
        matches!(&error, ServiceError::Panicked { task: "renewal", message } if message == expected),
        "{error}"
    );
    // The aggregator still stops in good order.
    tokio::time::timeout(PATIENCE, running.stop()).await.expect("it stops");
}
