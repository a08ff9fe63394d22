//! A summary of the batches that have no certificate, or whose certificate is not recorded: how
//! many there are, what they wait for, and which is the oldest.

use std::collections::BTreeMap;
use std::sync::Arc;

use dac_proto::reason::Reason;

use crate::batch::{Batch, Phase};

/// The time after which a payload that is not encoded makes the aggregator unhealthy.
const ENCODED_WITHIN_MS: u64 = 60_000;
/// The time after which a batch without a certificate makes the aggregator unhealthy, unless the
/// batch's rollup causes the delay.
const CERTIFIED_WITHIN_MS: u64 = 300_000;
/// The time after which a certificate that is not recorded on L1 makes the aggregator unhealthy. It
/// is much longer than `posting.deadline`, and allows for 64 confirmations.
const RECORDED_WITHIN_MS: u64 = 900_000;

/// A summary of this process's batches that have no certificate yet, and the oldest certificate
/// that L1 has not recorded.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// The number of batches without a certificate.
    pub uncertified: u64,
    /// The number of waiting batches by the reason for which they wait.
    pub by_reason: BTreeMap<String, u64>,
    /// The oldest batch that is not encoded.
    pub unencoded: Option<Arc<Batch>>,
    /// The oldest batch that is encoded and has no certificate.
    pub undelivered: Option<Arc<Batch>>,
    /// The oldest batch that is encoded and waits for something that its rollup does not cause.
    held_up: Option<Arc<Batch>>,
    /// The oldest certificate that this program is to have recorded. Batches that are settled
    /// without a record are left out, because they wait for their rollup's proof and contract.
    unrecorded: Option<Arc<Batch>>,
}

impl Standing {
    pub(super) fn add(&mut self, batch: &Arc<Batch>) {
        if batch.phase == Phase::Certified && batch.posting.records_certificate() {
            keep_oldest(&mut self.unrecorded, batch, certified_at_ms);
            return;
        }
        let oldest = match batch.phase {
            Phase::Received => &mut self.unencoded,
            Phase::Dispersing => &mut self.undelivered,
            _ => return,
        };
        keep_oldest(oldest, batch, received_at_ms);
        self.uncertified += 1;
        if let Some(waiting) = batch.waiting() {
            let reason = &waiting.obstruction.reason;
            *self.by_reason.entry(reason.clone()).or_insert(0) += 1;
            if batch.is_held_up() && !is_the_rollups_doing(reason) {
                keep_oldest(&mut self.held_up, batch, received_at_ms);
            }
        }
    }

    /// Returns the oldest certificate that L1 has not recorded in time.
    pub fn overdue(&self, now_ms: u64) -> Option<&Arc<Batch>> {
        let batch = self.unrecorded.as_ref()?;
        (now_ms.saturating_sub(certified_at_ms(batch)) > RECORDED_WITHIN_MS).then_some(batch)
    }

    /// Returns the problem that an operator should look at, if there is one; of several the one
    /// that comes earliest in a batch's life.
    pub fn problem(&self, now_ms: u64) -> Option<String> {
        let waits = |batch: &Arc<Batch>, since_ms: u64, within_ms: u64, what: &str, why: &str| {
            let age_ms = now_ms.saturating_sub(since_ms);
            let order = &batch.submission.submission;
            let (number, rollup, age) = (order.batch_number, order.rollup, age_ms / 1000);
            (age_ms > within_ms)
                .then(|| format!("batch {number} of rollup {rollup} is {what} after {age} s{why}"))
        };
        let uncertified = |batch: &Option<Arc<Batch>>, within_ms: u64, what: &str| {
            let batch = batch.as_ref()?;
            let why = batch.waiting().map_or_else(String::new, |waiting| {
                format!(": {} ({})", waiting.obstruction.reason, waiting.obstruction.detail)
            });
            waits(batch, received_at_ms(batch), within_ms, what, &why)
        };
        let unrecorded = || {
            let batch = self.overdue(now_ms)?;
            let why = match batch.l1_problem.as_str() {
                "" => String::new(),
                problem => format!(": {problem}"),
            };
            let what = "certified and not recorded on L1";
            waits(batch, certified_at_ms(batch), RECORDED_WITHIN_MS, what, &why)
        };
        uncertified(&self.unencoded, ENCODED_WITHIN_MS, "not encoded")
            .or_else(|| uncertified(&self.held_up, CERTIFIED_WITHIN_MS, "not certified"))
            .or_else(unrecorded)
    }
}

