//! The program itself: what it says of its configuration, that it serves without L1, and how it ends.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use dac_bls::SecretKey;
use dac_keys::{KdfCost, create_bls_keystore, create_password_file};
use tempfile::TempDir;

/// A folder with everything that a member needs but L1.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let password = create_password_file(&folder.path().join("password")).unwrap();
    let key = SecretKey::derive(&[7; 32]);
    create_bls_keystore(&folder.path().join("bls.json"), &key, &password, KdfCost::Light).unwrap();
    // Nobody listens on port 1.
    write_config(folder.path(), "http://127.0.0.1:1/secret-access-key");
    folder
}

fn write_config(folder: &Path, rpc: &str) {
    let config = format!(
        r#"
        [chain]
        rpc = ["{rpc}"]
        chain_id = 31337
        registry = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
        certificate_log = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
        [keys]
        bls_keystore = "bls.json"
        password_file = "password"
        [store]
        url = "sqlite:data/node.db"
        [dispersal]
        listen = "127.0.0.1:0"
        [retrieval]
        listen = "127.0.0.1:0"
        [shutdown]
        grace = "5s"
        [log]
        format = "json"
        "#
    );
    std::fs::write(folder.join("node.toml"), config).unwrap();
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dac-node"));
    command.arg("--config").arg(folder.join("node.toml")).env_remove("DAC_LOG").stdin(Stdio::null());
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn check_config_says_what_would_run() {
    let folder = folder();
    let output = program(folder.path()).arg("--check-config").output().unwrap();
    let (stdout, stderr) = text(&output);
    assert!(output.status.success(), "{stderr}");
    let key = SecretKey::derive(&[7; 32]).public_key().to_compressed().to_string();
    for expected in [&key, "31337", "no TLS", "node.db"] {
        assert!(stdout.contains(expected), "{expected} in {stdout}");
    }
    assert!(!stdout.contains("secret-access-key"));
    assert!(!folder.path().join("data").exists(), "nothing is created by a check");
}

#[test]
fn mistakes_end_the_program_with_a_message() {
    let folder = folder();
    std::fs::write(folder.path().join("password"), "wrong").unwrap();
    let output = program(folder.path()).output().unwrap();
    let (_, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("password"), "{stderr}");

    std::fs::write(folder.path().join("node.toml"), "[chain]\nrcp = []").unwrap();
    let output = program(folder.path()).output().unwrap();
    let (_, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("line 2") && stderr.contains("rcp"), "{stderr}");
}

/// Killed where a test fails, so that nothing outlives it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_serves_without_l1_and_ends_on_sigterm() {
    let folder = folder();
    let ready = folder.path().join("ready.json");
    for _ in 0..2 {
        let mut command = program(folder.path());
        let child = command.arg("--ready-file").arg(&ready).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running(child);
        let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines().map(Result::unwrap);
        let serving = lines.find(|line| line.contains("\"message\":\"serving\"")).expect("it serves");
        let line: serde_json::Value = serde_json::from_str(&serving).unwrap();
        let address: SocketAddr = line["retrieval"].as_str().unwrap().parse().unwrap();
        std::net::TcpStream::connect(address).unwrap();
        assert!(!ready.exists(), "it is ready once L1 was read");

        let pid = running.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let rest: Vec<String> = lines.collect();
        assert_eq!(running.0.wait().unwrap().code(), Some(0), "{rest:#?}");
        assert!(rest.iter().any(|line| line.contains("\"message\":\"stopped\"")), "{rest:#?}");
        assert!(!rest.iter().any(|line| line.contains("secret-access-key")), "{rest:#?}");
    }
}
