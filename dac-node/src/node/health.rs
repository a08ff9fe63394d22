//! How a node feels, told again and again.

use std::sync::Arc;

use dac_chain::Named;
use dac_runtime::grpc::tonic_health;
use dac_runtime::monitor::Health;
use tonic_health::server::HealthReporter;

use super::{DISPERSAL, HEALTH_INTERVAL, to_gauge};
use crate::context::Context;
use crate::skew::{ClockNews, ClockWatch, seconds_ahead};

/// Dispersal needs a fresh view of L1, everything needs the store. L1 endpoints that differ or fail
/// are told to a person, where this node signs by what they say, and keep it from nothing: enough
/// others agree, or the view gets old.
pub(super) async fn watch_health(
    context: Arc<Context>,
    services: &'static [&'static str],
    health: HealthReporter,
    healthz: Health,
) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let mut named = Named::default();
    let mut skew = ClockWatch::new(context.settings.clock_difference_max_seconds);
    loop {
        let store = context.store.upkeep.ping().await;
        let l1 = context.registry.fresh(context.settings.registry_max_age);
        if context.draining.is_cancelled() {
            return;
        }
        for service in services {
            let serving = store.is_ok() && (*service != DISPERSAL || l1.is_ok());
            health.set_service_status(*service, if serving { Serving } else { NotServing }).await;
        }
        let endpoints = context.registry.endpoints();
        // A member serves what it stores while L1 is away. Only signing needs L1.
        let of_l1 = l1.err().map(|stale| stale.to_string()).into_iter().chain(endpoints.problem());
        match &store {
            Err(_) => healthz.set_unhealthy("the store does not answer"),
            Ok(()) => healthz.set_serving(of_l1.filter(|_| services.contains(&DISPERSAL))),
        }
        crate::metrics::ENDPOINTS.show(&endpoints);
        if let Some(view) = context.registry.latest()
            && services.contains(&DISPERSAL)
        {
            crate::metrics::name(&named.news(&view));
        }
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
        look_at_clock(&context, &mut skew);
        tokio::select! {
            () = context.draining.cancelled() => return,
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
        }
    }
}

/// Compares the clock with L1's newest block as of when it was read.
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
