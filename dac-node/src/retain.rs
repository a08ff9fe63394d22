//! Deletion of what has expired, with slack, and of what unfinished uploads may have left.
//!
//! Something is deleted only when both the local clock and the newest block read from L1 are past
//! its time: a clock that runs ahead deletes nothing early, nor does an L1 endpoint that makes up
//! timestamps, and while L1 is not read nothing more goes at all.

use std::sync::Arc;
use std::time::Duration;

use dac_chain::RegistryWatch;
use dac_runtime::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::store::{MemberStore, StoreError};
use crate::sync::Progress;

/// Batches of one round; the next round follows at once while there are more.
const BATCHES_PER_ROUND: u32 = 64;

/// When things are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Whether expired batches are deleted at all.
    pub delete_expired: bool,
    /// How long after its time a batch is kept: clocks differ, and nothing may go too early.
    pub slack: Duration,
    /// How often to look.
    pub interval: Duration,
}

/// What time it is, by two witnesses, and what L1 was read for.
#[derive(Clone)]
pub struct Times {
    /// This machine's clock.
    pub clock: Arc<dyn Clock>,
    /// L1's blocks.
    pub registry: RegistryWatch,
    /// How far contracts were read: what they renewed is kept for longer.
    pub progress: Arc<Progress>,
}

impl Times {
    /// The earlier of the two, in Unix seconds; `None` before L1 was read.
    pub fn earlier(&self) -> Option<u64> {
        if !self.progress.is_following() {
            return None;
        }
        let l1 = self.registry.latest()?.head.timestamp;
        Some(l1.min(self.clock.now_unix_seconds()))
    }
}

/// Looks again and again until stopped.
pub async fn run(store: MemberStore, times: Times, retention: Retention, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(retention.interval) => {}
        }
        match round(&store, &times, &retention, &stop).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "deleted expired batches"),
            Err(error) => tracing::warn!(%error, "expired batches could not be deleted; trying again later"),
        }
    }
}

/// Deletes everything that is due and gives its space back. Returns how many batches went.
pub async fn round(
    store: &MemberStore,
    times: &Times,
    retention: &Retention,
    stop: &CancellationToken,
) -> Result<u64, StoreError> {
    store.writer.sweep().await?;
    let Some(now) = times.earlier().filter(|_| retention.delete_expired) else { return Ok(0) };
    // Kept until its time, that second included; the slack comes after.
    let before = now.saturating_sub(retention.slack.as_secs());
    // A restored backup may not know of renewals: what their contracts were not read for, up to
    // that time, stays.
    let spared = times.progress.unread_rollups(before);
    let mut deleted = 0;
    while !stop.is_cancelled() {
        let now = store.catalog.delete_expired(before, &spared, BATCHES_PER_ROUND).await?;
        deleted += now;
        if now < u64::from(BATCHES_PER_ROUND) {
            break;
        }
    }
    metrics::counter!("dac_node_deleted_batches_total").increment(deleted);
    store.upkeep.give_back().await?;
    Ok(deleted)
}
