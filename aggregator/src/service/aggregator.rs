//! Builds an aggregator of its parts and runs it. All that touches the world is given: listeners, clock, L1, store, keys.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dac_chain::{Chain, L1, Named, PosterConfig, PosterError, RegistryWatch, TransactionSigner};
use dac_client::Dialer;
use dac_proto::FILE_DESCRIPTOR_SET;
use dac_proto::v1::aggregator_service_server::AggregatorServiceServer;
use dac_proto::v1::batch_service_server::BatchServiceServer;
use dac_runtime::clock::Clock;
use dac_runtime::grpc::{
    self, Acceptor, CallTimes, Incoming, ListenerLimits, Port, SMALL_REQUEST_MAX_BYTES, ServeError,
    tonic_health,
};
use dac_runtime::monitor::{Health, Monitor};
use dac_runtime::shutdown;
use dac_runtime::tls::ListenerTls;
use dac_runtime::workers::Workers;
use dac_types::Domain;
use dac_types::limits::MESSAGE_MAX_BYTES;
use serde::Serialize;
use thiserror::Error;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;

use super::sharing::{PosterParts, Sharing};
use super::{Batches, Budgets};
use crate::accusations::Accusations;
use crate::collect::KeyRing;
use crate::context::{Context, Settings};
use crate::disperse::{CallSettings, Members};
use crate::encode::Encoders;
use crate::grpc::{Description, Grpc, ServiceLimits};
use crate::post::{PostSettings, Posting, Probed};
use crate::quota::Quotas;
use crate::renew::{self, CoverageSource, RenewSettings};
use crate::store::{Store, StoreError};
use crate::submit::Identity;

/// How often the health of the whole is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// The server's task.
const GRPC: &str = "gRPC server";
/// Names under which health is asked for; the empty one is the process.
const SERVICES: [&str; 2] = ["", "dac.v1.BatchService"];
/// What its port has.
const PORT_SERVICES: &[&str] = &["dac.v1.BatchService", "dac.v1.AggregatorService"];

/// Why an aggregator does not run.
#[derive(Debug, Error)]
pub enum AggregatorError {
    /// A listener.
    #[error("{listener} listener: {source}")]
    Listener {
        /// Which.
        listener: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The poster.
    #[error("the poster: {0}")]
    Poster(#[from] PosterError),
    /// The gRPC server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The server or a task in the background ended, which none does before it is stopped.
    #[error("the {task} task ended by itself")]
    Ended {
        /// Which.
        task: &'static str,
    },
    /// The server or a task in the background panicked: what it does is done by nobody.
    #[error("the {task} task panicked: {message}")]
    Panicked {
        /// Which.
        task: &'static str,
        /// What it said.
        message: String,
    },
}

impl AggregatorError {
    fn of<E: Into<Self>>(task: &'static str, ended: Result<Result<(), E>, JoinError>) -> Self {
        match ended {
            Ok(Err(error)) => error.into(),
            Ok(Ok(())) => Self::Ended { task },
            Err(lost) => Self::Panicked { task, message: shutdown::panic_message(lost) },
        }
    }
}

/// A bound gRPC listener.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub tcp: Acceptor,
    /// Bounds of its connections.
    pub limits: ListenerLimits,
    /// TLS.
    pub tls: Option<ListenerTls>,
}

/// How much may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Payload bytes arriving or waiting for their certificate.
    pub in_flight_bytes: u64,
    /// Payload bytes on the disk of batches that no quorum takes for now.
    pub parked_bytes: u64,
    /// Bytes of encoded payloads of such batches.
    pub encoded_bytes: u64,
    /// Bytes of payloads loaded again for slow members.
    pub straggler_bytes: u64,
    /// Encodings at once.
    pub encoders: usize,
}

/// Renewing coverage.
#[derive(Clone)]
pub struct Renewal {
    /// Where it is read how long batches are kept.
    pub source: Arc<dyn CoverageSource>,
    /// When it is renewed.
    pub settings: RenewSettings,
}

/// What an aggregator is made of.
pub struct Parts {
    /// Chain and registry that it works for.
    pub domain: Domain,
    /// The key that signs headers: its address is the disperser.
    pub signer: Arc<dyn TransactionSigner>,
    /// The key of the L1 account that pays.
    pub l1_signer: Arc<dyn TransactionSigner>,
    /// What it keeps; opened for this disperser.
    pub store: Arc<dyn Store>,
    /// What the registry says.
    pub registry: RegistryWatch,
    /// Where certificates are recorded.
    pub l1: Arc<dyn Chain>,
    /// Whether it may post: not before L1 has said that the log is this registry's.
    pub may_post: Arc<AtomicBool>,
    /// How they are recorded.
    pub poster: PosterConfig,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Threads for arithmetic.
    pub workers: Workers,
    /// How members are connected to.
    pub dialer: Dialer,
    /// How members are called.
    pub calls: CallSettings,
    /// When posting counts as late, and when it is tried again.
    pub posting: PostSettings,
    /// Times.
    pub settings: Settings,
    /// How coverage is renewed; left out where that is for others to do.
    pub renewal: Option<Renewal>,
    /// How much may be in flight.
    pub capacity: Capacity,
    /// Bounds of the service.
    pub service: ServiceLimits,
    /// BatchService.
    pub grpc: Listener,
    /// `/metrics` and the probes.
    pub monitor: Option<Monitor>,
}

