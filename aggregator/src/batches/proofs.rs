//! A proof that is handed in: weighed by the batch's own task, so that nothing else changes the
//! batch meanwhile.

use std::sync::Arc;

use dac_types::BatchDigest;
use tokio::sync::oneshot;

use crate::batch::{Batch, Proof, ProofRefusal};

/// What came of a proof.
#[derive(Clone, Debug)]
pub enum ProofOutcome {
    /// It is stored, now or before: the batch as it stands.
    Batch(Arc<Batch>),
    /// The batch does not take it.
    Refused(ProofRefusal),
    /// Nobody can say: to be handed in again.
    Lost,
}

/// A proof for the batch's task.
pub(super) struct ProofSubmission {
    /// The header that it was signed for.
    pub(super) digest: BatchDigest,
    pub(super) proof: Proof,
    pub(super) reply: oneshot::Sender<ProofOutcome>,
}
