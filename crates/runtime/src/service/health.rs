//! Checks a service's health every second and reports it to the gRPC health service and to the
//! probes.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic_health::ServingStatus::{NotServing, Serving};
use tonic_health::server::HealthReporter;

use crate::grpc::tonic_health;
use crate::monitor::Health;

/// How often the health is checked.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The result of one health check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Why the process serves nothing; `None` if it serves. `/readyz` shows it.
    pub unready: Option<String>,
    /// The gRPC services that do not serve although the process does.
    pub not_serving: Vec<&'static str>,
    /// Problems that a person should look at although the process serves. `/healthz` shows them.
    pub problems: Vec<String>,
}

/// A service's own health check. It may update metrics as well.
pub trait HealthCheck: Send + 'static {
    /// Checks once.
    fn look(&mut self) -> impl Future<Output = Observed> + Send;
}

/// Checks and reports until the service drains. Nothing is reported after that, because the service
/// then reports that it is stopping.
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
