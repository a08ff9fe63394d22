//! The effort that a retrieval makes, and the progress that it reports.

use std::time::Duration;

use crate::member::Patience;

/// The effort and the deadlines of a retrieval.
#[derive(Clone, Copy, Debug)]
pub struct RetrieveOptions {
    /// The deadlines for one member.
    pub patience: Patience,
    /// The time without a finished shard after which one more member is asked.
    pub hedge_after: Duration,
    /// The most members that are asked beyond the k needed. Each may cost the memory of a shard.
    pub spares_max: usize,
    /// How often a member is asked again after it could not be reached.
    pub attempts_max: u32,
    /// The deadline of the whole retrieval.
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

/// The progress that a retrieval reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The record was found.
    Record {
        /// The number of shards needed.
        shards: u16,
        /// The length of each shard in bytes.
        shard_bytes: usize,
    },
    /// Shards are being received.
    Shards {
        /// The bytes received of shards that can still be used.
        bytes: u64,
        /// The number of checked shards.
        checked: u16,
    },
    /// All shards were received, and the payload is being decoded.
    Decoding,
}
