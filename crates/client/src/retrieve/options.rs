//! How much effort a retrieval makes, and what it tells while it runs.

use std::time::Duration;

use crate::member::Patience;

/// How much effort, and how much patience.
#[derive(Clone, Copy, Debug)]
pub struct RetrieveOptions {
    /// With one member.
    pub patience: Patience,
    /// Pause without a finished shard after which one more member is asked.
    pub hedge_after: Duration,
    /// Members asked beyond the k needed, at most; each may cost the memory of a shard.
    pub spares_max: usize,
    /// How often one member is asked again after it could not be reached.
    pub attempts_max: u32,
    /// For the whole.
    pub deadline: Duration,
}

impl Default for RetrieveOptions {
    fn default() -> Self {
        Self {
            patience: Patience::default(),
            hedge_after: Duration::from_millis(1500),
            spares_max: 4,
            attempts_max: 3,
            deadline: Duration::from_secs(15 * 60),
        }
    }
}

/// What a retrieval tells while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The record is there.
    Record {
        /// Shards needed.
        shards: u16,
        /// Bytes of each.
        shard_bytes: usize,
    },
    /// Bytes received of shards that are still worth something, and checked shards so far.
    Shards {
        /// Bytes.
        bytes: u64,
        /// Checked shards.
        checked: u16,
    },
    /// All shards are there.
    Decoding,
}
