//! What L1 says, and which contract says it.

use alloy::primitives::{Address, B256};
use dac_types::RenewalDigest;
use serde::{Deserialize, Serialize};

use crate::log::RecordedCertificate;
use crate::settlement::SettledBatch;

/// The contract that is read, and so which events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The certificate log at this address.
    Log(Address),
    /// A rollup's settlement contract.
    Settlement(Address),
}

impl Origin {
    /// The contract's address.
    pub const fn address(&self) -> Address {
        match self {
            Self::Log(address) | Self::Settlement(address) => *address,
        }
    }
}

/// Coverage that was renewed on L1: a quorum holds all batches up to one, and serves them for
/// longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RenewedCoverage {
    /// What the quorum signed.
    pub digest: RenewalDigest,
    /// The rollup's settlement contract.
    pub rollup: Address,
    /// Batches 1 to this one.
    pub last_batch: u64,
    /// The epoch that signed.
    pub epoch: u64,
    /// Unix seconds until which they are served.
    pub expires_at: u64,
    /// Unix seconds until which all settled batches are covered now.
    pub coverage_until: u64,
    /// The block that has it.
    pub block: u64,
    /// The transaction that did it.
    pub tx: B256,
}

/// What L1 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The log recorded a certificate.
    Recorded(RecordedCertificate),
    /// A rollup settled a batch.
    Settled {
        /// The rollup: the contract that said so.
        rollup: Address,
        /// The batch.
        batch: SettledBatch,
    },
    /// A rollup's coverage was renewed.
    Renewed(RenewedCoverage),
}

impl Fact {
    /// The block that has it.
    pub const fn block(&self) -> u64 {
        match self {
            Self::Recorded(certificate) => certificate.block,
            Self::Settled { batch, .. } => batch.block,
            Self::Renewed(renewed) => renewed.block,
        }
    }
}
