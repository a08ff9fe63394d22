//! A block that was read; its hash shows later whether the chain below it was replaced.

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

/// A block up to which the chain was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
    /// The last batch that had settled by then; 0 for none, and for a certificate log.
    pub settled: u64,
    /// The number of facts found up to it, by any reading; `None` if they were not counted, as in
    /// earlier versions.
    #[serde(default)]
    pub facts: Option<u64>,
}
