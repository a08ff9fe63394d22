//! The example configurations under `deploy/` load, through the programs' own `--check-config`.

use std::fs;
use std::path::Path;

use dac_bls::SecretKey;
use dac_chain::EcdsaKey;
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
        move_key(&keys::ethereum(&keys_folder, &EcdsaKey::random())?, name)?;
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

/// One run names everything that is missing, so that one look at the file mends it.
#[tokio::test]
async fn missing_files_are_named_at_once_by_their_keys() -> Result<()> {
    let folder = TempDir::new()?;
    for (example, executable, keys) in [
        (
            "node.toml",
            "dac-node",
            &["keys.bls_keystore", "keys.password_file", "dispersal.tls.client_ca", "retrieval.tls.key"][..],
        ),
        (
            "aggregator.toml",
            "dac-aggregator",
            &[
                "keys.disperser_keystore",
                "keys.l1.password_file",
                "grpc.tls.key",
                "dispersal.tls.identity.key",
            ],
        ),
    ] {
        let from = source_root().join("deploy/examples").join(example);
        let file = folder.path().join(example);
        fs::copy(&from, &file)?;
        for arguments in [&["--check-config"][..], &[]] {
            let mut command = Command::new(program(executable)?);
            let output = command.arg("--config").arg(&file).args(arguments).output().await?;
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{executable} {arguments:?}: {text}");
            for key in keys {
                assert!(text.contains(&format!("{key}: ")), "{key} in {text}");
            }
        }
    }
    Ok(())
}

/// What `deploy/README.md` tells an operator to do makes everything that the units need.
#[test]
fn the_units_need_nothing_that_no_step_makes() -> Result<()> {
    let deploy = source_root().join("deploy");
    let readme = fs::read_to_string(deploy.join("README.md"))?;
    for entry in fs::read_dir(deploy.join("systemd"))? {
        let path = entry?.path();
        let unit = fs::read_to_string(&path)?;
        let value = |name: &str| {
            let line = unit.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{}: {name}", path.display())).to_owned()
        };
        let user = value("User=");
        assert!(readme.contains(&format!("/usr/sbin/nologin {user}\n")), "nobody makes the user {user}");
        let document = value("Documentation=file:");
        let (folder, name) = document.rsplit_once('/').context("a path")?;
        let installs = format!("docs/{name} {folder}/");
        assert!(readme.contains(&installs), "{} is installed by no step", document);
        assert!(!unit.contains("ExecStartPre"), "the key is opened twice");
        assert!(unit.contains("RestartPreventExitStatus=2"), "a wrong configuration is tried for ever");
    }
    Ok(())
}

/// One set of ports in all examples, as the table of `deploy/README.md` has it.
#[test]
fn all_examples_use_the_same_ports() -> Result<()> {
    let root = source_root();
    let mut files = vec![root.join("README.md")];
    for folder in ["docs", "deploy", "deploy/examples", "deploy/compose", "crates/client/tests/snapshots"] {
        for entry in fs::read_dir(root.join(folder))? {
            files.push(entry?.path());
        }
    }
    let mut found = 0;
    for file in files.iter().filter(|file| file.is_file()) {
        let text = fs::read_to_string(file)?;
        for (host, ports) in
            [("aggregator.example.org:", &["7000"][..]), ("member.example.org:", &["7001", "7002"])]
        {
            for (_, rest) in text.match_indices(host).map(|(start, _)| text.split_at(start + host.len())) {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                assert!(ports.contains(&port.as_str()), "{}: {host}{port}", file.display());
                found += 1;
            }
        }
    }
    assert!(found > 10, "the examples have gone elsewhere");
    for (example, ports) in [
        ("aggregator.toml", &["7000", "9100"][..]),
        ("node.toml", &["7001", "7002", "9101"]),
        ("reader.toml", &["7002", "9102"]),
    ] {
        let text = fs::read_to_string(root.join("deploy/examples").join(example))?;
        let listens: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("listen = ")?.trim_matches('"').rsplit(':').next())
            .collect();
        assert_eq!(listens, ports, "{example}");
    }
    Ok(())
}
