//! Proofs that clients submit. The batch's own task checks them, so that nothing else changes the
//! batch meanwhile.

use std::sync::Arc;

use dac_types::BatchDigest;
use tokio::sync::oneshot;

use crate::batch::{Batch, Proof, ProofRefusal};

/// The outcome of a submitted proof.
#[derive(Clone, Debug)]
pub enum ProofOutcome {
    /// The proof is stored, now or earlier; the value is the batch's present state.
    Batch(Arc<Batch>),
    /// The batch refuses the proof.
    Refused(ProofRefusal),
    /// The outcome is unknown; the caller submits the proof again.
    Lost,
}

/// A proof for the batch's task.
pub(super) struct ProofSubmission {
    /// The header that it was signed for.
    pub(super) digest: BatchDigest,
    pub(super) proof: Proof,
    pub(super) reply: oneshot::Sender<ProofOutcome>,
}
