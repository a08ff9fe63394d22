//! Tests of the program: what it reports of its configuration, that it serves without L1, and how
//! it ends.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use dac_bls::SecretKey;
use dac_keys::{KdfCost, create_bls_keystore, create_password_file};
use dac_proto::v1;
use dac_proto::v1::member_service_client::MemberServiceClient;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a folder with everything that a member needs except L1.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let password = create_password_file(&folder.path().join("password")).unwrap();
    let key = SecretKey::derive(&[7; 32]);
    create_bls_keystore(&folder.path().join("bls.json"), &key, &password, KdfCost::Light).unwrap();
    // Nothing listens on port 1.
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
        [metrics]
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
    assert_eq!(output.status.code(), Some(2), "as for wrong arguments");
    assert!(stderr.contains("line 2") && stderr.contains("rcp"), "{stderr}");
}

/// A running program, which is killed when a test fails, so that it does not outlive the test.
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

/// Returns the port of the program's monitoring page. It asks the kernel on which ports the program
/// listens, because the log may be unreadable.
fn monitoring_port(pid: u32) -> u16 {
    let since = Instant::now();
    loop {
        if let Some(port) = listening(pid).into_iter().find(|port| fetch(*port, "/healthz").is_some()) {
            return port;
        }
        assert!(since.elapsed() < PATIENCE, "it does not serve");
        #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Returns the ports of the program's listening sockets.
fn listening(pid: u32) -> Vec<u16> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let sockets: HashSet<String> = files
        .filter_map(|file| Some(std::fs::read_link(file.ok()?.path()).ok()?.to_str()?.to_owned()))
        .filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    // A line has address, state (0A means listening) and inode.
    let port = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_ours = fields.get(3) == Some(&"0A") && sockets.contains(*fields.get(9)?);
        let (_, port) = fields.get(1)?.split_once(':')?;
        is_ours.then(|| u16::from_str_radix(port, 16).unwrap())
    };
    table.lines().filter_map(port).collect()
}

/// Returns the content of a page, or `None` if the port serves no pages.
fn fetch(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    String::from_utf8(answer).ok().filter(|answer| answer.starts_with("HTTP/1.1"))
}

fn signal(process: &Running, name: &str) {
    let pid = process.0.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

fn ended(process: &mut Running) -> Option<i32> {
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        if let Some(status) = process.0.try_wait().unwrap() {
            return status.code();
        }
        #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it does not end");
}

/// The log may be unwritable without an attack: a collector restarts, a partition is full, a
/// collector stands still.
#[test]
fn a_log_that_cannot_be_written_costs_lines_and_not_the_service() {
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let closed = || {
        let (_, writer) = std::io::pipe().unwrap();
        Stdio::from(writer)
    };
    let (_unread, writer) = std::io::pipe().unwrap();
    let mut filler = writer.try_clone().unwrap();
    // The thread blocks once the pipe is full, and keeps it full.
    std::thread::spawn(move || _ = filler.write_all(&vec![b'x'; 8 << 20]));
    for (what, stderr, is_counted) in
        [("closed", closed(), true), ("full", full(), true), ("unread", Stdio::from(writer), false)]
    {
        let folder = folder();
        let child = program(folder.path()).env("DAC_LOG", "debug").stderr(stderr).spawn().unwrap();
        let mut running = Running(child);
        let port = monitoring_port(running.0.id());
        let page = fetch(port, "/metrics").unwrap();
        let lost = page.lines().find_map(|line| line.strip_prefix("dac_log_lines_lost_total "));
        let lost: u64 = lost.unwrap_or_else(|| panic!("{page}")).parse().unwrap();
        assert_eq!(lost > 0, is_counted, "{what}: {lost}");
        signal(&running, "-TERM");
        assert_eq!(ended(&mut running), Some(0), "{what}");
    }
}

#[test]
fn what_ends_the_program_is_a_line_of_its_log() {
    let folder = folder();
    // A file stands where the store's folder should be.
    std::fs::write(folder.path().join("data"), "no folder").unwrap();
    let output = program(folder.path()).output().unwrap();
    let (_, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<serde_json::Value> =
        stderr.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["error"].as_str().unwrap().contains("data"), "{last}");
}

#[test]
fn a_configuration_that_needs_more_descriptors_than_there_are_is_refused() {
    let folder = folder();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 256 && exec \"$0\" --config \"$1\" --check-config"])
        .arg(env!("CARGO_BIN_EXE_dac-node"))
        .arg(folder.path().join("node.toml"))
        .output()
        .unwrap();
    let (_, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("256") && stderr.contains("retrieval.limits.connections"), "{stderr}");
}

