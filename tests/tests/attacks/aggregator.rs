//! Attacks on the aggregator by rollups.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_tests::attacker::{self, Attackers, loopback};
use dac_tests::configuration::API;
use dac_tests::network::{Network, Plan};
use dac_tests::rollup::Rollup;
use dac_tests::{Failure, Result, rpc, wait};
use dac_types::{Address, AdmittedRollup, BatchSubmission, HashKind, SignedSubmission};
use futures::{Stream, stream};
use tokio::time::sleep;
use tonic::Status;

use super::honest::{Honest, Memory, certify};
use super::listeners::under_way;
use super::{MIB, alone, network};

/// The largest payload.
const LARGE: usize = 64 << 20;
/// What no attack here may make the aggregator hold beside what it holds anyway.
const MEMORY_MAX: u64 = 700 * MIB;

async fn submit_as(
    network: &Network,
    order: &SignedSubmission,
    payload: &Bytes,
) -> Result<v1::Batch, Status> {
    let channel = network.api().map_err(|failure| Status::internal(failure.to_string()))?;
    rpc::submit(channel, rpc::submit_open(&network.domain(), order), stream::iter(rpc::pieces(payload))).await
}

fn honest() -> Honest {
    Honest::rollup("a batch of 1 KB, from its submission to its certificate,")
}

async fn batch(network: &Network, number: u64) -> Result<()> {
    certify(network, number).await.map(|_| ())
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
    let _alone = alone().await;
    let mut network = network(Plan::default()).await?;
    let greedy = network.admit(Address::repeat_byte(0x22)).await;
    let mut honest = honest();
    honest.without(async |number| batch(&network, number).await).await?;
    set_quota(&network, &greedy, LARGE as u64).await?;
    let payload = Bytes::from(vec![7; LARGE]);
    let order = |number| greedy.signed(greedy.order(number, HashKind::Opaque, &payload));
    let first = order(1);
    let taken = async || submit_as(&network, &first, &payload).await.ok();
    let first = wait::until("the aggregator to know the rollup", wait::LIMIT, taken).await?;
    network.certified(&first).await?;
    // The day is spent: refused before a byte is sent.
    let status = submit_as(&network, &order(2), &payload).await.expect_err("it is over the quota");
    assert_eq!(rpc::reason(&status), Reason::QuotaExceeded, "{status}");

    // Batches that were taken when more was granted, and that members refuse now: half of the
    // committee stored them.
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
    // Through a restart.
    network.aggregator.stop().await?;
    network.aggregator.start().await?;
    let memory = Memory::of([&network.aggregator])?;
    honest.under(async |number| batch(&network, number).await).await?;
    let grown = memory.grown()?;

    // Once more is granted they are certified, too.
    set_quota(&network, &greedy, 1 << 30).await?;
    for batch in &stuck {
        network.certified(batch).await?;
    }
    honest.without(async |number| batch(&network, number).await).await?;
    honest.verdict("two batches of 64 MiB over a rollup's quota", grown, MEMORY_MAX);
    Ok(())
}

/// One byte at a time, long after the last one and before any pause is too long.
fn drops() -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold((), async |()| {
        sleep(Duration::from_secs(2)).await;
        Some((Bytes::from_static(&[7]), ()))
    })
}

#[ignore = "slow: make slow"]
#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_trickle_shut_out_nobody() -> Result<()> {
    let _alone = alone().await;
    let network = network(Plan::default()).await?;
    let greedy = network.admit(Address::repeat_byte(0x22)).await;
    let mut honest = honest();
    honest.without(async |number| batch(&network, number).await).await?;
    let memory = Memory::of([&network.aggregator])?;
    let payload = Bytes::from(vec![7; LARGE]);
    let order = greedy.order(1, HashKind::Opaque, &payload);
    let (attackers, begun) = (Attackers::new()?, Arc::new(AtomicU64::new(0)));
    // One order 64 times, and 39 others, from two addresses.
    for (place, number) in (0_u64..).zip(std::iter::repeat_n(1, 64).chain(2..=40)) {
        let order = greedy.signed(BatchSubmission { batch_number: number, ..order.clone() });
        let open = rpc::submit_open(&network.domain(), &order);
        let url = network.aggregator.gate(API).url();
        let (from, begun) = (loopback(u8::try_from(1 + place % 2)?, 0), Arc::clone(&begun));
        attackers.come_back(Duration::from_millis(200), move || {
            begun.fetch_add(1, Ordering::Relaxed);
            let (open, url) = (open.clone(), url.clone());
            async move {
                // A channel belongs to the threads that make it.
                rpc::submit(attacker::channel(from, &url)?, open, drops()).await?;
                Ok::<_, Failure>(())
            }
        });
    }
    under_way(&begun, 103).await?;
    honest.under(async |number| batch(&network, number).await).await?;
    let grown = memory.grown()?;
    attackers.end().await?;
    honest.without(async |number| batch(&network, number).await).await?;
    honest.verdict("103 uploads of 64 MiB that trickle", grown, MEMORY_MAX);
    Ok(())
}
