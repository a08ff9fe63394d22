//! The evidence that L1 and signatures give about a batch: that a quorum signed it, and which
//! rollup settled it.

use dac_chain::SettledBatch;
use dac_types::{AbsentSeats, Address, B256, BatchDigest, BatchHeader, Certificate};

use super::error::RetrieveError;

/// The evidence that a quorum signed a batch.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A certificate that verifies against the epoch's committee.
    Certificate(Box<Certificate>),
    /// An entry in the certificate log on L1, which verified the certificate.
    RecordedOnL1 {
        /// The timestamp of the block that recorded the certificate.
        at: u64,
    },
    /// The batch's settlement on L1: the settlement contract takes no batch without a certificate.
    SettledOnL1 {
        /// The block that settled the batch.
        block: u64,
        /// The transaction that settled the batch.
        transaction: B256,
    },
}

/// What is known of a batch before its record is fetched.
#[derive(Clone, Debug, Default)]
pub struct Hint {
    /// The batch's epoch; if given, only its seats are asked.
    pub epoch: Option<u64>,
    /// When L1 recorded the batch's certificate, in Unix seconds.
    pub recorded_at: Option<u64>,
    /// The rollup that settled the batch, and the settlement.
    pub settled: Option<Settled>,
    /// The seats that did not sign according to L1. An audit excuses them.
    pub absent: Option<AbsentSeats>,
}

impl Hint {
    /// Returns the evidence that a quorum signed, if L1 gives any.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        let settled = self
            .settled
            .map(|Settled { batch, .. }| Evidence::SettledOnL1 { block: batch.block, transaction: batch.tx });
        settled.or(self.recorded_at.map(|at| Evidence::RecordedOnL1 { at }))
    }
}

/// A batch that a rollup's contract settled, as that contract reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The rollup's settlement contract.
    pub rollup: Address,
    /// The contract's report of the settlement.
    pub batch: SettledBatch,
}

impl Settled {
    /// Returns what the settlement shows of the batch.
    pub fn hint(self) -> Hint {
        Hint { epoch: Some(self.batch.epoch), settled: Some(self), ..Hint::default() }
    }

    pub(super) fn check(self, digest: BatchDigest, header: &BatchHeader) -> Result<(), RetrieveError> {
        let (rollup, batch_number) = (self.rollup, self.batch.batch_number);
        let (got, got_number) = (header.rollup, header.batch_number);
        if (got, got_number) == (rollup, batch_number) {
            return Ok(());
        }
        Err(RetrieveError::OtherRollup { digest, rollup, batch_number, got, got_number })
    }
}
