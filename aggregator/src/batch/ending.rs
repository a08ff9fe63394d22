//! The end of a batch: its failure, and the end of what is still owed to members and to L1.

use super::dispersal::Delivery;
use super::event::Action;
use super::failure::Failure;
use super::proof::ProofState;
use super::state::{Batch, Phase};
use super::text::cut;

impl Batch {
    /// Fails the batch, unless it is over or its certificate is recorded.
    pub(super) fn fail(&mut self, mut failure: Failure) -> Vec<Action> {
        // A recorded batch stays recorded, also if it is never settled.
        let recorded = self.phase == Phase::Posted && self.posting.records_certificate();
        if recorded || self.is_over() {
            return Vec::new();
        }
        failure.detail = cut(failure.detail);
        self.phase = Phase::Failed(failure);
        self.settlement = None;
        self.tidy()
    }

    /// Drops the payload once every member has its shard or refuses, and finishes the batch once
    /// nothing else is owed either.
    pub(super) fn tidy(&mut self) -> Vec<Action> {
        if matches!(self.phase, Phase::Failed(_) | Phase::Expired) {
            return self.end();
        }
        let Some(dispersal) = self.dispersal.as_ref().filter(|_| self.certificate.is_some()) else {
            return Vec::new();
        };
        let open = dispersal.count(|delivery| {
            matches!(delivery, Delivery::Pending | Delivery::Retrying | Delivery::Claimed(_))
        });
        if open > 0 {
            return Vec::new();
        }
        self.finished = self.is_over() && self.certificate_deliveries().is_empty();
        self.payload_dropped = true;
        Vec::new()
    }

    /// Finishes the batch: nothing is owed to members or to L1 any more.
    pub(super) fn end(&mut self) -> Vec<Action> {
        (self.finished, self.payload_dropped) = (true, true);
        if self.certificate.is_none() {
            self.quota_day = 0;
        }
        self.drop_proof();
        vec![Action::StopDelivery]
    }

    /// Rejects the proof, so that another one may be handed in. Only its bytes are not kept.
    pub(super) fn reject_proof(&mut self, reason: String) {
        if let Some(proof) = self.proof.as_mut().filter(|proof| proof.is_live()) {
            proof.state = ProofState::Rejected { reason: cut(reason) };
        }
        self.drop_proof();
    }

    /// Drops the proof's bytes, which are not needed any more.
    pub(super) fn drop_proof(&mut self) {
        if let Some(proof) = &mut self.proof {
            proof.bytes = bytes::Bytes::new();
        }
    }
}
