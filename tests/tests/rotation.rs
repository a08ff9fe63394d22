//! An operator changes its key while batches are in flight: none is lost, the new key's node
//! repairs what its seat owes, and the old node signs nothing new and keeps serving.

use std::collections::BTreeSet;
use std::time::Duration;

use dac_bls::SecretKey;
use dac_chain::EcdsaKey;
use dac_coding::testing;
use dac_database::Backend;
use dac_proto::reason::Reason;
use dac_tests::disperser::Delivery;
use dac_tests::failure::Context;
use dac_tests::measure::{self, Measure, Promise};
use dac_tests::network::{Member, Network, Shape, real_payload};
use dac_tests::rollup::batch_hash;
use dac_tests::traffic::{Traffic, TrafficPlan};
use dac_tests::{Failure, Result, configuration, history, rpc, wait};
use dac_types::{BatchDigest, HashKind, Seat};

/// The seat whose key changes.
const SEAT: Seat = Seat(1);
/// The seconds between two blocks. L1's time must pass even without transactions, as on a real
/// chain. Otherwise certificates of a new epoch would be simulated at the time of the last block,
/// which lies in the former epoch, and would never be sent.
const BLOCK_SECONDS: u64 = 1;
/// The pause between two checks of the epoch of new batches.
const PAUSE: Duration = Duration::from_millis(300);

/// Submits until a batch of this epoch is recorded.
async fn epoch_begins(network: &Network, traffic: &mut Traffic, epoch: u64) -> Result<()> {
    let begins = async || {
        traffic.more(1).await.ok()?;
        tokio::time::sleep(PAUSE).await;
        let last = traffic.accepted().pop()?;
        let batch = rpc::batch(network.api().ok()?, rpc::by_submission(last.submission)).await.ok()?;
        (batch.epoch == epoch).then_some(())
    };
    wait::until(&format!("a batch of epoch {epoch}"), wait::LIMIT * 2, begins).await
}

async fn stored(member: &Member) -> Result<BTreeSet<BatchDigest>> {
    Ok(rpc::stored(member.retrieval()?).await?.into_iter().collect())
}

/// Gives the seat to a new key of the same operator, whose node is a new process. Returns the
/// member that had the seat before.
async fn another_key(
    network: &mut Network,
    traffic: &mut Traffic,
    number: u64,
    dies: bool,
) -> Result<Member> {
    let epoch = number + 1;
    let key = SecretKey::derive(&[0x40 + u8::try_from(number)?; 32]);
    let mut service = network.newcomer(&format!("key-{number}"), &key).await?;
    service.start().await?;
    let newcomer = Member { seat: SEAT, service };
    let operator = network.committee.operator(&network.anvil, SEAT.index());
    let account = network.committee.members[SEAT.index()].operator.address();
    let possession = key.prove_possession(&network.domain(), account);
    let url = |listener: &str| newcomer.service.gate(listener).url();
    let (dispersal, retrieval) = (url(configuration::DISPERSAL), url(configuration::RETRIEVAL));
    operator.register(&key.public_key(), &possession, &dispersal, &retrieval).await?;
    traffic.more(2).await?;
    let committee = &network.committee;
    let (opened, _) = committee.admin(&network.anvil).open_epoch(&committee.operators(), 2, 3).await?;
    assert_eq!(opened, epoch);
    let mut departed = std::mem::replace(&mut network.members[SEAT.index()], newcomer);
    epoch_begins(network, traffic, epoch).await?;
    if dies {
        // The departed member can be killed and started as before, and so can the new one.
        departed.service.kill();
        network.members[SEAT.index()].service.kill();
        departed.service.start().await?;
        network.members[SEAT.index()].service.start().await?;
    }
    traffic.more(3).await?;
    Ok(departed)
}

/// Checks the node of the departed key after the seat has another key: it serves its shards and
/// signs nothing.
async fn serves_and_signs_nothing(network: &Network, departed: &Member, epoch: u64) -> Result<()> {
    let (old, new) = (stored(departed).await?, stored(&network.members[SEAT.index()]).await?);
    assert!(!old.is_empty(), "it signed before");
    for digest in &old {
        let shard = rpc::shard(departed.retrieval()?, *digest).await?;
        if new.contains(digest) {
            assert!(rpc::shard(network.members[SEAT.index()].retrieval()?, *digest).await? == shard);
        }
    }
    let disperser = EcdsaKey::random();
    let payload = real_payload(20_000);
    let hash = batch_hash(HashKind::Opaque, &payload);
    let dispersal = testing::honest(network.committee.quorum.geometry(), payload, hash)?;
    let mut late = Delivery::new(&network.rollup, &disperser, 1_000_000 + epoch, HashKind::Opaque, dispersal);
    late.header.epoch = epoch - 1;
    let refused = late.deliver(departed).await.err().context("its epoch is over, and it signed")?;
    assert_eq!(rpc::reason(&refused), Reason::EpochNotActive, "{refused}");
    late.header.epoch = epoch;
    let refused = late.deliver(departed).await.err().context("the seat has another key, and it signed")?;
    assert_eq!(rpc::reason(&refused), Reason::WrongSeat, "{refused}");
    assert_eq!(stored(departed).await?, old, "and nothing was stored");
    Ok(())
}

async fn an_operator_changes_its_key(
    backend: Backend,
    changes: u64,
    seed: u64,
    measure: &mut Measure,
) -> Result<()> {
    let mut network = Network::start(Shape { backend, ..Shape::SMALL }).await?;
    network.anvil.rpc("evm_setIntervalMining", serde_json::json!([BLOCK_SECONDS])).await;
    let plan = TrafficPlan { large_every: 5, large_bytes: 2_700_000, ..TrafficPlan::small(seed) };
    let mut traffic = Traffic::start(&network, 1, plan)?;
    traffic.more(4).await?;
    let mut departed = Vec::new();
    for number in 1..=changes {
        departed.push(another_key(&mut network, &mut traffic, number, number % 2 == 0).await?);
        measure.tried(1);
    }
    let accepted = traffic.finish(&network).await?;
    let mut epochs = BTreeSet::new();
    for batch in &accepted {
        let batch = rpc::batch(network.api()?, rpc::by_submission(batch.submission)).await?;
        epochs.insert(batch.epoch);
        // In the end the seat has every shard that it owes, of both epochs.
        let digest = dac_proto::wire::digest("digest", &batch.digest)?;
        network.members[SEAT.index()].waits_for(digest).await?;
    }
    assert_eq!(epochs, (1..=changes + 1).collect(), "batches of each epoch");
    for (former, member) in (1..).zip(&departed) {
        if former == changes {
            serves_and_signs_nothing(&network, member, changes + 1).await?;
        } else {
            assert!(!stored(member).await?.is_empty(), "who left before serves as well");
        }
    }
    history::check(&network, &accepted).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_of_the_same_operator_on_sqlite() -> Result<()> {
    let name = "rotation::a_new_key_of_the_same_operator_on_sqlite";
    let (mut measure, seed) = (Measure::begin(Promise::Rotation, name), measure::seed(name));
    an_operator_changes_its_key(Backend::Sqlite, 2 * measure::scale().min(10), seed, &mut measure).await?;
    measure.passed();
    Ok::<_, Failure>(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_of_the_same_operator_on_postgresql() -> Result<()> {
    let name = "rotation::a_new_key_of_the_same_operator_on_postgresql";
    let (mut measure, seed) = (Measure::begin(Promise::Rotation, name), measure::seed(name));
    an_operator_changes_its_key(Backend::Postgres, measure::scale().min(10), seed, &mut measure).await?;
    measure.passed();
    Ok(())
}
