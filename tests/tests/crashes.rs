//! kill −9 at every stage of a batch's life: nothing is lost, nothing happens twice.

use dac_proto::v1::BatchState;
use dac_tests::network::{Network, Shape, real_payload};
use dac_tests::{Result, rpc};
use dac_types::HashKind;

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_killed_before_the_quorum_goes_on_where_it_was() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    // Two of four silent: received and encoded, but no certificate can form.
    network.members[2].service.kill();
    network.members[3].service.kill();
    let payload = real_payload(200_000);
    let batch = network.submit(1, HashKind::Keccak256, &payload).await?;
    network.aggregator.kill();
    network.aggregator.start().await?;
    let dispersing = network.reaches(&batch, &[BatchState::Dispersing]).await?;
    network.aggregator.kill();
    network.members[2].service.start().await?;
    network.aggregator.start().await?;
    let digest = network.certified(&batch).await?;
    assert_eq!(digest.as_bytes().as_slice(), dispersing.digest.as_ref(), "one submission, one header");
    network.posted(&batch).await?;
    assert_eq!(network.recordings(digest).await, 1);
    assert!(network.retrieve(digest).await? == payload);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_killed_between_certificate_and_record_records_once() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    // Transactions are accepted and wait: the aggregator dies while its own is pending.
    network.anvil.set_automine(false).await;
    let payload = real_payload(100_000);
    let batch = network.submit(1, HashKind::Opaque, &payload).await?;
    let digest = network.certified(&batch).await?;
    network.aggregator.kill();
    network.aggregator.start().await?;
    assert_eq!(network.certified(&batch).await?, digest);
    network.aggregator.kill();
    network.anvil.set_automine(true).await;
    network.anvil.mine(1).await;
    network.aggregator.start().await?;
    network.posted(&batch).await?;
    assert_eq!(network.recordings(digest).await, 1);
    // And the next batch does not stumble over the nonce of the last.
    let next = network.submit(2, HashKind::Opaque, &payload).await?;
    network.posted(&next).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_survive_an_aggregator_that_is_killed_again_and_again() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    let mut batches = Vec::new();
    for number in 1..=6 {
        let payload = real_payload(100_000 + usize::try_from(number)?);
        let batch = network.submit(number, HashKind::Opaque, &payload).await?;
        // An accepted batch survives the kill, at any point of the work.
        network.aggregator.kill();
        network.aggregator.start().await?;
        batches.push((batch, payload));
    }
    for (batch, payload) in &batches {
        let digest = network.certified(batch).await?;
        network.posted(batch).await?;
        assert_eq!(network.recordings(digest).await, 1);
        assert!(network.retrieve(digest).await? == *payload);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_killed_after_signing_still_serve() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    let payload = real_payload(300_000);
    let batch = network.submit(1, HashKind::Opaque, &payload).await?;
    let digest = network.certified(&batch).await?;
    network.posted(&batch).await?;
    let mut shards = Vec::new();
    for member in &network.members {
        member.waits_for(digest).await?;
        shards.push(rpc::shard(member.retrieval()?, digest).await?);
    }
    for member in &mut network.members {
        member.service.kill();
        member.service.start().await?;
        assert_eq!(rpc::shard(member.retrieval()?, digest).await?, shards[member.seat.index()]);
    }
    assert!(network.retrieve(digest).await? == payload);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_stops_cleanly_on_a_signal_and_starts_again() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    let payload = real_payload(50_000);
    let batch = network.submit(1, HashKind::Opaque, &payload).await?;
    let digest = network.certified(&batch).await?;
    network.posted(&batch).await?;
    network.aggregator.stop().await?;
    for member in &mut network.members {
        member.service.stop().await?;
    }
    network.aggregator.start().await?;
    for member in &mut network.members {
        member.service.start().await?;
        assert!(member.has(digest).await?);
    }
    let next = network.submit(2, HashKind::Opaque, &payload).await?;
    network.posted(&next).await?;
    Ok(())
}