/// Where a running aggregator listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// BatchService.
    pub grpc: SocketAddr,
    /// `/metrics` and `/healthz`.
    pub metrics: Option<SocketAddr>,
}

/// A running aggregator.
pub struct Aggregator {
    batches: Batches,
    addresses: Addresses,
    health: HealthReporter,
    healthz: Health,
    grace: Duration,
    draining: CancellationToken,
    stop_rest: CancellationToken,
    /// None once it ended by itself.
    server: Option<JoinHandle<Result<(), ServeError>>>,
    rest: Vec<(&'static str, JoinHandle<()>)>,
}

impl Aggregator {
    /// Goes on with what is in the store and starts serving. Calls and tasks under way have `grace` to finish once it is
    /// stopped.
    pub async fn start(parts: Parts, grace: Duration) -> Result<Self, AggregatorError> {
        let local = |listener, address: io::Result<SocketAddr>| {
            address.map_err(|source| AggregatorError::Listener { listener, source })
        };
        let addresses = Addresses {
            grpc: local("grpc", parts.grpc.tcp.local_addr())?,
            metrics: parts.monitor.as_ref().map(Monitor::address),
        };
        let (draining, stopping, stop_rest) =
            (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
        let l1: Arc<dyn L1> = Arc::clone(&parts.l1) as _;
        let broadcast = Arc::new(Probed::new(parts.l1));
        let Capacity { in_flight_bytes, parked_bytes, encoded_bytes, straggler_bytes, encoders } =
            parts.capacity;
        let context = Arc::new(Context {
            identity: Identity { domain: parts.domain, disperser: parts.signer.address() },
            signer: parts.signer,
            quotas: Quotas::new(Arc::clone(&parts.store)),
            store: parts.store,
            registry: parts.registry,
            clock: parts.clock,
            keys: KeyRing::default(),
            members: Members::new(parts.dialer, parts.calls),
            encoders: Arc::new(Encoders::new(
                parts.workers.clone(),
                encoders,
                encoded_bytes,
                straggler_bytes,
            )),
            workers: parts.workers,
            posting: Posting::new(&parts.poster, Arc::clone(&l1), parts.posting),
            accusations: Accusations::default(),
            settings: parts.settings,
            tasks: TaskTracker::new(),
            stopping,
        });
        let batches = Batches::new(Arc::clone(&context), Budgets::new(in_flight_bytes, parked_bytes)).await?;
        let poster = PosterParts {
            config: parts.poster,
            l1,
            broadcast,
            signer: parts.l1_signer,
            may_post: parts.may_post,
        };
        let mut sharing = Sharing::new(batches.clone(), poster);
        sharing.look().await?;
        let sharing = tokio::spawn(sharing.run());
        let spawn = |task: Pin<Box<dyn Future<Output = ()> + Send>>| {
            let stopping = context.stopping.clone();
            context.tasks.spawn(async move { _ = stopping.run_until_cancelled(task).await })
        };
        let (ctx, all) = (Arc::clone(&context), batches.clone());
        let settlements = spawn(Box::pin(async move { ctx.posting.watch_settlements().await }));
        let renewing = parts.renewal.map(|Renewal { source, settings }| {
            spawn(Box::pin(renew::run(Arc::clone(&context), source, settings)))
        });
        let resting = spawn(Box::pin(async move { all.watch_over_resting().await }));

        let health = HealthReporter::new();
        let healthz = parts.monitor.as_ref().map(|monitor| monitor.health().clone()).unwrap_or_default();
        let times = CallTimes { upload: context.settings.upload_timeout, ..CallTimes::default() };
        let port = Port::new("grpc", PORT_SERVICES, &parts.grpc.limits, times, draining.clone());
        let service = Grpc::new(batches.clone(), parts.service, draining.clone());
        let router = grpc::server(&port)
            .add_service(
                BatchServiceServer::new(service.clone()).max_decoding_message_size(MESSAGE_MAX_BYTES),
            )
            .add_service(
                AggregatorServiceServer::new(Description::of(&service))
                    .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES),
            )
            .add_service(grpc::health(&health))
            .add_service(grpc::reflection(&port, &[FILE_DESCRIPTOR_SET]))
            .add_service(grpc::reflection_alpha(&port, &[FILE_DESCRIPTOR_SET]));
        let incoming = Incoming::new(parts.grpc.tcp, &port);
        let server = tokio::spawn(grpc::serve(router, incoming, parts.grpc.tls, grace));
        let watcher = watch_health(batches.clone(), health.clone(), healthz.clone(), draining.clone());
        let mut rest = vec![
            ("health", tokio::spawn(watcher)),
            ("sharing", sharing),
            ("settlements", settlements),
            ("resting", resting),
        ];
        rest.extend(renewing.map(|task| ("renewal", task)));
        if let Some(monitor) = parts.monitor {
            rest.push(("metrics", tokio::spawn(monitor.run(stop_rest.clone()))));
        }
        tracing::info!(
            grpc = %addresses.grpc, metrics = addresses.metrics.map(tracing::field::display), disperser = %context.identity.disperser, "serving"
        );
        Ok(Self {
            batches,
            addresses,
            health,
            healthz,
            grace,
            draining,
            stop_rest,
            server: Some(server),
            rest,
        })
    }

