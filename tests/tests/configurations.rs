//! The example configurations under `deploy/` load, through the programs' own `--check-config`.

use std::fs;
use std::path::Path;

use dac_bls::SecretKey;
use dac_chain::PrivateKeySigner;
use dac_tests::pki::Authority;
use dac_tests::process::{program, source_root};
use dac_tests::{Context, Result, keys};
use tempfile::TempDir;
use tokio::process::Command;

/// Copies an example to `folder` and checks it there.
async fn check(folder: &Path, example: &str, executable: &str) -> Result<(bool, String)> {
    let from = source_root().join("deploy/examples").join(example);
    let to = folder.join(example);
    fs::copy(&from, &to).context(from.display())?;
    check_file(&to, executable).await
}

async fn check_file(file: &Path, executable: &str) -> Result<(bool, String)> {
    let output =
        Command::new(program(executable)?).arg("--config").arg(file).arg("--check-config").output().await?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn move_key(files: &dac_tests::configuration::KeyFiles, name: &str) -> Result<()> {
    let folder = files.keystore.parent().context("a keystore's folder")?;
    fs::rename(&files.keystore, folder.join(format!("{name}.json")))?;
    fs::rename(&files.password, folder.join(format!("{name}.password")))?;
    Ok(())
}

fn write_tls(folder: &Path) -> Result<()> {
    let authority = Authority::new(&folder.join("tls"), "aggregators-ca")?;
    let file = |name: &str| folder.join("tls").join(name);
    authority.write_identity(&file("fullchain.pem"), &file("key.pem"))?;
    authority.write_identity(&file("client.pem"), &file("client-key.pem"))
}

#[tokio::test]
async fn the_node_example_is_a_configuration() -> Result<()> {
    let folder = TempDir::new()?;
    keys::bls(&folder.path().join("keys"), &SecretKey::derive(&[7; 32]))?;
    write_tls(folder.path())?;
    let (fine, text) = check(folder.path(), "node.toml", "dac-node").await?;
    assert!(fine, "{text}");
    assert!(text.contains("client certificates demanded"), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_aggregator_example_is_a_configuration() -> Result<()> {
    let folder = TempDir::new()?;
    let keys_folder = folder.path().join("keys");
    for name in ["disperser", "l1"] {
        move_key(&keys::ethereum(&keys_folder, &PrivateKeySigner::random())?, name)?;
    }
    write_tls(folder.path())?;
    let (fine, text) = check(folder.path(), "aggregator.toml", "dac-aggregator").await?;
    assert!(fine, "{text}");
    Ok(())
}

#[tokio::test]
async fn a_misspelt_key_is_named_with_its_line() -> Result<()> {
    let folder = TempDir::new()?;
    for (example, executable) in [("node.toml", "dac-node"), ("aggregator.toml", "dac-aggregator")] {
        let from = source_root().join("deploy/examples").join(example);
        let text = fs::read_to_string(&from)?.replace("chain_id", "chain_idd");
        let file = folder.path().join(example);
        fs::write(&file, text)?;
        let (fine, text) = check_file(&file, executable).await?;
        assert!(!fine && text.contains("chain_idd") && text.contains("line "), "{text}");
    }
    Ok(())
}
