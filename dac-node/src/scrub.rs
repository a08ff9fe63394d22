//! Reads everything that is stored again, in rounds, because disks lose bytes that nobody reads.
//! Batches that fail their check are marked, and then repaired.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dac_client::{Pace, Throttle};
use dac_runtime::clock::Clock;
use dac_types::BatchDigest;
use dac_types::limits::STORED_ROW_BYTES;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::store::{Catalog, Holding, Piece, Rounds, Scrub, ShardId, ShardStore, StoreError};
use crate::verify::{intact_tree, row_is_intact};
use dac_runtime::workers::Workers;

/// The number of batches after which the position is stored.
const BATCHES_PER_PAGE: u32 = 16;
/// The number of places in a row that are passed over because the database cannot read them.
const UNREADABLE_MAX_PLACES: u32 = 1000;
/// The longest pause before it checks whether a round is due.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How often everything is read again, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// The time from the beginning of one round to that of the next.
    pub period: Duration,
    /// The number of bytes that are read in a second.
    pub bytes_per_second: NonZeroU64,
}

/// The progress since the process started.
#[derive(Debug, Default)]
pub struct ScrubStatus {
    shards: AtomicU64,
    ended_at: AtomicU64,
}

impl ScrubStatus {
    /// Returns the number of shards that were read again.
    pub fn shards(&self) -> u64 {
        self.shards.load(Ordering::Relaxed)
    }

    /// Returns the Unix time in seconds at which the last full round ended, or 0.
    pub fn ended_at(&self) -> u64 {
        self.ended_at.load(Ordering::Relaxed)
    }
}

/// The task that reads everything again.
pub struct Scrubber {
    /// The bytes of shards.
    pub shards: Arc<dyn ShardStore>,
    /// The books of what is held.
    pub catalog: Arc<dyn Catalog>,
    /// Where the round stands.
    pub rounds: Arc<dyn Rounds>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where hashing runs.
    pub workers: Workers,
    /// How often it runs, and how fast.
    pub settings: ScrubSettings,
    /// The progress, for others to read.
    pub status: Arc<ScrubStatus>,
    /// Notified when a batch is found to be corrupt.
    pub repair_wanted: Arc<Notify>,
    /// Notified when the batches that are held intact have changed.
    pub recount: Arc<Notify>,
}

