//! What L1 says about a posting.

use alloy::primitives::B256;
use dac_types::BatchDigest;

use dac_contracts::Refusal;

/// What L1 says about a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It would take it, for this much gas.
    Acceptable { gas: u64 },
    /// What it is for is done.
    Done {
        /// As deep as was asked for.
        confirmed: bool,
        /// The block and the transaction that did it, where known.
        found: Option<(u64, B256)>,
    },
    /// It would not take it.
    Refused {
        refusal: Refusal,
        /// Nor as of the confirmed block.
        confirmed: bool,
    },
    /// The rollup settled another batch under its number.
    NumberUsed {
        by: BatchDigest,
        /// As deep as was asked for.
        confirmed: bool,
    },
}