    /// Where it listens.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// All batches.
    pub const fn batches(&self) -> &Batches {
        &self.batches
    }

    /// Returns when the server or a task in the background (posting, health, sharing, settlements, resting, renewal, metrics) ended by itself, which none should:
    /// what it did is done by nobody, so the process is to be stopped, and started again.
    pub async fn failed(&mut self) -> AggregatorError {
        loop {
            if let Some(place) = self.rest.iter().position(|(_, task)| task.is_finished()) {
                let (task, handle) = self.rest.swap_remove(place);
                return AggregatorError::of(task, handle.await.map(Ok::<_, AggregatorError>));
            }
            if self.batches.context().posting.is_lost() {
                return AggregatorError::Ended { task: "posting" };
            }
            let Some(server) = self.server.as_mut() else { return AggregatorError::Ended { task: GRPC } };
            if let Ok(ended) = tokio::time::timeout(HEALTH_INTERVAL, server).await {
                self.server = None;
                return AggregatorError::of(GRPC, ended);
            }
        }
    }

    /// Says that it is going, takes nothing new, lets calls and store writes under way finish, and closes the store.
    /// Batches rest where they are; the next start goes on with them.
    pub async fn stop(self) {
        self.healthz.set_unhealthy("stopping");
        for service in SERVICES {
            self.health.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
        }
        self.draining.cancel();
        if let Some(server) = self.server {
            match tokio::time::timeout(self.grace + HEALTH_INTERVAL, server).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::warn!(%error, "stopped with an error"),
                Ok(Err(_)) | Err(_) => tracing::warn!("the gRPC server did not stop in time"),
            }
        }
        let context = self.batches.context();
        context.stopping.cancel();
        shutdown::drain(&context.tasks, self.grace).await;
        self.stop_rest.cancel();
        for (name, task) in self.rest {
            if let Ok(Err(lost)) = tokio::time::timeout(self.grace, task).await {
                tracing::error!(task = name, message = shutdown::panic_message(lost), "a task was lost");
            }
        }
        if tokio::time::timeout(self.grace, context.store.close()).await.is_err() {
            tracing::warn!("the store did not close in time; what was acknowledged is on disk");
        }
        tracing::info!("stopped");
    }
}

/// Submissions need a fresh view of L1, everything needs the store. What a person should look at is
/// told beside that, and keeps nobody from being served: batches that wait, an account that cannot
/// pay, L1 endpoints that differ or fail.
async fn watch_health(
    batches: Batches,
    health: HealthReporter,
    healthz: Health,
    draining: CancellationToken,
) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let context = Arc::clone(batches.context());
    let (mut reasons, mut named) = (BTreeSet::new(), Named::default());
    loop {
        let store = context.store.ping().await;
        let l1 = context.registry();
        if draining.is_cancelled() {
            return;
        }
        let serving = store.is_ok() && l1.is_ok();
        for service in SERVICES {
            health.set_service_status(service, if serving { Serving } else { NotServing }).await;
        }
        let standing = batches.standing();
        super::metrics::standing(&standing, &mut reasons, context.now_ms());
        batches.budgets().report();
        let endpoints = context.registry.endpoints();
        super::metrics::ENDPOINTS.show(&endpoints);
        if let Some(view) = context.registry.latest() {
            super::metrics::name(&named.news(&view));
        }
        match &store {
            Err(_) => healthz.set_unhealthy("the store does not answer"),
            // It tells what it knows of batches also while L1 is away.
            Ok(()) => {
                let stale = l1.err().map(|stale| stale.to_string());
                let problems = [
                    stale,
                    standing.problem(context.now_ms()),
                    context.posting.unpaid(),
                    endpoints.problem(),
                ];
                healthz.set_serving(problems.into_iter().flatten());
            }
        }
        let age = context.registry.last_success().map_or(f64::INFINITY, |read| read.elapsed().as_secs_f64());
        metrics::gauge!("dac_aggregator_l1_age_seconds").set(age);
        tokio::select! {
            () = draining.cancelled() => return,
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
        }
    }
}
