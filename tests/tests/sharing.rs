//! Several aggregator processes over one PostgreSQL database, and several rollups that submit to
//! all of them: while one process is killed or paused, the others continue, and each batch is
//! recorded once.

use std::time::Duration;

use dac_chain::CertificateLogReader;
use dac_database::Backend;
use dac_database::sqlx::{self, Connection};
use dac_runtime::failpoint::Passed;
use dac_tests::gate::Mode;
use dac_tests::measure::{self, Measure, Promise};
use dac_tests::network::{Network, Plan, Service, Shape};
use dac_tests::standstill::explained;
use dac_tests::traffic::{Accepted, Traffic, TrafficPlan};
use dac_tests::{Context, Failure, Result, configuration, database, death, history, wait};
use dac_types::Address;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// The number of deaths at random times.
const DEATHS: u64 = 21;
/// The number of times that a process is paused until its leases have run out.
const PAUSES: u64 = 3;
/// The number of fail points in the short form, drawn by the seed. The long form has all of them,
/// and so has the test of a single aggregator in `kills`.
const POINTS: usize = 8;
/// The first batch number of the second rollup, so that each number belongs to one batch.
const OTHER_NUMBERS: u64 = 1_000_000;
/// The fail points that only the process that posts passes.
const POSTING: [&str; 3] = ["aggregator.poster.", "aggregator.record.", "aggregator.certificate.delivered"];

/// Starts this many processes, and two rollups that submit to them in turn.
async fn start(processes: usize, seed: u64) -> Result<(Network, [Traffic; 2])> {
    let plan = Plan { more_aggregators: processes - 1, ..Plan::default() };
    let network = Network::start_as(Shape { backend: Backend::Postgres, ..Shape::SMALL }, &plan).await?;
    let other = network.admit(Address::repeat_byte(0x22)).await;
    let plan = TrafficPlan { large_every: 9, large_bytes: 2_700_000, ..TrafficPlan::small(seed) };
    let first = Traffic::start(&network, 1, plan)?;
    let plan = TrafficPlan { seed: !seed, ..plan };
    let second = Traffic::start_as(other, network.apis()?, OTHER_NUMBERS, plan)?;
    Ok((network, [first, second]))
}

/// Ends the traffic, and checks the whole history.
async fn finish(network: &Network, traffic: [Traffic; 2]) -> Result<()> {
    let mut accepted: Vec<Accepted> = Vec::new();
    for traffic in traffic {
        accepted.extend(traffic.finish(network).await?);
    }
    history::check(network, &accepted).await?;
    Ok(())
}

/// Returns the id of the process that holds the lease to post.
async fn poster(network: &Network) -> Option<u32> {
    let mut connection = database::look(&network.aggregator).await.ok()?;
    let statement = "SELECT process.holder FROM leases poster JOIN leases process ON process.name = poster.holder \
                     WHERE poster.name = 'poster' AND \
                     poster.expires_at_ms > CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
    let holder: Option<String> = sqlx::query_scalar(statement).fetch_optional(&mut connection).await.ok()?;
    connection.close().await.ok()?;
    holder?.rsplit(' ').next()?.parse().ok()
}

/// Waits for a process other than this one to post.
async fn somebody_else_posts(network: &Network, than: u32) -> Result<()> {
    let probe = async || poster(network).await.filter(|id| *id != than);
    wait::until("another process to post", wait::LIMIT, probe).await.map(drop)
}

async fn recorded(network: &Network) -> Result<usize> {
    let log = CertificateLogReader::new(network.anvil.endpoints(), network.committee.deployment.log);
    let head = log.head().await?.number;
    Ok(log.recorded_events(0, head).await?.len())
}

/// Waits until more batches are recorded on L1 than now.
async fn work_goes_on(network: &Network) -> Result<()> {
    let before = recorded(network).await?;
    let probe = async || recorded(network).await.is_ok_and(|now| now > before).then_some(());
    let waited = wait::until("more to be recorded", wait::LIMIT, probe).await;
    explained(network, waited).await
}

fn process(network: &mut Network, place: usize) -> Result<&mut Service> {
    network.aggregators_mut().nth(place).context("a process")
}

