//! Builds a member of its parts and runs it. All that touches the world is given: listeners, clock, L1, store and key.

mod assembly;
mod health;
mod reader;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::RegistryWatch;
use dac_chain::feed::L1Events;
use dac_runtime::clock::Clock;
use dac_runtime::grpc::{Acceptor, ListenerLimits, ServeError, tonic_health};
use dac_runtime::monitor::Monitor;
use dac_types::Domain;
use serde::Serialize;
use thiserror::Error;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

pub use self::reader::ReaderParts;

use self::assembly::Assembly;
use crate::admit::Identity;
use crate::attest::Signer;
use crate::certificates::CertificateChecker;
use crate::context::{Context, Settings};
use crate::limits::{ClientLimits, ClientRates, Deliverers, Renewals, UploadLimits, Uploads};
use crate::repair::{RepairSettings, Repairer};
use crate::retain::{self, Retention, Times};
use crate::scrub::{ScrubSettings, Scrubber};
use crate::store::{Disk, MemberStore, Space};
use crate::sync::{L1Sync, SyncSettings};
use dac_runtime::shutdown;
use dac_runtime::tls::ListenerTls;
use dac_runtime::workers::{Lane, Workers};

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
        source: std::io::Error,
    },
    /// A gRPC server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// A server or a task in the background ended, which none does before it is stopped.
    #[error("the {task} task ended by itself")]
    Ended {
        /// Which.
        task: &'static str,
    },
    /// A server or a task in the background panicked: what it does is done by nobody.
    #[error("the {task} task panicked: {message}")]
    Panicked {
        /// Which.
        task: &'static str,
        /// What it said.
        message: String,
    },
}

impl NodeError {
    fn panicked(task: &'static str, lost: JoinError) -> Self {
        Self::Panicked { task, message: shutdown::panic_message(lost) }
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

/// What a member is made of.
pub struct Parts {
    /// Where its signatures are valid.
    pub domain: Domain,
    /// What it keeps.
    pub store: MemberStore,
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
    /// `/metrics` and the probes.
    pub monitor: Option<Monitor>,
}

/// Where a running member listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// DispersalService; none of a read-only server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispersal: Option<SocketAddr>,
    /// RetrievalService and MemberService.
    pub retrieval: SocketAddr,
    /// `/metrics` and `/healthz`.
    pub metrics: Option<SocketAddr>,
}

/// What the context of a member, or of one of its read-only servers, is made of.
struct Shared {
    domain: Domain,
    store: MemberStore,
    signer: Arc<dyn Signer>,
    registry: RegistryWatch,
    clock: Arc<dyn Clock>,
    disk: Option<Arc<dyn Disk>>,
    workers: Workers,
    settings: Settings,
    uploads: UploadLimits,
    clients: ClientRates,
}

impl Shared {
    fn context(self) -> Arc<Context> {
        let Self { domain, store, signer, registry, clock, disk, workers, settings, uploads, clients } = self;
        let workers = workers.lane(Lane::Intake);
        Arc::new(Context {
            identity: Identity { domain, public_key: signer.public_key().to_compressed() },
            space: Space::new(settings.space, &store, disk, workers.clone()),
            store,
            signer,
            registry,
            clock,
            certificates: CertificateChecker::new(domain, &workers),
            serving: workers.lane(Lane::Serving),
            workers,
            uploads: Uploads::new(uploads),
            clients: ClientLimits::new(clients),
            settings,
            repair_wanted: Arc::default(),
            recount: Arc::default(),
            progress: Arc::default(),
            repair: Arc::default(),
            scrub: Arc::default(),
            renewals: Renewals::default(),
            deliverers: Deliverers::default(),
            accusations: Arc::default(),
            draining: CancellationToken::new(),
        })
    }
}

/// A running member, or a read-only server of one.
pub struct Node {
    assembly: Assembly,
    addresses: Addresses,
}

impl Node {
    /// Starts serving. Calls under way have `grace` to finish once it is stopped.
    pub async fn start(parts: Parts, grace: Duration) -> Result<Self, NodeError> {
        crate::metrics::describe_member();
        let Parts {
            domain, store, signer, registry, clock, disk, workers, settings, uploads, clients, ..
        } = parts;
        let shared =
            Shared { domain, store, signer, registry, clock, disk, workers, settings, uploads, clients };
        let context = shared.context();
        let times = Times {
            clock: Arc::clone(&context.clock),
            registry: context.registry.clone(),
            progress: Arc::clone(&context.progress),
        };
        let (store, retention) = (context.store.clone(), parts.retention);
        let l1 = l1_sync(&context, parts.events, parts.sync);
        let (repairer, scrubber) = (repairer(&context, parts.repair), scrubber(&context, parts.scrub));

        let metrics = parts.monitor.as_ref().map(Monitor::address);
        let services = &["", DISPERSAL, RETRIEVAL, MEMBERS];
        let mut assembly = Assembly::new(context, services, grace, parts.monitor).await;
        let addresses = Addresses {
            dispersal: Some(assembly.dispersal(parts.dispersal)?),
            retrieval: assembly.retrieval(parts.retrieval)?,
            metrics,
        };
        assembly.spawn("retention", |stop| retain::run(store, times, retention, stop));
        assembly.spawn("L1", |stop| l1.run(stop));
        assembly.spawn("repair", |stop| repairer.run(stop));
        assembly.spawn("re-verification", |stop| scrubber.run(stop));
        Ok(assembly.finish(addresses))
    }

