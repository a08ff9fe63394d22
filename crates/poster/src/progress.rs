//! How far postings have come.

use std::collections::HashMap;
use std::sync::Arc;

use alloy::primitives::B256;

use super::key::PostingDigest;
use dac_contracts::Refusal;

/// How far a posting has come, as of the last look at L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// L1 refuses it for now; none while its turn has not come.
    Waiting(Option<Refusal>),
    /// It could not be looked at, or not wholly: why.
    Troubled(String),
    /// L1 would take it: a simulation says so.
    Accepted,
    /// Our transaction has done it, in a block that is not deep enough yet.
    Included {
        /// The transaction.
        tx_hash: B256,
        /// Its block.
        block: u64,
        /// What it cost.
        gas_used: u64,
    },
}

/// The progress of every posting that has no outcome yet.
pub type ProgressMap = Arc<HashMap<PostingDigest, Progress>>;
