//! The examples of the client library, as a reader of them runs them: against a live committee.

use std::fs;

use dac_tests::command::CommandLine;
use dac_tests::failure::Context;
use dac_tests::network::{Network, Shape, real_payload};
use dac_tests::process::source_root;
use dac_tests::{Failure, Result, keys};

/// Runs one example in the folder of the network, and returns the last line that it printed.
async fn run(network: &Network, name: &'static str, arguments: &[&str]) -> Result<String> {
    let example = CommandLine::example(name, network.folder())?;
    let output = example.run(arguments).await?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(Failure::new(format!("{name} ended with {}: {stdout}{stderr}", output.status)));
    }
    Ok(stdout.lines().last().context(name)?.to_owned())
}

#[test]
fn readme_shows_a_part_of_the_example_as_it_is() -> Result<()> {
    let root = source_root();
    let readme = fs::read_to_string(root.join("README.md")).context("README.md")?;
    let example = root.join("crates/client/examples/submit.rs");
    let example = fs::read_to_string(&example).context(example.display())?;
    let shown = readme.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    let shown = shown.context("a block of Rust in README.md")?;
    let has_text = |line: &&str| !line.is_empty();
    let lines =
        |text: &str| text.lines().map(str::trim).filter(has_text).map(str::to_owned).collect::<Vec<_>>();
    let (shown, example) = (lines(shown), lines(&example));
    assert!(example.windows(shown.len()).any(|window| window == shown), "README.md shows: {shown:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn examples_submit_watch_verify_retrieve_and_audit() -> Result<()> {
    let mut network = Network::start(Shape::SMALL).await?;
    let folder = network.folder();
    let payload = real_payload(50_000);
    fs::write(folder.join("payload.bin"), &payload).context("the payload")?;
    let deployment = network.deployment();
    fs::write(folder.join("deployment.json"), deployment.to_json()).context("the deployment")?;
    let key = keys::ethereum(&folder.join("batch-signer"), &network.rollup.poster)?;
    let (key, password) = (key.keystore.display().to_string(), key.password.display().to_string());
    let aggregator = network.aggregator.gate(dac_tests::configuration::API).url();
    let (rollup, disperser) = (network.rollup.address.to_string(), network.rollup.disperser.to_string());
    let dac = CommandLine::new("dac", folder)?.with("DAC_DEPLOYMENT", "deployment.json");
    dac.expect(["committee", "--out", "committee.json"]).await?;

    let order = [
        "deployment.json",
        &aggregator,
        &rollup,
        &disperser,
        "1",
        "payload.bin",
        &key,
        &password,
        "submission.json",
    ];
    let submission = run(&network, "submit", &order).await?;
    let watched = ["deployment.json", &aggregator, &submission, "certificate.json"];
    let digest = run(&network, "watch", &watched).await?;
    for member in &network.members {
        member.waits_for(digest.parse().context("the digest")?).await?;
    }
    run(&network, "verify_offline", &["certificate.json", "committee.json", "payload.bin"]).await?;
    assert_eq!(run(&network, "audit", &["deployment.json"]).await?, "1 batches: passed");

    // Nobody needs the aggregator, or more than k members, to get the payload back.
    network.aggregator.kill();
    network.members[1].service.kill();
    run(&network, "retrieve", &["deployment.json", &digest, "retrieved.bin"]).await?;
    let retrieved = fs::read(network.folder().join("retrieved.bin")).context("the payload")?;
    assert!(retrieved == *payload, "the payload comes back as it went in");

    // A certificate about other bytes does not pass.
    fs::write(network.folder().join("payload.bin"), b"other bytes").context("other bytes")?;
    let refused =
        run(&network, "verify_offline", &["certificate.json", "committee.json", "payload.bin"]).await;
    assert!(refused.is_err());
    Ok(())
}
