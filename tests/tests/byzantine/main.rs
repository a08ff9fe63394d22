//! Tests of members, aggregators and rollups that lie. Each lie ends in a named error with the
//! liar's name, and the service keeps working: the next honest batch is certified and retrieved.

mod aggregators;
mod members;
mod rollups;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use dac_tests::failure::Context;
use dac_tests::gate::Mode;
use dac_tests::network::{Member, Network, Shape, real_payload};
use dac_tests::{Result, configuration, wait};
use dac_types::{BatchDigest, HashKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Returns a payload that differs for each number.
fn payload(number: u64) -> Bytes {
    let mut payload = real_payload(40_000).to_vec();
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload.into()
}

/// Checks after an attack that the service certifies an honest batch, and that it comes back.
async fn unharmed(network: &Network, number: u64) -> Result<BatchDigest> {
    let payload = payload(number);
    let batch = network.submit(number, HashKind::Opaque, &payload).await?;
    let digest = network.certified(&batch).await?;
    network.posted(&batch).await?;
    assert!(network.retrieve(digest).await? == payload, "batch {number}");
    Ok(digest)
}

/// Returns the address of a member's process behind its gate.
fn own_address(network: &Network, member: &Member, listener: &str) -> Result<SocketAddr> {
    let ready = network.folder().join(format!("member-{}/ready.json", member.seat));
    let addresses: serde_json::Value = serde_json::from_slice(&fs::read(&ready).context(ready.display())?)?;
    Ok(addresses[listener].as_str().context(listener)?.parse()?)
}

/// Connects the gate to the honest member again.
fn reopen(network: &Network, member: &Member, listener: &'static str) -> Result<()> {
    member.service.gate(listener).set(Mode::Open(own_address(network, member, listener)?));
    Ok(())
}

/// The addresses of the metrics.
struct Metrics {
    aggregator: u16,
    /// The port of the member that repairs from others.
    victim: u16,
}

/// The member that repairs from others.
const VICTIM: usize = 1;

/// Makes a process serve metrics, and returns the port.
fn serve_metrics(config: &Path) -> Result<u16> {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("a free port")?;
        listener.local_addr().context("a port")?.port()
    };
    let listen = toml::Table::from_iter([("listen".to_owned(), format!("127.0.0.1:{port}").into())]);
    configuration::change(config, &toml::Table::from_iter([("metrics".to_owned(), listen.into())]))?;
    Ok(port)
}

/// Starts a network whose aggregator and one member serve metrics.
async fn network_with_metrics(shape: Shape) -> Result<(Network, Metrics)> {
    let mut network = Network::prepare(shape).await?;
    let metrics = Metrics {
        aggregator: serve_metrics(network.aggregator.config())?,
        victim: serve_metrics(network.members[VICTIM].service.config())?,
    };
    for member in &mut network.members {
        member.service.start().await?;
    }
    network.aggregator.start().await?;
    Ok((network, metrics))
}

/// Returns the value of a counter with these labels; 0 if there is none.
async fn counter(port: u16, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let mut connection = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.context("metrics")?;
    connection.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await.context("metrics")?;
    let mut page = String::new();
    connection.read_to_string(&mut page).await.context("metrics")?;
    let has = |line: &&str| {
        line.starts_with(name)
            && labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    };
    let values = page.lines().filter(has).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(values.sum())
}

/// Waits until a counter is above zero.
async fn counted(port: u16, name: &str, labels: &[(&str, &str)]) -> Result<()> {
    let what = format!("{name} {labels:?} to count");
    wait::until(&what, wait::LIMIT, async || {
        counter(port, name, labels).await.is_ok_and(|count| count > 0.0).then_some(())
    })
    .await
}

/// The names of listeners in configurations.
const DISPERSAL: &str = configuration::DISPERSAL;
const RETRIEVAL: &str = configuration::RETRIEVAL;
