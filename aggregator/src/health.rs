//! The health of an aggregator.

use std::collections::BTreeSet;

use dac_chain::Named;
use dac_runtime::service::{HealthCheck, Observed};

use crate::batches::{Batches, metrics};

/// The service whose health is shown beside that of the whole process.
pub(crate) const BATCHES: &str = "dac.v1.BatchService";

/// Checks what serving depends on: submissions need a fresh view of L1, and everything needs the
/// store.
///
/// It also reports conditions that an operator should look at but that do not stop the service:
/// batches that wait, an account that cannot pay, L1 endpoints that differ or fail.
pub(crate) struct AggregatorHealth {
    batches: Batches,
    /// Reasons for waiting that the metrics have shown, so that those that are over are set to 0.
    reasons: BTreeSet<String>,
    named: Named,
}

impl AggregatorHealth {
    pub(crate) fn new(batches: Batches) -> Self {
        Self { batches, reasons: BTreeSet::new(), named: Named::default() }
    }
}

impl HealthCheck for AggregatorHealth {
    async fn look(&mut self) -> Observed {
        let context = self.batches.context();
        let store = context.store.ping().await;
        let l1 = context.registry();
        let standing = self.batches.standing();
        metrics::standing(&standing, &mut self.reasons, context.now_ms());
        self.batches.budgets().report();
        let endpoints = context.registry.endpoints();
        metrics::ENDPOINTS.show(&endpoints);
        if let Some(view) = context.registry.latest() {
            metrics::name(&self.named.news(&view));
        }
        let age = context.registry.last_success().map_or(f64::INFINITY, |read| read.elapsed().as_secs_f64());
        ::metrics::gauge!("dac_aggregator_l1_age_seconds").set(age);
        let is_stale = l1.is_err();
        let problems = [
            l1.err().map(|stale| stale.to_string()),
            standing.problem(context.now_ms()),
            context.posting.unpaid(),
            endpoints.problem(),
        ];
        Observed {
            unready: store.err().map(|_| "the store does not answer".to_owned()),
            // The process stays ready while L1 cannot be reached, because it still answers queries
            // about batches.
            not_serving: if is_stale { vec!["", BATCHES] } else { Vec::new() },
            problems: problems.into_iter().flatten().collect(),
        }
    }
}
