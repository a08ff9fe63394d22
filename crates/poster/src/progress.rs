//! How far postings have come.

use std::collections::HashMap;
use std::sync::Arc;

use alloy::primitives::B256;

use super::key::PostingDigest;
use dac_contracts::Refusal;

/// How far a posting has come, as of the last look at L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// L1 refuses it for now, for this reason; `None` while its turn has not come.
    Waiting(Option<Refusal>),
    /// Observing it on L1 failed, wholly or in part, for this reason.
    Troubled(String),
    /// L1 would take it: a simulation says so.
    Accepted,
    /// Our transaction has done it, in a block that is not deep enough yet.
    Included {
        /// The hash of our transaction.
        tx_hash: B256,
        /// The number of the block that includes it.
        block: u64,
        /// The gas that it used.
        gas_used: u64,
    },
}

/// The progress of every posting that has no outcome yet.
pub type ProgressMap = Arc<HashMap<PostingDigest, Progress>>;
