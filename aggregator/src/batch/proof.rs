//! A batch's validity proof.

use std::fmt;

use bytes::Bytes;
use dac_types::{B256, BatchDigest, Transition, keccak256};
use thiserror::Error;

/// What is known of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofState {
    /// The proof is on durable storage, and was not simulated yet.
    Received,
    /// L1 would settle the batch with the proof, or has done so.
    Accepted,
    /// L1 refuses the proof, or the batch does not need it any more.
    Rejected {
        /// The reason in words, for people.
        reason: String,
    },
}

impl fmt::Display for ProofState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received => formatter.write_str("received"),
            Self::Accepted => formatter.write_str("accepted"),
            Self::Rejected { reason } => write!(formatter, "rejected: {reason}"),
        }
    }
}

/// A proof that the rollup's poster handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The state transition that the rollup claims to prove.
    pub transition: Transition,
    /// The keccak256 hash of the proof's bytes.
    pub hash: B256,
    /// The proof's bytes; empty once they are not needed any more.
    pub bytes: Bytes,
    /// What is known of the proof.
    pub state: ProofState,
    /// The time when it was handed in, in Unix milliseconds.
    pub received_at_ms: u64,
}

impl Proof {
    /// Makes a proof that was just handed in.
    pub fn received(transition: Transition, bytes: Bytes, received_at_ms: u64) -> Self {
        Self { transition, hash: keccak256(&bytes), bytes, state: ProofState::Received, received_at_ms }
    }

    /// Returns whether the proof still may settle its batch.
    pub const fn is_live(&self) -> bool {
        !matches!(self.state, ProofState::Rejected { .. })
    }

    /// Returns whether the other proof has the same bytes and shows the same transition.
    pub(super) fn is_same(&self, other: &Proof) -> bool {
        (self.hash, self.transition) == (other.hash, other.transition)
    }
}

/// What a batch does with a proof that is handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofVerdict {
    /// The batch takes the proof.
    Taken,
    /// The batch took the proof before.
    Known,
}

/// Why a batch does not take a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofRefusal {
    /// The batch has no header yet that could be proved.
    #[error("the batch is not encoded yet")]
    NotEncoded,
    /// The proof is about a header that is no longer this batch's.
    #[error("the batch has the digest {expected} now, the proof is for {got}")]
    OtherDigest {
        /// The digest of the batch's header.
        expected: BatchDigest,
        /// The digest that the proof is for.
        got: BatchDigest,
    },
    /// Another proof is under way.
    #[error("proof {present} of this batch is under way; another one is taken when L1 has refused it")]
    Conflict {
        /// The hash of the other proof.
        present: B256,
    },
    /// The batch settled, failed or expired, and needs no proof any more.
    #[error("the batch is {phase}")]
    Ended {
        /// The name of the batch's phase.
        phase: &'static str,
    },
}
