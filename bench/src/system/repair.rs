//! One member loses its disk, and fetches what it owes from its peers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dac_client::BatchState;
use dac_tests::{Context, Result, rpc, wait};
use tokio::task::JoinSet;

use super::arena::{Arena, microseconds};
use super::setting::show_bytes;
use crate::report::Figure;

/// Bytes of a payload.
const BATCH_BYTES: usize = 8 << 20;
/// Batches submitted at once.
const AT_ONCE: usize = 4;
/// Repair may take so long.
const LIMIT: Duration = Duration::from_secs(3600);

/// Measures how long the loss of `bytes` takes; the system is no longer whole afterwards if this fails.
#[allow(clippy::cast_precision_loss)] // Far below 2^52.
pub async fn measure(arena: Arena, bytes: usize) -> Result<Vec<Figure>> {
    let setting = arena.setting;
    let batches = (bytes * usize::from(setting.geometry.k())).div_ceil(BATCH_BYTES);
    let arena = Arc::new(arena);
    let mut submitting = JoinSet::new();
    for number in (microseconds()..).take(batches) {
        if submitting.len() == AT_ONCE {
            submitting.join_next().await.context("a submission")?.context("a submission")??;
        }
        let arena = Arc::clone(&arena);
        submitting
            .spawn(async move { arena.submit(number, BATCH_BYTES, BatchState::Posted).await.map(drop) });
    }
    while let Some(done) = submitting.join_next().await {
        done.context("a submission")??;
    }
    let mut arena = Arc::into_inner(arena).context("all submissions are done")?;

    let member = arena.network.members.last_mut().context("a committee has members")?;
    member.service.kill();
    member.service.lose_database()?;
    member.service.start().await?;
    let start = Instant::now();
    let channel = member.retrieval()?;
    let owed = batches as u64;
    let is_whole = async || {
        let description = rpc::member(channel.clone()).await.ok()?;
        let duties = description.duties.unwrap_or_default();
        (duties.owed >= owed && duties.held >= owed).then_some(())
    };
    wait::until("a member to hold again what it owes", LIMIT, is_whole).await?;
    let took = start.elapsed().as_secs_f64();
    let name = |what: &str| format!("system/repair {what}/{setting}/{}", show_bytes(bytes));
    Ok(vec![
        Figure::new(name("time"), took, "s"),
        Figure::new(
            name("rate"),
            (batches * BATCH_BYTES / usize::from(setting.geometry.k())) as f64 / 1e6 / took,
            "MB/s",
        ),
    ])
}
