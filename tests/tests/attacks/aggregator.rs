//! Attacks on the aggregator by rollups and by strangers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::batch_service_client::BatchServiceClient;
use dac_tests::attacker::{Attacker, loopback};
use dac_tests::failure::Context;
use dac_tests::network::{Network, Plan, real_payload};
use dac_tests::rollup::Rollup;
use dac_tests::{Result, configuration, rpc, wait};
use dac_types::{Address, AdmittedRollup, HashKind, SignedSubmission};
use futures::{Stream, stream};
use tokio::task::JoinSet;
use tonic::Status;

use super::{address, memory, network, served};

/// The largest payload.
const LARGE: usize = 64 << 20;
/// What no attack here may make the aggregator hold.
const MEMORY_MAX: u64 = 700 << 20;

async fn submit_as(
    network: &Network,
    order: &SignedSubmission,
    payload: &Bytes,
) -> Result<v1::Batch, Status> {
    let channel = network.api().map_err(|failure| Status::internal(failure.to_string()))?;
    rpc::submit(channel, rpc::submit_open(&network.domain(), order), stream::iter(rpc::pieces(payload))).await
}

/// An honest rollup's small batch, from its submission to its certificate.
async fn honest_batch(network: &Network, number: u64) -> Result<()> {
    let began = Instant::now();
    let certified = async {
        let batch = network.submit(number, HashKind::Opaque, &real_payload(1000)).await?;
        network.certified(&batch).await
    };
    served("an honest batch", certified).await?;
    println!("honest batch {number}: certified in {:?}", began.elapsed());
    Ok(())
}

async fn set_quota(network: &Network, rollup: &Rollup, daily_payload_bytes: u64) -> Result<()> {
    let terms = AdmittedRollup {
        rollup: rollup.address,
        poster: rollup.poster.address(),
        retention_max_seconds: 86_400,
        daily_payload_bytes,
    };
    network.committee.admin(&network.anvil).admit_rollup(&terms).await?;
    Ok(())
}

