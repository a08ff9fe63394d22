//! Handing a proof to its batch.

use std::sync::Arc;

use dac_runtime::failpoint;
use dac_types::BatchDigest;
use tokio::sync::oneshot;

use super::proofs::{ProofOutcome, ProofSubmission};
use super::registry::{Batches, Selector};
use crate::batch::{Batch, Event, Proof, ProofRefusal, ProofVerdict, SubmissionDigest};
use crate::store::StoreError;

/// The number of times that a batch is looked up, since its task may end after each look-up.
const ATTEMPTS_MAX: usize = 8;

impl Batches {
    /// Hands a proof to its batch. When this returns a batch, the store holds the proof.
    pub async fn submit_proof(
        &self,
        id: SubmissionDigest,
        digest: BatchDigest,
        proof: Proof,
    ) -> Result<ProofOutcome, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            self.wake(id).await?;
            let live = self.live.lock().get(&id).map(|live| live.proofs.clone());
            if let Some(offers) = live {
                let (reply, answer) = oneshot::channel();
                let offer = Box::new(ProofSubmission { digest, proof: proof.clone(), reply });
                if offers.send(offer).await.is_ok()
                    && let Ok(outcome) = answer.await
                {
                    return Ok(outcome);
                }
                // The batch's task has just ended, so the batch is looked up again.
                tokio::task::yield_now().await;
                continue;
            }
            let stored = self.ctx.store.batch(id).await?.ok_or(StoreError::Missing { id })?;
            match stored.batch.weigh_proof(digest, &proof, self.ctx.now()) {
                Err(refusal) => return Ok(ProofOutcome::Refused(refusal)),
                Ok(ProofVerdict::Known) => return Ok(ProofOutcome::Batch(Arc::new(stored.batch))),
                // Another process works on the batch, or none does. The process that works on it
                // now or later reads the proof from the store.
                Ok(ProofVerdict::Taken) => {
                    let (before, mut after) = (stored.batch.clone(), stored.batch);
                    after.apply(Event::ProofOffered { digest, proof: Box::new(proof.clone()) });
                    match self.ctx.store.save_foreign(&before, &after, stored.version).await {
                        Ok(_) => {
                            failpoint!("aggregator.proof.persisted");
                            self.something_is_free.notify_one();
                            return Ok(ProofOutcome::Batch(Arc::new(after)));
                        }
                        Err(StoreError::Superseded { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        Ok(ProofOutcome::Lost)
    }

    /// Returns the digest that a proof must be for: the one that the request names, or that of the
    /// batch's current header.
    pub fn proved_digest(batch: &Batch, selector: Selector) -> Result<BatchDigest, ProofRefusal> {
        match selector {
            Selector::Digest(digest) => Ok(digest),
            Selector::Submission(_) => batch.digest().ok_or(ProofRefusal::NotEncoded),
        }
    }
}
