//! What L1 says about a posting.

use alloy::primitives::B256;
use dac_types::BatchDigest;

use dac_contracts::Refusal;

/// What L1 says about a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// L1 would accept the posting, for this much gas.
    Acceptable { gas: u64 },
    /// The posting's purpose is achieved on L1.
    Done {
        /// Whether this is also true as of the confirmed block.
        confirmed: bool,
        /// The block and the transaction that did it, where known.
        found: Option<(u64, B256)>,
    },
    /// L1 would refuse the posting.
    Refused {
        refusal: Refusal,
        /// Whether L1 also refuses it as of the confirmed block.
        confirmed: bool,
    },
    /// The rollup settled another batch under its number.
    NumberUsed {
        by: BatchDigest,
        /// Whether this is also true as of the confirmed block.
        confirmed: bool,
    },
}
