//! Databases that are reset to an older state, as by a restored backup: an aggregator posts nothing
//! twice and loses nothing; a member finds out what it owes and repairs it.

use bytes::Bytes;
use dac_proto::v1::BatchState;
use dac_tests::measure::{self, Measure, Promise};
use dac_tests::network::{Network, Shape, real_payload};
use dac_tests::rollup::batch_hash;
use dac_tests::rot::Files;
use dac_tests::traffic::{Accepted, Traffic, TrafficPlan};
use dac_tests::{Result, history, rpc, wait};
use dac_types::{HashKind, SignedSubmission};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The number of restored backups of the aggregator, and of members, in CI's run.
const RESTORES: u64 = 4;

/// The submissions of a rollup that keeps them, so that it can send them again.
#[derive(Default)]
struct Orders(Vec<(u64, Bytes, SignedSubmission)>);

impl Orders {
    async fn submit(&mut self, network: &Network) -> Result<()> {
        let number = self.0.len() as u64 + 1;
        let mut payload = real_payload(30_000).to_vec();
        payload[..8].copy_from_slice(&number.to_be_bytes());
        let payload = Bytes::from(payload);
        let mut order = network.rollup.order(number, HashKind::Opaque, &payload);
        // This is longer than the time that the checker of histories takes.
        order.expires_at += 86_400;
        let order = network.rollup.signed(order);
        send(network, &order, &payload).await?;
        self.0.push((number, payload, order));
        Ok(())
    }

    fn order(&self, number: u64) -> &SignedSubmission {
        &self.0[usize::try_from(number).expect("small") - 1].2
    }

    fn accepted(&self, network: &Network) -> Vec<Accepted> {
        let one = |(number, payload, order): &(u64, Bytes, SignedSubmission)| Accepted {
            number: *number,
            submission: order.submission.digest(&network.domain()),
            payload: payload.clone(),
            batch_hash: batch_hash(HashKind::Opaque, payload),
            is_short_lived: false,
        };
        self.0.iter().map(one).collect()
    }
}

async fn send(network: &Network, order: &SignedSubmission, payload: &Bytes) -> Result<()> {
    let pieces = futures::stream::iter(rpc::pieces(payload));
    rpc::submit(network.api()?, rpc::submit_open(&network.domain(), order), pieces).await?;
    Ok(())
}

/// Waits until a batch is in one of these states.
async fn reaches(network: &Network, order: &SignedSubmission, states: &[BatchState]) -> Result<()> {
    let submission = order.submission.digest(&network.domain());
    let what = format!("batch {} to be one of {states:?}", order.submission.batch_number);
    let reached = async || {
        let batch = rpc::batch(network.api().ok()?, rpc::by_submission(submission)).await.ok()?;
        states.contains(&batch.state()).then_some(())
    };
    wait::until(&what, wait::LIMIT, reached).await
}

const RECORDED: [BatchState; 1] = [BatchState::Posted];
const CERTIFIED: [BatchState; 2] = [BatchState::Certified, BatchState::Posted];

/// An older state of its database lacks the batches recorded since, the nonces used since, and the
/// transactions that are pending.
#[tokio::test(flavor = "multi_thread")]
async fn an_aggregators_older_state_posts_nothing_twice() -> Result<()> {
    let name = "backups::an_aggregators_older_state_posts_nothing_twice";
    let (mut measure, seed) = (Measure::begin(Promise::HealsAfterRestore, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut network = Network::start(Shape::SMALL).await?;
    let mut orders = Orders::default();
    orders.submit(&network).await?;
    reaches(&network, orders.order(1), &RECORDED).await?;
    for _ in 0..RESTORES * measure::scale() {
        // Some batches are under way, at any step, when the copy is made.
        for _ in 0..dice.random_range(0..3) {
            orders.submit(&network).await?;
        }
        network.aggregator.kill();
        let backup = Files::of(&network.aggregator)?;
        network.aggregator.start().await?;
        let since = orders.0.len();
        // These batches are recorded after the copy, with nonces that the copy takes for unused.
        for _ in 0..dice.random_range(1..4) {
            orders.submit(&network).await?;
        }
        for (_, _, order) in &orders.0[since..] {
            reaches(&network, order, &RECORDED).await?;
        }
        // The transactions of these batches wait for a block.
        network.anvil.set_automine(false).await;
        let waiting = orders.0.len();
        for _ in 0..dice.random_range(1..3) {
            orders.submit(&network).await?;
        }
        for (_, _, order) in &orders.0[waiting..] {
            reaches(&network, order, &CERTIFIED).await?;
        }
        let sent = async || {
            let pool = network.anvil.rpc("txpool_status", serde_json::json!([])).await;
            let pending = pool["pending"].as_str()?.trim_start_matches("0x").to_owned();
            (u64::from_str_radix(&pending, 16).ok()? > 0).then_some(())
        };
        wait::until("a transaction to wait", wait::LIMIT, sent).await?;
        network.aggregator.kill();
        backup.restore()?;
        network.aggregator.start().await?;
        network.anvil.set_automine(true).await;
        network.anvil.mine(1).await;
        // Rollups submit again all that the aggregator has accepted.
        for (_, payload, order) in &orders.0 {
            send(&network, order, payload).await?;
        }
        for (_, _, order) in &orders.0 {
            reaches(&network, order, &RECORDED).await?;
        }
        measure.tried(1);
    }
    // Every batch is recorded, and each of them once.
    let accepted = orders.accepted(&network);
    let history = history::check(&network, &accepted).await?;
    assert_eq!(history.recorded.len(), accepted.len());
    measure.passed();
    Ok(())
}

/// Members are reset to an older state, one after the other, while batches are submitted all the
/// time.
#[tokio::test(flavor = "multi_thread")]
async fn a_members_older_state_heals_under_load() -> Result<()> {
    let name = "backups::a_members_older_state_heals_under_load";
    let (mut measure, seed) = (Measure::begin(Promise::HealsAfterRestore, name), measure::seed(name));
    let mut dice = StdRng::seed_from_u64(seed);
    let mut network = Network::start(Shape::SMALL).await?;
    let mut traffic = Traffic::start(&network, 1, TrafficPlan::small(seed))?;
    traffic.more(2).await?;
    for _ in 0..RESTORES * measure::scale() {
        let member = &mut network.members[dice.random_range(0..4)];
        member.service.kill();
        let backup = Files::of(&member.service)?;
        member.service.start().await?;
        traffic.more(dice.random_range(2..6)).await?;
        let lost = traffic.accepted();
        member.service.kill();
        backup.restore()?;
        member.service.start().await?;
        measure.tried(1);
        // L1 names the batches that the member stored between the two states, or will name them;
        // the member must hold them again.
        let seat = member.seat.index();
        for batch in &lost {
            let what = format!("batch {} to be with the member again", batch.number);
            let healed = async || {
                let now = rpc::batch(network.api().ok()?, rpc::by_submission(batch.submission)).await.ok()?;
                let digest = dac_proto::wire::digest("digest", &now.digest).ok()?;
                rpc::shard(network.members[seat].retrieval().ok()?, digest).await.ok().map(drop)
            };
            wait::until(&what, wait::LIMIT, healed).await?;
        }
    }
    let accepted = traffic.finish(&network).await?;
    history::check(&network, &accepted).await?;
    measure.passed();
    Ok(())
}