impl Scrubber {
    /// Runs round after round until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let pace = Throttle::new(self.settings.bytes_per_second);
        loop {
            let pause = tokio::select! {
                () = stop.cancelled() => return,
                result = self.page(&pace) => match result {
                    Ok(true) => continue,
                    Ok(false) => (self.settings.period / 100).min(PAUSE_MAX),
                    Err(error) => {
                        tracing::error!(%error, "stored batches could not be verified; trying again");
                        PAUSE_MAX
                    }
                },
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads some batches again. Returns whether the round goes on.
    async fn page(&self, pace: &Throttle) -> Result<bool, StoreError> {
        let now = self.clock.now_unix_seconds();
        let Scrub { mut after, mut began_at, ended_at } = self.rounds.scrub().await?;
        self.status.ended_at.store(ended_at, Ordering::Relaxed);
        if ended_at >= began_at {
            if began_at > 0 && now < began_at.saturating_add(self.settings.period.as_secs()) {
                return Ok(false);
            }
            (after, began_at) = (0, now.max(ended_at.saturating_add(1)));
        }
        let page = self.page_after(&mut after).await?;
        for (place, digest) in &page {
            match self.look(*digest, pace).await {
                // Not even its line can be read, so there is nothing to mark. The round goes on.
                Err(error) if error.is_unreadable() => {
                    tracing::error!(%digest, %error, "a stored batch cannot be read at all: is the disk failing?");
                }
                result => result?,
            }
            after = *place;
        }
        if page.is_empty() {
            let ended_at = self.clock.now_unix_seconds().max(began_at);
            self.rounds.set_scrub(Scrub { after: 0, began_at, ended_at }).await?;
            self.status.ended_at.store(ended_at, Ordering::Relaxed);
            metrics::counter!("dac_node_scrub_rounds_total").increment(1);
            tracing::info!("all stored batches were verified again");
            return Ok(false);
        }
        self.rounds.set_scrub(Scrub { after, began_at, ended_at }).await?;
        Ok(true)
    }

    /// Returns batches after a place. It passes over places that the database cannot read, up to a
    /// number in a row.
    async fn page_after(&self, after: &mut u64) -> Result<Vec<(u64, BatchDigest)>, StoreError> {
        let mut limit = BATCHES_PER_PAGE;
        for passed_over in 0_u32.. {
            match self.rounds.stored_after(*after, limit).await {
                Err(error) if error.is_unreadable() && passed_over < UNREADABLE_MAX_PLACES => {
                    // It goes on one by one, and passes over a place only if that one cannot be
                    // read by itself.
                    if limit == 1 {
                        *after += 1;
                        metrics::counter!("dac_node_unreadable_total").increment(1);
                        tracing::error!(place = *after, %error, "what is stored here cannot be read: is the disk failing?");
                    }
                    limit = 1;
                }
                result => return result,
            }
        }
        Ok(Vec::new())
    }

    /// Reads one batch again, and marks it if it is not whole.
    async fn look(&self, digest: BatchDigest, pace: &Throttle) -> Result<(), StoreError> {
        let held = match self.catalog.find(digest).await {
            // The batch is gone, or is known to be corrupt.
            Ok(None) => return Ok(()),
            Ok(Some(held)) if held.is_corrupt => return Ok(()),
            Ok(Some(held)) => held,
            Err(StoreError::Corrupt { shard, what, .. }) => return self.mark(digest, shard, what).await,
            Err(error) => return Err(error),
        };
        let problem = self.problem(&held, pace).await?;
        self.status.shards.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("dac_node_scrubbed_shards_total").increment(1);
        match problem {
            Some(what) => self.mark(digest, Some(held.shard), what).await,
            None => Ok(()),
        }
    }

    /// Returns the part of a stored shard that fails its check.
    async fn problem(&self, held: &Holding, pace: &Throttle) -> Result<Option<&'static str>, StoreError> {
        let (record, seat, length) = (&held.record, held.seat, held.record.shard_length());
        let Some(hashes) = self.catalog.leaf_hashes(held.shard).await? else {
            return Ok(Some("the shard's tree"));
        };
        let of_record = Arc::clone(record);
        // A computation that was lost says nothing about the disk.
        let Ok(tree) = self.workers.run(move || intact_tree(&of_record, seat, hashes)).await else {
            return Ok(None);
        };
        let Some(tree) = tree.map(Arc::new) else { return Ok(Some("the shard's tree")) };
        for index in 0..length.div_ceil(STORED_ROW_BYTES) {
            let Some(row) = self.shards.read(held.shard, Piece::Row(index)).await? else {
                return Ok(Some("a row"));
            };
            let (tree, bytes) = (Arc::clone(&tree), row.len());
            let intact = self.workers.run(move || row_is_intact(&tree, length, index, &row)).await;
            if intact == Ok(false) {
                return Ok(Some("a row"));
            }
            metrics::counter!("dac_node_scrubbed_bytes_total").increment(bytes as u64);
            pace.take(bytes).await;
        }
        Ok(None)
    }

    async fn mark(
        &self,
        digest: BatchDigest,
        shard: Option<ShardId>,
        what: &'static str,
    ) -> Result<(), StoreError> {
        // The mark is for the shard that was read: the batch may have been repaired or deleted in
        // the meantime.
        if self.catalog.mark_corrupt(digest, shard).await? {
            metrics::counter!("dac_node_corrupt_total").increment(1);
            tracing::error!(%digest, what, "a stored batch fails its check: found by re-verification");
            self.repair_wanted.notify_one();
            self.recount.notify_one();
        }
        Ok(())
    }
}
