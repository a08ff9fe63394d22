//! A block that was read, by which is noticed that the chain below was replaced.

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

/// A block up to which the chain was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// The last batch that had settled by then; 0 for none, and for a log.
    pub settled: u64,
    /// Facts that were read by then, from anywhere; none where they were not counted, as by former
    /// versions.
    #[serde(default)]
    pub facts: Option<u64>,
}
