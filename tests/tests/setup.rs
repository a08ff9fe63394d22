//! The set-up script of the container demo, with the programs as plain processes: it sets a committee up that works.

use std::path::Path;

use dac_chain::testing::Anvil;
use dac_tests::process::{program, source_root};
use dac_tests::{Context, Result};
use tempfile::TempDir;
use tokio::process::Command;

fn command(script: &str, folder: &Path) -> Result<Command> {
    let programs = program("dac")?.parent().context("the programs' folder")?.to_owned();
    let path = std::env::join_paths(
        std::iter::once(programs).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )?;
    let mut command = Command::new(source_root().join("deploy/compose").join(script));
    command.env("PATH", path).env("FOLDER", folder).kill_on_drop(true);
    Ok(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_sets_a_committee_up_once() -> Result<()> {
    let (folder, anvil) = (TempDir::new()?, Anvil::start().await);
    let run = async || {
        let mut command = command("setup.sh", folder.path())?;
        command.env("RPC_URL", anvil.url()).env("MEMBERS", "4").env("K", "2").env("Q", "3");
        let output = command.output().await.context("setup.sh")?;
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{text}");
        Ok::<_, dac_tests::Failure>(text)
    };
    run().await?;
    assert!(run().await?.contains("set up already"));

    for (config, executable) in [
        ("member-0/node.toml", "dac-node"),
        ("member-3/node.toml", "dac-node"),
        ("aggregator/aggregator.toml", "dac-aggregator"),
    ] {
        let mut check = Command::new(program(executable)?);
        let check = check.arg("--config").arg(folder.path().join(config)).arg("--check-config");
        let output = check.output().await?;
        assert!(output.status.success(), "{config}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut committee = command("as-rollup.sh", folder.path())?;
    let output = committee.args(["dac", "--json", "committee"]).output().await.context("as-rollup.sh")?;
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).context("dac committee")?;
    let text = document.to_string();
    assert!(text.contains("member-3:7001"), "{text}");
    Ok(())
}
