//! The aggregator's Prometheus metrics. All are described, and have a first value, from the start.
//! `docs/operations.md` has the same table.

use std::collections::BTreeSet;
use std::sync::Arc;

use dac_chain::{EndpointMetrics, News};
use dac_proto::reason::Reason;
use dac_runtime::monitor;
use metrics::{counter, describe_counter, describe_gauge, gauge, histogram};

use super::oldest::Standing;
use crate::batch::{Batch, Delivery, L1Record, Phase};

/// The failure reasons of deliveries that are this program's own and not a member's.
const OWN_REASONS: [&str; 4] = ["BAD_ENDPOINT", "TLS", "TRANSPORT", "UNREACHABLE"];
/// The reasons for which a member's attestation counts as a lie.
const LIES: [&str; 4] = ["BAD_SIGNATURE", "MALFORMED_ATTESTATION", "OTHER_DIGEST", "OTHER_SEAT"];
/// The label of an operator or rollup that the registry does not list.
const UNKNOWN: &str = "unknown";
const OTHER: &str = "other";
/// The label of a refusal without a reason of the protocol.
const UNNAMED: &str = "UNNAMED";

/// The names of counters that have a rollup or an operator as a label.
const LIES_TOTAL: &str = "dac_aggregator_lies_total";
const SUBMISSIONS_REFUSED: &str = "dac_aggregator_submissions_refused_total";
const RENEWALS_HELD_BACK: &str = "dac_aggregator_renewals_held_back_total";
const RENEWAL_LIARS: &str = "dac_aggregator_renewal_liars_total";

/// The metrics of the JSON-RPC endpoints that L1 is read from.
pub(crate) const ENDPOINTS: EndpointMetrics = EndpointMetrics {
    disagreements: "dac_aggregator_l1_disagreements_total",
    undecided: "dac_aggregator_l1_undecided",
};

/// Returns all reasons for which a call to a member may fail.
fn reasons() -> impl Iterator<Item = &'static str> {
    Reason::ALL.iter().map(|reason| reason.as_str()).chain(OWN_REASONS)
}

/// Describes all metrics; called once at the start.
pub(super) fn describe() {
    crate::post::describe_metrics();
    describe_gauge!("dac_aggregator_batches", "Batches by state");
    for phase in Phase::NAMES {
        gauge!("dac_aggregator_batches", "state" => phase).increment(0.0);
    }
    monitor::gauge(
        "dac_aggregator_batches_resting",
        "Certified batches that wait for a proof and for nothing else",
    );
    monitor::gauge(
        "dac_aggregator_bytes_in_flight",
        "Payload bytes arriving or waiting for their certificate",
    );
    describe_waiting();
    describe_gauge!(
        "dac_aggregator_l1_age_seconds",
        "Seconds since the committee registry was last read from L1"
    );
    gauge!("dac_aggregator_l1_age_seconds").set(f64::INFINITY);
    monitor::gauge("dac_aggregator_posting", "1 where this process is the one that posts to L1, else 0");
    monitor::histogram("dac_aggregator_certificate_seconds", "From the stored payload to the certificate");
    monitor::histogram("dac_aggregator_encode_seconds", "From the stored payload to the signed header");
    monitor::histogram("dac_aggregator_store_shard_seconds", "One call to a member");
    monitor::counter_by(
        "dac_aggregator_member_outcomes_total",
        "Members' outcomes, one for each batch and change",
        "outcome",
        ["attested", "retrying", "refused", "lied"],
    );
    describe_counter!(
        LIES_TOTAL,
        "Attestations that are not the member's own over the digest it was asked for, by operator and reason"
    );
    monitor::counter_by(
        "dac_aggregator_delivery_failures_total",
        "Failed calls to members by reason",
        "reason",
        reasons(),
    );
    describe_submissions();
    describe_l1();
    describe_renewals();
    monitor::counter("dac_aggregator_store_failures_total", "Failures of the store");
    name_rollup(OTHER);
    name_operator(UNKNOWN);
}

/// Sets to 0 the counters of rollups and operators that the registry has just listed.
pub(crate) fn name(news: &News) {
    news.rollups.iter().for_each(|rollup| name_rollup(&rollup.to_string()));
    news.operators.iter().for_each(|operator| name_operator(&operator.to_string()));
}

fn name_rollup(rollup: &str) {
    counter!(RENEWALS_HELD_BACK, "rollup" => rollup.to_owned()).increment(0);
    for reason in Reason::ALL.iter().map(|reason| reason.as_str()).chain([UNNAMED]) {
        counter!(SUBMISSIONS_REFUSED, "reason" => reason, "rollup" => rollup.to_owned()).increment(0);
    }
}

fn name_operator(operator: &str) {
    for name in [LIES_TOTAL, RENEWAL_LIARS] {
        for reason in LIES {
            counter!(name, "operator" => operator.to_owned(), "reason" => reason).increment(0);
        }
    }
}

fn describe_waiting() {
    monitor::gauge(
        "dac_aggregator_bytes_parked",
        "Payload bytes on the disk of batches that no quorum takes for now",
    );
    monitor::gauge(
        "dac_aggregator_oldest_unencoded_seconds",
        "Age of the oldest batch that is not encoded; 0 where there is none",
    );
    monitor::gauge(
        "dac_aggregator_oldest_undelivered_seconds",
        "Age of the oldest batch that is encoded and has no certificate; 0 where there is none",
    );
    describe_gauge!("dac_aggregator_batches_waiting", "Batches without a certificate by what they wait for");
    for reason in reasons() {
        gauge!("dac_aggregator_batches_waiting", "reason" => reason).set(0.0);
    }
    monitor::counter_by(
        "dac_aggregator_waits_total",
        "How often a batch began to wait on its way to its certificate, by reason",
        "reason",
        reasons(),
    );
}

