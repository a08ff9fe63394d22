//! The health of a node, as it observes it.

use std::sync::Arc;

use dac_chain::Named;
use dac_runtime::service::{HealthCheck, Observed};

use crate::context::Context;
use crate::metrics::to_gauge;
use crate::node::DISPERSAL;
use crate::skew::{ClockNews, ClockWatch, seconds_ahead};

/// Observes the health: dispersal needs a fresh view of L1, and everything needs the store.
///
/// If L1 endpoints differ or fail, a node that signs by what they say reports that to its operator
/// and works on: either enough others agree, or the view gets old.
pub(crate) struct NodeHealth {
    context: Arc<Context>,
    /// Whether this process signs. A reader needs no L1.
    is_member: bool,
    named: Named,
    skew: ClockWatch,
}

impl NodeHealth {
    pub(crate) fn new(context: Arc<Context>, is_member: bool) -> Self {
        let skew = ClockWatch::new(context.settings.clock_difference_max_seconds);
        Self { context, is_member, named: Named::default(), skew }
    }
}

impl HealthCheck for NodeHealth {
    async fn look(&mut self) -> Observed {
        let context = &self.context;
        let store = context.store.upkeep.ping().await;
        let l1 = context.registry.fresh(context.settings.registry_max_age);
        let endpoints = context.registry.endpoints();
        crate::metrics::ENDPOINTS.show(&endpoints);
        let age = context.registry.last_success().map_or(f64::INFINITY, |read| read.elapsed().as_secs_f64());
        metrics::gauge!("dac_node_l1_age_seconds").set(age);
        if let Ok(totals) = context.store.catalog.totals().await {
            metrics::gauge!("dac_node_stored_batches").set(to_gauge(totals.batches));
            metrics::gauge!("dac_node_stored_bytes").set(to_gauge(totals.bytes));
        }
        if let Some(free) = context.space.free_bytes() {
            metrics::gauge!("dac_node_disk_free_bytes").set(to_gauge(free));
        }
        if let Ok(Some(bytes)) = context.store.upkeep.size_on_server().await {
            metrics::gauge!("dac_node_database_bytes").set(to_gauge(bytes));
        }
        look_at_clock(context, &mut self.skew);
        let mut observed = Observed {
            unready: store.err().map(|_| "the store does not answer".to_owned()),
            ..Observed::default()
        };
        // A member serves what it stores while L1 is away. Only signing needs L1.
        if self.is_member {
            if let Some(view) = context.registry.latest() {
                crate::metrics::name(&self.named.news(&view));
            }
            if l1.is_err() {
                observed.not_serving.push(DISPERSAL);
            }
            let stale = l1.err().map(|stale| stale.to_string());
            observed.problems = stale.into_iter().chain(endpoints.problem()).collect();
        }
        observed
    }
}

/// Compares the clock with L1's newest block at the time when that block was read.
fn look_at_clock(context: &Context, watch: &mut ClockWatch) {
    let (Some(view), Some(read)) = (context.registry.latest(), context.registry.last_success()) else {
        return;
    };
    let (now, timestamp) =
        (context.clock.now_unix_seconds().saturating_sub(read.elapsed().as_secs()), view.head.timestamp);
    let ahead = seconds_ahead(now, timestamp);
    let magnitude = to_gauge(ahead.unsigned_abs());
    metrics::gauge!("dac_node_clock_ahead_of_l1_seconds").set(if ahead < 0 { -magnitude } else { magnitude });
    match watch.look(now, timestamp) {
        Some(ClockNews::Differs(seconds)) => tracing::warn!(
            seconds_ahead = seconds,
            "this clock differs from L1's newest block: it is wrong, or L1 makes no blocks"
        ),
        Some(ClockNews::Agrees) => tracing::info!("this clock agrees with L1 again"),
        None => {}
    }
}
