//! Deletion of what has expired, with slack, and of what unfinished uploads may have left.

use std::sync::Arc;
use std::time::Duration;

use dac_runtime::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError};

/// Batches of one round; the next round follows at once while there are more.
const BATCHES_PER_ROUND: u32 = 64;

/// When things are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Whether expired batches are deleted at all.
    pub delete_expired: bool,
    /// How long after its expiry a batch is kept: clocks differ, and nothing may go too early.
    pub slack: Duration,
    /// How often to look.
    pub interval: Duration,
}

/// Looks again and again until stopped.
pub async fn run(
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    retention: Retention,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(retention.interval) => {}
        }
        match round(&*store, &*clock, &retention, &stop).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "deleted expired batches"),
            Err(error) => tracing::warn!(%error, "expired batches could not be deleted; trying again later"),
        }
    }
}

/// Deletes everything that is due. Returns how many batches went.
pub async fn round(
    store: &dyn Store,
    clock: &dyn Clock,
    retention: &Retention,
    stop: &CancellationToken,
) -> Result<u64, StoreError> {
    store.sweep().await?;
    if !retention.delete_expired {
        return Ok(0);
    }
    // Served until expiresAt, that second included; the slack comes after.
    let before = clock.now_unix_seconds().saturating_sub(retention.slack.as_secs());
    let mut deleted = 0;
    while !stop.is_cancelled() {
        let now = store.delete_expired(before, BATCHES_PER_ROUND).await?;
        deleted += now;
        if now < u64::from(BATCHES_PER_ROUND) {
            break;
        }
    }
    metrics::counter!("dac_node_deleted_batches_total").increment(deleted);
    Ok(deleted)
}