fn describe_submissions() {
    describe_counter!(
        SUBMISSIONS_REFUSED,
        "Submissions refused by reason and rollup; rollup \"other\": no admitted rollup's poster signed them"
    );
    monitor::counter_by(
        "dac_aggregator_proofs_refused_total",
        "Validity proofs not taken, by reason",
        "reason",
        Reason::ALL.iter().map(|reason| reason.as_str()).chain([UNNAMED]),
    );
}

fn describe_l1() {
    ENDPOINTS.describe();
    let by_us = ["true", "false"];
    monitor::counter(
        "dac_aggregator_gas_used_total",
        "Gas used for recording certificates and settling batches",
    );
    monitor::counter_by(
        "dac_aggregator_settled_total",
        "Batches settled on L1, by whether this aggregator's transaction did it",
        "by_us",
        by_us,
    );
    monitor::counter_by(
        "dac_aggregator_recorded_total",
        "Certificates recorded on L1, by whether this aggregator's transaction did it",
        "by_us",
        by_us,
    );
}

fn describe_renewals() {
    monitor::counter_by(
        "dac_aggregator_renewals_total",
        "Renewals of a rollup's coverage by outcome",
        "outcome",
        ["renewed", "failed"],
    );
    describe_counter!(
        RENEWALS_HELD_BACK,
        "Renewals put off because the contract did not count the one before, by rollup"
    );
    monitor::counter_by(
        "dac_aggregator_renewal_refusals_total",
        "Members that did not sign a renewal, by reason",
        "reason",
        reasons(),
    );
    describe_counter!(
        RENEWAL_LIARS,
        "Answers to a renewal that are not the member's own signature over it, by operator and reason"
    );
}

#[allow(clippy::cast_precision_loss, reason = "a gauge")]
pub(super) fn batches(phase: &str, count: u64) {
    gauge!("dac_aggregator_batches", "state" => phase.to_owned()).set(count as f64);
}

pub(super) fn received() {
    gauge!("dac_aggregator_batches", "state" => Phase::Received.name()).increment(1.0);
}

pub(super) fn phase_changed(from: &Phase, to: &Phase) {
    gauge!("dac_aggregator_batches", "state" => from.name()).decrement(1.0);
    gauge!("dac_aggregator_batches", "state" => to.name()).increment(1.0);
}

/// Counts a batch that began to wait. The reason is one of the protocol or of this program, so that
/// the number of labels is bounded.
pub(super) fn waits(reason: &str) {
    counter!("dac_aggregator_waits_total", "reason" => reason.to_owned()).increment(1);
}

/// Sets the gauges of batches without a certificate. `former` holds the reasons that were set
/// before, so that those that no batch has any more become 0.
#[allow(clippy::cast_precision_loss, reason = "gauges")]
pub(crate) fn standing(standing: &Standing, former: &mut BTreeSet<String>, now_ms: u64) {
    let age = |batch: &Option<Arc<Batch>>| {
        let age_ms = batch.as_ref().map_or(0, |batch| now_ms.saturating_sub(batch.received_at_ms));
        age_ms as f64 / 1000.0
    };
    gauge!("dac_aggregator_oldest_unencoded_seconds").set(age(&standing.unencoded));
    gauge!("dac_aggregator_oldest_undelivered_seconds").set(age(&standing.undelivered));
    former.extend(standing.by_reason.keys().cloned());
    for reason in &*former {
        let count = standing.by_reason.get(reason).copied().unwrap_or(0);
        gauge!("dac_aggregator_batches_waiting", "reason" => reason.clone()).set(count as f64);
    }
}

#[allow(clippy::cast_precision_loss, reason = "milliseconds of a latency")]
pub(super) fn certified(received_at_ms: u64, certified_at_ms: u64) {
    let seconds = certified_at_ms.saturating_sub(received_at_ms) as f64 / 1000.0;
    histogram!("dac_aggregator_certificate_seconds").record(seconds);
}

pub(super) fn recorded(record: &L1Record) {
    counter!("dac_aggregator_gas_used_total").increment(record.gas_used);
    counter!("dac_aggregator_recorded_total", "by_us" => record.by_us.to_string()).increment(1);
}

pub(super) fn settled(record: &L1Record) {
    counter!("dac_aggregator_gas_used_total").increment(record.gas_used);
    counter!("dac_aggregator_settled_total", "by_us" => record.by_us.to_string()).increment(1);
}

/// Counts a lie of a member. The number of labels is bounded: operators come from the registry,
/// reasons from this program.
pub(super) fn lie(operator: Option<String>, reason: &str) {
    let operator = operator.unwrap_or_else(|| UNKNOWN.to_owned());
    counter!(LIES_TOTAL, "operator" => operator, "reason" => reason.to_owned()).increment(1);
}

pub(super) fn member_outcome(delivery: Delivery) {
    let outcome = match delivery {
        Delivery::Pending | Delivery::Claimed(_) => return,
        Delivery::Attested(_) => "attested",
        Delivery::Retrying => "retrying",
        Delivery::Refused => "refused",
        Delivery::Lied => "lied",
    };
    counter!("dac_aggregator_member_outcomes_total", "outcome" => outcome).increment(1);
}
