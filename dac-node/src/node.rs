//! Builds a member of its parts and runs it. All that touches the world is given: listeners, clock, L1, store and key.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::RegistryWatch;
use dac_chain::feed::L1Events;
use dac_proto::FILE_DESCRIPTOR_SET;
use dac_proto::v1::dispersal_service_server::DispersalServiceServer;
use dac_proto::v1::member_service_server::MemberServiceServer;
use dac_proto::v1::retrieval_service_server::RetrievalServiceServer;
use dac_runtime::clock::Clock;
use dac_runtime::grpc::{self, Acceptor, Incoming, ListenerLimits, ServeError, tonic_health};
use dac_runtime::monitor::{self, Health};
use dac_types::Domain;
use dac_types::limits::MESSAGE_MAX_BYTES;
use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::ServerTlsConfig;
use tonic_health::server::HealthReporter;

use crate::admit::Identity;
use crate::attest::Signer;
use crate::certificates::CertificateChecker;
use crate::context::{Context, Settings};
use crate::disk::Disk;
use crate::grpc::{Dispersal, Members, Retrieval};
use crate::limits::{ClientLimits, ClientRates, UploadLimits, Uploads};
use crate::repair::{RepairSettings, Repairer};
use crate::retain::{self, Retention, Times};
use crate::scrub::{ScrubSettings, Scrubber};
use crate::skew::{ClockNews, ClockWatch, seconds_ahead};
use crate::store::Store;
use crate::sync::{L1Sync, Progress, SyncSettings};
use dac_runtime::workers::Workers;

/// How often the health of the whole is looked at.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Why a member does not run.
#[derive(Debug, Error)]
pub enum NodeError {
    /// A listener.
    #[error("{listener} listener: {source}")]
    Listener {
        /// Which.
        listener: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A gRPC server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A server's task was lost.
    #[error("the {0} server's task ended unexpectedly")]
    Lost(&'static str),
}

/// A bound gRPC listener.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub tcp: Acceptor,
    /// Bounds of its connections.
    pub limits: ListenerLimits,
    /// TLS.
    pub tls: Option<ServerTlsConfig>,
}

/// What a member is made of.
pub struct Parts {
    /// Where its signatures are valid.
    pub domain: Domain,
    /// What it keeps.
    pub store: Arc<dyn Store>,
    /// Its key.
    pub signer: Arc<dyn Signer>,
    /// What L1 says.
    pub registry: RegistryWatch,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The file system under the store, where there is one of ours.
    pub disk: Option<Arc<dyn Disk>>,
    /// Where hashing and signing run.
    pub workers: Workers,
    /// Times and sizes.
    pub settings: Settings,
    /// Bounds of uploads.
    pub uploads: UploadLimits,
    /// Bounds of retrieval.
    pub clients: ClientRates,
    /// When things are deleted.
    pub retention: Retention,
    /// What contracts on L1 say.
    pub events: Arc<dyn L1Events>,
    /// Which contracts, and how they are followed.
    pub sync: SyncSettings,
    /// How much repair may use up.
    pub repair: RepairSettings,
    /// How often everything is looked at again.
    pub scrub: ScrubSettings,
    /// Where aggregators deliver.
    pub dispersal: Listener,
    /// Where anyone retrieves.
    pub retrieval: Listener,
    /// `/metrics` and `/healthz`.
    pub monitor: Option<TcpListener>,
}

/// Where a running member listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// DispersalService.
    pub dispersal: SocketAddr,
    /// RetrievalService and MemberService.
    pub retrieval: SocketAddr,
    /// `/metrics` and `/healthz`.
    pub metrics: Option<SocketAddr>,
}

