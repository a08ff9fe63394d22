//! Why a batch was not retrieved.

use std::time::Duration;

use dac_coding::{DecodeError, Malformed};
use dac_types::{Address, BatchDigest};
use thiserror::Error;

use super::report::{RecordFault, RetrievalReport};
use crate::fault::MemberFault;
use crate::text::printable;

/// Why there is no payload.
#[derive(Debug, Error)]
pub enum RetrieveError {
    /// No member has a record with this digest.
    #[error(
        "none of {asked} members served the record of batch {digest}; is the digest right, and has the batch not expired?{}",
        list(faults)
    )]
    NoRecord {
        /// The batch.
        digest: BatchDigest,
        /// Members asked.
        asked: usize,
        /// What each answered.
        faults: Vec<RecordFault>,
    },
    /// Members have the record, but nobody has a certificate.
    #[error(
        "members hold batch {digest}, but none of {asked} has its certificate and none is recorded on L1: it may still be in the making; try again later"
    )]
    NotCertified {
        /// The batch.
        digest: BatchDigest,
        /// Members asked.
        asked: usize,
    },
    /// The record is another rollup's, or has another number, than L1 says: the endpoint, or the
    /// address, is not what it should be.
    #[error(
        "L1 says that batch {digest} is number {batch_number} of rollup {rollup}, its record that it is number {got_number} of {got}"
    )]
    OtherRollup {
        /// The batch.
        digest: BatchDigest,
        /// Whose it should be.
        rollup: Address,
        /// Which it should be.
        batch_number: u64,
        /// Whose it is.
        got: Address,
        /// Which it is.
        got_number: u64,
    },
    /// Fewer than k members served a shard that passes its check.
    #[error("{needed} checked shards rebuild batch {digest}, only {got} of {n} members served one{}", report.list())]
    NotEnoughShards {
        /// The batch.
        digest: BatchDigest,
        /// k.
        needed: usize,
        /// Checked shards received.
        got: usize,
        /// Seats.
        n: u16,
        /// What each member did.
        report: Box<RetrievalReport>,
    },
    /// The disperser committed to something that is no payload. Everyone who decodes it comes to
    /// the same verdict.
    #[error(
        "MALFORMED: batch {digest} is certified and retrievable, but what its disperser committed to is no payload: {verdict}"
    )]
    Malformed {
        /// The batch.
        digest: BatchDigest,
        /// What is wrong with it.
        verdict: Malformed,
    },
    /// Decoding failed on this machine.
    #[error("decoding batch {digest}: {source}")]
    Decode {
        /// The batch.
        digest: BatchDigest,
        /// Why.
        source: DecodeError,
    },
    /// The whole took too long.
    #[error("batch {digest} was not retrieved within {limit:?}")]
    Deadline {
        /// The batch.
        digest: BatchDigest,
        /// The deadline.
        limit: Duration,
    },
    /// The decoding task ended without an answer.
    #[error("the decoding task failed")]
    Stopped,
}

impl RetrieveError {
    /// What members did wrong, and who, as far as it is known.
    pub fn faults(&self) -> Vec<(Address, &MemberFault)> {
        match self {
            Self::NoRecord { faults, .. } => {
                faults.iter().map(|fault| (fault.operator, &fault.fault)).collect()
            }
            Self::NotEnoughShards { report, .. } => report.faults().collect(),
            _ => Vec::new(),
        }
    }
}

fn list(faults: &[RecordFault]) -> String {
    faults
        .iter()
        .map(|fault| format!("\n  {} ({}): {}", fault.operator, printable(&fault.url), fault.fault))
        .collect()
}
