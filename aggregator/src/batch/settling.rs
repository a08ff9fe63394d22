//! The state machine's way from a validity proof to the rollup's settlement. The proof and the
//! certificate come in any order.

use dac_types::{B256, BatchDigest};

use super::event::Action;
use super::failure::Failure;
use super::proof::{Proof, ProofRefusal, ProofState, ProofVerdict};
use super::state::{Batch, L1Record, Phase};

impl Batch {
    /// Returns what the batch would do with a proof for the header of this digest. `now` is in Unix
    /// seconds.
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

    pub(super) fn proof_offered(&mut self, digest: BatchDigest, proof: Proof) -> Vec<Action> {
        // Whether the batch has expired was checked when the proof was handed in.
        if self.weigh_proof(digest, &proof, 0) != Ok(ProofVerdict::Taken) {
            return Vec::new();
        }
        self.proof = Some(proof);
        // A recorded batch was finished.
        self.finished = false;
        self.go_on_settling()
    }

    /// Returns the next step towards settlement, if there is one.
    pub(super) fn go_on_settling(&mut self) -> Vec<Action> {
        match (&self.phase, self.posting.records_certificate(), self.live_proof().is_some()) {
            (Phase::Certified, false, true) => {
                self.phase = Phase::Proved;
                vec![Action::Settle]
            }
            (Phase::Certified, false, false) => vec![Action::WatchSettlement],
            (Phase::Proved | Phase::Posted, _, true) => vec![Action::Settle],
            _ => Vec::new(),
        }
    }

    /// Returns whether nothing is left to do before a proof is handed in: every member has its
    /// shard and the certificate, or takes neither.
    pub fn waits_for_proof_alone(&self) -> bool {
        self.phase == Phase::Certified
            && !self.posting.records_certificate()
            && self.live_proof().is_none()
            && self.payload_dropped
            && self.certificate_deliveries().is_empty()
    }

    /// Returns the proof of this hash, while it is the one under way.
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

    /// Takes back a settlement that was seen: a reorganisation removed it from the chain.
    fn not_included(&mut self) {
        self.settlement = None;
        if self.phase == Phase::Posted && !self.posting.records_certificate() {
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
        if !self.posting.records_certificate() {
            self.phase = Phase::Certified;
        }
        let mut actions = self.go_on_settling();
        actions.extend(self.tidy());
        actions
    }

    /// Rejects the proof because its bytes are gone from the store, or are not those that were
    /// written.
    pub(crate) fn lose_proof(&mut self) {
        self.reject_proof("its stored bytes do not pass their check".to_owned());
        self.not_included();
        if self.phase == Phase::Proved {
            self.phase = Phase::Certified;
        }
    }

    pub(super) fn settled(&mut self, record: L1Record) -> Vec<Action> {
        let may_settle = match self.phase {
            Phase::Certified => !self.posting.records_certificate(),
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

    /// Ends the way to settlement: the batch will never settle. A recorded batch stays recorded.
    pub(super) fn settling_failed(&mut self, failure: Failure) -> Vec<Action> {
        if !self.posting.records_certificate() {
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