const fn received_at_ms(batch: &Batch) -> u64 {
    batch.received_at_ms
}

/// Returns the time when the certificate was made; without a certificate, the time when the payload
/// was stored.
fn certified_at_ms(batch: &Batch) -> u64 {
    batch.certificate.as_ref().map_or(batch.received_at_ms, |certified| certified.at_ms)
}

fn keep_oldest(oldest: &mut Option<Arc<Batch>>, batch: &Arc<Batch>, since_ms: fn(&Batch) -> u64) {
    if oldest.as_ref().is_none_or(|oldest| since_ms(batch) < since_ms(oldest)) {
        *oldest = Some(Arc::clone(batch));
    }
}

/// Returns whether the batch's own rollup causes the wait. A rollup must not be able to make an
/// aggregator unhealthy.
fn is_the_rollups_doing(reason: &str) -> bool {
    [Reason::QuotaExceeded, Reason::UnknownRollup].iter().any(|own| own.as_str() == reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_types::PostingMode;

    use crate::batch::Event;
    use crate::batch::tests::{certified, held_up, received_at};

    #[test]
    fn the_oldest_is_named_and_a_rollups_own_doing_is_nobodys_illness() {
        let mut standing = Standing::default();
        for batch in [received_at(5_000), received_at(3_000), held_up("QUOTA_EXCEEDED", 1_000)] {
            standing.add(&Arc::new(batch));
        }
        assert_eq!(standing.uncertified, 3);
        assert_eq!(standing.unencoded.as_ref().unwrap().received_at_ms, 3_000);
        assert_eq!(standing.undelivered.as_ref().unwrap().received_at_ms, 1_000);
        assert_eq!(standing.by_reason, BTreeMap::from([("QUOTA_EXCEEDED".to_owned(), 1)]));
        assert_eq!(standing.problem(3_000 + ENCODED_WITHIN_MS), None);
        let problem = standing.problem(3_001 + ENCODED_WITHIN_MS).unwrap();
        assert!(problem.contains("not encoded after 60 s"), "{problem}");

        let mut standing = Standing::default();
        standing.add(&Arc::new(held_up("QUOTA_EXCEEDED", 1_000)));
        assert_eq!(standing.problem(u64::MAX), None);
        standing.add(&Arc::new(held_up("UNREACHABLE", 2_000)));
        let problem = standing.problem(2_001 + CERTIFIED_WITHIN_MS).unwrap();
        assert!(problem.contains("not certified after 300 s: UNREACHABLE"), "{problem}");
    }

    #[test]
    fn a_certificate_that_nobody_records_is_told_and_a_proof_that_is_missing_is_not() {
        let mut standing = Standing::default();
        let mut batch = certified();
        let certified_at_ms = batch.certificate.as_ref().unwrap().at_ms;
        standing.add(&Arc::new(batch.clone().posted_by(PostingMode::Settle)));
        assert_eq!(standing.problem(u64::MAX), None, "its rollup's proof is missing");
        standing.add(&Arc::new(batch.clone()));
        assert_eq!(standing.uncertified, 0);
        assert_eq!(standing.problem(certified_at_ms + RECORDED_WITHIN_MS), None);
        assert_eq!(standing.overdue(certified_at_ms + RECORDED_WITHIN_MS), None);
        let overdue = standing.overdue(certified_at_ms + RECORDED_WITHIN_MS + 1);
        assert_eq!(overdue.map(|batch| batch.id), Some(batch.id));
        let problem = standing.problem(certified_at_ms + RECORDED_WITHIN_MS + 1).unwrap();
        assert!(problem.ends_with("is certified and not recorded on L1 after 900 s"), "{problem}");

        batch.apply(Event::PostingProblem("fees are above the cap".to_owned()));
        let mut standing = Standing::default();
        standing.add(&Arc::new(batch));
        let problem = standing.problem(u64::MAX).unwrap();
        assert!(problem.ends_with(" s: fees are above the cap"), "{problem}");
    }
}
