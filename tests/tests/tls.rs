//! TLS and mutual TLS on real processes: who has no certificate of the right authority does not get
//! in.

use std::error::Error as _;
use std::path::Path;

use dac_client::{ConnectionCause, MemberFault};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::DeliveryState;
use dac_proto::v1::aggregator_service_client::AggregatorServiceClient;
use dac_tests::command::CommandLine;
use dac_tests::configuration::{self, Tls};
use dac_tests::network::{Network, NetworkTls, Plan, Shape, real_payload};
use dac_tests::pki::Authority;
use dac_tests::rollup::now;
use dac_tests::{Context, Result, rpc, wait};
use dac_types::HashKind;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

#[tokio::test(flavor = "multi_thread")]
async fn dispersal_demands_client_certificates_and_retrieval_stays_open() -> Result<()> {
    dac_tests::install_tls_provider();
    let folder = TempDir::new()?;
    let servers = Authority::new(folder.path(), "servers")?;
    let aggregators = Authority::new(folder.path(), "aggregators")?;
    let client = aggregators.identity("aggregator-client")?;
    let tls = NetworkTls {
        dispersal: servers.listener("dispersal", Some(&aggregators))?,
        retrieval: servers.listener("retrieval", None)?,
        aggregator: servers.listener("aggregator", None)?,
        towards_members: Tls { identity: Some(client.clone()), authority: Some(servers.certificate()) },
    };
    let network = Network::start_with(Shape::SMALL, &tls).await?;

    // The command line submits, waits, retrieves and audits, with nothing but the servers'
    // authority.
    let home = network.folder().to_owned();
    let payload = real_payload(200_000);
    std::fs::write(home.join("payload"), &payload)?;
    let poster = dac_tests::keys::ethereum(&home.join("poster"), &network.rollup.poster)?;
    let deployment = network.committee.deployment;
    let dac = CommandLine::new("dac", &home)?
        .with("DAC_RPC_URL", network.l1.url())
        .with("DAC_REGISTRY", deployment.registry.to_string())
        .with("DAC_CERTIFICATE_LOG", deployment.log.to_string())
        .with("DAC_TLS_CA", servers.certificate());
    let api = format!("https://localhost:{}", network.aggregator.gate(configuration::API).address().port());
    let submit = configuration::Submission {
        payload: Path::new("payload"),
        api: &api,
        disperser: &network.rollup.disperser.to_string(),
        rollup: network.rollup.address,
        number: 1,
        poster: &poster,
        wait: "posted",
    };
    let submitted = dac.expect(submit.arguments()).await?;
    let digest = dac_tests::command::text(&submitted, "/digest")?.to_owned();
    dac.expect(["retrieve", &digest, "--out", "retrieved"]).await?;
    assert!(std::fs::read(home.join("retrieved"))? == payload);
    dac.expect(["audit", "--chunks", "2"]).await?;

    // To a member's dispersal port come only clients that the aggregators' authority vouches for.
    // The alert with which the member says what it lacks may be lost with the connection.
    let service = &network.members[0].service;
    let port = service.gate(configuration::DISPERSAL).address().port();
    let stranger = servers.identity("stranger")?;
    for (what, shown, causes) in [
        ("no certificate", None, [ConnectionCause::NoClientCertificate, ConnectionCause::BrokenOff]),
        ("a stranger's", Some(&stranger), [ConnectionCause::ClientAuthority, ConnectionCause::BrokenOff]),
    ] {
        let status = deliver_nothing(servers.channel(port, shown)?).await;
        let cause = MemberFault::from_status(&status).cause();
        assert!(cause.is_none_or(|cause| causes.contains(&cause)), "{what}: {status:?}");
        let source = status.source().context("no answer of the member, but a failure on the way to it")?;
        assert!(source.is::<tonic::transport::Error>(), "{what}: {status:?}");
    }
    let status = deliver_nothing(servers.channel(port, Some(&client))?).await;
    assert_eq!(Reason::of(&status), Some(Reason::MalformedRequest), "an aggregator's: {status:?}");
    // Without TLS nobody gets anywhere.
    let plain = rpc::channel(&format!("http://localhost:{port}"))?;
    let status = deliver_nothing(plain).await;
    let cause = MemberFault::from_status(&status).cause();
    assert!(matches!(cause, Some(ConnectionCause::NotHttp2 | ConnectionCause::BrokenOff)), "{status:?}");

    // The command line tells a person without a certificate what the member demands.
    let member = format!("https://localhost:{port}");
    let output = dac.run(["member", member.as_str()]).await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{told}");
    let expected = [ConnectionCause::NoClientCertificate, ConnectionCause::BrokenOff]
        .map(|cause| format!("error: {member}: unreachable: {cause} ("));
    assert!(expected.iter().any(|expected| told.starts_with(expected)), "{told}");
    // And its log tells the member's operator, once for each kind.
    for (kind, advice) in [
        ("no_client_certificate", "a client certificate is required here and none came"),
        ("client_certificate_refused", "the client's certificate was refused: it is not of client_ca"),
        ("not_tls", "what came is not TLS: the client is configured for http:// where https:// is served"),
    ] {
        let told = async || {
            let log = service.log().ok()?;
            let is_told = |line: &&str| line.contains(kind) && line.contains(advice);
            Some(log.lines().filter(is_told).count()).filter(|count| *count > 0)
        };
        let count = wait::until(&format!("the member to tell {kind}"), wait::LIMIT, told).await?;
        assert_eq!(count, 1, "{kind}: {}", service.log()?);
    }
    Ok(())
}

