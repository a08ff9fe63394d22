//! Members that are down, hang or answer nonsense; an L1 that goes away or reorganises; another
//! sender that is faster.

use std::net::SocketAddr;

use dac_proto::v1::{BatchState, DeliveryState};
use dac_proto::wire;
use dac_tests::gate::Mode;
use dac_tests::network::{Network, Shape, real_payload};
use dac_tests::{Result, configuration, rpc, wait};
use dac_types::{Certificate, HashKind};

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_down_hangs_or_babbles_costs_nobody_else() -> Result<()> {
    let network = Network::start(Shape::SMALL).await?;
    for (number, mode) in [(1, Mode::Shut), (2, Mode::Silent), (3, Mode::Babble)] {
        for listener in [configuration::DISPERSAL, configuration::RETRIEVAL] {
            network.members[1].service.gate(listener).set(mode);
        }
        let payload = real_payload(60_000);
        let batch = network.submit(number, HashKind::Opaque, &payload).await?;
        let digest = network.certified(&batch).await?;
        let posted = network.posted(&batch).await?;
        assert!(!posted.members[1].in_certificate, "{mode:?}");
        assert_ne!(posted.members[1].state(), DeliveryState::Attested, "{mode:?}");
        assert!(network.retrieve(digest).await? == payload, "{mode:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_stops_in_its_tracks_is_waited_for_no_longer_than_agreed() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    network.members[0].service.process()?.pause()?;
    let payload = real_payload(60_000);
    let batch = network.submit(1, HashKind::Sha256, &payload).await?;
    let digest = network.certified(&batch).await?;
    network.posted(&batch).await?;
    assert!(network.retrieve(digest).await? == payload);
    network.members[0].service.process()?.resume()?;
    network.members[0].waits_for(digest).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_goes_away_and_comes_back() -> Result<()> {
    let network = Network::start(Shape::SMALL).await?;
    let open = Mode::Open(SocketAddr::from(([127, 0, 0, 1], network.anvil.port())));
    for (number, mode) in [(1, Mode::Shut), (2, Mode::Silent), (3, Mode::Babble)] {
        let payload = real_payload(30_000);
        // Members and aggregator go by what they read of the committee a moment ago.
        network.l1.set(mode);
        let batch = network.submit(number, HashKind::Opaque, &payload).await?;
        let digest = network.certified(&batch).await?;
        assert_eq!(network.recordings(digest).await, 0, "{mode:?}");
        network.l1.set(open);
        network.posted(&batch).await?;
        assert_eq!(network.recordings(digest).await, 1, "{mode:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_reorganised_away_is_made_again() -> Result<()> {
    let network = Network::start(Shape { confirmations: 3, ..Shape::SMALL }).await?;
    let payload = real_payload(30_000);
    let batch = network.submit(1, HashKind::Opaque, &payload).await?;
    let digest = network.certified(&batch).await?;
    let recorded = async || (network.recordings(digest).await == 1).then_some(());
    wait::until("the record on L1", wait::LIMIT, recorded).await?;
    // One block deep: the chain takes it back while nobody looks.
    network.l1.set(Mode::Shut);
    network.anvil.reorganise(1).await;
    assert_eq!(network.recordings(digest).await, 0);
    let now = rpc::batch(network.api()?, rpc::by_digest(digest)).await?;
    assert_eq!(now.state(), BatchState::Certified, "not final yet");
    network.l1.set(Mode::Open(SocketAddr::from(([127, 0, 0, 1], network.anvil.port()))));
    wait::until("the record on L1, again", wait::LIMIT, recorded).await?;
    network.anvil.mine(3).await;
    network.posted(&batch).await?;
    assert_eq!(network.recordings(digest).await, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_somebody_else_recorded_counts_as_done() -> Result<()> {
    let network = Network::start(Shape::SMALL).await?;
    // The aggregator cannot post, but anyone who has the certificate can.
    network.anvil.set_automine(false).await;
    network.l1.set(Mode::Shut);
    let payload = real_payload(30_000);
    let batch = network.submit(1, HashKind::Opaque, &payload).await?;
    let digest = network.certified(&batch).await?;
    let certificate = rpc::certificate(network.api()?, rpc::by_digest(digest)).await?;
    let certificate = Certificate::try_from(certificate)?;
    network.anvil.set_automine(true).await;
    let stranger = network.anvil.account(network.anvil.key(5));
    stranger.record(network.committee.deployment.log, &certificate).await?;
    assert_eq!(network.recordings(digest).await, 1);

    network.l1.set(Mode::Open(SocketAddr::from(([127, 0, 0, 1], network.anvil.port()))));
    let posted = network.posted(&batch).await?;
    let l1 = posted.l1.expect("a posted batch says where");
    assert!(!l1.by_us, "{l1:?}");
    assert_eq!(network.recordings(digest).await, 1);
    assert_eq!(wire::digest("digest", &posted.digest)?, digest);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_registry_takes_no_batches_until_it_is_unpaused() -> Result<()> {
    let network = Network::start(Shape::SMALL).await?;
    let payload = real_payload(30_000);
    let mut numbers = 1..;
    network.committee.admin(&network.anvil).pause().await?;
    // Seen when the processes next look.
    let refusal = async || network.submit(numbers.next()?, HashKind::Opaque, &payload).await.err();
    let status = wait::until("a refusal", wait::LIMIT, refusal).await?;
    assert_eq!(rpc::reason(&status), dac_proto::reason::Reason::Paused, "{status}");
    network.committee.admin(&network.anvil).unpause().await?;
    let accepted = async || network.submit(numbers.next()?, HashKind::Opaque, &payload).await.ok();
    let batch = wait::until("a batch to be taken", wait::LIMIT, accepted).await?;
    network.posted(&batch).await?;
    Ok(())
}
