//! Listeners, health and tasks, put together in the same way for a member and for its read-only servers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dac_proto::FILE_DESCRIPTOR_SET;
use dac_proto::v1::dispersal_service_server::DispersalServiceServer;
use dac_proto::v1::member_service_server::MemberServiceServer;
use dac_proto::v1::retrieval_service_server::RetrievalServiceServer;
use dac_runtime::grpc::{
    self, BoundedRouter, CallTimes, Incoming, ListenerLimits, Port, ServeError, tonic_health,
};
use dac_runtime::monitor::{Health, Monitor};
use dac_types::limits::MESSAGE_MAX_BYTES;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic_health::server::HealthReporter;

use super::health::watch_health;
use super::{Addresses, DISPERSAL, Listener, MEMBERS, Node, NodeError, RETRIEVAL};
use crate::context::Context;
use crate::grpc::{Dispersal, Members, Retrieval};

/// What of a node runs, while it is put together and after.
pub(super) struct Assembly {
    pub(super) context: Arc<Context>,
    pub(super) services: &'static [&'static str],
    pub(super) health: HealthReporter,
    pub(super) healthz: Health,
    /// Cut-off for calls, once stopping.
    pub(super) grace: Duration,
    pub(super) stop_calls: CancellationToken,
    pub(super) stop_rest: CancellationToken,
    pub(super) servers: Vec<(&'static str, JoinHandle<Result<(), ServeError>>)>,
    pub(super) rest: Vec<(&'static str, JoinHandle<()>)>,
}

impl Assembly {
    /// Of nothing but its health, which is asked for under the names of `services`.
    pub(super) async fn new(
        context: Arc<Context>,
        services: &'static [&'static str],
        grace: Duration,
        monitor: Option<Monitor>,
    ) -> Self {
        let health = HealthReporter::new();
        let healthz = monitor.as_ref().map(|monitor| monitor.health().clone()).unwrap_or_default();
        for service in services {
            // Known from the first moment, and serving once somebody has looked.
            health.set_service_status(*service, tonic_health::ServingStatus::NotServing).await;
        }
        let watching = watch_health(Arc::clone(&context), services, health.clone(), healthz.clone());
        let mut assembly = Self {
            context,
            services,
            health,
            healthz,
            grace,
            stop_calls: CancellationToken::new(),
            stop_rest: CancellationToken::new(),
            servers: Vec::new(),
            rest: vec![("health", tokio::spawn(watching))],
        };
        if let Some(monitor) = monitor {
            assembly.monitor(monitor);
        }
        assembly
    }

    /// Serves DispersalService.
    pub(super) fn dispersal(&mut self, listener: Listener) -> Result<SocketAddr, NodeError> {
        let port = self.port("dispersal", &[DISPERSAL, MEMBERS], &listener.limits);
        let router = grpc::server(&port)
            .add_service(
                DispersalServiceServer::new(Dispersal::new(Arc::clone(&self.context)))
                    .max_decoding_message_size(MESSAGE_MAX_BYTES),
            )
            .add_service(self.members())
            .add_service(grpc::health(&self.health))
            .add_service(grpc::reflection(&port, &[FILE_DESCRIPTOR_SET]))
            .add_service(grpc::reflection_alpha(&port, &[FILE_DESCRIPTOR_SET]));
        self.serve(&port, router, listener)
    }

    /// Serves RetrievalService.
    pub(super) fn retrieval(&mut self, listener: Listener) -> Result<SocketAddr, NodeError> {
        let port = self.port("retrieval", &[RETRIEVAL, MEMBERS], &listener.limits);
        let router = grpc::server(&port)
            .add_service(
                RetrievalServiceServer::new(Retrieval::new(Arc::clone(&self.context)))
                    .max_decoding_message_size(grpc::SMALL_REQUEST_MAX_BYTES),
            )
            .add_service(self.members())
            .add_service(grpc::health(&self.health))
            .add_service(grpc::reflection(&port, &[FILE_DESCRIPTOR_SET]))
            .add_service(grpc::reflection_alpha(&port, &[FILE_DESCRIPTOR_SET]));
        self.serve(&port, router, listener)
    }

    fn port(&self, name: &'static str, services: &'static [&'static str], limits: &ListenerLimits) -> Port {
        let settings = self.context.settings;
        // StoreShard and SignRenewal keep shorter times of their own, and have reasons for them.
        let times = CallTimes { call: settings.call_timeout, upload: settings.upload_timeout };
        Port::new(name, services, limits, times, self.stop_calls.clone())
    }

    fn serve(
        &mut self,
        port: &Port,
        router: BoundedRouter,
        listener: Listener,
    ) -> Result<SocketAddr, NodeError> {
        let address = local(port.name(), listener.tcp.local_addr())?;
        let incoming = Incoming::new(listener.tcp, port);
        let server = tokio::spawn(grpc::serve(router, incoming, listener.tls, self.grace));
        self.servers.push((port.name(), server));
        Ok(address)
    }

    /// Goes on serving `/metrics` and the probes.
    fn monitor(&mut self, monitor: Monitor) {
        self.rest.push(("metrics", tokio::spawn(monitor.run(self.stop_rest.clone()))));
    }

    /// Runs a task until the node stops.
    pub(super) fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.rest.push((name, tokio::spawn(task(self.stop_rest.clone()))));
    }

    /// A server or task that has ended, with what it ended with; it is waited for no more.
    pub(super) async fn ended(&mut self) -> Option<NodeError> {
        if let Some(place) = self.servers.iter().position(|(_, server)| server.is_finished()) {
            let (name, server) = self.servers.swap_remove(place);
            return Some(match server.await {
                Ok(Err(error)) => error.into(),
                Ok(Ok(())) => NodeError::Ended { task: name },
                Err(lost) => NodeError::panicked(name, lost),
            });
        }
        let place = self.rest.iter().position(|(_, task)| task.is_finished())?;
        let (name, task) = self.rest.swap_remove(place);
        Some(match task.await {
            Ok(()) => NodeError::Ended { task: name },
            Err(lost) => NodeError::panicked(name, lost),
        })
    }

    /// It runs.
    pub(super) fn finish(self, addresses: Addresses) -> Node {
        tracing::info!(
            dispersal = addresses.dispersal.map(tracing::field::display), retrieval = %addresses.retrieval,
            metrics = addresses.metrics.map(tracing::field::display), key = %self.context.identity.public_key, "serving"
        );
        Node { assembly: self, addresses }
    }

    fn members(&self) -> MemberServiceServer<Members> {
        MemberServiceServer::new(Members::new(Arc::clone(&self.context)))
            .max_decoding_message_size(grpc::SMALL_REQUEST_MAX_BYTES)
    }
}

fn local(listener: &'static str, address: io::Result<SocketAddr>) -> Result<SocketAddr, NodeError> {
    address.map_err(|source| NodeError::Listener { listener, source })
}
