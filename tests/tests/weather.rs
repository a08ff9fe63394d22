//! Tests with networks that delay, lose and cut, with clocks that are a day wrong, and with an L1
//! that reverts: batches come late, none is lost, and nothing is signed, posted or deleted that
//! should not be.

use std::time::Duration;

use dac_proto::v1::{self, DeliveryState};
use dac_tests::gate::{Gate, Weather};
use dac_tests::measure::{self, Measure, Promise};
use dac_tests::network::{Network, Plan, Shape, real_payload};
use dac_tests::traffic::{Accepted, Traffic, TrafficPlan};
use dac_tests::{Failure, Result, configuration, history, rpc, wait};
use dac_types::{BatchDigest, HashKind};
use futures::stream;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The number of changes of the weather in CI's run.
const STORMS: u64 = 40;
/// The number of faults of L1 in CI's run.
const L1_FAULTS: u64 = 20;
/// The seconds by which a clock is wrong.
const DAY: i64 = 86_400;

/// Draws at random the faults of one gate's network.
fn storm(dice: &mut StdRng) -> (&'static str, Weather) {
    let seed = dice.random();
    let calm = Weather { seed, ..Weather::CALM };
    match dice.random_range(0..5) {
        0 => ("delay", Weather { delay: Duration::from_millis(dice.random_range(20..250)), ..calm }),
        1 => ("loss", Weather { stalls_per_mille: 200, stall: Duration::from_millis(400), ..calm }),
        2 => ("resets", Weather { resets_per_mille: 100, ..calm }),
        3 => ("cut towards the server", Weather { cut_to_server: true, ..calm }),
        _ => ("cut towards the client", Weather { cut_to_client: true, ..calm }),
    }
}

