//! Kills members, aggregator and PostgreSQL at every durable step and at random times, while a
//! rollup submits batch after batch: what was accepted reaches L1 once, what was signed is served,
//! and every message that was sent has its stored row.

use std::collections::BTreeSet;
use std::time::Duration;

use dac_database::Backend;
use dac_runtime::failpoint::{ALL, Passed};
use dac_tests::measure::{self, Measure, Promise};
use dac_tests::network::{Network, Plan, Shape, real_payload};
use dac_tests::postgres::Cluster;
use dac_tests::rollup::now;
use dac_tests::rot::{self, Part};
use dac_tests::settlement::RollupNetwork;
use dac_tests::traffic::{Traffic, TrafficPlan};
use dac_tests::{Failure, Result, death, history, rpc, wait};
use dac_types::{CoverageRenewal, HashKind, Seat};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The number of times that each fail point kills in CI's run.
const ROUNDS: u64 = 4;
/// The same number on PostgreSQL. It is lower because the successor of a dead process waits for its
/// lease to end.
const ROUNDS_ON_POSTGRES: u64 = 1;
/// The number of deaths of members at random times, and of the aggregator.
const DEATHS: u64 = 65;
/// The number of deaths of PostgreSQL or its parts, and of its clients.
const DATABASE_DEATHS: u64 = 60;
/// The ways of passing fail points that occur in this stream of batches.
const PASSED_BY_BATCHES: [Passed; 5] = [
    Passed::EachStart,
    Passed::EachStartAfterUploads,
    Passed::EachBatch,
    Passed::EachLargeBatch,
    Passed::EachExpiry,
];

/// Returns a plan with batches of all sizes and lifetimes: some are staged in several transactions,
/// some expire and are deleted.
fn everything(seed: u64) -> TrafficPlan {
    TrafficPlan {
        large_every: 4,
        // With k = 2 a shard is half of this, which has more rows than one transaction stages.
        large_bytes: 2_700_000,
        short_every: 3,
        short_seconds: 12,
        ..TrafficPlan::small(seed)
    }
}

/// Returns a plan with members that delete batches soon after they expire.
fn forgetful() -> Result<Plan> {
    let node = toml::toml! {
        [retention]
        slack = "1s"
        interval = "500ms"
    };
    Ok(Plan { node, ..Plan::default() })
}

