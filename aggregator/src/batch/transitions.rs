//! The transitions of the state machine: which state follows from an event, and which actions.

use dac_types::{AggregateAttestation, BatchDigest, Seat, SignatureBytes};

use super::dispersal::{Delivery, Dispersal, MemberOutcome};
use super::event::{Action, DeliveryFailure, Event};
use super::failure::{Failure, FailureReason};
use super::state::{Batch, Certified, Collection, L1Record, Phase, quota_day};
use super::text::cut;

/// Seconds after `submitBefore` until a batch without a certificate is given up. After
/// `submitBefore` no member signs it, but answers may still be under way.
pub(super) const SUBMIT_BEFORE_SLACK_SECONDS: u64 = 30;

impl Batch {
    /// Applies an event and returns what is to be done. An event that does not concern the batch's
    /// state (an answer to the header of a former epoch, a second certificate) changes nothing and
    /// has no actions.
    pub fn apply(&mut self, event: Event) -> Vec<Action> {
        if self.finished && !matches!(event, Event::ProofOffered { .. }) {
            return Vec::new();
        }
        let actions = self.transition(event);
        self.note_waiting();
        actions
    }

    fn transition(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Resumed => self.resumed(),
            Event::Encoded(dispersal) => self.encoded(*dispersal),
            Event::Answered { digest, seat, signature, at_ms, with_certificate } => {
                self.answered(digest, seat, signature, at_ms, with_certificate)
            }
            Event::DeliveryFailed { digest, seat, kind, reason, detail } => {
                self.delivery_failed(digest, seat, kind, reason, detail)
            }
            Event::CertificateDelivered { digest, seat } => self.certificate_delivered(digest, seat),
            Event::GraceEnded { digest } => self.grace_ended(digest),
            Event::Aggregated { digest, aggregate, at_ms } => self.aggregated(digest, aggregate, at_ms),
            Event::LiarsFound { digest, seats } => self.liars_found(digest, &seats),
            Event::SignatureChecked { digest, seat, good } => self.signature_checked(digest, seat, good),
            Event::EncodingWaits(obstruction) => self.encoding_waits(obstruction),
            Event::EpochOver { epoch } => self.epoch_over(epoch),
            Event::Recorded(record) => self.recorded(record),
            Event::ProofOffered { digest, proof } => self.proof_offered(digest, *proof),
            Event::ProofAccepted { hash } => self.proof_accepted(hash),
            Event::ProofRejected { hash, reason } => self.proof_rejected(hash, reason),
            Event::SettlementWaits { hash } => self.settlement_waits(hash),
            Event::SettlementIncluded { hash, record } => self.settlement_included(hash, record),
            Event::Settled(record) => self.settled(record),
            Event::SettlingFailed(failure) => self.settling_failed(failure),
            Event::PostingProblem(problem) => self.posting_problem(problem),
            Event::PayloadCorrupt { detail } => self.payload_corrupt(detail),
            Event::Failed(failure) => self.fail(failure),
            Event::TimePassed { now } => self.time_passed(now),
        }
    }

    /// Returns the current dispersal, if it is the one of `digest`.
    fn dispersal_of(&mut self, digest: BatchDigest) -> Option<&mut Dispersal> {
        self.dispersal.as_mut().filter(|dispersal| dispersal.digest == digest)
    }

    fn member(&mut self, digest: BatchDigest, seat: Seat) -> Option<&mut MemberOutcome> {
        self.dispersal_of(digest)?.members.get_mut(seat.index())
    }

    const fn is_delivering(&self) -> bool {
        matches!(self.phase, Phase::Dispersing) || self.is_certified()
    }

    const fn is_certified(&self) -> bool {
        matches!(self.phase, Phase::Certified | Phase::Proved | Phase::Posted | Phase::Settled)
    }

    fn resumed(&mut self) -> Vec<Action> {
        self.collection = Collection::Open;
        match self.phase {
            Phase::Received => vec![Action::Encode],
            Phase::Dispersing => {
                let mut actions = self.deliveries();
                actions.extend(self.collect(Collection::Grace));
                actions
            }
            Phase::Certified | Phase::Proved | Phase::Posted | Phase::Settled => {
                let mut actions = self.posting_actions();
                actions.extend(self.deliveries());
                actions.extend(self.certificate_deliveries());
                actions.extend(self.signature_checks());
                actions.extend(self.tidy());
                actions
            }
            Phase::Failed(_) | Phase::Expired => self.tidy(),
        }
    }

    /// Returns what a certified batch needs of L1.
    fn posting_actions(&mut self) -> Vec<Action> {
        match (&self.phase, self.posting.records_certificate()) {
            (Phase::Certified, true) => vec![Action::Post],
            _ => self.go_on_settling(),
        }
    }

    fn encoded(&mut self, dispersal: Dispersal) -> Vec<Action> {
        if self.phase != Phase::Received {
            return Vec::new();
        }
        self.phase = Phase::Dispersing;
        self.collection = Collection::Open;
        self.dispersal = Some(dispersal);
        self.deliveries()
    }

    fn answered(
        &mut self,
        digest: BatchDigest,
        seat: Seat,
        signature: SignatureBytes,
        at_ms: u64,
        with_certificate: bool,
    ) -> Vec<Action> {
        if !self.is_delivering() {
            return Vec::new();
        }
        let Some(member) = self.member(digest, seat) else { return Vec::new() };
        if !matches!(member.delivery, Delivery::Pending | Delivery::Retrying) {
            return Vec::new();
        }
        member.delivery = Delivery::Claimed(signature);
        member.attempts = member.attempts.saturating_add(1);
        member.attested_at_ms = at_ms;
        member.certificate_done = with_certificate;
        (member.reason, member.detail) = (String::new(), String::new());
        if self.phase == Phase::Dispersing {
            self.collect(Collection::Open)
        } else {
            vec![Action::CheckSignature { seat, signature }]
        }
    }

    /// Checks whether a quorum has answered. Other members then have a short grace, unless they had
    /// it before (`given` is [`Collection::Grace`]) or all have answered; after it the signatures
    /// are summed.
    fn collect(&mut self, given: Collection) -> Vec<Action> {
        let Some(dispersal) = self.dispersal.as_ref().filter(|_| self.phase == Phase::Dispersing) else {
            return Vec::new();
        };
        let signatures = dispersal.signatures();
        if signatures.len() < usize::from(dispersal.quorum.q()) || self.collection == Collection::Aggregating
        {
            return Vec::new();
        }
        let all_answered =
            dispersal.count(|delivery| matches!(delivery, Delivery::Pending | Delivery::Retrying)) == 0;
        if all_answered || given == Collection::Grace {
            self.collection = Collection::Aggregating;
            vec![Action::Aggregate { signatures }]
        } else if self.collection == Collection::Open {
            self.collection = Collection::Grace;
            vec![Action::StartGrace]
        } else {
            Vec::new()
        }
    }

    fn delivery_failed(
        &mut self,
        digest: BatchDigest,
        seat: Seat,
        kind: DeliveryFailure,
        reason: String,
        detail: String,
    ) -> Vec<Action> {
        if !self.is_delivering() {
            return Vec::new();
        }
        let Some(member) = self.member(digest, seat) else { return Vec::new() };
        match (member.delivery, kind) {
            (Delivery::Pending | Delivery::Retrying, _) => {
                member.delivery = match kind {
                    DeliveryFailure::Retryable => Delivery::Retrying,
                    DeliveryFailure::Refused => Delivery::Refused,
                    DeliveryFailure::Lied => Delivery::Lied,
                };
            }
            // The member did not take the certificate, but it still has its shard.
            (Delivery::Attested(_), DeliveryFailure::Retryable) => {}
            (Delivery::Attested(_), DeliveryFailure::Refused | DeliveryFailure::Lied) => {
                member.certificate_done = true
            }
            _ => return Vec::new(),
        }
        member.attempts = member.attempts.saturating_add(1);
        member.reason = cut(reason);
        member.detail = cut(detail);
        self.after_loss()
    }

    /// After a member failed, checks whether a quorum can still sign, and whether this member was
    /// the last one that was waited for.
    fn after_loss(&mut self) -> Vec<Action> {
        if self.phase != Phase::Dispersing {
            return self.tidy();
        }
        let Some(dispersal) = &self.dispersal else { return Vec::new() };
        let refused = dispersal.count(|delivery| delivery == Delivery::Refused);
        let lied = dispersal.count(|delivery| delivery == Delivery::Lied);
        if refused + lied > dispersal.quorum.absent_max() {
            let (n, q) = (dispersal.quorum.geometry().n(), dispersal.quorum.q());
            return self.fail(Failure {
                reason: FailureReason::QuorumImpossible,
                detail: format!(
                    "{refused} of {n} members refused and {lied} lied; {q} signatures are needed"
                ),
            });
        }
        self.collect(Collection::Open)
    }

    fn certificate_delivered(&mut self, digest: BatchDigest, seat: Seat) -> Vec<Action> {
        if let Some(member) = self.member(digest, seat) {
            member.certificate_done = true;
        }
        self.tidy()
    }

    fn grace_ended(&mut self, digest: BatchDigest) -> Vec<Action> {
        if self.collection != Collection::Grace || self.digest() != Some(digest) {
            return Vec::new();
        }
        self.collect(Collection::Grace)
    }

    fn aggregated(
        &mut self,
        digest: BatchDigest,
        aggregate: AggregateAttestation,
        at_ms: u64,
    ) -> Vec<Action> {
        // A header has one certificate: the first one that was made.
        if self.phase != Phase::Dispersing || self.certificate.is_some() {
            return Vec::new();
        }
        let Some(dispersal) = self.dispersal_of(digest) else { return Vec::new() };
        for (seat, member) in Seat::all(dispersal.quorum.geometry().n()).zip(&mut dispersal.members) {
            match member.delivery {
                Delivery::Claimed(signature) if !aggregate.absent.contains(seat) => {
                    member.delivery = Delivery::Attested(signature);
                    member.in_certificate = true;
                }
                // A member may take with a certificate what it refused before (too late, another
                // epoch).
                Delivery::Refused => member.delivery = Delivery::Retrying,
                _ => {}
            }
        }
        self.phase = Phase::Certified;
        self.collection = Collection::Open;
        self.certificate = Some(Certified { aggregate, at_ms });
        // Deliveries under way go on, and take the certificate with their next call; those that had
        // ended begin again.
        let mut actions = self.posting_actions();
        actions.extend(self.deliveries());
        actions.extend(self.certificate_deliveries());
        actions.extend(self.signature_checks());
        actions.extend(self.tidy());
        actions
    }

    fn liars_found(&mut self, digest: BatchDigest, seats: &[Seat]) -> Vec<Action> {
        if self.phase != Phase::Dispersing || self.collection != Collection::Aggregating {
            return Vec::new();
        }
        let Some(dispersal) = self.dispersal_of(digest) else { return Vec::new() };
        for seat in seats {
            if let Some(member) = dispersal.members.get_mut(seat.index())
                && matches!(member.delivery, Delivery::Claimed(_))
            {
                lied(member);
            }
        }
        self.collection = Collection::Open;
        let actions = self.after_loss();
        // The members had their grace already, so a quorum that is left is summed at once.
        if actions == [Action::StartGrace] { self.collect(Collection::Grace) } else { actions }
    }

    fn signature_checked(&mut self, digest: BatchDigest, seat: Seat, good: bool) -> Vec<Action> {
        if !self.is_certified() {
            return Vec::new();
        }
        let Some(member) = self.member(digest, seat) else { return Vec::new() };
        let Delivery::Claimed(signature) = member.delivery else { return Vec::new() };
        let mut actions = Vec::new();
        if good {
            member.delivery = Delivery::Attested(signature);
            if !member.certificate_done {
                actions.push(Action::DeliverCertificate { seat });
            }
        } else {
            lied(member);
        }
        actions.extend(self.tidy());
        actions
    }

    fn epoch_over(&mut self, epoch: u64) -> Vec<Action> {
        let Some(dispersal) = &self.dispersal else { return Vec::new() };
        if self.phase != Phase::Dispersing
            || dispersal.epoch() != epoch
            || self.collection != Collection::Open
        {
            return Vec::new();
        }
        // The members of that epoch sign nothing new, and too few have signed: the next epoch's
        // committee is asked.
        self.phase = Phase::Received;
        self.dispersal = None;
        self.waiting = None;
        self.reject_proof("the batch is dispersed anew, under another digest".to_owned());
        vec![Action::StopDelivery, Action::Encode]
    }

    fn recorded(&mut self, record: L1Record) -> Vec<Action> {
        if self.phase != Phase::Certified || !self.posting.records_certificate() {
            return Vec::new();
        }
        self.phase = Phase::Posted;
        self.l1 = Some(record);
        self.l1_problem.clear();
        // A proof that was handed in earlier has waited for the record.
        let mut actions = self.go_on_settling();
        actions.extend(self.tidy());
        actions
    }

    fn posting_problem(&mut self, problem: String) -> Vec<Action> {
        if self.is_certified() && !self.is_over() {
            self.l1_problem = cut(problem);
        }
        Vec::new()
    }

    fn payload_corrupt(&mut self, detail: String) -> Vec<Action> {
        match self.phase {
            Phase::Received | Phase::Dispersing => {
                self.fail(Failure { reason: FailureReason::CorruptPayload, detail })
            }
            // A certified batch does not need our copy: slow members repair their shards from the
            // others.
            Phase::Certified | Phase::Proved | Phase::Posted | Phase::Settled => {
                for member in self.dispersal.iter_mut().flat_map(|dispersal| &mut dispersal.members) {
                    if matches!(member.delivery, Delivery::Pending | Delivery::Retrying) {
                        member.delivery = Delivery::Refused;
                        member.reason = FailureReason::CorruptPayload.as_str().to_owned();
                        member.detail = cut(detail.clone());
                    }
                }
                self.tidy()
            }
            Phase::Failed(_) | Phase::Expired => Vec::new(),
        }
    }

    fn time_passed(&mut self, now: u64) -> Vec<Action> {
        let submission = &self.submission.submission;
        if now > submission.expires_at {
            if self.settlement.is_some() && !self.is_over() {
                // The batch settled in time, in a block that is not deep enough yet.
                return Vec::new();
            }
            if self.phase == Phase::Posted {
                self.reject_proof("the batch expired before it was settled".to_owned());
            } else if !self.is_over() {
                self.phase = Phase::Expired;
            }
            return self.end();
        }
        let too_late = now > submission.submit_before.saturating_add(SUBMIT_BEFORE_SLACK_SECONDS);
        if too_late
            && matches!(self.phase, Phase::Received | Phase::Dispersing)
            && self.collection == Collection::Open
        {
            let detail = format!("no quorum had signed by {}", submission.submit_before);
            return self.fail(Failure { reason: FailureReason::SubmitBeforePassed, detail });
        }
        if matches!(self.phase, Phase::Received | Phase::Dispersing) {
            // Members charge the payload to the day on which they store it.
            self.quota_day = self.quota_day.max(quota_day(now));
        }
        Vec::new()
    }
}

fn lied(member: &mut MemberOutcome) {
    member.delivery = Delivery::Lied;
    member.reason = "BAD_SIGNATURE".to_owned();
    member.detail = "the signature is not this member's over the batch's digest".to_owned();
}
