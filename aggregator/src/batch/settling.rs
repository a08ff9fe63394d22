//! The state machine's way from a proof to the rollup's settlement. The proof and the certificate
//! come in any order.

use dac_types::{B256, PostingMode};

use super::transitions::cut;
use super::{Action, Batch, Failure, L1Record, Phase, Proof, ProofState, ProofVerdict};
use dac_types::BatchDigest;

impl Batch {
    pub(super) fn proof_offered(&mut self, digest: BatchDigest, proof: Proof) -> Vec<Action> {
        // The clock was asked before; what it says matters only there.
        if self.weigh_proof(digest, &proof, 0) != Ok(ProofVerdict::Taken) {
            return Vec::new();
        }
        self.proof = Some(proof);
        // A recorded batch had nothing left to do.
        self.finished = false;
        self.go_on_settling()
    }

    /// What is to be done towards settlement, given what is there.
    pub(super) fn go_on_settling(&mut self) -> Vec<Action> {
        match (&self.phase, self.posting, self.live_proof().is_some()) {
            (Phase::Certified, PostingMode::Settle, true) => {
                self.phase = Phase::Proved;
                vec![Action::Settle]
            }
            (Phase::Certified, PostingMode::Settle, false) => vec![Action::WatchSettlement],
            (Phase::Proved | Phase::Posted, _, true) => vec![Action::Settle],
            _ => Vec::new(),
        }
    }

    /// Whether nothing is left to do before a proof is handed in: every member has its shard and
    /// the certificate, or takes neither.
    pub fn waits_for_proof_alone(&self) -> bool {
        matches!((&self.phase, self.posting), (Phase::Certified, PostingMode::Settle))
            && self.live_proof().is_none()
            && self.payload_dropped
            && self.certificate_deliveries().is_empty()
    }

    /// The proof of this hash, while it is the one under way.
    fn proof_under_way(&mut self, hash: B256) -> Option<&mut Proof> {
        if !matches!(self.phase, Phase::Proved | Phase::Posted) {
            return None;
        }
        self.proof.as_mut().filter(|proof| proof.is_live() && proof.hash == hash)
    }

    pub(super) fn proof_accepted(&mut self, hash: B256) -> Vec<Action> {
        if let Some(proof) = self.proof_under_way(hash) {
            proof.state = ProofState::Accepted;
            self.not_included();
            self.l1_problem.clear();
        }
        Vec::new()
    }

    pub(super) fn settlement_waits(&mut self, hash: B256) -> Vec<Action> {
        if self.proof_under_way(hash).is_some() {
            self.not_included();
        }
        Vec::new()
    }

    /// A settlement that was seen is gone: reorganised away.
    fn not_included(&mut self) {
        self.settlement = None;
        if self.phase == Phase::Posted && self.posting == PostingMode::Settle {
            self.phase = Phase::Proved;
        }
    }

    pub(super) fn settlement_included(&mut self, hash: B256, record: L1Record) -> Vec<Action> {
        if let Some(proof) = self.proof_under_way(hash) {
            proof.state = ProofState::Accepted;
            self.settlement = Some(record);
            self.phase = Phase::Posted;
            self.l1_problem.clear();
        }
        Vec::new()
    }

    pub(super) fn proof_rejected(&mut self, hash: B256, reason: String) -> Vec<Action> {
        if self.proof_under_way(hash).is_none() {
            return Vec::new();
        }
        self.reject_proof(reason);
        self.not_included();
        self.l1_problem.clear();
        if self.posting == PostingMode::Settle {
            self.phase = Phase::Certified;
        }
        let mut actions = self.go_on_settling();
        actions.extend(self.tidy());
        actions
    }

    /// The proof's bytes are gone from the store, or are not those that were written.
    pub(crate) fn lose_proof(&mut self) {
        self.reject_proof("its stored bytes do not pass their check".to_owned());
        self.not_included();
        if self.phase == Phase::Proved {
            self.phase = Phase::Certified;
        }
    }

    /// Another one may be handed in; of this one only what it was is kept.
    pub(super) fn reject_proof(&mut self, reason: String) {
        if let Some(proof) = self.proof.as_mut().filter(|proof| proof.is_live()) {
            proof.state = ProofState::Rejected { reason: cut(reason) };
        }
        self.drop_proof();
    }

    /// Nobody needs the bytes any more.
    pub(super) fn drop_proof(&mut self) {
        if let Some(proof) = &mut self.proof {
            proof.bytes = bytes::Bytes::new();
        }
    }

    pub(super) fn settled(&mut self, record: L1Record) -> Vec<Action> {
        let may_settle = match self.phase {
            Phase::Certified => self.posting == PostingMode::Settle,
            Phase::Proved | Phase::Posted => !self.is_over(),
            _ => false,
        };
        if !may_settle {
            return Vec::new();
        }
        self.phase = Phase::Settled;
        self.settlement = Some(record);
        self.l1_problem.clear();
        if let Some(proof) = self.proof.as_mut().filter(|proof| record.by_us && proof.is_live()) {
            proof.state = ProofState::Accepted;
        }
        self.drop_proof();
        self.tidy()
    }

    /// The batch will never settle. One that is recorded stays so.
    pub(super) fn settling_failed(&mut self, failure: Failure) -> Vec<Action> {
        if self.posting == PostingMode::Settle {
            return self.fail(failure);
        }
        if self.phase != Phase::Posted || self.live_proof().is_none() {
            return Vec::new();
        }
        self.settlement = None;
        self.reject_proof(failure.to_string());
        self.tidy()
    }
}