/// Waits until a process posts, and returns its place.
async fn posting_place(network: &mut Network) -> Result<usize> {
    let poster = {
        let network = &*network;
        wait::until("a process to post", wait::LIMIT, async || poster(network).await).await?
    };
    let place = network
        .aggregators_mut()
        .position(|service| service.process().is_ok_and(|process| process.id() == poster));
    // A process that was killed meanwhile posts no more.
    Ok(place.unwrap_or_default())
}

/// Pauses a process until another one has taken over its work, and then lets it continue.
async fn stands_still(network: &mut Network, place: usize) -> Result<()> {
    let service = process(network, place)?;
    let id = service.process()?.id();
    service.process()?.pause()?;
    // A load balancer sends it no requests; its connections to L1 and its database stay open.
    service.gate(configuration::API).set(Mode::Shut);
    somebody_else_posts(network, id).await?;
    work_goes_on(network).await?;
    let service = process(network, place)?;
    service.process()?.resume()?;
    service.gate(configuration::API).reopen();
    work_goes_on(network).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_of_three_dies_or_stands_still_the_others_go_on() -> Result<()> {
    let name = "sharing::whoever_of_three_dies_or_stands_still_the_others_go_on";
    let (mut measure, seed) = (Measure::begin(Promise::SharedDatabase, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed ^ 1);
    let (mut network, traffic) = start(3, seed).await?;
    let mut blows = [vec![true; usize::try_from(DEATHS)?], vec![false; usize::try_from(PAUSES)?]].concat();
    for _ in 0..measure::scale() {
        blows.shuffle(&mut dice);
        for &dies in &blows {
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..600))).await;
            if dies {
                // The process that posts is killed half of the time, because its death interrupts
                // the most work.
                let place =
                    if dice.random() { posting_place(&mut network).await? } else { dice.random_range(0..3) };
                process(&mut network, place)?.kill();
                // The process starts again before its leases are over, or after that.
                let rest = if dice.random_ratio(1, 8) { 6_000 } else { dice.random_range(0..1_200) };
                tokio::time::sleep(Duration::from_millis(rest)).await;
                process(&mut network, place)?.start().await?;
            } else {
                let place = posting_place(&mut network).await?;
                stands_still(&mut network, place).await?;
            }
            measure.tried(1);
        }
    }
    finish(&network, traffic).await?;
    measure.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_dies_at_every_fail_point_and_the_other_goes_on() -> Result<()> {
    let name = "sharing::one_of_two_dies_at_every_fail_point_and_the_other_goes_on";
    let (mut measure, seed) = (Measure::begin(Promise::SharedDatabase, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed ^ 1);
    let (mut network, traffic) = start(2, seed).await?;
    let mut points = death::points("aggregator.", &[Passed::EachBatch, Passed::EachLargeBatch]);
    let mut victim = 0;
    for _ in 0..measure::scale() {
        points.shuffle(&mut dice);
        let most = if measure::scale() == 1 { POINTS } else { points.len() };
        for point in &points[..most] {
            victim = 1 - victim;
            let pass = dice.random_range(1..=2);
            process(&mut network, victim)?.kill();
            death::launch_to_die(process(&mut network, victim)?, point.name, pass).await?;
            if POSTING.iter().any(|posting| point.name.starts_with(posting)) {
                becomes_poster(&mut network, victim).await?;
            }
            let died = death::died_at(process(&mut network, victim)?, point.name, pass).await;
            explained(&network, died).await?;
            work_goes_on(&network).await?;
            let service = process(&mut network, victim)?;
            service.set_environment(&[]);
            service.start().await?;
            measure.tried(1);
        }
    }
    finish(&network, traffic).await?;
    measure.passed();
    Ok(())
}

/// Makes this process the one that posts, unless it dies of its fail point: the other one is
/// stopped, which gives its lease back, and started again.
async fn becomes_poster(network: &mut Network, place: usize) -> Result<()> {
    let id = process(network, place)?.process()?.id();
    process(network, 1 - place)?.stop().await?;
    let taken = tokio::time::timeout(wait::LIMIT, async {
        while process(network, place)?.is_running() && poster(network).await != Some(id) {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok::<_, Failure>(())
    });
    taken.await.context("the process to post")??;
    process(network, 1 - place)?.start().await
}
