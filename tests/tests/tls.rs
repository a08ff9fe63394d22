//! TLS and mutual TLS on real processes: who has no certificate of the right authority does not get in.

use std::path::Path;

use dac_proto::v1::DeliveryState;
use dac_tests::command::CommandLine;
use dac_tests::configuration::{self, Tls};
use dac_tests::network::{Network, NetworkTls, Shape, real_payload};
use dac_tests::pki::Authority;
use dac_tests::{Context, Result, rpc};
use dac_types::HashKind;
use tempfile::TempDir;

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

    // The command line submits, waits, retrieves and audits, with nothing but the servers' authority.
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
    let port = network.members[0].service.gate(configuration::DISPERSAL).address().port();
    let stranger = servers.identity("stranger")?;
    for (what, shown, welcome) in [
        ("no certificate", None, false),
        ("a stranger's", Some(&stranger), false),
        ("an aggregator's", Some(&client), true),
    ] {
        let open = dac_proto::v1::StoreShardOpen::default();
        let call = rpc::store_shard(servers.channel(port, shown)?, open, futures::stream::empty()).await;
        let status = call.expect_err("nothing was sent that could be stored");
        assert_eq!(dac_proto::reason::Reason::of(&status).is_some(), welcome, "{what}: {status:?}");
    }
    // Who forgot the certificate is told so.
    let member = format!("https://localhost:{port}");
    let output = dac.run(["member", member.as_str()]).await?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("client certificate"), "{told}");
    // Without TLS nobody gets anywhere.
    let plain = rpc::channel(&format!("http://localhost:{port}"))?;
    let call =
        rpc::store_shard(plain, dac_proto::v1::StoreShardOpen::default(), futures::stream::empty()).await;
    assert!(dac_proto::reason::Reason::of(&call.expect_err("no TLS")).is_none());
    Ok(())
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
    for member in &refused.members {
        assert_eq!(member.state(), DeliveryState::Retrying, "{member:?}");
        assert!(!member.detail.is_empty(), "{member:?}");
    }
    Ok(())
}
