//! Why a batch was not retrieved.

use std::time::Duration;

use dac_coding::{DecodeError, Malformed};
use dac_types::{Address, BatchDigest};
use thiserror::Error;

use super::report::{RecordFault, RetrievalReport};
use crate::fault::MemberFault;
use crate::text::printable;

/// Why a retrieval returned no payload.
#[derive(Debug, Error)]
pub enum RetrieveError {
    /// No member has a record with this digest.
    #[error(
        "none of {asked} members served the record of batch {digest}; is the digest right, and has the batch not expired?{}",
        list(faults)
    )]
    NoRecord {
        /// The batch's digest.
        digest: BatchDigest,
        /// The number of members asked.
        asked: usize,
        /// The fault of each member.
        faults: Vec<RecordFault>,
    },
    /// Members have the record, but none has a certificate.
    #[error(
        "members hold batch {digest}, but none of {asked} has its certificate and none is recorded on L1: it may still be in the making; try again later"
    )]
    NotCertified {
        /// The batch's digest.
        digest: BatchDigest,
        /// The number of members asked.
        asked: usize,
    },
    /// The record names another rollup or number than L1 does: the L1 endpoint or the rollup's
    /// address is wrong.
    #[error(
        "L1 says that batch {digest} is number {batch_number} of rollup {rollup}, its record that it is number {got_number} of {got}"
    )]
    OtherRollup {
        /// The batch's digest.
        digest: BatchDigest,
        /// The rollup according to L1.
        rollup: Address,
        /// The batch number according to L1.
        batch_number: u64,
        /// The rollup in the record.
        got: Address,
        /// The batch number in the record.
        got_number: u64,
    },
    /// Fewer than k members served a shard that passes its check.
    #[error("{needed} checked shards rebuild batch {digest}, only {got} of {n} members served one{}", report.list())]
    NotEnoughShards {
        /// The batch's digest.
        digest: BatchDigest,
        /// The number of shards needed: k.
        needed: usize,
        /// The number of checked shards received.
        got: usize,
        /// The number of seats.
        n: u16,
        /// What each member did.
        report: Box<RetrievalReport>,
    },
    /// The disperser committed to something that is not a payload. Everyone who decodes it comes to
    /// the same verdict.
    #[error(
        "MALFORMED: batch {digest} is certified and retrievable, but what its disperser committed to is no payload: {verdict}"
    )]
    Malformed {
        /// The batch's digest.
        digest: BatchDigest,
        /// What is wrong with the decoded bytes.
        verdict: Malformed,
    },
    /// Decoding failed on this machine.
    #[error("decoding batch {digest}: {source}")]
    Decode {
        /// The batch's digest.
        digest: BatchDigest,
        /// Why decoding failed.
        source: DecodeError,
    },
    /// The retrieval took longer than its deadline.
    #[error("batch {digest} was not retrieved within {limit:?}")]
    Deadline {
        /// The batch's digest.
        digest: BatchDigest,
        /// The deadline.
        limit: Duration,
    },
    /// The decoding task ended without an answer.
    #[error("the decoding task failed")]
    Stopped,
}

impl RetrieveError {
    /// Returns the faults of members and the operators that committed them, as far as they are
    /// known.
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
