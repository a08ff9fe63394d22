//! Batch in, certificate on L1, data back from any k members: each hash kind, each database.

use bytes::Bytes;
use dac_database::Backend;
use dac_proto::v1::{BatchState, DeliveryState};
use dac_tests::network::{Network, Shape, real_payload};
use dac_tests::{Result, rpc, wait};
use dac_types::HashKind;

const KINDS: [HashKind; 3] = [HashKind::Opaque, HashKind::Keccak256, HashKind::Sha256];

async fn batch_in_certificate_out_data_back(backend: Backend) -> Result<()> {
    let mut network = Network::start(Shape { backend, ..Shape::SMALL }).await?;
    let mut digests = Vec::new();
    for (number, kind) in (1..).zip(KINDS) {
        let payload = real_payload(300_000 + usize::try_from(number)?);
        let received = network.submit(number, kind, &payload).await?;
        let digest = network.certified(&received).await?;
        let posted = network.posted(&received).await?;
        let l1 = posted.l1.as_ref().expect("a posted batch names its transaction");
        assert!(l1.by_us && l1.gas_used > 0 && l1.transaction.len() == 32, "{l1:?}");
        assert_eq!(network.recordings(digest).await, 1);
        let in_certificate = posted.members.iter().filter(|member| member.in_certificate).count();
        assert!(in_certificate >= usize::from(network.shape().q), "{in_certificate} signed");
        digests.push((digest, payload));
    }
    // Everybody is up, so everybody gets everything, certificate or not.
    for member in &network.members {
        for (digest, _) in &digests {
            member.waits_for(*digest).await?;
        }
    }
    // The aggregator and all but k members die. Any k give it all back.
    network.aggregator.kill();
    network.members[0].service.kill();
    network.members[2].service.kill();
    for (digest, payload) in &digests {
        assert!(network.retrieve(*digest).await? == *payload, "{digest} comes back as it went in");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() -> Result<()> {
    batch_in_certificate_out_data_back(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() -> Result<()> {
    batch_in_certificate_out_data_back(Backend::Postgres).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_length_comes_back_with_its_trailing_zeros() -> Result<()> {
    let network = Network::start(Shape::SMALL).await?;
    let mut cases: Vec<Bytes> =
        [1, 15, 16, 31, 32, 33, 8191, 8192, 8193, 262_144, 262_145].map(real_payload).into();
    cases.push(Bytes::from(vec![0; 100_000]));
    cases.push([real_payload(5_000).as_ref(), &[0; 5_000]].concat().into());
    let mut batches = Vec::new();
    for (number, payload) in (1..).zip(&cases) {
        batches.push(network.submit(number, HashKind::Opaque, payload).await?);
    }
    for (batch, payload) in batches.iter().zip(&cases) {
        let digest = network.certified(batch).await?;
        network.posted(batch).await?;
        assert!(
            network.retrieve(digest).await? == *payload,
            "{} bytes come back as they went in",
            payload.len()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_straggler_gets_its_shard_when_it_comes_back() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    network.members[3].service.kill();
    let payload = real_payload(50_000);
    let batch = network.submit(1, HashKind::Opaque, &payload).await?;
    let digest = network.certified(&batch).await?;
    let posted = network.posted(&batch).await?;
    let absent = &posted.members[3];
    assert!(!absent.in_certificate && absent.state() == DeliveryState::Retrying, "{absent:?}");
    assert!(!absent.reason.is_empty(), "the reason is visible");

    network.members[3].service.start().await?;
    network.members[3].waits_for(digest).await?;
    // What is recorded is not followed any further, so it is asked for.
    let attested = async || {
        let batch = rpc::batch(network.api().ok()?, rpc::by_digest(digest)).await.ok()?;
        (batch.members[3].state() == DeliveryState::Attested).then_some(batch)
    };
    let batch = wait::until("the straggler's attestation", wait::LIMIT, attested).await?;
    assert_eq!(batch.state(), BatchState::Posted);
    assert!(!batch.members[3].in_certificate, "the certificate stays what it was");
    // With the two that signed and are not needed gone, the straggler's shard counts.
    network.members[0].service.kill();
    network.members[1].service.kill();
    assert!(network.retrieve(digest).await? == payload);
    Ok(())
}
