//! Looking at a service's health and showing it: to the gRPC health service and to the probes.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus::{NotServing, Serving};
use tonic_health::server::HealthReporter;

use crate::grpc::tonic_health;
use crate::monitor::Health;

/// How often health is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What a look at a service's health found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Why the process serves nothing, if it does not. `/readyz` shows it.
    pub unready: Option<String>,
    /// The gRPC services that do not serve although the process does.
    pub not_serving: Vec<&'static str>,
    /// What a person should look at although the process serves. `/healthz` shows it.
    pub problems: Vec<String>,
}

/// A service's own look at its health. It may update metrics on the way.
pub trait HealthCheck: Send + 'static {
    /// Looks once.
    fn look(&mut self) -> impl Future<Output = Observed> + Send;
}

/// Looks and shows until the service drains. Nothing is shown after that, because the service then
/// shows that it is stopping.
pub(super) async fn watch(
    mut check: impl HealthCheck,
    names: &'static [&'static str],
    health: HealthReporter,
    probes: Health,
    draining: CancellationToken,
) {
    loop {
        let Observed { unready, not_serving, problems } = check.look().await;
        if draining.is_cancelled() {
            return;
        }
        for name in std::iter::once(&"").chain(names) {
            let serves = unready.is_none() && !not_serving.contains(name);
            health.set_service_status(*name, if serves { Serving } else { NotServing }).await;
        }
        match unready {
            Some(reason) => probes.set_unhealthy(reason),
            None => probes.set_serving(problems),
        }
        tokio::select! {
            () = draining.cancelled() => return,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
    }
}