/// The status with which a member, or what is on the way to it, ends a delivery of nothing.
async fn deliver_nothing(channel: Channel) -> Status {
    let open = v1::StoreShardOpen::default();
    let call = rpc::store_shard(channel, open, futures::stream::empty()).await;
    call.expect_err("nothing was sent that could be stored")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_without_a_certificate_is_told_apart_from_a_member_that_is_down() -> Result<()> {
    dac_tests::install_tls_provider();
    let folder = TempDir::new()?;
    let servers = Authority::new(folder.path(), "servers")?;
    let aggregators = Authority::new(folder.path(), "aggregators")?;
    let tls = NetworkTls {
        dispersal: servers.listener("dispersal", Some(&aggregators))?,
        towards_members: Tls { identity: None, authority: Some(servers.certificate()) },
        ..NetworkTls::default()
    };
    let network = Network::start_with(Shape::SMALL, &tls).await?;
    let payload = real_payload(1_000);
    let batch = network.submit(1, HashKind::Opaque, &payload).await?;
    let digest = dac_proto::wire::hash("submission_digest", &batch.submission_digest)?;
    let refused = rpc::watch(network.api()?, rpc::by_submission(digest), |batch| {
        !batch.members.is_empty() && batch.members.iter().all(|member| !member.reason.is_empty())
    });
    let refused =
        tokio::time::timeout(dac_tests::wait::LIMIT, refused).await.context("every member's reason")??;
    let causes = [ConnectionCause::NoClientCertificate, ConnectionCause::BrokenOff];
    let own = "[dispersal.tls.identity] is not set, so no client certificate is shown";
    let starts = causes.map(|cause| format!("unreachable: {cause}; {own} ("));
    for member in &refused.members {
        assert_eq!((member.state(), member.reason.as_str()), (DeliveryState::Retrying, "TLS"), "{member:?}");
        assert!(starts.iter().any(|start| member.detail.starts_with(start)), "{member:?}");
    }
    // Each member knows that it was it who refused.
    let advice = "a client certificate is required here and none came";
    for member in &network.members {
        let told = async || member.service.log().ok()?.contains(advice).then_some(());
        wait::until(&format!("seat {} to tell what it demands", member.seat), wait::LIMIT, told).await?;
    }
    Ok(())
}

/// Of the certificates that an aggregator has, the first to expire is that of its listener.
#[tokio::test(flavor = "multi_thread")]
async fn an_aggregators_status_tells_when_its_certificate_expires() -> Result<()> {
    dac_tests::install_tls_provider();
    let folder = TempDir::new()?;
    let authority = Authority::new(folder.path(), "servers")?;
    let expires_at = now() + 40 * 86_400 + 45_000;
    let tls = NetworkTls {
        aggregator: Tls {
            identity: Some(authority.identity_until("aggregator", expires_at)?),
            authority: None,
        },
        towards_members: Tls {
            identity: Some(authority.identity_until("client", expires_at + 1)?),
            authority: Some(authority.certificate()),
        },
        ..NetworkTls::default()
    };
    let mut network = Network::prepare_as(Shape::SMALL, &Plan { tls, ..Plan::default() }).await?;
    network.aggregator.start().await?;
    let port = network.aggregator.gate(configuration::API).address().port();
    let mut client = AggregatorServiceClient::new(authority.channel(port, None)?);
    let told = client.get_aggregator(v1::GetAggregatorRequest {}).await?.into_inner();
    assert_eq!(told.tls_certificate_expires_at, expires_at);

    let dac = CommandLine::new("dac", network.folder())?.with("DAC_TLS_CA", authority.certificate());
    let status = ["aggregator", "status", &format!("https://localhost:{port}")];
    let document = dac.expect(status).await?;
    assert_eq!(document["tls_certificate_expires_at"], expires_at);
    let shown = dac.run(status).await?;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with("TLS certificate ")).context("a line of it")?;
    assert!(line.contains(" expires ") && line.contains("(in 40 d 12 h)"), "{line}");
    Ok(())
}
