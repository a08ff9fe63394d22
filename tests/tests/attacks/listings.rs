//! Attacks on what the aggregator tells everybody, by strangers who read nothing of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dac_database::Backend;
use dac_proto::v1;
use dac_proto::v1::batch_service_client::BatchServiceClient;
use dac_tests::attacker::{Attacker, Attackers, loopback};
use dac_tests::configuration::API;
use dac_tests::network::{Network, Plan, Shape, real_payload};
use dac_tests::{Context, Result, wait};
use dac_types::HashKind;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::timeout;

use super::honest::{Honest, Memory, certify};
use super::listeners::{AGAIN, under_way};
use super::{MIB, address, alone, network, network_of};

const WATCH: &str = "/dac.v1.BatchService/WatchBatch";
const LIST: &str = "/dac.v1.BatchService/ListBatches";
/// The aggregator gives those up soon who do not read.
const IMPATIENT: &str = "grpc = { limits = { write_timeout = '3s' } }";

fn list_request() -> v1::ListBatchesRequest {
    v1::ListBatchesRequest { rollup: Bytes::new(), page_size: 500, page_token: String::new() }
}

/// Watches a batch until it tells its state, and asks for the batch and for a listing.
async fn read(network: &Network, batch: &v1::BatchSelector) -> Result<()> {
    let mut client = BatchServiceClient::new(network.api()?);
    let watch = v1::WatchBatchRequest { batch: Some(batch.clone()) };
    client.watch_batch(watch).await?.into_inner().message().await?;
    client.get_batch(v1::GetBatchRequest { batch: Some(batch.clone()) }).await?;
    client.list_batches(list_request()).await?;
    Ok(())
}

fn honest() -> Honest {
    Honest::caller("WatchBatch, GetBatch and ListBatches over a new connection")
}

#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn watchers_and_listings_of_strangers_shut_out_nobody() -> Result<()> {
    let _alone = alone().await;
    let mut network = network(Plan::default()).await?;
    certify(&network, 1).await?;
    // Batches that do not end, for strangers to watch.
    for member in &mut network.members[..2] {
        member.service.kill();
    }
    let batch = network.submit(2, HashKind::Opaque, &real_payload(1000)).await?;
    let selector =
        v1::BatchSelector { by: Some(v1::batch_selector::By::SubmissionDigest(batch.submission_digest)) };
    let call = async |_: u64| read(&network, &selector).await;
    let mut honest = honest();
    honest.without(&call).await?;
    let memory = Memory::of([&network.aggregator])?;
    let to = address(&network.aggregator, API);
    let (attackers, asked) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
    // Three addresses take all they can, and read nothing of it.
    for place in 0..48 {
        let (from, asked) = (loopback(1 + place % 3, 1), Arc::clone(&asked));
        let watch = v1::WatchBatchRequest { batch: Some(selector.clone()) };
        attackers.come_back(AGAIN, move || watch_and_list(from, to, watch.clone(), Arc::clone(&asked)));
    }
    under_way(&asked, 48 * 124).await?;
    honest.under(&call).await?;
    let grown = memory.grown()?;
    attackers.end().await?;
    honest.without(&call).await?;
    honest.verdict("3072 watchers and 2880 listings that nobody reads", grown, 128 * MIB);
    Ok(())
}

async fn watch_and_list(
    from: IpAddr,
    to: SocketAddr,
    watch: v1::WatchBatchRequest,
    asked: Arc<AtomicU64>,
) -> Result<()> {
    let mut attacker = Attacker::connect_with_window(from, to, 0).await?;
    let mut calls = Vec::new();
    for _ in 0..64 {
        calls.push(attacker.call(WATCH, &watch).await?);
        asked.fetch_add(1, Ordering::Relaxed);
    }
    for _ in 0..60 {
        calls.push(attacker.call(LIST, &list_request()).await?);
        asked.fetch_add(1, Ordering::Relaxed);
    }
    attacker.closed(Duration::MAX).await
}

#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn listings_that_nobody_reads_shut_out_nobody() -> Result<()> {
    listings(Backend::Sqlite).await
}

#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn listings_that_nobody_reads_shut_out_nobody_on_postgresql() -> Result<()> {
    listings(Backend::Postgres).await
}

/// One address asks for pages of a hundred batches over all the connections that it may have, and
/// reads none.
async fn listings(backend: Backend) -> Result<()> {
    const BATCHES: u64 = 100;
    const CONNECTIONS: u64 = 64;
    const CALLS: u64 = 120;
    let _alone = alone().await;
    let plan = Plan { aggregator: toml::from_str(IMPATIENT)?, ..Plan::default() };
    let network = network_of(Shape { backend, ..Shape::SMALL }, plan).await?;
    let submitted = stream::iter(1..=BATCHES).map(|number| certify(&network, number)).buffer_unordered(4);
    let digests: Vec<_> = submitted.try_collect().await?;
    let selector = dac_tests::rpc::by_digest(*digests.first().context("a batch")?);
    let call = async |_: u64| read(&network, &selector).await;
    let mut honest = honest();
    honest.without(&call).await?;
    let memory = Memory::of([&network.aggregator])?;
    let to = address(&network.aggregator, API);
    let (attackers, asked) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
    for _ in 0..CONNECTIONS {
        let asked = Arc::clone(&asked);
        attackers.come_back(AGAIN, move || list_in_vain(to, CALLS, Arc::clone(&asked)));
    }
    under_way(&asked, CONNECTIONS * CALLS).await?;
    honest.under(&call).await?;
    let grown = memory.grown()?;
    attackers.end().await?;
    honest.without(&call).await?;
    println!("{} listings were asked for", asked.load(Ordering::Relaxed));
    honest.verdict(&format!("listings that nobody reads, {backend:?}"), grown, 64 * MIB);
    Ok(())
}

/// Asks until the server has enough of it, or, where it refused everything, for some seconds.
async fn list_in_vain(to: SocketAddr, calls: u64, asked: Arc<AtomicU64>) -> Result<()> {
    let mut attacker = Attacker::connect_with_window(loopback(50, 0), to, 0).await?;
    let mut answers = Vec::new();
    for _ in 0..calls {
        answers.push(attacker.call(LIST, &list_request()).await?);
        asked.fetch_add(1, Ordering::Relaxed);
    }
    let _ = timeout(wait::LIMIT / 10, attacker.closed(Duration::MAX)).await;
    Ok(())
}
