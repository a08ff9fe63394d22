//! Tests of the program as a process: it checks its configuration, becomes ready, and stops on a
//! signal.

#![allow(missing_docs)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dac_chain::EcdsaKey;
use dac_chain::testing::{Anvil, CommitteeSpec, deploy_committee};
use dac_keys::{KdfCost, create_ecdsa_keystore, create_password_file};
use dac_proto::v1;
use dac_proto::v1::batch_service_client::BatchServiceClient;

const PATIENCE: Duration = Duration::from_secs(60);

/// A child process that is killed when the test ends, even by a panic.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dac-aggregator"));
    command.arg("--config").arg(folder.join("aggregator.toml"));
    command
}

fn write_config(folder: &Path, rpc: &str, registry: &str, log: &str, more: &str) {
    let config = format!(
        "[chain]\nrpc = [\"{rpc}\"]\nchain_id = 31337\nregistry = \"{registry}\"\ncertificate_log = \"{log}\"\n\
         poll_interval = \"200ms\"\n[keys]\ndisperser_keystore = \"disperser.json\"\npassword_file = \"password\"\n\
         [store]\nurl = \"sqlite:aggregator.db\"\n[grpc]\nlisten = \"127.0.0.1:0\"\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n{more}"
    );
    std::fs::write(folder.join("aggregator.toml"), config).unwrap();
}

fn write_key(folder: &Path, key: &EcdsaKey) {
    let password = create_password_file(&folder.join("password")).unwrap();
    create_ecdsa_keystore(&folder.join("disperser.json"), key, &password, KdfCost::Light).unwrap();
}

#[test]
fn the_configuration_is_explained_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (registry, log) =
        ("0x5FbDB2315678afecb367f032d93F642f64180aa3", "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512");
    write_config(folder.path(), "http://127.0.0.1:1", registry, log, "");
    let said = program(folder.path()).arg("--check-config").output().unwrap();
    assert!(!said.status.success());
    assert!(String::from_utf8(said.stderr).unwrap().contains("disperser.json"), "a missing key is found out");

    let key = EcdsaKey::random();
    write_key(folder.path(), &key);
    let said = program(folder.path()).arg("--check-config").output().unwrap();
    assert!(said.status.success());
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("31337") && text.contains(&key.address().to_string()), "{text}");

    write_config(folder.path(), "http://127.0.0.1:1", registry, log, "[dispersal]\nquorum = 5\n");
    let said = program(folder.path()).arg("--check-config").output().unwrap();
    assert!(!said.status.success());
    let problem = String::from_utf8(said.stderr).unwrap();
    assert!(problem.contains("unknown field `quorum`") && problem.contains("line"), "{problem}");
}

/// Returns a port that was free a moment ago.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Configures free ports for calls and for monitoring, so that they are known before the program
/// starts.
fn set_ports(folder: &Path) -> (u16, u16) {
    let path = folder.join("aggregator.toml");
    let (grpc, metrics) = (free_port(), free_port());
    let listens = |port: u16| format!("listen = \"127.0.0.1:{port}\"");
    let config = std::fs::read_to_string(&path).unwrap();
    let config = config.replacen(&listens(0), &listens(grpc), 1).replacen(&listens(0), &listens(metrics), 1);
    std::fs::write(&path, config).unwrap();
    (grpc, metrics)
}

fn signal(process: &Process, signal: &str) {
    assert!(Command::new("kill").arg(signal).arg(process.0.id().to_string()).status().unwrap().success());
}

