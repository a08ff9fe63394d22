//! Tests with a real EVM: the registry and the certificate log are on a local chain, which is read
//! and written over JSON-RPC.

use std::sync::Arc;
use std::time::Duration;

use dac_aggregator::aggregator::Parts;
use dac_aggregator::store::{Owner, SqlStore};
use dac_chain::testing::{
    Anvil, CommitteeSpec, RollupSpec, TestCommittee, TestRollup, deploy_committee, deploy_rollup,
};
use dac_chain::{CertificateLogReader, Follower, RpcL1, RpcRegistryReader};
use dac_database::testing::TestDatabase;
use dac_poster::PosterConfig;
use dac_proto::v1;
use dac_types::{B256, BatchDigest, HashKind};
use tokio_util::sync::CancellationToken;

use crate::support::proof::request_in;
use crate::support::rollup::{messages, open, order, payload, sign_in};
use crate::support::{Behaviour, ROLLUP, Running, TERM, World, disperser, key, poster};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_certified_and_recorded_on_a_real_evm() {
    let anvil = Anvil::start().await;
    let world = World::new(4, 2, 3).await;
    let mut spec = CommitteeSpec::new(4, 2, 3);
    spec.urls = world.members.iter().map(|member| (member.url(), member.url())).collect();
    let committee = deploy_committee(&anvil, &spec).await;
    for (member, known) in world.members.iter().zip(&committee.members) {
        member.adopt(committee.domain, known.secret_key.clone());
    }
    committee.admit(&anvil, ROLLUP, poster().address()).await;
    let payer = key(0x41);
    anvil.fund(payer.address()).await;
    world.clock.set(anvil.head().await.timestamp);
    world.behave(1, Behaviour::Fail(tonic::Code::Unavailable));

    let log = committee.deployment.log;
    let stop = CancellationToken::new();
    let reader = Arc::new(RpcRegistryReader::new(anvil.endpoints(), committee.domain.registry));
    let registry = Follower::spawn(reader, Duration::from_millis(100), 0, stop.clone());
    registry.wait_ready().await.unwrap();
    let owner = Owner { domain: committee.domain, disperser: disperser().address() };
    let database = TestDatabase::sqlite();
    let parts = Parts {
        domain: committee.domain,
        l1_signer: Arc::new(payer),
        store: Arc::new(SqlStore::open(database.options(), owner, TERM).await.unwrap()),
        registry,
        l1: Arc::new(RpcL1::new(anvil.endpoints())),
        poster: PosterConfig {
            confirmations: 1,
            poll_interval: Duration::from_millis(100),
            ..PosterConfig::new(committee.domain, log)
        },
        ..world.parts().await
    };
    let running = Running::start(parts).await;

    let bytes = payload(300_000, 5);
    let now = anvil.head().await.timestamp;
    let mut order = order(1, HashKind::Keccak256, &bytes);
    (order.expires_at, order.submit_before) = (now + 3600, now + 600);
    let submission = sign_in(&committee.domain, order, &poster());
    let mut opening = open(&submission);
    opening.chain_id = committee.domain.chain_id;
    opening.registry = committee.domain.registry.to_vec().into();
    running.upload(messages(opening, &bytes)).await.unwrap();

    let id = submission.submission.digest(&committee.domain);
    let batch = running.until_state(id, v1::BatchState::Posted).await;
    let l1 = batch.l1.clone().unwrap();
    assert!(l1.by_us && l1.gas_used > 100_000, "{l1:?}");
    let digest = BatchDigest(B256::from_slice(&batch.digest));
    let reader = CertificateLogReader::new(anvil.endpoints(), log);
    assert!(reader.recorded_at(digest).await.unwrap().is_some());
    assert_eq!(batch.members.iter().filter(|member| member.in_certificate).count(), 3);
    running.stop().await;
    stop.cancel();
}

struct Chain {
    anvil: Anvil,
    world: World,
    committee: TestCommittee,
    rollup: TestRollup,
    database: TestDatabase,
    stop: CancellationToken,
}

/// Deploys a committee and a rollup that settles on a local EVM chain.
async fn settling() -> Chain {
    let anvil = Anvil::start().await;
    let world = World::new(4, 2, 3).await;
    let rollup = RollupSpec::default();
    let spec = CommitteeSpec {
        urls: world.members.iter().map(|member| (member.url(), member.url())).collect(),
        activation_delay: rollup.activation_delay(),
        ..CommitteeSpec::new(4, 2, 3)
    };
    let committee = deploy_committee(&anvil, &spec).await;
    for (member, known) in world.members.iter().zip(&committee.members) {
        member.adopt(committee.domain, known.secret_key.clone());
    }
    let rollup = deploy_rollup(&anvil, &committee, rollup).await;
    committee.admit(&anvil, rollup.address, poster().address()).await;
    anvil.fund(key(0x41).address()).await;
    world.clock.set(anvil.head().await.timestamp);
    let (database, stop) = (TestDatabase::sqlite(), CancellationToken::new());
    Chain { anvil, world, committee, rollup, database, stop }
}

