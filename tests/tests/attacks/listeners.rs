//! Attacks on listeners, by clients that are nobody.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes};
use dac_proto::v1;
use dac_proto::v1::aggregator_service_client::AggregatorServiceClient;
use dac_runtime::descriptors::Descriptors;
use dac_tests::attacker::{Attacker, Call, announced, loopback, tcp};
use dac_tests::configuration::{API, RETRIEVAL};
use dac_tests::failure::Context;
use dac_tests::network::{Network, Plan, real_payload};
use dac_tests::{Result, rpc, wait};
use dac_types::limits::CHUNKS_PER_CALL_MAX;
use dac_types::{BatchDigest, HashKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::{address, memory, network, served};

const GET_AGGREGATOR: &str = "/dac.v1.AggregatorService/GetAggregator";
const GET_CHUNKS: &str = "/dac.v1.RetrievalService/GetChunks";
const MIB: u64 = 1 << 20;

/// Deadlines of listeners, short enough for a test.
const DEADLINES: &str = "{ request_timeout = '3s', write_timeout = '3s' }";

#[tokio::test(flavor = "multi_thread")]
async fn strangers_close_no_listener() -> Result<()> {
    Descriptors::default().and("connections of attackers", 4_000_u32).check()?;
    let plan = Plan {
        node: toml::from_str(&format!(
            "metrics = {{ listen = '127.0.0.1:0' }}\nretrieval = {{ limits = {DEADLINES} }}"
        ))?,
        aggregator: toml::from_str(&format!("grpc = {{ limits = {DEADLINES} }}"))?,
        ..Plan::default()
    };
    let mut network = network(plan).await?;
    let batch = network.submit(1, HashKind::Opaque, &real_payload(2_000_000)).await?;
    let digest = network.certified(&batch).await?;
    network.members[0].waits_for(digest).await?;

    idle_connections(&mut network).await?;
    endless_requests(&mut network).await?;
    unread_answers(&mut network, digest).await?;
    idle_scrapers(&mut network).await
}

/// What an honest client meets meanwhile: it connects anew for each call. The slowest of ten.
async fn honest(network: &Network) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        let began = Instant::now();
        served("GetMember", rpc::member(network.members[0].retrieval()?)).await?;
        let mut aggregator = AggregatorServiceClient::new(network.api()?);
        served("GetAggregator", aggregator.get_aggregator(v1::GetAggregatorRequest {})).await?;
        slowest = slowest.max(began.elapsed());
    }
    Ok(slowest)
}

/// How much memory both servers have.
fn both(network: &mut Network) -> Result<u64> {
    Ok(memory(&mut network.aggregator)? + memory(&mut network.members[0].service)?)
}

/// Tells what an attack cost, and demands that it cost no more.
fn costs(what: &str, before: u64, after: u64, at_most: u64, slowest: Duration) {
    let cost = after.saturating_sub(before);
    eprintln!("{what}: {} KiB of the servers' memory, slowest honest call {slowest:?}", cost >> 10);
    assert!(cost <= at_most, "{what}: {cost} bytes, at most {at_most}");
}

/// 64 connections from each of 8 addresses, which are all that a listener has, and half a request on each of them.
async fn idle_connections(network: &mut Network) -> Result<()> {
    let before = both(network)?;
    let mut idle = Vec::new();
    for to in [address(&network.members[0].service, RETRIEVAL), address(&network.aggregator, API)] {
        for place in 0..512_u16 {
            let from = loopback(u8::try_from(1 + place / 64)?, 0);
            let mut attacker = Attacker::connect(from, to).await?;
            let mut call = attacker.begin("/grpc.health.v1.Health/Check").await?;
            call.send(announced(100).freeze(), false)?;
            idle.push((attacker, call));
        }
    }
    let slowest = honest(network).await?;
    costs("1024 idle connections", before, both(network)?, 64 * MIB, slowest);
    Ok(())
}

