//! Deletes batches that have expired, after some slack, and what unfinished uploads may have left.
//!
//! A batch is deleted only when both the local clock and the newest block read from L1 are past its
//! time. So neither a clock that runs ahead nor an L1 endpoint that makes up timestamps deletes
//! anything early. While L1 cannot be read, nothing is deleted.

use std::sync::Arc;
use std::time::Duration;

use dac_chain::RegistryWatch;
use dac_runtime::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::store::{MemberStore, StoreError};
use crate::sync::Progress;

/// The number of batches deleted in one round. The next round follows at once while there are more.
const BATCHES_PER_ROUND: u32 = 64;

/// When batches are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Whether expired batches are deleted at all.
    pub delete_expired: bool,
    /// How long a batch is kept after its time: clocks differ, and nothing may be deleted too
    /// early.
    pub slack: Duration,
    /// How often to look for expired batches.
    pub interval: Duration,
}

/// The local clock and the time on L1, which must both be past a batch's time before it is deleted,
/// and how far L1 was read.
#[derive(Clone)]
pub struct Times {
    /// The clock of this machine.
    pub clock: Arc<dyn Clock>,
    /// The blocks of L1.
    pub registry: RegistryWatch,
    /// How far contracts were read. Batches that they renewed are kept for longer.
    pub progress: Arc<Progress>,
}

impl Times {
    /// Returns the earlier of the two times in Unix seconds, or `None` before L1 was read.
    pub fn earlier(&self) -> Option<u64> {
        if !self.progress.is_following() {
            return None;
        }
        let l1 = self.registry.latest()?.head.timestamp;
        Some(l1.min(self.clock.now_unix_seconds()))
    }
}

/// Deletes at every interval until it is stopped.
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

/// Deletes everything that is due and gives its space back. Returns the number of batches deleted.
pub async fn round(
    store: &MemberStore,
    times: &Times,
    retention: &Retention,
    stop: &CancellationToken,
) -> Result<u64, StoreError> {
    store.writer.sweep().await?;
    let Some(now) = times.earlier().filter(|_| retention.delete_expired) else { return Ok(0) };
    // A batch is kept through the second of its time. The slack comes after that.
    let before = now.saturating_sub(retention.slack.as_secs());
    // A restored backup may not know of renewals. A rollup whose contract was not read up to that
    // time loses nothing.
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
