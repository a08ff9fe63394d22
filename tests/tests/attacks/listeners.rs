//! Attacks on listeners by clients without any role.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut as _, Bytes};
use dac_proto::v1;
use dac_runtime::descriptors::Descriptors;
use dac_tests::attacker::{Attacker, Attackers, announced, loopback, tcp};
use dac_tests::configuration::{API, RETRIEVAL};
use dac_tests::failure::Context;
use dac_tests::network::{Network, Plan, real_payload};
use dac_tests::{Result, wait};
use dac_types::HashKind;
use dac_types::limits::CHUNKS_PER_CALL_MAX;
use futures::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::honest::{Honest, Memory, ask_both, served};
use super::{MIB, address, alone, network};

const GET_AGGREGATOR: &str = "/dac.v1.AggregatorService/GetAggregator";
const GET_CHUNKS: &str = "/dac.v1.RetrievalService/GetChunks";

/// Short deadlines of listeners, so that tests end soon.
const DEADLINES: &str = "{ request_timeout = '3s', write_timeout = '3s' }";
/// The default deadline after which a client that reads nothing is disconnected.
const USUAL_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The deadline for such clients in these tests.
const WRITE_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause before an attacker whose connection was closed connects again.
pub(crate) const AGAIN: Duration = Duration::from_millis(500);

/// Starts a system with short deadlines, whose first member has a monitoring port.
async fn impatient() -> Result<Network> {
    Descriptors::default().and("connections of attackers", 4_000_u32).check()?;
    let plan = Plan {
        node: toml::from_str(&format!(
            "metrics = {{ listen = '127.0.0.1:0' }}\nretrieval = {{ limits = {DEADLINES} }}"
        ))?,
        aggregator: toml::from_str(&format!("grpc = {{ limits = {DEADLINES} }}"))?,
        ..Plan::default()
    };
    network(plan).await
}

/// Makes a call to each of the two attacked servers, over new connections.
async fn ask(network: &Network) -> Result<()> {
    ask_both(network.members[0].retrieval()?, network.api()?).await
}

fn honest() -> Honest {
    Honest::caller("GetMember and GetAggregator over new connections")
}

/// Reads the memory of both servers.
fn memory(network: &Network) -> Result<Memory> {
    Memory::of([&network.aggregator, &network.members[0].service])
}

/// Waits until the attackers have made this many calls.
pub(crate) async fn under_way(count: &AtomicU64, at_least: u64) -> Result<()> {
    let enough = async || (count.load(Ordering::Relaxed) >= at_least).then_some(());
    wait::until("the attack to be under way", wait::LIMIT, enough).await
}

/// The attack holds 64 connections from each of 8 addresses, which is all that a listener accepts,
/// with half a request on each of them.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_close_no_listener() -> Result<()> {
    let _alone = alone().await;
    let network = impatient().await?;
    let mut honest = honest();
    honest.without(async |_| ask(&network).await).await?;
    let memory = memory(&network)?;
    let (attackers, begun) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
    for to in [address(&network.members[0].service, RETRIEVAL), address(&network.aggregator, API)] {
        for place in 0..512_u16 {
            let from = loopback(u8::try_from(1 + place / 64)?, 0);
            let begun = Arc::clone(&begun);
            attackers.come_back(AGAIN, move || hold_half_a_request(from, to, Arc::clone(&begun)));
        }
    }
    under_way(&begun, 1024).await?;
    honest.under(async |_| ask(&network).await).await?;
    let grown = memory.grown()?;
    attackers.end().await?;
    // The connection of a finished honest call was closed to make room for a new one.
    assert!(closed(&network, "retrieval", "replaced").await? >= 1);
    honest.without(async |_| ask(&network).await).await?;
    honest.verdict("1024 idle connections", grown, 64 * MIB);
    Ok(())
}

async fn hold_half_a_request(from: IpAddr, to: SocketAddr, begun: Arc<AtomicU64>) -> Result<()> {
    let mut attacker = Attacker::connect(from, to).await?;
    let mut call = attacker.begin("/grpc.health.v1.Health/Check").await?;
    call.send(announced(100).freeze(), false)?;
    begun.fetch_add(1, Ordering::Relaxed);
    attacker.closed(Duration::MAX).await
}

