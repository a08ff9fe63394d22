//! A fact that a contract on L1 states, and the contract that states it.

use alloy::primitives::{Address, B256};
use dac_types::RenewalDigest;
use serde::{Deserialize, Serialize};

use crate::log::RecordedCertificate;
use crate::settlement::SettledBatch;

/// The contract that is read; its kind decides which events are read.
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

/// A renewal of coverage on L1: a quorum holds batches 1 to `last_batch` and serves them for
/// longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RenewedCoverage {
    /// The digest that the quorum signed.
    pub digest: RenewalDigest,
    /// The rollup's settlement contract.
    pub rollup: Address,
    /// The last batch covered; the first is batch 1.
    pub last_batch: u64,
    /// The epoch that signed it.
    pub epoch: u64,
    /// The Unix second until which its signers serve the batches.
    pub expires_at: u64,
    /// The Unix second until which all settled batches are covered since.
    pub coverage_until: u64,
    /// The block that contains it.
    pub block: u64,
    /// The transaction that renewed it.
    pub tx: B256,
}

/// An event on L1 that matters to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The log recorded a certificate.
    Recorded(RecordedCertificate),
    /// A rollup settled a batch.
    Settled {
        /// The rollup: the contract that emitted the event.
        rollup: Address,
        /// The settled batch.
        batch: SettledBatch,
    },
    /// A rollup's coverage was renewed.
    Renewed(RenewedCoverage),
}

impl Fact {
    /// The block that contains the event.
    pub const fn block(&self) -> u64 {
        match self {
            Self::Recorded(certificate) => certificate.block,
            Self::Settled { batch, .. } => batch.block,
            Self::Renewed(renewed) => renewed.block,
        }
    }
}