#[test]
fn every_fail_point_has_a_test_that_dies_there() {
    let tried: BTreeSet<&str> = PASSED_BY_BATCHES
        .iter()
        .chain(&[Passed::EachSettlement, Passed::EachRenewal, Passed::EachRepair])
        .flat_map(|&passed| death::points("", &[passed]))
        .map(|point| point.name)
        .collect();
    let all = ALL.iter().filter(|point| point.passed != Passed::Never).map(|point| point.name);
    assert_eq!(tried, all.collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_every_fail_point_loses_nothing() -> Result<()> {
    let name = "kills::a_death_at_every_fail_point_loses_nothing";
    deaths_at_every_fail_point(Backend::Sqlite, ROUNDS, name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_every_fail_point_on_postgresql_loses_nothing() -> Result<()> {
    let name = "kills::a_death_at_every_fail_point_on_postgresql_loses_nothing";
    deaths_at_every_fail_point(Backend::Postgres, ROUNDS_ON_POSTGRES, name).await
}

async fn deaths_at_every_fail_point(backend: Backend, rounds: u64, name: &'static str) -> Result<()> {
    let (mut measure, seed) = (Measure::begin(Promise::EveryFailPoint, name), measure::seed(name));
    let mut network = Network::start_as(Shape { backend, ..Shape::SMALL }, &forgetful()?).await?;
    let traffic = Traffic::start(&network, 1, everything(seed))?;
    let rounds = rounds * measure::scale();
    let (of_node, of_aggregator) =
        (death::points("node.", &PASSED_BY_BATCHES), death::points("aggregator.", &PASSED_BY_BATCHES));
    let Network { members, aggregator, .. } = &mut network;
    let members_die = async {
        let mut dice = StdRng::seed_from_u64(seed ^ 1);
        let (mut deaths, mut seats) = (0, (0..members.len()).cycle());
        for _ in 0..rounds {
            let seat = seats.next().unwrap_or_default();
            deaths += death::dies_everywhere(&mut members[seat].service, &of_node, &mut dice).await?;
        }
        Ok::<_, Failure>(deaths)
    };
    let aggregator_dies = async {
        let mut dice = StdRng::seed_from_u64(seed ^ 2);
        let mut deaths = 0;
        for _ in 0..rounds {
            deaths += death::dies_everywhere(aggregator, &of_aggregator, &mut dice).await?;
        }
        Ok::<_, Failure>(deaths)
    };
    let (of_members, of_aggregator) = tokio::try_join!(members_die, aggregator_dies)?;
    measure.tried(of_members + of_aggregator);
    println!("{of_members} deaths of members, {of_aggregator} of the aggregator");
    let accepted = traffic.finish(&network).await?;
    history::check(&network, &accepted).await?;
    measure.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_time_loses_nothing() -> Result<()> {
    let name = "kills::a_death_at_any_time_loses_nothing";
    let (mut measure, seed) = (Measure::begin(Promise::SurvivesKills, name), measure::seed(name));
    let mut network = Network::start(Shape::SMALL).await?;
    let plan = TrafficPlan { large_every: 7, large_bytes: 2_700_000, ..TrafficPlan::small(seed) };
    let traffic = Traffic::start(&network, 1, plan)?;
    let deaths = DEATHS * measure::scale();
    let Network { members, aggregator, .. } = &mut network;
    let mut dice = StdRng::seed_from_u64(seed ^ 1);
    let aggregator_dies = async {
        let mut dice = StdRng::seed_from_u64(seed ^ 2);
        for _ in 0..deaths {
            death::dies_at_any_time(aggregator, &mut dice).await?;
        }
        Ok::<_, Failure>(())
    };
    tokio::try_join!(death::members_die_at_any_time(members, deaths, &mut dice), aggregator_dies)?;
    measure.tried(2 * deaths);
    let accepted = traffic.finish(&network).await?;
    history::check(&network, &accepted).await?;
    measure.passed();
    Ok(())
}

/// A blow to a database server or to its clients.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Postmaster,
    ImmediateStop,
    Backend,
    Member(usize),
    Aggregator,
}

impl Blow {
    fn choose(members: usize, dice: &mut impl Rng) -> Self {
        match dice.random_range(0..10) {
            0..3 => Self::Postmaster,
            3..5 => Self::ImmediateStop,
            5..8 => Self::Backend,
            8 => Self::Member(dice.random_range(0..members)),
            _ => Self::Aggregator,
        }
    }

    async fn strike(self, network: &mut Network, cluster: &mut Cluster, dice: &mut StdRng) -> Result<()> {
        match self {
            Self::Postmaster => {
                cluster.kill().await?;
                cluster.launch().await
            }
            Self::ImmediateStop => {
                cluster.stop_immediately().await?;
                cluster.launch().await
            }
            Self::Backend => {
                cluster.kill_backend(dice)?;
                cluster.recovered().await
            }
            Self::Member(seat) => {
                network.members[seat].service.kill();
                Ok(())
            }
            Self::Aggregator => {
                network.aggregator.kill();
                Ok(())
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_of_the_database_loses_nothing() -> Result<()> {
    let name = "kills::a_death_of_the_database_loses_nothing";
    let (mut measure, seed) = (Measure::begin(Promise::SurvivesDatabaseKills, name), measure::seed(name));
    let mut cluster = Cluster::start().await?;
    let shape = Shape { backend: Backend::Postgres, ..Shape::SMALL };
    let plan = Plan { postgres: Some(cluster.url()), ..Plan::default() };
    let mut network = Network::start_as(shape, &plan).await?;
    let plan = TrafficPlan { large_every: 7, large_bytes: 2_700_000, ..TrafficPlan::small(seed) };
    let mut traffic = Traffic::start(&network, 1, plan)?;
    let mut dice = StdRng::seed_from_u64(seed ^ 1);
    for death in 0..DATABASE_DEATHS * measure::scale() {
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..700))).await;
        let blow = Blow::choose(network.members.len(), &mut dice);
        blow.strike(&mut network, &mut cluster, &mut dice).await?;
        // Start what was killed, and start it again if it ends because its database is still
        // recovering.
        network.revive().await?;
        measure.tried(1);
        if death % 8 == 7 {
            traffic.more(1).await?;
        }
    }
    let accepted = traffic.finish(&network).await?;
    history::check(&network, &accepted).await?;
    drop(network);
    measure.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_on_the_way_to_settlement_settles_once() -> Result<()> {
    let name = "kills::a_death_on_the_way_to_settlement_settles_once";
    let mut measure = Measure::begin(Promise::EveryFailPoint, name);
    let mut rollup = RollupNetwork::start(1).await?;
    let batch = rollup.batches[0].clone();
    let digest = rollup.submit(&batch).await?;
    rollup.certified(digest).await?;
    for point in death::points("aggregator.", &[Passed::EachSettlement]) {
        rollup.network.aggregator.kill();
        // The proof is submitted while the process waits for its death. If it is submitted again,
        // the answer is that it is known.
        let api = rollup.client()?;
        let proof = rollup.signed_proof(digest, &batch)?;
        let hands_in = async {
            while api.submit_proof(&proof, dac_client::SubmitOptions::default()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            died = death::dies_at(&mut rollup.network.aggregator, point.name, 1) => died?,
            failed = hands_in => failed?,
        }
        measure.tried(1);
    }
    rollup.network.aggregator.set_environment(&[]);
    rollup.network.aggregator.start().await?;
    rollup.settled(digest).await?;
    assert_eq!(rollup.settlements().await?.len(), 1, "settled once");
    rollup.network.aggregator.kill();
    assert!(rollup.network.retrieve(digest).await? == batch.sealed.payload);

    // A member that dies before it has signed the renewal of that batch signs the same renewal
    // afterwards.
    let domain = rollup.network.domain();
    let renewal = CoverageRenewal {
        rollup: rollup.network.rollup.address,
        last_batch: 1,
        expires_at: now() + 10 * 86_400,
        epoch: rollup.network.committee.epoch,
    };
    let member = &mut rollup.network.members[0];
    let channel = member.dispersal()?;
    let ask = async || rpc::sign_renewal(channel.clone(), &domain, Seat(0), &renewal).await;
    let signed = wait::until("a renewal", wait::LIMIT, async || ask().await.ok()).await?;
    let mut renewed = renewal;
    for point in death::points("node.", &[Passed::EachRenewal]) {
        // Each renewal differs, because one that was promised before needs no commit.
        renewed.expires_at += 1;
        member.service.kill();
        let asks = async {
            while rpc::sign_renewal(channel.clone(), &domain, Seat(0), &renewed).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            died = death::dies_at(&mut member.service, point.name, 1) => died?,
            failed = asks => failed?,
        }
        measure.tried(1);
    }
    member.service.set_environment(&[]);
    member.service.start().await?;
    let again = wait::until("the renewal again", wait::LIMIT, async || ask().await.ok()).await?;
    assert_eq!(again, signed);
    measure.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_during_repair_leaves_it_to_be_done() -> Result<()> {
    death_during_repair(Backend::Sqlite, "kills::a_death_during_repair_leaves_it_to_be_done").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_during_repair_on_postgresql_leaves_it_to_be_done() -> Result<()> {
    let name = "kills::a_death_during_repair_on_postgresql_leaves_it_to_be_done";
    death_during_repair(Backend::Postgres, name).await
}

async fn death_during_repair(backend: Backend, name: &'static str) -> Result<()> {
    let (mut measure, seed) = (Measure::begin(Promise::EveryFailPoint, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut network = Network::start(Shape { backend, ..Shape::SMALL }).await?;
    let batch = network.submit(1, HashKind::Opaque, &real_payload(50_000)).await?;
    let digest = network.certified(&batch).await?;
    network.posted(&batch).await?;
    let member = &mut network.members[2];
    member.waits_for(digest).await?;
    let channel = member.retrieval()?;
    let shard = rpc::shard(channel.clone(), digest).await?;
    for point in death::points("node.", &[Passed::EachRepair]) {
        member.service.stop().await?;
        rot::flip(&member.service, digest, Part::Row, &mut dice).await?;
        // A request for the row finds the damage.
        let asks = async {
            loop {
                let served = rpc::shard(channel.clone(), digest).await;
                assert!(served.is_err(), "nothing was repaired yet");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            died = death::dies_at(&mut member.service, point.name, 1) => died?,
            () = asks => {}
        }
        measure.tried(1);
        member.service.set_environment(&[]);
        member.service.start().await?;
        let healed = async || {
            let served = rpc::shard(channel.clone(), digest).await.ok()?;
            (served == shard).then_some(())
        };
        wait::until("the shard to be repaired", wait::LIMIT, healed).await?;
    }
    measure.passed();
    Ok(())
}
