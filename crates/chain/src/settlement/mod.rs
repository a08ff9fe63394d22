//! A rollup's settlement contract: the calls that settle a batch and renew coverage, what a refusal
//! means, and what has settled.

mod coverage;
mod reader;
mod refusal;
mod renewal;

use alloy::primitives::{Address, Bytes};
use dac_types::{BatchDigest, BatchHeader, Certificate, Domain, Transition};

pub use self::coverage::CoverageState;
pub use self::reader::{Searched, SettledBatch, SettledPage, SettlementReader, SettlementState};
pub use self::refusal::SettlementRefusal;
pub use self::renewal::RenewOrder;
use crate::contracts::calls;
use crate::error::ChainError;

/// A call that settles a batch in its rollup's settlement contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleOrder {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// The contract, which is the header's rollup.
    pub settlement: Address,
    /// The number that the rollup gave the batch.
    pub batch_number: u64,
    /// The Unix second after which the batch cannot settle any more.
    pub expires_at: u64,
    /// The encoded call.
    pub calldata: Bytes,
}

impl SettleOrder {
    /// The call `settle`, with certificate and proof in one transaction.
    pub fn with_certificate(
        certificate: &Certificate,
        domain: &Domain,
        transition: &Transition,
        proof: &[u8],
    ) -> Result<Self, ChainError> {
        let calldata = calls::settle(certificate, transition, proof)?;
        Ok(Self::of(&certificate.header, domain, calldata))
    }

    /// The call `settleRecorded`, with the proof of a batch whose certificate the log has recorded.
    pub fn recorded(header: &BatchHeader, domain: &Domain, transition: &Transition, proof: &[u8]) -> Self {
        Self::of(header, domain, calls::settle_recorded(header, transition, proof))
    }

    fn of(header: &BatchHeader, domain: &Domain, calldata: Bytes) -> Self {
        Self {
            digest: header.digest(domain),
            settlement: header.rollup,
            batch_number: header.batch_number,
            expires_at: header.expires_at,
            calldata,
        }
    }
}