/// Certificates of 90 days are renewed many times before a member is restarted.
#[test]
fn tls_files_are_read_again_at_sighup() {
    let folder = folder();
    let issue = |days: u64| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        // Half a day more keeps the number of days that are left from changing while the test runs.
        let left = Duration::from_secs(days * 86_400 + 43_200);
        params.not_after = date_time_ymd(1970, 1, 1) + now() + left;
        let certificate = params.self_signed(&key).unwrap().pem();
        std::fs::write(folder.path().join("tls.pem"), &certificate).unwrap();
        let path = folder.path().join("tls.key");
        let _ = std::fs::remove_file(&path);
        dac_secrets::create(&path, key.serialize_pem().as_bytes()).unwrap();
        certificate
    };
    let config = folder.path().join("node.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    let tls = "[retrieval.tls]\ncertificate = 'tls.pem'\nkey = 'tls.key'\n";
    std::fs::write(&config, format!("{text}\n{tls}")).unwrap();
    issue(3);
    let check = program(folder.path()).arg("--check-config").output().unwrap();
    let warning = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success() && warning.contains("expires in 3 days"), "{warning}");

    let child = program(folder.path()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let mut lines = BufReader::new(running.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut find = |text: &str| lines.find(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}"));
    let serving: serde_json::Value = serde_json::from_str(&find("\"message\":\"serving\"")).unwrap();
    for listener in ["retrieval", "metrics"] {
        let address = serving[listener].as_str().unwrap_or_else(|| panic!("{serving}"));
        assert!(address.parse::<SocketAddr>().is_ok(), "{serving}");
    }
    assert!(find("expires in 3 days").contains("WARN"));
    let renewed = issue(90);
    signal(&running, "-HUP");
    let line: serde_json::Value = serde_json::from_str(&find("TLS files were read again")).unwrap();
    assert_eq!(line["part"], "retrieval");
    std::fs::write(folder.path().join("tls.pem"), "no certificate").unwrap();
    signal(&running, "-HUP");
    assert!(find("the former ones stay in use").contains("ERROR"));
    let page = fetch(monitoring_port(running.0.id()), "/metrics").unwrap();
    let series = "dac_tls_certificate_expiry_timestamp_seconds{part=\"retrieval\",file=\"certificate\"} ";
    let until = page.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("{page}"));
    assert!(until.parse::<f64>().unwrap() > (now().as_secs() + 80 * 86_400) as f64, "{until}");
    // The member's own answer says the same, and the new certificate protects it.
    let told = ask(serving["retrieval"].as_str().unwrap(), &renewed).tls_certificate_expires_at;
    assert!(told > now().as_secs() + 80 * 86_400, "{told}");
    assert_eq!(told.to_string(), until, "the metric is a whole number of seconds");
    signal(&running, "-TERM");
    assert!(find("\"message\":\"stopped\"").contains("INFO"));
    assert_eq!(ended(&mut running), Some(0));
}

/// Asks a member over TLS for its description, as a client that trusts this certificate.
fn ask(address: &str, trusted: &str) -> v1::GetMemberResponse {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted)).domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut client = MemberServiceClient::new(endpoint.connect().await.unwrap());
        client.get_member(v1::GetMemberRequest::default()).await.unwrap().into_inner()
    })
}

#[expect(clippy::disallowed_methods, reason = "the program under test goes by the machine's clock, too")]
fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap()
}
