//! A real chain and a real committee on it, for tests: nothing here is for production, and everything panics with the
//! reason when it cannot be had.

mod anvil;
mod committee;
mod events;
mod rollup;
mod store;

pub use anvil::{Anvil, AnvilOptions, Mining};
pub use committee::{CommitteeSpec, TestCommittee, TestMember, deploy_committee};
pub use events::FakeEvents;
pub use rollup::{RollupSpec, TestRollup, deploy_rollup};
pub use store::MemoryPosterStore;

/// A settlement as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleCall {
    /// Of the batch.
    pub header: dac_types::BatchHeader,
    /// What it is said to change.
    pub transition: dac_types::Transition,
    /// Its proof.
    pub proof: alloy::primitives::Bytes,
    /// `settleRecorded`, and not `settle`.
    pub recorded: bool,
}

impl SettleCall {
    /// Reads calldata; none if it settles nothing.
    pub fn decode(calldata: &[u8]) -> Option<Self> {
        crate::calls::settle_call(calldata)
    }
}

/// A renewal as it is asked for, read from calldata; none if it renews nothing.
pub fn decode_renewal(calldata: &[u8]) -> Option<dac_types::CoverageRenewal> {
    crate::calls::renew_call(calldata)
}
