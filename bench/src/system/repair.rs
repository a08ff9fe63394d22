//! Measures repair: one member loses its disk and rebuilds all shards that it owes from its peers.

use std::time::{Duration, Instant};

use dac_client::BatchState;
use dac_tests::{Context, Failure, Result, rpc, wait};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::arena::{Arena, microseconds, start_members};
use super::cold;
use super::setting::show_bytes;
use super::usage::Usage;
use crate::report::Figure;

/// The bytes of a payload.
const BATCH_BYTES: usize = 8 << 20;
/// The number of batches that are submitted at once.
const AT_ONCE: usize = 12;
/// The longest time for repair.
const LIMIT: Duration = Duration::from_secs(3600);
/// The bytes that a member loses by the goal. If it loses less, the figure's basis says so.
const WHOLE_BYTES: usize = 1 << 30;

/// Measures how long a member takes to repair the loss of `bytes` of shards.
#[allow(clippy::cast_precision_loss)] // Far below 2^52.
pub async fn measure(mut arena: Arena, bytes: usize) -> Result<Vec<Figure>> {
    let setting = arena.setting;
    let k = usize::from(setting.geometry.k());
    let batches = (bytes * k).div_ceil(BATCH_BYTES);
    let submitted = stream::iter((microseconds()..).take(batches))
        .map(async |number| Ok::<_, Failure>(arena.submit(number, BATCH_BYTES, BatchState::Posted).await?.0))
        .buffer_unordered(AT_ONCE);
    let digests: Vec<_> = submitted.try_collect().await?;
    arena.held_by_all(&digests).await?;

    let last = arena.network.members.last().context("a committee has members")?.seat;
    let member = &mut arena.network.members[last.index()];
    member.service.kill();
    member.service.lose_database()?;
    // The peers are restarted with cold caches, so that what they serve comes from their disks.
    for peer in arena.network.members.iter_mut().filter(|member| member.seat != last) {
        peer.service.stop().await?;
    }
    cold::drop_cached(arena.stores())?;
    start_members(&mut arena.network, |seat| seat != last).await?;

    let member = &mut arena.network.members[last.index()];
    let start = Instant::now();
    member.service.start().await?;
    let channel = member.retrieval()?;
    let owed = batches as u64;
    let is_whole = async || {
        let description = rpc::member(channel.clone()).await.ok()?;
        let duties = description.duties.unwrap_or_default();
        (duties.owed >= owed && duties.held >= owed).then_some(())
    };
    let repaired = wait::until("a member to hold again what it owes", LIMIT, is_whole).await;
    let took = start.elapsed().as_secs_f64();
    if let Err(failure) = repaired {
        return Err(Failure::new(format!("{failure}\n{}", member.service.log_end())));
    }
    let usage = Usage::of(member.service.process()?.id())?;
    arena.finish().await?;

    let lost = batches * BATCH_BYTES / k;
    let less = if lost < WHOLE_BYTES {
        format!(", not the {} of the goal", show_bytes(WHOLE_BYTES))
    } else {
        String::new()
    };
    let basis = format!(
        "{batches} shards of {}, {} in all{less}; from the start of the process with an empty store until it holds all that L1 says it owes",
        show_bytes(BATCH_BYTES / k),
        show_bytes(lost),
    );
    let figure = |what: &str, value: f64, unit: &str| {
        Figure::new(format!("system/repair {what}/{setting}/{}", show_bytes(lost)), value, unit)
            .with_basis(&basis)
    };
    let lost_mib = lost as f64 / 1_048_576.0;
    Ok(vec![
        figure("time", took, "s"),
        figure("rate", lost as f64 / 1e6 / took, "MB/s"),
        figure("CPU", usage.cpu.as_secs_f64() * 1e3 / lost_mib, "CPU ms/MiB"),
    ])
}
