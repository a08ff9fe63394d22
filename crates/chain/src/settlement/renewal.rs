//! A renewal of coverage on its way to its rollup's settlement contract.

use alloy::primitives::{Address, Bytes};
use dac_bls::CheckedRenewal;
use dac_types::RenewalDigest;

use crate::contracts::calls;

/// A renewal on its way to L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewOrder {
    /// What the quorum signed.
    pub digest: RenewalDigest,
    /// The contract: the renewal's rollup.
    pub settlement: Address,
    /// Batches 1 to this one are kept.
    pub last_batch: u64,
    /// Unix seconds until which they are; after that the renewal is of no use.
    pub expires_at: u64,
    /// The call.
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