/// Bodies that announce much and never end, or announce what is allowed and never end.
async fn endless_requests(network: &mut Network) -> Result<()> {
    let before = both(network)?;
    let to = address(&network.aggregator, API);
    let mut attacker = Attacker::connect(loopback(20, 0), to).await?;
    let mut large = attacker.begin(GET_AGGREGATOR).await?;
    large.send(announced(4 << 20).freeze(), false)?;
    assert_eq!(large.status().await?, Code::OutOfRange, "4 MiB for an empty request");

    let mut endless: Vec<Call> = Vec::new();
    let mut attackers = Vec::new();
    for _ in 0..4 {
        let mut attacker = Attacker::connect(loopback(20, 0), to).await?;
        for _ in 0..128 {
            let mut call = attacker.begin(GET_AGGREGATOR).await?;
            let mut body = announced(8 << 10);
            body.put_bytes(0, (8 << 10) - 1);
            call.send(body.freeze(), false)?;
            endless.push(call);
        }
        attackers.push(attacker);
    }
    let slowest = honest(network).await?;
    costs("512 requests that do not end", before, both(network)?, 64 * MIB, slowest);
    for call in endless {
        assert_eq!(call.status().await?, Code::DeadlineExceeded);
    }
    Ok(())
}

/// Answers of 280 KiB to 105 bytes, for a client whose window is shut, or opens for one byte.
async fn unread_answers(network: &mut Network, digest: BatchDigest) -> Result<()> {
    let to = address(&network.members[0].service, RETRIEVAL);
    let request = v1::GetChunksRequest {
        digest: Bytes::copy_from_slice(digest.as_bytes()),
        indices: (0..u32::try_from(CHUNKS_PER_CALL_MAX)?).collect(),
    };
    for (window, from) in [(0, loopback(30, 0)), (1, loopback(31, 0))] {
        let before = both(network)?;
        let mut attackers = Vec::new();
        let mut calls = Vec::new();
        for _ in 0..4 {
            let mut attacker = Attacker::connect_with_window(from, to, window).await?;
            for _ in 0..120 {
                calls.push(attacker.call(GET_CHUNKS, &request).await?);
            }
            attackers.push(attacker);
        }
        let slowest = honest(network).await?;
        // The first one has filled the address's share, so the others may hold nothing but refusals.
        attackers[0].closed(wait::LIMIT).await?;
        let what = format!("480 answers of 280 KiB, window {window}");
        costs(&what, before, both(network)?, 96 * MIB, slowest);
    }
    Ok(())
}

/// Connections to the monitoring port that ask nothing.
async fn idle_scrapers(network: &mut Network) -> Result<()> {
    let before = both(network)?;
    let ready = network.folder().join("member-0/ready.json");
    let addresses: serde_json::Value = serde_json::from_slice(&fs::read(&ready).context(ready.display())?)?;
    let to: SocketAddr = addresses["metrics"].as_str().context("metrics")?.parse()?;
    let mut idle = Vec::new();
    for _ in 0..2_000 {
        idle.push(tcp(loopback(40, 0), to).await?);
    }
    let slowest = honest(network).await?;
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        let page = served(path, get(loopback(41, 0), to, path)).await?;
        assert!(page.starts_with("HTTP/1.1 200"), "{path}: {page}");
    }
    let page = served("/metrics", get(loopback(41, 0), to, "/metrics")).await?;
    let closed = |listener: &str, reason: &str| {
        let series = "dac_listener_connections_refused_total";
        let start = format!("{series}{{listener=\"{listener}\",reason=\"{reason}\"}} ");
        let line = page.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0)
    };
    assert!(closed("metrics", "replaced") >= 1_900, "{page}");
    // A place that an honest call has given back is free for the next one.
    assert!(closed("retrieval", "replaced") >= 1, "{page}");
    assert!(closed("retrieval", "unread") >= 2, "{page}");
    // Told once, not each time.
    let log = network.members[0].service.process()?.log();
    let told = log.lines().filter(|line| line.contains("connections are refused or closed")).count();
    assert!((1..=16).contains(&told), "{told} lines");
    costs("2000 idle scrapers", before, both(network)?, 16 * MIB, slowest);
    Ok(())
}

async fn get(from: IpAddr, to: SocketAddr, path: &str) -> Result<String> {
    let mut stream = tcp(from, to).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}
