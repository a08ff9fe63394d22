//! Reports a batch's changes to the log, the metrics and the table of accusations.

use dac_types::Seat;
use tracing::{info, warn};

use super::super::metrics;
use super::BatchTask;
use crate::accusations::{Accused, Charge};
use crate::batch::{Batch, Delivery, Obstruction, Phase};

impl BatchTask {
    pub(super) fn report_changes(&self, before: &Batch) {
        let (id, batch) = (self.batch.id, &self.batch);
        if before.phase != batch.phase {
            metrics::phase_changed(&before.phase, &batch.phase);
            let digest = batch.digest().map(tracing::field::display);
            match &batch.phase {
                Phase::Failed(failure) => warn!(batch = %id, digest, %failure, "batch failed"),
                phase => info!(batch = %id, digest, phase = phase.name(), "batch"),
            }
        }
        if let (None, Some(certified)) = (&before.certificate, &batch.certificate) {
            metrics::certified(batch.received_at_ms, certified.at_ms);
        }
        if let (None, Some(l1)) = (&before.l1, &batch.l1) {
            metrics::recorded(l1);
        }
        if let (true, Some(l1)) =
            (before.phase != batch.phase && batch.phase == Phase::Settled, &batch.settlement)
        {
            metrics::settled(l1);
        }
        self.ctx.quotas.moved(batch, before.quota_day, batch.quota_day);
        self.report_waiting(before);
        let state = |batch: &Batch| batch.proof.as_ref().map(|proof| (proof.hash, proof.state.clone()));
        if state(before) != state(batch)
            && let Some(proof) = &batch.proof
        {
            info!(batch = %id, proof = %proof.hash, state = %proof.state, "validity proof");
        }
        let Some(new) = &batch.dispersal else { return };
        let old = before.dispersal.as_ref().filter(|old| old.digest == new.digest);
        for (seat, member) in Seat::all(new.quorum.geometry().n()).zip(&new.members) {
            let former = old.and_then(|old| old.members.get(seat.index())).map(|member| member.delivery);
            if former == Some(member.delivery) {
                continue;
            }
            metrics::member_outcome(member.delivery);
            if member.delivery == Delivery::Lied {
                let view = self.ctx.registry.latest();
                let operator =
                    view.and_then(|view| Some(view.committee(new.epoch())?.member(seat)?.operator));
                if let Some(operator) = operator {
                    let charge = Charge { kind: &member.reason, is_proven: false, detail: &member.detail };
                    self.ctx.accusations.add(Accused::Member(operator), charge, self.ctx.now());
                }
                metrics::lie(operator.map(|operator| operator.to_string()), &member.reason);
                warn!(digest = %new.digest, %seat, reason = member.reason, detail = member.detail,
                      "a member's attestation is not its own over this digest");
            }
        }
    }

    /// Logs what the batch waits for when the reason appears or changes, not at every attempt.
    fn report_waiting(&self, before: &Batch) {
        let reason = |batch: &Batch| batch.waiting().map(|waiting| waiting.obstruction.reason.clone());
        let (former, present) = (reason(before), reason(&self.batch));
        if former == present {
            return;
        }
        let order = &self.batch.submission.submission;
        let (id, rollup, number) = (self.batch.id, order.rollup, order.batch_number);
        match self.batch.waiting() {
            Some(waiting) => {
                let Obstruction { reason, detail } = &waiting.obstruction;
                metrics::waits(reason);
                warn!(batch = %id, %rollup, number, reason, detail, "a batch waits");
            }
            None => info!(batch = %id, %rollup, number, reason = former, "a batch waits no more"),
        }
    }
}
