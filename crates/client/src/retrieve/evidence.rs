//! What L1 and signatures say of a batch: that a quorum signed it, and which rollup settled it.

use dac_chain::SettledBatch;
use dac_types::{AbsentSeats, Address, B256, BatchDigest, BatchHeader, Certificate};

use super::error::RetrieveError;

/// How it is known that a quorum signed the batch.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A certificate that verifies against the epoch's committee.
    Certificate(Box<Certificate>),
    /// The certificate log on L1, which checked one.
    RecordedOnL1 {
        /// Timestamp of the block that recorded it.
        at: u64,
    },
    /// The rollup's settlement contract on L1, which takes no batch without one.
    SettledOnL1 {
        /// The block that settled it.
        block: u64,
        /// The transaction that did.
        transaction: B256,
    },
}

/// What is known of a batch before its record is.
#[derive(Clone, Debug, Default)]
pub struct Hint {
    /// Its epoch: only that one's seats are asked.
    pub epoch: Option<u64>,
    /// When L1 recorded its certificate.
    pub recorded_at: Option<u64>,
    /// Which rollup settled it, and as what.
    pub settled: Option<Settled>,
    /// Who did not sign it, by L1: an audit excuses them.
    pub absent: Option<AbsentSeats>,
}

impl Hint {
    /// That a quorum signed, as far as L1 says it.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        let settled = self
            .settled
            .map(|Settled { batch, .. }| Evidence::SettledOnL1 { block: batch.block, transaction: batch.tx });
        settled.or(self.recorded_at.map(|at| Evidence::RecordedOnL1 { at }))
    }
}

/// A batch that a rollup's contract settled, by the contract's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The contract.
    pub rollup: Address,
    /// What it says.
    pub batch: SettledBatch,
}

impl Settled {
    /// What is known of the batch before its record is.
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