/// The attack sends bodies that announce too much, or an allowed length, and never end.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_end_cost_little_and_are_ended() -> Result<()> {
    let _alone = alone().await;
    let network = impatient().await?;
    let to = address(&network.aggregator, API);
    let mut attacker = Attacker::connect(loopback(21, 0), to).await?;
    let mut large = attacker.begin(GET_AGGREGATOR).await?;
    large.send(announced(4 << 20).freeze(), false)?;
    assert_eq!(large.status().await?, Code::OutOfRange, "4 MiB for an empty request");

    let mut honest = honest();
    honest.without(async |_| ask(&network).await).await?;
    let memory = memory(&network)?;
    let (attackers, begun) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
    let ended = Arc::new(AtomicU64::new(0));
    for _ in 0..4 {
        let (begun, ended) = (Arc::clone(&begun), Arc::clone(&ended));
        attackers.come_back(AGAIN, move || requests_without_end(to, Arc::clone(&begun), Arc::clone(&ended)));
    }
    under_way(&begun, 512).await?;
    honest.under(async |_| ask(&network).await).await?;
    let all_ended = async || (ended.load(Ordering::Relaxed) >= 512).then_some(());
    wait::until("512 requests to be ended at their deadline", wait::LIMIT, all_ended).await?;
    let grown = memory.grown()?;
    attackers.end().await?;
    honest.without(async |_| ask(&network).await).await?;
    honest.verdict("512 requests that do not end", grown, 64 * MIB);
    Ok(())
}

/// Sends requests that do not end, and counts those that the server ends at their deadline. The
/// next ones follow at once, unless the server refuses them.
async fn requests_without_end(to: SocketAddr, begun: Arc<AtomicU64>, ended: Arc<AtomicU64>) -> Result<()> {
    loop {
        let statuses = endless_requests(to, &begun).await?;
        let in_time = statuses.iter().filter(|status| **status == Code::DeadlineExceeded).count();
        ended.fetch_add(in_time as u64, Ordering::Relaxed);
        (in_time != 0).then_some(()).context("no request was ended at its deadline")?;
    }
}

/// Returns the statuses of 128 requests of one connection, each of which lacks its last byte.
async fn endless_requests(to: SocketAddr, begun: &AtomicU64) -> Result<Vec<Code>> {
    let mut attacker = Attacker::connect(loopback(20, 0), to).await?;
    let mut calls = Vec::new();
    for _ in 0..128 {
        let mut call = attacker.begin(GET_AGGREGATOR).await?;
        let mut body = announced(8 << 10);
        body.put_bytes(0, (8 << 10) - 1);
        call.send(body.freeze(), false)?;
        begun.fetch_add(1, Ordering::Relaxed);
        calls.push(call.status());
    }
    join_all(calls).await.into_iter().collect()
}

/// Requests of 105 bytes have answers of 280 KiB, and the client's window is shut or opens by one
/// byte. The attack comes in waves: one at the beginning, and the next one when the server has
/// disconnected it. Attackers that were disconnected early, by this test's short deadline, wait for
/// the rest of the default one, so that waves are as far apart as with defaults.
#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_bounded_and_closed() -> Result<()> {
    let _alone = alone().await;
    let network = impatient().await?;
    let batch = network.submit(1, HashKind::Opaque, &real_payload(2_000_000)).await?;
    let digest = network.certified(&batch).await?;
    network.members[0].waits_for(digest).await?;
    let to = address(&network.members[0].service, RETRIEVAL);
    let request = v1::GetChunksRequest {
        digest: Bytes::copy_from_slice(digest.as_bytes()),
        indices: (0..u32::try_from(CHUNKS_PER_CALL_MAX)?).collect(),
    };
    for (window, from) in [(0, loopback(30, 0)), (1, loopback(31, 0))] {
        let mut honest = honest().paced(Duration::from_millis(50));
        honest.without(async |_| ask(&network).await).await?;
        let memory = memory(&network)?;
        let (attackers, asked) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
        let given_up = closed(&network, "retrieval", "unread").await?;
        for _ in 0..4 {
            let (request, asked) = (request.clone(), Arc::clone(&asked));
            attackers.come_back(USUAL_WRITE_TIMEOUT - WRITE_TIMEOUT, move || {
                leave_answers(from, to, window, request.clone(), Arc::clone(&asked))
            });
        }
        under_way(&asked, 1).await?;
        honest.under(async |_| ask(&network).await).await?;
        let is_closed =
            async || (closed(&network, "retrieval", "unread").await.ok()? > given_up).then_some(());
        wait::until("a connection to be closed for what is not read", wait::LIMIT, is_closed).await?;
        let grown = memory.grown()?;
        attackers.end().await?;
        honest.without(async |_| ask(&network).await).await?;
        honest.verdict(&format!("480 unread answers of 280 KiB, window {window}"), grown, 96 * MIB);
    }
    Ok(())
}

