//! The call that renews coverage in a rollup's settlement contract.

use alloy::primitives::{Address, Bytes};
use dac_bls::CheckedRenewal;
use dac_types::RenewalDigest;

use crate::contracts::calls;

/// A call that renews coverage in a rollup's settlement contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewOrder {
    /// The digest that the quorum signed.
    pub digest: RenewalDigest,
    /// The contract, which is the renewal's rollup.
    pub settlement: Address,
    /// The last batch that is kept; the first is batch 1.
    pub last_batch: u64,
    /// The Unix second until which the batches are kept; after that the renewal is of no use.
    pub expires_at: u64,
    /// The encoded call.
    pub calldata: Bytes,
}

impl RenewOrder {
    /// The call `renewCoverage`.
    pub fn new(checked: &CheckedRenewal) -> Self {
        let renewal = checked.certificate().renewal;
        Self {
            digest: checked.digest(),
            settlement: renewal.rollup,
            last_batch: renewal.last_batch,
            expires_at: renewal.expires_at,
            calldata: calls::renew_coverage(checked),
        }
    }
}
