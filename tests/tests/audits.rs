//! Tests of audits of members that hold what they signed for, that lost it, and that are down.

use std::fs;
use std::path::Path;

use dac_proto::reason::Reason;
use dac_tests::command::{CommandLine, number};
use dac_tests::network::{Network, Service, Shape, real_payload};
use dac_tests::{Context, Result, configuration, rpc};
use dac_types::{BatchDigest, HashKind};
use serde_json::Value;

fn auditor(network: &Network) -> Result<CommandLine> {
    let deployment = network.committee.deployment;
    let dac = CommandLine::new("dac", network.folder())?
        .with("DAC_RPC_URL", network.l1.url())
        .with("DAC_AGGREGATOR", network.aggregator.gate(configuration::API).url())
        .with("DAC_REGISTRY", deployment.registry.to_string())
        .with("DAC_CERTIFICATE_LOG", deployment.log.to_string());
    Ok(dac)
}

async fn posted(network: &Network, payload: &bytes::Bytes) -> Result<BatchDigest> {
    let batch = network.submit(1, HashKind::Opaque, payload).await?;
    let digest = network.certified(&batch).await?;
    network.posted(&batch).await?;
    for member in &network.members {
        member.waits_for(digest).await?;
    }
    Ok(digest)
}

/// Returns the results of one seat's checks.
fn results(audit: &Value, seat: u64) -> Result<Vec<String>> {
    let rows = audit.pointer("/rows").and_then(Value::as_array).context("/rows")?;
    let of_seat = rows.iter().filter(|row| row["seat"] == seat);
    Ok(of_seat.map(|row| row["result"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Flips one bit of every copy of `needle` in a file, and returns the number of copies.
fn damage(file: &Path, needle: &[u8]) -> Result<usize> {
    let mut bytes = fs::read(file).context(file.display())?;
    let places: Vec<usize> = (0..bytes.len().saturating_sub(needle.len()))
        .filter(|&place| bytes[place..].starts_with(needle))
        .collect();
    for &place in &places {
        bytes[place] ^= 1;
    }
    fs::write(file, bytes).context(file.display())?;
    Ok(places.len())
}

/// Sets whether a member may call the others. One that may not cannot repair what is damaged.
fn cannot_heal(service: &Service, cannot: bool) -> Result<()> {
    let repair = toml::Table::from_iter([("private_endpoints".to_owned(), (!cannot).into())]);
    configuration::change(service.config(), &toml::Table::from_iter([("repair".to_owned(), repair.into())]))
}

#[tokio::test(flavor = "multi_thread")]
async fn absence_is_told_apart_from_loss() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    let dac = auditor(&network)?;
    let payload = real_payload(300_000);
    let digest = posted(&network, &payload).await?;

    let all_well = dac.expect(["audit", "--whole-shards"]).await?;
    assert_eq!(number(&all_well, "/summary/chunks_ok")?, 4 * 8);
    assert_eq!(number(&all_well, "/summary/shards_ok")?, 4);
    let quiet = dac.run(["audit", "--quiet"]).await?;
    assert!(quiet.status.success() && quiet.stdout.is_empty(), "{quiet:?}");
    let known = dac.expect(["batches"]).await?;
    assert_eq!((number(&known, "/batches/0/batch_number")?, &known["next_page_token"]), (1, &Value::Null));

    // While the member is down, the audit cannot tell what it holds, so that only --strict counts
    // it as a failure.
    network.members[0].service.kill();
    let (code, audit) = dac.document(["audit"]).await?;
    assert_eq!((code, &audit["verdict"]), (Some(0), &"passed".into()), "{audit}");
    assert!(results(&audit, 0)?.iter().all(|result| result == "unreachable"), "{audit}");
    assert_eq!(audit["seats_unreachable"], serde_json::json!([0]));
    let (code, _) = dac.document(["audit", "--strict"]).await?;
    assert_eq!(code, Some(1));
    network.members[0].service.start().await?;

    // The audit names a member that lost what it signed for.
    network.members[1].service.stop().await?;
    network.members[1].service.lose_database()?;
    cannot_heal(&network.members[1].service, true)?;
    network.aggregator.kill(); // It would notice the loss and deliver the shard again.
    network.members[1].service.start().await?;
    let (code, audit) = dac.document(["audit"]).await?;
    assert_eq!(code, Some(1), "{audit}");
    assert!(results(&audit, 1)?.iter().any(|result| result == "failed"), "{audit}");
    for seat in [0, 2, 3] {
        assert!(results(&audit, seat)?.iter().all(|result| result == "ok"), "{audit}");
    }
    assert!(network.retrieve(digest).await? == payload);

    // After the repair the audit no longer names the member.
    network.members[1].service.stop().await?;
    cannot_heal(&network.members[1].service, false)?;
    network.members[1].service.start().await?;
    network.members[1].waits_for(digest).await?;
    let healed = dac.expect(["audit", "--whole-shards"]).await?;
    assert_eq!(number(&healed, "/summary/shards_ok")?, 4);

    // One of four members is left while two rebuild a batch, then none: nothing is known, and the
    // audit has not passed.
    for (left, stopped) in [(1, 1..4), (0, 0..1)] {
        for member in &mut network.members[stopped] {
            member.service.kill();
        }
        let (code, audit) = dac.document(["audit"]).await?;
        assert_eq!((code, &audit["verdict"]), (Some(4), &"nothing_to_say".into()), "{audit}");
        assert_eq!(audit["passed"], false);
        let gone: Vec<u64> = (left..4).collect();
        assert_eq!(audit["seats_unreachable"], serde_json::json!(gone), "{audit}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rots_on_a_disk_is_never_served() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    let dac = auditor(&network)?;
    let payload = real_payload(300_000);
    let digest = posted(&network, &payload).await?;
    let member = &mut network.members[3];
    let shard = rpc::shard(member.retrieval()?, digest).await?;
    member.service.stop().await?;
    let file = member.service.database_file().context("the database's file")?;
    let needle = &shard[60_000..60_064];
    assert!(damage(&file, needle)? > 0, "the shard's bytes are in the file as they are");
    cannot_heal(&member.service, true)?;
    member.service.start().await?;

    let status = rpc::shard(member.retrieval()?, digest).await.expect_err("a damaged shard is not served");
    assert_eq!(rpc::reason(&status), Reason::Corrupt, "{status}");
    let (code, audit) = dac.document(["audit", "--whole-shards"]).await?;
    assert_eq!(code, Some(1), "{audit}");
    assert!(results(&audit, 3)?.iter().any(|result| result == "failed"), "{audit}");
    assert!(network.retrieve(digest).await? == payload, "the others make up for it");
    Ok(())
}