async fn leave_answers(
    from: IpAddr,
    to: SocketAddr,
    window: u32,
    request: v1::GetChunksRequest,
    asked: Arc<AtomicU64>,
) -> Result<()> {
    let mut attacker = Attacker::connect_with_window(from, to, window).await?;
    let mut calls = Vec::new();
    for _ in 0..120 {
        calls.push(attacker.call(GET_CHUNKS, &request).await?);
        asked.fetch_add(1, Ordering::Relaxed);
    }
    attacker.closed(Duration::MAX).await
}

/// The attack opens connections to the monitoring port without a request.
#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn idle_scrapers_keep_no_probe_waiting() -> Result<()> {
    let _alone = alone().await;
    let network = impatient().await?;
    let to = monitoring(&network)?;
    let call = async |_: u64| {
        for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
            let page = get(loopback(41, 0), to, path).await?;
            assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
        }
        ask(&network).await
    };
    let healthy =
        async || get(loopback(41, 0), to, "/healthz").await.ok()?.starts_with("HTTP/1.1 200").then_some(());
    wait::until("the member to be healthy", wait::LIMIT, healthy).await?;
    // Each page takes a connection of the monitoring port.
    let mut honest = Honest::caller("the four pages of a probe, GetMember and GetAggregator")
        .paced(Duration::from_millis(80));
    honest.without(&call).await?;
    let memory = memory(&network)?;
    let (attackers, begun) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
    for _ in 0..2_000 {
        let begun = Arc::clone(&begun);
        attackers.come_back(AGAIN, move || ask_nothing(to, Arc::clone(&begun)));
    }
    under_way(&begun, 2_000).await?;
    honest.under(&call).await?;
    let grown = memory.grown()?;
    assert!(closed(&network, "metrics", "replaced").await? >= 1_900);
    attackers.end().await?;
    honest.without(&call).await?;
    // The log has one line for all of them.
    let log = network.members[0].service.log()?;
    let told = log.lines().filter(|line| line.contains("connections are refused or closed")).count();
    assert!((1..=16).contains(&told), "{told} lines");
    honest.verdict("2000 idle scrapers that come again", grown, 16 * MIB);
    Ok(())
}

async fn ask_nothing(to: SocketAddr, begun: Arc<AtomicU64>) -> Result<()> {
    let mut stream = tcp(loopback(40, 0), to).await?;
    begun.fetch_add(1, Ordering::Relaxed);
    let _ = stream.read(&mut [0]).await?;
    Ok(())
}

/// Returns the address of the first member's monitoring port.
fn monitoring(network: &Network) -> Result<SocketAddr> {
    let ready = network.folder().join("member-0/ready.json");
    let addresses: serde_json::Value = serde_json::from_slice(&fs::read(&ready).context(ready.display())?)?;
    Ok(addresses["metrics"].as_str().context("metrics")?.parse()?)
}

/// Counts the connections of one of the first member's listeners that were closed for this reason.
async fn closed(network: &Network, listener: &str, reason: &str) -> Result<u64> {
    let page = served("/metrics", get(loopback(42, 0), monitoring(network)?, "/metrics")).await?;
    let series = "dac_listener_connections_refused_total";
    let start = format!("{series}{{listener=\"{listener}\",reason=\"{reason}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&start));
    Ok(line.and_then(|count| count.parse().ok()).unwrap_or(0))
}

async fn get(from: IpAddr, to: SocketAddr, path: &str) -> Result<String> {
    let mut stream = tcp(from, to).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}