    /// Where it listens.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// What the handlers share.
    pub const fn context(&self) -> &Arc<Context> {
        &self.assembly.context
    }

    /// Returns when a server or a task in the background (repair, re-verification, L1, retention, health) ended by itself, which none
    /// should. Without it a member would promise what it does not do any more: it is to be stopped, and started again.
    pub async fn failed(&mut self) -> NodeError {
        loop {
            if let Some(error) = self.assembly.ended().await {
                tracing::error!(%error, "a part of this process has failed");
                return error;
            }
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
    }

    /// Says that it is going, takes no new uploads, lets calls under way finish, and closes the store.
    pub async fn stop(self) {
        let running = self.assembly;
        running.context.draining.cancel();
        running.healthz.set_unhealthy("stopping");
        for service in running.services {
            running.health.set_service_status(*service, tonic_health::ServingStatus::NotServing).await;
        }
        running.stop_calls.cancel();
        for (name, server) in running.servers {
            // The server gives up after the grace by itself.
            match tokio::time::timeout(running.grace + HEALTH_INTERVAL, server).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => tracing::warn!(server = name, %error, "stopped with an error"),
                Ok(Err(_)) | Err(_) => tracing::warn!(server = name, "did not stop in time"),
            }
        }
        running.stop_rest.cancel();
        for (name, task) in running.rest {
            if let Ok(Err(lost)) = tokio::time::timeout(running.grace, task).await {
                tracing::error!(error = %NodeError::panicked(name, lost), "a task was lost");
            }
        }
        // Calls that were cut off may hold connections for as long as they like.
        if tokio::time::timeout(running.grace, running.context.store.upkeep.close()).await.is_err() {
            tracing::warn!("the store did not close in time; what was acknowledged is on disk");
        }
        tracing::info!("stopped");
    }
}

fn l1_sync(context: &Context, events: Arc<dyn L1Events>, settings: SyncSettings) -> L1Sync {
    L1Sync {
        duties: Arc::clone(&context.store.duties),
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
        catalog: Arc::clone(&context.store.catalog),
        duties: Arc::clone(&context.store.duties),
        writer: context.store.writer.clone(),
        registry: context.registry.clone(),
        clock: Arc::clone(&context.clock),
        identity: context.identity,
        workers: context.workers.lane(Lane::Background),
        settings,
        accusations: Arc::clone(&context.accusations),
        status: Arc::clone(&context.repair),
        wanted: Arc::clone(&context.repair_wanted),
        recount: Arc::clone(&context.recount),
    }
}

fn scrubber(context: &Context, settings: ScrubSettings) -> Scrubber {
    Scrubber {
        shards: Arc::clone(&context.store.shards),
        catalog: Arc::clone(&context.store.catalog),
        rounds: Arc::clone(&context.store.rounds),
        clock: Arc::clone(&context.clock),
        workers: context.workers.lane(Lane::Background),
        settings,
        status: Arc::clone(&context.scrub),
        repair_wanted: Arc::clone(&context.repair_wanted),
        recount: Arc::clone(&context.recount),
    }
}

/// Names under which health is asked for; the empty one is the process.
const DISPERSAL: &str = "dac.v1.DispersalService";
const RETRIEVAL: &str = "dac.v1.RetrievalService";
const MEMBERS: &str = "dac.v1.MemberService";

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
pub(crate) const fn to_gauge(value: u64) -> f64 {
    value as f64
}