/// Tries a log collector that has closed the pipe, a full disk, a collector that does not read, and
/// a log rotation that sends SIGHUP although no log file is configured.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_written_costs_lines_and_not_the_service() {
    let full = Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let closed = Stdio::from(std::io::pipe().unwrap().1);
    let (_unread, writer) = std::io::pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    // This thread blocks once the pipe is full, and so keeps it full.
    std::thread::spawn(move || _ = std::io::Write::write_all(&mut filler, &vec![b'x'; 8 << 20]));
    for (what, stderr, is_counted) in
        [("closed", closed, true), ("full", full, true), ("unread", Stdio::from(writer), false)]
    {
        let folder = tempfile::tempdir().unwrap();
        write_key(folder.path(), &EcdsaKey::random());
        let (registry, log) =
            ("0x5FbDB2315678afecb367f032d93F642f64180aa3", "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512");
        write_config(folder.path(), "http://127.0.0.1:1", registry, log, "");
        let monitoring = format!("127.0.0.1:{}", set_ports(folder.path()).1);
        let child = program(folder.path()).env("DAC_LOG", "debug").stderr(stderr).spawn().unwrap();
        let mut process = Process(child);
        let lost = async {
            loop {
                let page = try_fetch(&monitoring, "/metrics").await.unwrap_or_default();
                let lost = page.lines().find_map(|line| line.strip_prefix("dac_log_lines_lost_total "));
                match lost.map(|lost| lost.parse::<u64>().unwrap()) {
                    Some(lost) if (lost > 0) == is_counted => return,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, lost).await.unwrap_or_else(|_| panic!("{what}: no page, or lines"));
        signal(&process, "-HUP");
        assert!(try_fetch(&monitoring, "/livez").await.unwrap().starts_with("HTTP/1.1 200"), "{what}");
        signal(&process, "-TERM");
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = process.0.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "{what}: it does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(status.success(), "{what}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_l1_it_says_so_and_tells_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    write_key(folder.path(), &EcdsaKey::random());
    let (registry, log) =
        ("0x5FbDB2315678afecb367f032d93F642f64180aa3", "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512");
    write_config(folder.path(), &format!("http://127.0.0.1:{}", free_port()), registry, log, "");
    let path = folder.path().join("aggregator.toml");
    let (grpc, metrics) = set_ports(folder.path());
    let config = std::fs::read_to_string(&path).unwrap();
    // The database is to be in a folder that does not exist yet.
    std::fs::write(&path, config.replace("sqlite:aggregator.db", "sqlite:data/aggregator.db")).unwrap();
    std::fs::write(folder.path().join("data"), "").unwrap();
    let said = program(folder.path()).arg("--check-config").output().unwrap();
    assert!(!said.status.success(), "a folder that cannot be made is found out");
    std::fs::remove_file(folder.path().join("data")).unwrap();

    let mut process = Process(program(folder.path()).stderr(Stdio::inherit()).spawn().unwrap());
    let told = async {
        loop {
            if let Ok(answer) = try_fetch(&format!("127.0.0.1:{metrics}"), "/healthz").await
                && answer.contains("was not read yet")
            {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, told).await.expect("its monitoring port is served");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let mut client = BatchServiceClient::connect(format!("http://127.0.0.1:{grpc}")).await.unwrap();
    let request =
        v1::ListBatchesRequest { rollup: Vec::new().into(), page_size: 0, page_token: String::new() };
    assert!(client.list_batches(request).await.unwrap().into_inner().batches.is_empty());
    assert!(process.0.try_wait().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_becomes_ready_and_stops_when_told_to() {
    let anvil = Anvil::start().await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(4, 2, 3)).await;
    let folder = tempfile::tempdir().unwrap();
    write_key(folder.path(), &anvil.key(5));
    let deployment = &committee.deployment;
    write_config(
        folder.path(),
        &anvil.url(),
        &deployment.registry.to_string(),
        &deployment.log.to_string(),
        "",
    );

    let ready_file = folder.path().join("ready.json");
    let child =
        program(folder.path()).arg("--ready-file").arg(&ready_file).stderr(Stdio::inherit()).spawn().unwrap();
    let mut process = Process(child);
    let begin = Instant::now();
    let ready = loop {
        if let Ok(text) = std::fs::read(&ready_file) {
            break serde_json::from_slice::<serde_json::Value>(&text).unwrap();
        }
        assert!(process.0.try_wait().unwrap().is_none(), "it ended before it was ready");
        assert!(begin.elapsed() < PATIENCE, "it does not become ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let address = |name: &str| ready[name].as_str().unwrap().to_owned();

    let mut client = BatchServiceClient::connect(format!("http://{}", address("grpc"))).await.unwrap();
    let request =
        v1::ListBatchesRequest { rollup: Vec::new().into(), page_size: 0, page_token: String::new() };
    assert!(client.list_batches(request).await.unwrap().into_inner().batches.is_empty());
    let healthy = async {
        while !fetch(&address("metrics"), "/healthz").await.starts_with("HTTP/1.1 200") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, healthy).await.expect("it is healthy");
    assert!(fetch(&address("metrics"), "/metrics").await.contains("dac_aggregator_l1_age_seconds"));

    signal(&process, "-TERM");
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = process.0.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < PATIENCE, "it does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(status.success(), "{status}");
}

async fn fetch(address: &str, path: &str) -> String {
    try_fetch(address, path).await.unwrap()
}

async fn try_fetch(address: &str, path: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
