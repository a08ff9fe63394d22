//! Builds an aggregator of its parts and runs it. The parts are all that touches the world:
//! listeners, clock, L1, store, keys.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use dac_chain::{Chain, L1, RegistryWatch, TransactionSigner};
use dac_client::Dialer;
use dac_poster::PosterConfig;
use dac_proto::v1::aggregator_service_server::AggregatorServiceServer;
use dac_proto::v1::batch_service_server::BatchServiceServer;
use dac_runtime::clock::Clock;
use dac_runtime::grpc::{CallTimes, SMALL_REQUEST_MAX_BYTES};
use dac_runtime::monitor::Monitor;
use dac_runtime::service::{Listener, Service, ServiceError};
use dac_runtime::workers::Workers;
use dac_types::Domain;
use dac_types::limits::MESSAGE_MAX_BYTES;
use serde::Serialize;
use thiserror::Error;

use crate::accusations::Accusations;
use crate::batches::{Batches, Budgets, Ownership, OwnershipError, PosterParts};
use crate::collect::KeyRing;
use crate::context::{Context, Settings};
use crate::encode::Encoders;
use crate::grpc::{Description, Grpc, ServiceLimits};
use crate::health::{AggregatorHealth, BATCHES};
use crate::members::{CallSettings, Members};
use crate::post::{PostSettings, Posting, Probed};
use crate::quota::Quotas;
use crate::renew::{self, CoverageSource, RenewSettings};
use crate::store::{Store, StoreError};
use crate::submit::Identity;

/// The services of the port.
const SERVICES: &[&str] = &[BATCHES, "dac.v1.AggregatorService"];

/// Why an aggregator does not run.
#[derive(Debug, Error)]
pub enum AggregatorError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process cannot take over what others left.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// A server or a background task failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
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
    /// BatchService and AggregatorService.
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
    service: Service,
}

impl Aggregator {
    /// Goes on with what is in the store and starts serving. Calls and tasks under way have `grace`
    /// to finish once it is stopped.
    pub async fn start(parts: Parts, grace: Duration) -> Result<Self, AggregatorError> {
        let mut service = Service::new(&[BATCHES], grace, parts.monitor).await;
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
            jobs: service.jobs().clone(),
            stopping: service.stopping().clone(),
        });
        let batches = Batches::new(Arc::clone(&context), Budgets::new(in_flight_bytes, parked_bytes)).await?;
        let mut ownership = Ownership::new(
            batches.clone(),
            PosterParts {
                config: parts.poster,
                l1,
                broadcast,
                signer: parts.l1_signer,
                may_post: parts.may_post,
            },
        );
        ownership.look().await?;
        service.task("ownership", |_| ownership.run());
        let ctx = Arc::clone(&context);
        service.task("settlements", |stop| async move {
            _ = stop.run_until_cancelled(ctx.posting.watch_settlements()).await;
        });
        if let Some(Renewal { source, settings }) = parts.renewal {
            let renewing = renew::run(Arc::clone(&context), source, settings);
            service.task("renewal", |stop| async move { _ = stop.run_until_cancelled(renewing).await });
        }
        let all = batches.clone();
        service.task("parked batches", |stop| async move {
            _ = stop.run_until_cancelled(all.wake_due()).await;
        });
        service.watch_health(AggregatorHealth::new(batches.clone()));

        let times = CallTimes { upload: context.settings.upload_timeout, ..CallTimes::default() };
        let handler = Grpc::new(batches.clone(), parts.service, service.draining().clone());
        let description = Description::of(&handler);
        let grpc = service.listen("grpc", SERVICES, times, parts.grpc, |server| {
            server
                .add_service(BatchServiceServer::new(handler).max_decoding_message_size(MESSAGE_MAX_BYTES))
                .add_service(
                    AggregatorServiceServer::new(description)
                        .max_decoding_message_size(SMALL_REQUEST_MAX_BYTES),
                )
        })?;
        let addresses = Addresses { grpc, metrics: service.monitor_address() };
        tracing::info!(
            grpc = %addresses.grpc, metrics = addresses.metrics.map(tracing::field::display),
            disperser = %context.identity.disperser, "serving"
        );
        Ok(Self { batches, addresses, service })
    }

    /// Returns the addresses that it listens on.
    pub const fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Returns all batches.
    pub const fn batches(&self) -> &Batches {
        &self.batches
    }

    /// Returns when the server, the poster or a background task ended by itself, which none should:
    /// the process is to be stopped and started again.
    pub async fn failed(&mut self) -> ServiceError {
        let posting = &self.batches.context().posting;
        tokio::select! {
            error = self.service.failed() => error,
            () = posting.lost() => ServiceError::Ended { task: "posting" },
        }
    }

    /// Takes nothing new, lets calls and store writes under way finish, and closes the store.
    /// Batches stay where they are; the next start goes on with them.
    pub async fn stop(self) {
        let context = Arc::clone(self.batches.context());
        self.service.stop(context.store.close()).await;
    }
}
