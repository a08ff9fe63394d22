//! A PostgreSQL server fails over to its standby under load: the old primary comes back as a
//! standby behind the same address, and only later the address leads to the new primary.

use std::time::{Duration, Instant};

use dac_database::Backend;
use dac_proto::reason::Reason;
use dac_tests::measure::{self, Measure, Promise};
use dac_tests::network::{Network, Plan, Shape, real_payload};
use dac_tests::postgres::{Address, Cluster};
use dac_tests::traffic::{Traffic, TrafficPlan};
use dac_tests::{Result, history, rpc, wait};
use dac_types::HashKind;

/// The longest time from when the address is right again until batches are accepted: pools refill
/// within one attempt to acquire a connection, and the rollup of this test repeats its call within
/// a second.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// A batch number that the traffic does not reach.
const NUMBER: u64 = 1_000_000;

#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_over_within_seconds_of_the_address_being_right() -> Result<()> {
    let name = "failover::a_failover_is_over_within_seconds_of_the_address_being_right";
    let (mut measure, seed) = (Measure::begin(Promise::SurvivesDatabaseKills, name), measure::seed(name));
    let mut first = Cluster::start().await?;
    let second = first.standby().await?;
    let address = Address::of(&first)?;
    let shape = Shape { backend: Backend::Postgres, ..Shape::SMALL };
    let plan = Plan { postgres: Some(address.url()), ..Plan::default() };
    let network = Network::start_as(shape, &plan).await?;
    let mut traffic = Traffic::start(&network, 1, TrafficPlan::small(seed))?;
    traffic.more(5).await?;

    first.stop().await?;
    second.promote().await?;
    first.follow(&second).await?;
    // All processes reach the old primary again, which answers queries and refuses writes.
    let refused = wait::until("submissions to be refused", wait::LIMIT, async || {
        network.submit(NUMBER, HashKind::Opaque, &real_payload(1000)).await.err()
    });
    assert_eq!(rpc::reason(&refused.await?), Reason::StorageFailed);

    address.lead_to(&second)?;
    let since = Instant::now();
    traffic.more(2).await?;
    let took = since.elapsed();
    println!("batches were taken {took:?} after the address was right");
    assert!(took < RECOVERY_MAX, "it took {took:?}");

    // Every batch that was accepted before, during and after the failover is on L1 once, and is
    // served.
    traffic.more(5).await?;
    let accepted = traffic.finish(&network).await?;
    history::check(&network, &accepted).await?;
    measure.tried(1);
    measure.passed();
    Ok(())
}