/// Returns the gates between aggregator and members, rollup and aggregator, and all processes and
/// L1.
fn ways(network: &Network) -> Vec<&Gate> {
    let of_members = network.members.iter().flat_map(|member| member.service.gates());
    of_members.chain(network.aggregator.gates()).chain([&network.l1]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn loss_delay_and_one_way_cuts_lose_nothing() -> Result<()> {
    let name = "weather::loss_delay_and_one_way_cuts_lose_nothing";
    let (mut measure, seed) = (Measure::begin(Promise::BadNetwork, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed);
    let network = Network::start(Shape::SMALL).await?;
    let plan = TrafficPlan { large_every: 6, large_bytes: 1_000_000, ..TrafficPlan::small(seed) };
    let traffic = Traffic::start(&network, 1, plan)?;
    let ways = ways(&network);
    for _ in 0..STORMS * measure::scale() {
        // Sometimes several gates are affected at once.
        let hit: Vec<&Gate> =
            (0..dice.random_range(1..=3)).map(|_| ways[dice.random_range(0..ways.len())]).collect();
        for gate in &hit {
            let (what, weather) = storm(&mut dice);
            println!("{}: {what}", gate.address());
            gate.set_weather(weather);
        }
        tokio::time::sleep(Duration::from_millis(dice.random_range(200..1500))).await;
        for gate in &hit {
            gate.set_weather(Weather::CALM);
        }
        measure.tried(1);
    }
    let accepted = traffic.finish(&network).await?;
    history::check(&network, &accepted).await?;
    measure.passed();
    Ok(())
}

fn wrong_by(seconds: i64) -> [(&'static str, String); 1] {
    [("DAC_CLOCK_OFFSET_SECONDS", seconds.to_string())]
}

/// Submits a batch with a lifetime of an hour, and waits until it is recorded.
async fn recorded(network: &Network, number: u64) -> Result<(v1::Batch, BatchDigest)> {
    let batch =
        network.submit(number, HashKind::Opaque, &real_payload(30_000 + usize::try_from(number)?)).await?;
    let digest = network.certified(&batch).await?;
    Ok((network.posted(&batch).await?, digest))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_members_clock_that_is_a_day_wrong_harms_nobody() -> Result<()> {
    let name = "weather::a_members_clock_that_is_a_day_wrong_harms_nobody";
    let mut measure = Measure::begin(Promise::WrongClock, name);
    // The member deletes as soon as it may, which is not before L1's clock agrees.
    let node = toml::toml! {
        [retention]
        slack = "1s"
        interval = "200ms"
    };
    let mut network = Network::start_as(Shape::SMALL, &Plan { node, ..Plan::default() }).await?;
    let (_, first) = recorded(&network, 1).await?;
    for member in &network.members {
        member.waits_for(first).await?;
    }
    let seat = 1;
    for (number, wrong) in [(2, DAY), (3, -DAY)] {
        let shard = rpc::shard(network.members[seat].retrieval()?, first).await?;
        network.members[seat].service.kill();
        network.members[seat].service.set_environment(&wrong_by(wrong));
        network.members[seat].service.start().await?;
        let (batch, digest) = recorded(&network, number).await?;
        // By the member's clock the submission has expired, or is valid for too long, so the member
        // signs nothing for the rollup's submission alone. With a quorum's certificate it may sign,
        // unless the batch has expired.
        assert!(!batch.members[seat].in_certificate, "{wrong}: {:?}", batch.members[seat]);
        if wrong > 0 {
            assert_ne!(batch.members[seat].state(), DeliveryState::Attested, "{wrong}");
        }
        assert!(network.retrieve(digest).await?.len() == 30_000 + usize::try_from(number)?);
        // The member has tried several times to delete; it still serves what it stored.
        for _ in 0..3 {
            tokio::time::sleep(dac_tests::network::MOMENT).await;
            assert!(rpc::shard(network.members[seat].retrieval()?, first).await? == shard, "{wrong}");
        }
        network.members[seat].service.kill();
        network.members[seat].service.set_environment(&[]);
        network.members[seat].service.start().await?;
        measure.tried(1);
    }
    // When its clock is right again, the member accepts deliveries.
    let (_, digest) = recorded(&network, 4).await?;
    network.members[seat].waits_for(digest).await?;
    measure.passed();
    Ok(())
}

/// Submits a few batches from this number on, and waits until all of them are recorded.
async fn taken(network: &Network, first_number: u64, seed: u64) -> Result<Vec<Accepted>> {
    let mut traffic = Traffic::start(network, first_number, TrafficPlan::small(seed))?;
    traffic.more(2).await?;
    traffic.finish(network).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregators_clock_that_is_a_day_wrong_harms_nobody() -> Result<()> {
    let name = "weather::an_aggregators_clock_that_is_a_day_wrong_harms_nobody";
    let (mut measure, seed) = (Measure::begin(Promise::WrongClock, name), measure::seed(name));
    let mut network = Network::start(Shape::SMALL).await?;
    // A submission whose time has passed by the aggregator's own clock fails, so no batch may be
    // under way when the clock goes wrong.
    let mut accepted = taken(&network, 1, seed).await?;
    for (first, wrong) in [(300, DAY), (600, -DAY)] {
        network.aggregator.kill();
        network.aggregator.set_environment(&wrong_by(wrong));
        network.aggregator.start().await?;
        // The aggregator may refuse a submission with a lifetime of an hour; if it accepts one,
        // members decide by their own clocks.
        let order = network.rollup.order(900 + u64::from(wrong > 0), HashKind::Opaque, &real_payload(100));
        let signed = network.rollup.signed(order);
        let open = rpc::submit_open(&network.domain(), &signed);
        let answer = rpc::submit(network.api()?, open, stream::iter(rpc::pieces(&real_payload(100)))).await;
        if let Err(status) = &answer {
            println!("{wrong}: {status}");
        }
        network.aggregator.kill();
        network.aggregator.set_environment(&[]);
        network.aggregator.start().await?;
        accepted.extend(taken(&network, first, seed).await?);
        measure.tried(1);
    }
    // The list of expected batches lacks those that were accepted with a wrong clock, but these
    // must not be recorded twice either.
    let history = history::read(&network, &accepted).await?;
    let violations = history.violations(&accepted);
    let serious: Vec<_> =
        violations.iter().filter(|v| !matches!(v, history::Violation::Stranger { .. })).collect();
    assert!(serious.is_empty(), "{serious:?}");
    measure.passed();
    Ok(())
}

/// The faults of L1 that concern an aggregator's transactions.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The last blocks are replaced by empty ones.
    Reorganised(u64),
    /// Pending transactions are dropped.
    Dropped,
    /// Another process with the same key uses the next nonce.
    NonceTaken,
    /// No transaction is included for a while.
    Silence,
}

impl Trouble {
    fn choose(dice: &mut StdRng) -> Self {
        match dice.random_range(0..4) {
            0 => Self::Reorganised(dice.random_range(1..=2)),
            1 => Self::Dropped,
            2 => Self::NonceTaken,
            _ => Self::Silence,
        }
    }

    async fn strike(self, network: &Network, dice: &mut StdRng) -> Result<()> {
        let moment = Duration::from_millis(dice.random_range(300..1500));
        match self {
            Self::Reorganised(depth) => network.anvil.reorganise(depth).await,
            Self::Dropped => {
                network.anvil.set_automine(false).await;
                tokio::time::sleep(moment).await;
                network.anvil.drop_pending().await;
                network.anvil.set_automine(true).await;
            }
            Self::NonceTaken => {
                network.anvil.set_automine(false).await;
                tokio::time::sleep(moment).await;
                network.anvil.drop_pending().await;
                self.take_nonce(network).await?;
                network.anvil.set_automine(true).await;
                network.anvil.mine(1).await;
            }
            Self::Silence => {
                network.anvil.set_automine(false).await;
                tokio::time::sleep(moment).await;
                network.anvil.set_automine(true).await;
                network.anvil.mine(1).await;
            }
        }
        Ok(())
    }

    /// Sends a transfer of nothing from the aggregator's account, with the nonce of the
    /// aggregator's own transaction.
    async fn take_nonce(self, network: &Network) -> Result<()> {
        let from = network.rollup.disperser;
        network.anvil.rpc("anvil_impersonateAccount", serde_json::json!([from])).await;
        let transfer = serde_json::json!([{ "from": from, "to": from, "value": "0x0" }]);
        network.anvil.rpc("eth_sendTransaction", transfer).await;
        network.anvil.rpc("anvil_stopImpersonatingAccount", serde_json::json!([from])).await;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_takes_back_drops_and_stalls_and_everything_is_recorded_once() -> Result<()> {
    let name = "weather::l1_takes_back_drops_and_stalls_and_everything_is_recorded_once";
    let (mut measure, seed) = (Measure::begin(Promise::UnreliableL1, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut network = Network::start(Shape { confirmations: 4, ..Shape::SMALL }).await?;
    // The deployment of the committee and the admission of the rollup are deeper than these
    // reorganisations, so that they are not reverted.
    network.anvil.mine(4).await;
    let traffic = Traffic::start(&network, 1, TrafficPlan::small(seed))?;
    for _ in 0..L1_FAULTS * measure::scale() {
        let trouble = Trouble::choose(&mut dice);
        println!("{trouble:?}");
        trouble.strike(&network, &mut dice).await?;
        // Transactions get more confirmations only with new blocks.
        network.anvil.mine(dice.random_range(1..=3)).await;
        if dice.random_ratio(1, 4) {
            network.aggregator.kill();
            network.aggregator.start().await?;
        }
        measure.tried(1);
    }
    let mining = async {
        loop {
            network.anvil.mine(1).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let finished = tokio::select! {
        finished = traffic.finish(&network) => finished,
        () = mining => Err(Failure::new("mining ended")),
    };
    let accepted = finished?;
    history::check(&network, &accepted).await?;
    measure.passed();
    Ok(())
}

/// Tests the test harness's weather: a cut direction passes nothing and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_one_way_cut_holds_answers_back_and_loses_none() -> Result<()> {
    let network = Network::start(Shape::SMALL).await?;
    let gate = network.members[0].service.gate(configuration::RETRIEVAL);
    let channel = network.members[0].retrieval()?;
    rpc::member(channel.clone()).await?;
    for weather in
        [Weather { cut_to_server: true, ..Weather::CALM }, Weather { cut_to_client: true, ..Weather::CALM }]
    {
        gate.set_weather(weather);
        let asked = tokio::spawn(rpc::member(channel.clone()));
        tokio::time::sleep(dac_tests::network::MOMENT).await;
        assert!(!asked.is_finished(), "{weather:?}");
        gate.set_weather(Weather::CALM);
        let answer = tokio::time::timeout(wait::LIMIT, asked).await??;
        assert!(answer.is_ok(), "{weather:?}: {answer:?}");
    }
    Ok(())
}
