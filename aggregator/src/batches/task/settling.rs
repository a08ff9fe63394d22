//! What a batch's task does for its settlement: takes proofs, hands them to the poster, and
//! searches for settlements that another sender posted.

use std::sync::Arc;

use super::super::proofs::{ProofOutcome, ProofSubmission};
use super::{BatchTask, Watching};
use crate::batch::{Event, Failure, FailureReason, ProofVerdict};
use crate::post::{SettlementTarget, orders};

impl BatchTask {
    /// Decides whether to take a proof, and answers once the decision is stored.
    pub(super) async fn weigh(&mut self, offer: ProofSubmission) {
        let ProofSubmission { digest, proof, reply } = offer;
        let outcome = match self.batch.weigh_proof(digest, &proof, self.ctx.now()) {
            Err(refusal) => ProofOutcome::Refused(refusal),
            Ok(ProofVerdict::Known) => ProofOutcome::Batch(Arc::new(self.batch.clone())),
            Ok(ProofVerdict::Taken) => {
                let hash = proof.hash;
                self.step(vec![Event::ProofOffered { digest, proof: Box::new(proof) }]).await;
                match &self.batch.proof {
                    Some(proof) if proof.hash == hash => ProofOutcome::Batch(Arc::new(self.batch.clone())),
                    // Another process changed the batch first, or this process is stopping.
                    _ => ProofOutcome::Lost,
                }
            }
        };
        // The client may have disconnected; the proof is stored anyway.
        let _ = reply.send(outcome);
    }

    /// Has the poster send certificate and proof to the rollup's contract.
    pub(super) fn settle(&mut self) {
        self.stop_watching();
        if self.settling.is_some() {
            return;
        }
        let hash = self.batch.live_proof().map(|proof| proof.hash);
        let order = orders::for_proof(&self.batch, &self.ctx.identity.domain);
        let (Some(hash), Some(order)) = (hash, order) else { return };
        let events = self.sender.clone();
        let order = match order {
            Ok(order) => order,
            Err(error) => {
                let failure = Failure { reason: FailureReason::Internal, detail: error.to_string() };
                let _ = events.try_send(Event::SettlingFailed(failure));
                return;
            }
        };
        self.settling = Some(hash);
        let (ctx, number) = (Arc::clone(&self.ctx), self.batch.submission.submission.batch_number);
        self.spawn(async move { ctx.posting.settle(order, number, hash, &events).await });
    }

    /// Searches for a settlement by another sender, until the batch has a proof.
    pub(super) fn watch(&mut self) {
        let Some(dispersal) = self.batch.dispersal.as_ref().filter(|_| self.watching.is_none()) else {
            return;
        };
        let header = &dispersal.record.header;
        let target = SettlementTarget {
            digest: dispersal.digest,
            settlement: header.rollup,
            batch_number: header.batch_number,
        };
        let scope = self.scope.child_token();
        let seen = self.ctx.posting.settled_count(target.settlement);
        self.watching = Some(Watching { scope: scope.clone(), seen: seen.clone() });
        let (ctx, events) = (Arc::clone(&self.ctx), self.sender.clone());
        self.ctx.jobs.spawn(async move {
            scope.run_until_cancelled(ctx.posting.watch(target, seen, &events)).await;
        });
    }

    pub(super) fn stop_watching(&mut self) {
        if let Some(watching) = self.watching.take() {
            watching.scope.cancel();
        }
    }
}
