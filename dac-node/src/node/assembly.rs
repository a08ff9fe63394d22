//! Listeners, health and tasks, put together in the same way for a member and for its read-only servers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dac_proto::FILE_DESCRIPTOR_SET;
use dac_proto::v1::dispersal_service_server::DispersalServiceServer;
use dac_proto::v1::member_service_server::MemberServiceServer;
use dac_proto::v1::retrieval_service_server::RetrievalServiceServer;
use dac_runtime::grpc::{self, Acceptor, Incoming, ListenerLimits, ServeError, tonic_health};
use dac_runtime::monitor::{self, Health};
use dac_types::limits::MESSAGE_MAX_BYTES;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Router;
use tonic_health::server::HealthReporter;

use super::health::watch_health;
use super::{Addresses, Listener, Node, NodeError};
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
    ) -> Self {
        let (health, healthz) = (HealthReporter::new(), Health::default());
        for service in services {
            // Known from the first moment, and serving once somebody has looked.
            health.set_service_status(*service, tonic_health::ServingStatus::NotServing).await;
        }
        let watching = watch_health(Arc::clone(&context), services, health.clone(), healthz.clone());
        Self {
            context,
            services,
            health,
            healthz,
            grace,
            stop_calls: CancellationToken::new(),
            stop_rest: CancellationToken::new(),
            servers: Vec::new(),
            rest: vec![("health", tokio::spawn(watching))],
        }
    }

    /// Serves DispersalService.
    pub(super) fn dispersal(&mut self, listener: Listener) -> Result<SocketAddr, NodeError> {
        let settings = self.context.settings;
        // StoreShard keeps its own, shorter time, and has a reason for it.
        let router = grpc::server(&listener.limits, listener.tls)?
            .timeout(settings.upload_timeout.saturating_add(settings.call_timeout))
            .add_service(
                DispersalServiceServer::new(Dispersal::new(Arc::clone(&self.context)))
                    .max_decoding_message_size(MESSAGE_MAX_BYTES),
            )
            .add_service(self.members())
            .add_service(grpc::health(&self.health))
            .add_service(grpc::reflection(&[FILE_DESCRIPTOR_SET]));
        self.serve("dispersal", router, listener.tcp, &listener.limits)
    }

    /// Serves RetrievalService.
    pub(super) fn retrieval(&mut self, listener: Listener) -> Result<SocketAddr, NodeError> {
        let router = grpc::server(&listener.limits, listener.tls)?
            .timeout(self.context.settings.call_timeout)
            .add_service(
                RetrievalServiceServer::new(Retrieval::new(Arc::clone(&self.context)))
                    .max_decoding_message_size(grpc::SMALL_REQUEST_MAX_BYTES),
            )
            .add_service(self.members())
            .add_service(grpc::health(&self.health))
            .add_service(grpc::reflection(&[FILE_DESCRIPTOR_SET]));
        self.serve("retrieval", router, listener.tcp, &listener.limits)
    }

    fn serve(
        &mut self,
        name: &'static str,
        router: Router,
        tcp: Acceptor,
        limits: &ListenerLimits,
    ) -> Result<SocketAddr, NodeError> {
        let address = local(name, tcp.local_addr())?;
        let incoming = Incoming::new(tcp, limits);
        let server = tokio::spawn(grpc::serve(router, incoming, self.stop_calls.clone(), self.grace));
        self.servers.push((name, server));
        Ok(address)
    }

    /// Serves `/metrics` and `/healthz`, where there is a listener for them.
    pub(super) fn monitor(&mut self, listener: Option<TcpListener>) -> Result<Option<SocketAddr>, NodeError> {
        let Some(listener) = listener else { return Ok(None) };
        let address = local("metrics", listener.local_addr())?;
        let (healthz, stop) = (self.healthz.clone(), self.stop_rest.clone());
        let serving = async move {
            if let Err(error) = monitor::serve(listener, monitor::metrics(), healthz, stop).await {
                tracing::error!(%error, "the metrics server ended");
            }
        };
        self.rest.push(("metrics", tokio::spawn(serving)));
        Ok(Some(address))
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
            metrics = ?addresses.metrics, key = %self.context.identity.public_key, "serving"
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