/// A running member.
pub struct Node {
    context: Arc<Context>,
    addresses: Addresses,
    health: HealthReporter,
    healthz: Health,
    /// Cut-off for calls, once stopping.
    grace: Duration,
    stop_calls: CancellationToken,
    stop_rest: CancellationToken,
    servers: Vec<(&'static str, JoinHandle<Result<(), ServeError>>)>,
    rest: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts serving. Calls under way have `grace` to finish once it is stopped.
    pub async fn start(parts: Parts, grace: Duration) -> Result<Self, NodeError> {
        let Parts { domain, store, signer, registry, clock, disk, workers, settings, retention, .. } = parts;
        let progress = Arc::new(Progress::default());
        let times =
            Times { clock: Arc::clone(&clock), registry: registry.clone(), progress: Arc::clone(&progress) };
        let context = Arc::new(Context {
            identity: Identity { domain, public_key: signer.public_key().to_compressed() },
            store: Arc::clone(&store),
            signer,
            registry,
            clock,
            disk,
            certificates: CertificateChecker::new(domain, workers.clone()),
            workers,
            uploads: Uploads::new(parts.uploads),
            clients: ClientLimits::new(parts.clients),
            settings,
            repair_wanted: Arc::new(Notify::new()),
            recount: Arc::new(Notify::new()),
            progress,
            repair: Arc::default(),
            scrub: Arc::default(),
            renewals: Semaphore::new(1),
            draining: CancellationToken::new(),
        });
        let local = |listener, address: io::Result<SocketAddr>| {
            address.map_err(|source| NodeError::Listener { listener, source })
        };
        let addresses = Addresses {
            dispersal: local("dispersal", parts.dispersal.tcp.local_addr())?,
            retrieval: local("retrieval", parts.retrieval.tcp.local_addr())?,
            metrics: parts.monitor.as_ref().map(|tcp| local("metrics", tcp.local_addr())).transpose()?,
        };
        let (stop_calls, stop_rest) = (CancellationToken::new(), CancellationToken::new());
        let (health, healthz) = (HealthReporter::new(), Health::default());
        for service in SERVICES {
            // Known from the first moment, and serving once somebody has looked.
            health.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
        }

        let members = MemberServiceServer::new(Members::new(Arc::clone(&context)))
            .max_decoding_message_size(grpc::SMALL_REQUEST_MAX_BYTES);
        // StoreShard keeps its own, shorter time, and has a reason for it.
        let dispersal = grpc::server(&parts.dispersal.limits, parts.dispersal.tls)?
            .timeout(settings.upload_timeout.saturating_add(settings.call_timeout))
            .add_service(
                DispersalServiceServer::new(Dispersal::new(Arc::clone(&context)))
                    .max_decoding_message_size(MESSAGE_MAX_BYTES),
            )
            .add_service(members.clone())
            .add_service(grpc::health(&health))
            .add_service(grpc::reflection(&[FILE_DESCRIPTOR_SET]));
        let retrieval = grpc::server(&parts.retrieval.limits, parts.retrieval.tls)?
            .timeout(settings.call_timeout)
            .add_service(
                RetrievalServiceServer::new(Retrieval::new(Arc::clone(&context)))
                    .max_decoding_message_size(grpc::SMALL_REQUEST_MAX_BYTES),
            )
            .add_service(members)
            .add_service(grpc::health(&health))
            .add_service(grpc::reflection(&[FILE_DESCRIPTOR_SET]));

        let serve = |router, listener: Acceptor, limits: &ListenerLimits| {
            tokio::spawn(grpc::serve(router, Incoming::new(listener, limits), stop_calls.clone(), grace))
        };
        let servers = vec![
            ("dispersal", serve(dispersal, parts.dispersal.tcp, &parts.dispersal.limits)),
            ("retrieval", serve(retrieval, parts.retrieval.tcp, &parts.retrieval.limits)),
        ];
        let mut rest = vec![
            tokio::spawn(retain::run(store, times, retention, stop_rest.clone())),
            tokio::spawn(watch_health(Arc::clone(&context), health.clone(), healthz.clone())),
            tokio::spawn(reader(&context, parts.events, parts.sync).run(stop_rest.clone())),
            tokio::spawn(repairer(&context, parts.repair).run(stop_rest.clone())),
            tokio::spawn(scrubber(&context, parts.scrub).run(stop_rest.clone())),
        ];
        if let Some(listener) = parts.monitor {
            let server = monitor::serve(listener, monitor::metrics(), healthz.clone(), stop_rest.clone());
            rest.push(tokio::spawn(async move {
                if let Err(error) = server.await {
                    tracing::error!(%error, "the metrics server ended");
                }
            }));
        }
        tracing::info!(
            dispersal = %addresses.dispersal, retrieval = %addresses.retrieval, metrics = ?addresses.metrics,
            key = %context.identity.public_key, "serving"
        );
        Ok(Self { context, addresses, health, healthz, grace, stop_calls, stop_rest, servers, rest })
    }

    /// Where it listens.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What the handlers share.
    pub const fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Returns when a server ended by itself, which it should not.
    pub async fn failed(&mut self) -> NodeError {
        loop {
            for (name, server) in &mut self.servers {
                if server.is_finished() {
                    return match server.await {
                        Ok(Err(error)) => error.into(),
                        Ok(Ok(())) | Err(_) => NodeError::Lost(name),
                    };
                }
            }
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
    }

    /// Says that it is going, takes no new uploads, lets calls under way finish, and closes the store.
    pub async fn stop(self) {
        self.context.draining.cancel();
        self.healthz.set_unhealthy("stopping");
        for service in SERVICES {
            self.health.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
        }
        self.stop_calls.cancel();
        for (name, server) in self.servers {
            // The server gives up after the grace by itself.
            match tokio::time::timeout(self.grace + HEALTH_INTERVAL, server).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::warn!(server = name, %error, "stopped with an error"),
                Ok(Err(_)) | Err(_) => tracing::warn!(server = name, "did not stop in time"),
            }
        }
        self.stop_rest.cancel();
        for task in self.rest {
            let _ = tokio::time::timeout(self.grace, task).await;
        }
        // Calls that were cut off may hold connections for as long as they like.
        if tokio::time::timeout(self.grace, self.context.store.close()).await.is_err() {
            tracing::warn!("the store did not close in time; what was acknowledged is on disk");
        }
        tracing::info!("stopped");
    }
}

fn reader(context: &Context, events: Arc<dyn L1Events>, settings: SyncSettings) -> L1Sync {
    L1Sync {
        store: Arc::clone(&context.store),
        events,
        registry: context.registry.clone(),
        clock: Arc::clone(&context.clock),
        public_key: context.identity.public_key,
        settings,
        progress: Arc::clone(&context.progress),
        repair_wanted: Arc::clone(&context.repair_wanted),
        recount: Arc::clone(&context.recount),
    }
}

fn repairer(context: &Context, settings: RepairSettings) -> Repairer {
    Repairer {
        store: Arc::clone(&context.store),
        registry: context.registry.clone(),
        clock: Arc::clone(&context.clock),
        identity: context.identity,
        workers: context.workers.clone(),
        settings,
        status: Arc::clone(&context.repair),
        wanted: Arc::clone(&context.repair_wanted),
        recount: Arc::clone(&context.recount),
    }
}

fn scrubber(context: &Context, settings: ScrubSettings) -> Scrubber {
    Scrubber {
        store: Arc::clone(&context.store),
        clock: Arc::clone(&context.clock),
        workers: context.workers.clone(),
        settings,
        status: Arc::clone(&context.scrub),
        repair_wanted: Arc::clone(&context.repair_wanted),
        recount: Arc::clone(&context.recount),
    }
}

const DISPERSAL: &str = "dac.v1.DispersalService";
/// Names under which health is asked for; the empty one is the process.
const SERVICES: [&str; 4] = ["", DISPERSAL, "dac.v1.RetrievalService", "dac.v1.MemberService"];

/// Dispersal needs a fresh view of L1, everything needs the store.
async fn watch_health(context: Arc<Context>, health: HealthReporter, healthz: Health) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let mut skew = ClockWatch::new(context.settings.clock_difference_max_seconds);
    loop {
        let store = context.store.ping().await;
        let l1 = context.registry.fresh(context.settings.registry_max_age);
        if context.draining.is_cancelled() {
            return;
        }
        for service in SERVICES {
            let serving = store.is_ok() && (service != DISPERSAL || l1.is_ok());
            health.set_service_status(service, if serving { Serving } else { NotServing }).await;
        }
        match (&store, &l1) {
            (Err(_), _) => healthz.set_unhealthy("the store does not answer"),
            (Ok(()), Err(stale)) => healthz.set_unhealthy(stale.to_string()),
            (Ok(()), Ok(_)) => healthz.set_healthy(),
        }
        let age = context.registry.last_success().map_or(f64::INFINITY, |read| read.elapsed().as_secs_f64());
        metrics::gauge!("dac_node_l1_age_seconds").set(age);
        if let Ok(totals) = context.store.totals().await {
            metrics::gauge!("dac_node_stored_batches").set(to_gauge(totals.batches));
            metrics::gauge!("dac_node_stored_bytes").set(to_gauge(totals.bytes));
        }
        if let Some(free) = context.disk.as_ref().and_then(|disk| disk.free_bytes().ok()) {
            metrics::gauge!("dac_node_disk_free_bytes").set(to_gauge(free));
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

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) const fn to_gauge(value: u64) -> f64 {
    value as f64
}