impl Chain {
    async fn start(&self) -> Running {
        let domain = self.committee.domain;
        let reader = Arc::new(RpcRegistryReader::new(self.anvil.endpoints(), domain.registry));
        let registry = Follower::spawn(reader, Duration::from_millis(100), 0, self.stop.clone());
        registry.wait_ready().await.unwrap();
        let owner = Owner { domain, disperser: disperser().address() };
        Running::start(Parts {
            domain,
            l1_signer: Arc::new(key(0x41)),
            store: Arc::new(SqlStore::open(self.database.options(), owner, TERM).await.unwrap()),
            registry,
            l1: Arc::new(RpcL1::new(self.anvil.endpoints())),
            poster: PosterConfig {
                confirmations: 1,
                poll_interval: Duration::from_millis(50),
                ..PosterConfig::new(domain, self.committee.deployment.log)
            },
            ..self.world.parts().await
        })
        .await
    }

    /// Submits a batch and returns the digest of its submission.
    async fn submit(&self, running: &Running, number: u64, posting: v1::PostingMode) -> B256 {
        let bytes = payload(10_000, number as u8);
        let now = self.anvil.head().await.timestamp;
        let mut order = order(number, HashKind::Opaque, &bytes);
        (order.expires_at, order.submit_before) = (now + 100_000, now + 600);
        order.rollup = self.rollup.address;
        let submission = sign_in(&self.committee.domain, order, &poster());
        let mut opening = open(&submission);
        opening.chain_id = self.committee.domain.chain_id;
        opening.registry = self.committee.domain.registry.to_vec().into();
        opening.posting = posting.into();
        running.upload(messages(opening, &bytes)).await.unwrap();
        submission.submission.digest(&self.committee.domain)
    }

    async fn prove(&self, running: &Running, submission: B256, proof: dac_chain::Bytes) {
        let digest = running.encoded(submission).await;
        running
            .hand_in(request_in(&self.committee.domain, digest, TestRollup::transition(3), proof.0))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_settled_on_a_real_evm() {
    let chain = settling().await;
    let running = chain.start().await;
    // A wrong proof comes before the certificate, and the contract's simulation refuses it before
    // gas is spent.
    let first = chain.submit(&running, 1, v1::PostingMode::Settle).await;
    chain.prove(&running, first, TestRollup::wrong_proof(1)).await;
    let rejected = |batch: &v1::Batch| {
        batch.proof.as_ref().is_some_and(|proof| proof.state() == v1::ProofState::Rejected)
    };
    let batch = running.until(first, rejected).await;
    assert_eq!(batch.state(), v1::BatchState::Certified);
    assert!(batch.proof.unwrap().reason.contains("does not show"));
    // The second batch's proof waits until the first batch settles; then both do.
    let second = chain.submit(&running, 2, v1::PostingMode::Settle).await;
    chain.prove(&running, second, TestRollup::proof(2)).await;
    running.until(second, |batch| batch.l1_problem.contains("batch 1 is the next")).await;
    chain.prove(&running, first, TestRollup::proof(1)).await;
    for submission in [first, second] {
        let settlement = running.until_state(submission, v1::BatchState::Settled).await.settlement.unwrap();
        assert!(settlement.by_us && (150_000..350_000).contains(&settlement.gas_used), "{settlement:?}");
    }
    // The third batch is recorded in the log and then settled; another account settles the fourth.
    let third = chain.submit(&running, 3, v1::PostingMode::Record).await;
    running.until_state(third, v1::BatchState::Posted).await;
    chain.prove(&running, third, TestRollup::proof(3)).await;
    let settled = running.until_state(third, v1::BatchState::Settled).await;
    assert!(settled.l1.unwrap().by_us && settled.settlement.unwrap().by_us);
    let fourth = chain.submit(&running, 4, v1::PostingMode::Settle).await;
    running.until_state(fourth, v1::BatchState::Certified).await;
    let order = chain.rollup.order(&running.certificate(fourth).await);
    let receipt = chain.rollup.settle(&order).await;
    let settlement = running.until_state(fourth, v1::BatchState::Settled).await.settlement.unwrap();
    assert!(!settlement.by_us && settlement.transaction == receipt.tx_hash.to_vec(), "{settlement:?}");
    // The process ends when the fifth batch's proof is stored, and the next process settles it.
    let fifth = chain.submit(&running, 5, v1::PostingMode::Settle).await;
    chain.rollup.pause().await;
    chain.prove(&running, fifth, TestRollup::proof(5)).await;
    running.until(fifth, |batch| batch.l1_problem.contains("paused")).await;
    running.stop().await;
    chain.rollup.unpause().await;
    let running = chain.start().await;
    running.until_state(fifth, v1::BatchState::Settled).await;
    // The rollup is frozen: the sixth batch fails, and no gas is spent.
    let now = chain.anvil.head().await.timestamp;
    chain.anvil.advance(RollupSpec::default().freeze_delay + 10).await;
    chain.rollup.freeze().await;
    let sixth = chain.submit(&running, 6, v1::PostingMode::Settle).await;
    chain.prove(&running, sixth, TestRollup::proof(6)).await;
    let failed = running.until_state(sixth, v1::BatchState::Failed).await;
    assert!(failed.failure.starts_with("ROLLUP_FROZEN"), "{}", failed.failure);
    assert!(chain.anvil.head().await.timestamp > now);
    let head = chain.anvil.head().await.number;
    let events = chain.rollup.reader(&chain.anvil).settled_events(0, head, |_, _| {}).await.unwrap();
    assert_eq!(events.iter().map(|settled| settled.batch_number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    running.stop().await;
    chain.stop.cancel();
}
