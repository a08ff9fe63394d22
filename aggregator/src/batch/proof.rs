//! A batch's validity proof, and which proofs a batch takes.

use std::fmt;

use bytes::Bytes;
use dac_types::{B256, BatchDigest, PostingMode, Transition, keccak256};
use thiserror::Error;

use super::{Batch, Phase};

/// What is known of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofState {
    /// On durable storage; not simulated yet.
    Received,
    /// L1 would settle the batch with it, or has done so.
    Accepted,
    /// L1 refuses it, or it is void.
    Rejected {
        /// Why, for people.
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
    /// What it is said to show.
    pub transition: Transition,
    /// keccak256 of its bytes.
    pub hash: B256,
    /// Its bytes; empty once nobody needs them any more.
    pub bytes: Bytes,
    /// What is known of it.
    pub state: ProofState,
    /// Unix milliseconds.
    pub received_at_ms: u64,
}

impl Proof {
    /// Just handed in.
    pub fn received(transition: Transition, bytes: Bytes, received_at_ms: u64) -> Self {
        Self { transition, hash: keccak256(&bytes), bytes, state: ProofState::Received, received_at_ms }
    }

    /// Whether it still may settle its batch.
    pub const fn is_live(&self) -> bool {
        !matches!(self.state, ProofState::Rejected { .. })
    }

    fn is_same(&self, other: &Proof) -> bool {
        (self.hash, self.transition) == (other.hash, other.transition)
    }
}

/// What handing in a proof leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofVerdict {
    /// It is taken.
    Taken,
    /// It was taken before.
    Known,
}

/// Why a batch does not take a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofRefusal {
    /// Nothing to prove yet.
    #[error("the batch is not encoded yet")]
    NotEncoded,
    /// It is about a header that is no longer this batch's.
    #[error("the batch has the digest {expected} now, the proof is for {got}")]
    OtherDigest {
        /// Of the batch.
        expected: BatchDigest,
        /// Of the proof.
        got: BatchDigest,
    },
    /// Another one is under way.
    #[error("proof {present} of this batch is under way; another one is taken when L1 has refused it")]
    Conflict {
        /// Its hash.
        present: B256,
    },
    /// Nothing to prove any more.
    #[error("the batch is {phase}")]
    Ended {
        /// Which end.
        phase: &'static str,
    },
}

impl Batch {
    /// The proof that may settle it.
    pub fn live_proof(&self) -> Option<&Proof> {
        self.proof.as_ref().filter(|proof| proof.is_live())
    }

    /// Whether the batch's outcome will not change any more, unless a proof is handed in for one
    /// that is recorded. (Deliveries to slow members may go on.)
    pub fn is_over(&self) -> bool {
        match self.phase {
            Phase::Settled | Phase::Failed(_) | Phase::Expired => true,
            Phase::Posted => self.posting == PostingMode::Record && self.live_proof().is_none(),
            Phase::Received | Phase::Dispersing | Phase::Certified | Phase::Proved => false,
        }
    }

    /// Whether it would take a proof for `digest`. `now` in Unix seconds.
    pub fn weigh_proof(
        &self,
        digest: BatchDigest,
        proof: &Proof,
        now: u64,
    ) -> Result<ProofVerdict, ProofRefusal> {
        let expected = self.digest().ok_or(ProofRefusal::NotEncoded)?;
        if expected != digest {
            return Err(ProofRefusal::OtherDigest { expected, got: digest });
        }
        let ended = || ProofRefusal::Ended { phase: self.phase.name() };
        match (&self.phase, self.live_proof()) {
            (Phase::Failed(_) | Phase::Expired, _) => Err(ended()),
            (_, Some(present)) if present.is_same(proof) => Ok(ProofVerdict::Known),
            (Phase::Settled, _) => Err(ended()),
            (_, Some(present)) => Err(ProofRefusal::Conflict { present: present.hash }),
            (_, None) if now > self.submission.submission.expires_at => {
                Err(ProofRefusal::Ended { phase: Phase::Expired.name() })
            }
            (_, None) => Ok(ProofVerdict::Taken),
        }
    }
}