async fn read_by(network: &Network, seats: std::ops::Range<usize>) -> Result<()> {
    let head = network.anvil.head().await.number;
    for member in &network.members[seats] {
        let read = async || {
            Some(rpc::member(member.retrieval().ok()?).await.ok()?.l1_block).filter(|block| *block >= head)
        };
        wait::until("a member to read the newest block", wait::LIMIT, read).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollup_over_its_quota_keeps_no_other_waiting() -> Result<()> {
    let mut network = network(Plan::default()).await?;
    let greedy = network.admit(Address::repeat_byte(0x22)).await;
    set_quota(&network, &greedy, LARGE as u64).await?;
    let payload = Bytes::from(vec![7; LARGE]);
    let order = |number| greedy.signed(greedy.order(number, HashKind::Opaque, &payload));
    let first = order(1);
    let taken = async || submit_as(&network, &first, &payload).await.ok();
    let batch = wait::until("the aggregator to know the rollup", wait::LIMIT, taken).await?;
    network.certified(&batch).await?;
    // The day is spent: refused before a byte is sent.
    let status = submit_as(&network, &order(2), &payload).await.expect_err("it is over the quota");
    assert_eq!(rpc::reason(&status), Reason::QuotaExceeded, "{status}");

    // Batches that were taken when more was granted, and that members refuse now: half of the committee stored them.
    set_quota(&network, &greedy, 1 << 30).await?;
    read_by(&network, 0..4).await?;
    for member in &mut network.members[..2] {
        member.service.kill();
    }
    let mut stuck = Vec::new();
    for number in 2..=3 {
        let order = order(number);
        let taken = async || submit_as(&network, &order, &payload).await.ok();
        stuck.push(wait::until("the aggregator to read the new terms", wait::LIMIT, taken).await?);
    }
    set_quota(&network, &greedy, LARGE as u64).await?;
    for member in &mut network.members[..2] {
        member.service.start().await?;
    }
    read_by(&network, 0..4).await?;
    let says_why = async || {
        let digest = dac_proto::wire::hash("submission_digest", &stuck[0].submission_digest).ok()?;
        let batch = rpc::batch(network.api().ok()?, rpc::by_submission(digest)).await.ok()?;
        batch.waiting.filter(|waiting| waiting.reason == Reason::QuotaExceeded.as_str())
    };
    wait::until("the batch to say why it waits", wait::LIMIT, says_why).await?;
    for number in 1..=5 {
        honest_batch(&network, number).await?;
    }
    network.aggregator.stop().await?;
    network.aggregator.start().await?;
    for number in 6..=10 {
        honest_batch(&network, number).await?;
    }
    let resident = memory(&mut network.aggregator)?;
    println!("memory with two batches of 64 MiB that no quorum takes: {} MiB", resident >> 20);
    assert!(resident < MEMORY_MAX, "{resident} bytes");
    Ok(())
}

/// One byte at a time, long after the last one and before any pause is too long.
fn drops() -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Some((Bytes::from_static(&[7]), ()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_trickle_shut_out_nobody() -> Result<()> {
    let mut network = network(Plan::default()).await?;
    let greedy = network.admit(Address::repeat_byte(0x22)).await;
    honest_batch(&network, 1).await?;
    let payload = Bytes::from(vec![7; LARGE]);
    let order = |number| greedy.signed(greedy.order(number, HashKind::Opaque, &payload));
    let mut attack = JoinSet::new();
    // One order 64 times, and 39 others.
    for number in std::iter::repeat_n(1, 64).chain(2..=40) {
        let (open, api) = (rpc::submit_open(&network.domain(), &order(number)), network.api()?);
        attack.spawn(async move {
            // Refused or ended, it begins again.
            loop {
                let _ = rpc::submit(api.clone(), open.clone(), drops()).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
    }
    for number in 2..=20 {
        honest_batch(&network, number).await?;
    }
    let resident = memory(&mut network.aggregator)?;
    println!("memory with 103 uploads that trickle: {} MiB", resident >> 20);
    assert!(resident < MEMORY_MAX, "{resident} bytes");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_and_listings_of_strangers_shut_out_nobody() -> Result<()> {
    let mut network = network(Plan::default()).await?;
    honest_batch(&network, 1).await?;
    // Batches that do not end, for strangers to watch.
    for member in &mut network.members[..2] {
        member.service.kill();
    }
    let batch = network.submit(2, HashKind::Opaque, &real_payload(1000)).await?;
    let selector = v1::BatchSelector {
        by: Some(v1::batch_selector::By::SubmissionDigest(batch.submission_digest.clone())),
    };
    let watch = v1::WatchBatchRequest { batch: Some(selector.clone()) };
    let list = v1::ListBatchesRequest { rollup: Bytes::new(), page_size: 500, page_token: String::new() };
    let to = address(&network.aggregator, configuration::API);
    let mut attackers = Vec::new();
    // Three addresses take all they can, and read nothing of it.
    for network in 1..=3 {
        for _ in 0..16 {
            let mut attacker = Attacker::connect_with_window(loopback(network, 1), to, 0).await?;
            for _ in 0..64 {
                attackers.push((attacker.call("/dac.v1.BatchService/WatchBatch", &watch).await?, None));
            }
            for _ in 0..60 {
                attackers.push((attacker.call("/dac.v1.BatchService/ListBatches", &list).await?, None));
            }
            attackers.last_mut().context("a call")?.1 = Some(attacker);
        }
    }
    let began = Instant::now();
    let mut client = BatchServiceClient::new(network.api()?);
    let mut stream = served("a watcher", client.watch_batch(watch)).await?.into_inner();
    served("its first state", stream.message()).await?;
    let request = v1::GetBatchRequest { batch: Some(selector) };
    served("a batch", client.get_batch(request)).await?;
    served("a listing", client.list_batches(list)).await?;
    println!("honest calls beside {} others: {:?}", attackers.len(), began.elapsed());
    let resident = memory(&mut network.aggregator)?;
    println!("memory with them: {} MiB", resident >> 20);
    assert!(resident < MEMORY_MAX, "{resident} bytes");
    Ok(())
}
