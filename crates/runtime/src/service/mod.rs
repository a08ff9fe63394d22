//! The host of a service: its listeners, background tasks, probes and shutdown.
//!
//! A [`Service`] is filled at start with [`Service::listen`], [`Service::task`] and
//! [`Service::watch_health`]. It then runs until [`Service::failed`] returns or [`Service::stop`]
//! is called. [`run`] does all that a service's `main` has to do around it.

mod error;
mod health;
mod listener;
mod program;
mod ready;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use dac_proto::FILE_DESCRIPTOR_SET;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

pub use self::error::ServiceError;
pub use self::health::{HealthCheck, Observed};
pub use self::listener::Listener;
pub use self::program::{Failure, Program, Run, ServiceArgs, ServiceConfig, run};

use crate::grpc::{self, BoundedRouter, BoundedServer, CallTimes, Incoming, Port, tonic_health};
use crate::monitor::{Health, Monitor};
use crate::shutdown::{self, panic_message};

/// How often the host checks whether a server or a task has ended.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The listeners and tasks of a service while it runs.
#[derive(Debug)]
pub struct Service {
    /// The names under which the gRPC health service answers. The empty name is the whole process.
    names: &'static [&'static str],
    grace: Duration,
    health: HealthReporter,
    probes: Health,
    monitor: Option<SocketAddr>,
    draining: CancellationToken,
    stop_calls: CancellationToken,
    stopping: CancellationToken,
    servers: Vec<(&'static str, JoinHandle<Result<(), grpc::ServeError>>)>,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    jobs: TaskTracker,
}

impl Service {
    /// Starts a service that has its monitoring port and nothing else. Calls and tasks have `grace`
    /// to end once the service is stopped.
    ///
    /// The gRPC health service answers to `names` and to the empty name, which is the whole
    /// process. All of them are "not serving" until the first look at the service's health.
    pub async fn new(names: &'static [&'static str], grace: Duration, monitor: Option<Monitor>) -> Self {
        let probes = monitor.as_ref().map(|monitor| monitor.health().clone()).unwrap_or_default();
        let mut service = Self {
            names,
            grace,
            health: HealthReporter::new(),
            probes,
            monitor: monitor.as_ref().map(Monitor::address),
            draining: CancellationToken::new(),
            stop_calls: CancellationToken::new(),
            stopping: CancellationToken::new(),
            servers: Vec::new(),
            tasks: Vec::new(),
            jobs: TaskTracker::new(),
        };
        service.show_not_serving().await;
        if let Some(monitor) = monitor {
            service.task("metrics", |stop| monitor.run(stop));
        }
        service
    }

    /// Returns the token that is cancelled first when the service stops: from then on it takes
    /// nothing new.
    pub const fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Returns the token that is cancelled once calls have ended: from then on background tasks
    /// end.
    pub const fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Returns the tracker of tasks that end by themselves. Stopping waits for them.
    pub const fn jobs(&self) -> &TaskTracker {
        &self.jobs
    }

    /// Returns the address of the monitoring port, if there is one.
    pub const fn monitor_address(&self) -> Option<SocketAddr> {
        self.monitor
    }

    /// Serves gRPC on a listener, and beside what `add` adds the health and reflection services.
    /// `services` are the full names of what `add` adds. Returns the address that is listened on.
    ///
    /// # Errors
    /// It fails if the listener has no address.
    pub fn listen(
        &mut self,
        name: &'static str,
        services: &'static [&'static str],
        times: CallTimes,
        listener: Listener,
        add: impl FnOnce(&mut BoundedServer) -> BoundedRouter,
    ) -> Result<SocketAddr, ServiceError> {
        let Listener { socket, limits, tls } = listener;
        let address =
            socket.local_addr().map_err(|source| ServiceError::Listener { listener: name, source })?;
        let port = Port::new(name, services, &limits, times, self.stop_calls.clone());
        let router = add(&mut grpc::server(&port))
            .add_service(grpc::health(&self.health))
            .add_service(grpc::reflection(&port, &[FILE_DESCRIPTOR_SET]))
            .add_service(grpc::reflection_alpha(&port, &[FILE_DESCRIPTOR_SET]));
        let server = grpc::serve(router, Incoming::new(socket, &port), tls, self.grace);
        self.servers.push((name, tokio::spawn(server)));
        Ok(address)
    }

    /// Runs a background task until the service stops. The task gets [`Service::stopping`] and ends
    /// when it is cancelled. If it ends earlier, the service has failed.
    pub fn task<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let task = tokio::spawn(task(self.stopping.clone()));
        self.tasks.push((name, task));
    }

    /// Looks at the service's health every second and shows it, until the service drains.
    pub fn watch_health(&mut self, check: impl HealthCheck) {
        let watch =
            health::watch(check, self.names, self.health.clone(), self.probes.clone(), self.draining.clone());
        self.tasks.push(("health", tokio::spawn(watch)));
    }

    /// Returns when a server or a background task has ended by itself. None should: its work is no
    /// longer done, so the service must be stopped and started again.
    pub async fn failed(&mut self) -> ServiceError {
        loop {
            if let Some(error) = self.ended().await {
                return error;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Returns why a server or task ended, if one did, and forgets it.
    async fn ended(&mut self) -> Option<ServiceError> {
        if let Some(place) = self.servers.iter().position(|(_, server)| server.is_finished()) {
            let (task, server) = self.servers.swap_remove(place);
            return Some(match server.await {
                Ok(Ok(())) => ServiceError::Ended { task },
                Ok(Err(error)) => error.into(),
                Err(lost) => ServiceError::Panicked { task, message: panic_message(lost) },
            });
        }
        let place = self.tasks.iter().position(|(_, task)| task.is_finished())?;
        let (task, handle) = self.tasks.swap_remove(place);
        Some(match handle.await {
            Ok(()) => ServiceError::Ended { task },
            Err(lost) => ServiceError::Panicked { task, message: panic_message(lost) },
        })
    }

    /// Stops the service: it reports that it is stopping, takes nothing new, lets calls end, lets
    /// tasks end, and then awaits `close`, which closes the store. Each step takes at most the
    /// grace.
    pub async fn stop(mut self, close: impl Future<Output = ()>) {
        self.draining.cancel();
        self.probes.set_unhealthy("stopping");
        self.show_not_serving().await;
        self.stop_calls.cancel();
        for (server, handle) in self.servers.drain(..) {
            // A server cuts its calls off after the grace by itself.
            match tokio::time::timeout(self.grace + LOOK_INTERVAL, handle).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::warn!(server, %error, "a server stopped with an error"),
                Ok(Err(_)) | Err(_) => tracing::warn!(server, "a server did not stop in time"),
            }
        }
        self.stopping.cancel();
        shutdown::drain(&self.jobs, self.grace).await;
        for (task, handle) in self.tasks.drain(..) {
            match tokio::time::timeout(self.grace, handle).await {
                Ok(Ok(())) => {}
                Ok(Err(lost)) => {
                    tracing::error!(task, message = panic_message(lost), "a task was lost");
                }
                Err(_) => tracing::warn!(task, "a task did not stop in time"),
            }
        }
        // Calls that were cut off may still hold connections of the store, for an unbounded time.
        if tokio::time::timeout(self.grace, close).await.is_err() {
            tracing::warn!("the store did not close in time; what was acknowledged is on disk");
        }
        tracing::info!("stopped");
    }

    async fn show_not_serving(&self) {
        for name in std::iter::once(&"").chain(self.names) {
            self.health.set_service_status(*name, ServingStatus::NotServing).await;
        }
    }
}
