//! The metrics pages of a live member, its read-only server and an aggregator: as Prometheus wants them, and in the documentation.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use dac_database::Backend;
use dac_tests::failure::{Context, Failure};
use dac_tests::network::{Network, Plan, Service, Shape, real_payload};
use dac_tests::process::{Process, program, source_root};
use dac_tests::{Result, configuration};
use dac_types::HashKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Set where the check may not be left out.
const DEMAND: &str = "DAC_DEMAND_PROMTOOL";
const LISTENER: &str = "metrics";

/// The monitoring page of a service that was started with one.
fn address(service: &Service) -> Result<SocketAddr> {
    let ready = service.config().with_file_name("ready.json");
    let addresses: serde_json::Value = serde_json::from_slice(&fs::read(&ready).context(ready.display())?)?;
    let address = addresses[LISTENER].as_str().context("a monitoring page")?;
    address.parse().context(address)
}

async fn page(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address).await.context(address)?;
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .context("asking")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.context("reading")?;
    let (_, page) = answer.split_once("\r\n\r\n").context("a page")?;
    Ok(page.to_owned())
}

/// Starts a read-only server over the first member's database.
async fn start_reader(network: &Network) -> Result<(Process, SocketAddr)> {
    let folder = network.folder().join("reader");
    fs::create_dir_all(&folder).context(folder.display())?;
    let home = network.members[0].service.config();
    let mut config: toml::Table = toml::from_str(&fs::read_to_string(home).context(home.display())?)?;
    config.remove("keys");
    config.remove(configuration::DISPERSAL);
    let public_key = network.committee.members[0].secret_key.public_key().to_compressed();
    config.insert("role".to_owned(), "reader".into());
    config.insert("public_key".to_owned(), public_key.to_string().into());
    let (file, ready) = (folder.join("reader.toml"), folder.join("ready.json"));
    fs::write(&file, toml::to_string(&config)?).context(file.display())?;
    let arguments = configuration::arguments(&file, &ready);
    let mut process = Process::start("reader", &program("dac-node")?, arguments, &folder.join("log"))?;
    let addresses = configuration::wait_ready(&mut process, &ready).await?;
    Ok((process, *addresses.get(LISTENER).context("a monitoring page")?))
}

/// Names of all metrics on a page; each has a text that says what it means.
fn names(page: &str) -> BTreeSet<String> {
    let described = |kind: &str| -> BTreeSet<String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(kind));
        lines.filter_map(|line| line.split_once(' ')).map(|(name, _)| name.to_owned()).collect()
    };
    let names = described("# TYPE ");
    assert_eq!(names, described("# HELP "), "{page}");
    names
}

/// Has promtool check a page; `false` where there is none.
fn check(what: &str, page: &str) -> Result<bool> {
    let child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        child => child.context("promtool")?,
    };
    child.stdin.take().context("its input")?.write_all(page.as_bytes()).context("promtool")?;
    let output = child.wait_with_output().context("promtool")?;
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        return Ok(true);
    }
    Err(Failure::new(format!("promtool on the page of {what}: {said}\n{page}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_as_prometheus_wants_them_and_documented() -> Result<()> {
    let listener = toml::Table::from_iter([("listen".to_owned(), "127.0.0.1:0".into())]);
    let settings = toml::Table::from_iter([(LISTENER.to_owned(), listener.into())]);
    let plan = Plan { node: settings.clone(), aggregator: settings, ..Plan::default() };
    let network = Network::start_as(Shape { backend: Backend::Postgres, ..Shape::SMALL }, &plan).await?;
    let (_reader, reader) = start_reader(&network).await?;
    let fresh = [
        ("member", page(address(&network.members[0].service)?).await?),
        ("reader", page(reader).await?),
        ("aggregator", page(address(&network.aggregator)?).await?),
    ];
    // What operators are told to watch is there before anything has happened.
    for (page, watched) in [
        (0, "dac_node_corrupt_total 0"),
        (0, "dac_node_unreadable_total 0"),
        (0, "dac_node_repairs_total{outcome=\"failed\"} 0"),
        (1, "dac_node_corrupt_total 0"),
        (2, "dac_aggregator_lies_total{operator=\"unknown\",reason=\"BAD_SIGNATURE\"} 0"),
        (2, "dac_aggregator_batches{state=\"failed\"} 0"),
    ] {
        let (what, page) = &fresh[page];
        assert!(page.lines().any(|line| line == watched), "{watched} on the page of the {what}: {page}");
    }
    // A batch leaves its traces on the pages.
    let batch = network.submit(1, HashKind::Opaque, &real_payload(1_000)).await?;
    let digest = dac_proto::wire::hash("submission_digest", &batch.submission_digest)?;
    dac_tests::rpc::watch(network.api()?, dac_tests::rpc::by_submission(digest), |batch| {
        batch.state() == dac_proto::v1::BatchState::Posted
    })
    .await?;
    let used = [
        ("member", page(address(&network.members[0].service)?).await?),
        ("reader", page(reader).await?),
        ("aggregator", page(address(&network.aggregator)?).await?),
    ];
    let documentation = source_root().join("docs/operations.md");
    let documentation = fs::read_to_string(&documentation).context(documentation.display())?;
    for ((what, before), (_, after)) in fresh.iter().zip(&used) {
        assert!(names(before).is_subset(&names(after)), "{what}");
        for name in names(after) {
            assert!(documentation.contains(&format!("`{name}`")), "{name} of a {what} in docs/operations.md");
        }
        for page in [before, after] {
            if !check(what, page)? {
                assert!(std::env::var_os(DEMAND).is_none(), "promtool: not found");
                eprintln!("SKIPPED: promtool is not there, so the metrics pages were not checked with it");
            }
        }
    }
    Ok(())
}
