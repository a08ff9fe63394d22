//! The whole way to a real EVM: registry and log on a local chain, read and written over JSON-RPC.

use std::sync::Arc;
use std::time::Duration;

use dac_aggregator::service::aggregator::Parts;
use dac_aggregator::store::{Owner, Store};
use dac_chain::testing::{Anvil, CommitteeSpec, deploy_committee};
use dac_chain::{CertificateLogReader, Follower, PosterConfig, RpcL1, RpcRegistryReader};
use dac_database::testing::TestDatabase;
use dac_proto::v1;
use dac_types::{B256, BatchDigest, HashKind};
use tokio_util::sync::CancellationToken;

use crate::support::rollup::{messages, open, order, payload, sign_in};
use crate::support::{Behaviour, ROLLUP, Running, World, disperser, key, poster};

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
    anvil.fund(dac_chain::TransactionSigner::address(&payer)).await;
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
        store: Store::open(database.options(), owner).await.unwrap(),
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
