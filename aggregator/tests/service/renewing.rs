//! Coverage is renewed before it runs short, with whatever quorum signs.

use std::sync::Arc;
use std::time::Duration;

use dac_aggregator::renew::{CoverageSource, Covered, RenewSettings};
use dac_aggregator::service::aggregator::Renewal;
use dac_chain::ChainError;
use dac_proto::reason::Reason;
use dac_types::Address;
use parking_lot::Mutex;

use crate::support::{Behaviour, NOW, PATIENCE, RETENTION, ROLLUP, Running, World};

/// What the rollup's contract says.
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

/// Waits until the contract was looked at so many times more.
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
    // What was renewed is not renewed again. A look that was under way may have asked for the same once more: L1 has it.
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
async fn coverage_that_is_long_enough_costs_nothing() {
    let world = World::small().await;
    let (running, contract) = start(&world, NOW + RETENTION - 3600).await;
    looks(&contract, 3).await;
    assert_eq!((world.l1.included(), world.members[0].calls()), (0, 0));
    running.stop().await;
}
