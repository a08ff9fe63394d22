//! Builds an aggregator from its parts and runs it. Tests can replace all parts that reach outside
//! the process: listeners, clock, L1, store, keys.

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

/// The names of the gRPC services that the port serves.
const SERVICES: &[&str] = &[BATCHES, "dac.v1.AggregatorService"];

/// Why an aggregator cannot start or go on.
#[derive(Debug, Error)]
pub enum AggregatorError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process cannot claim batches or begin to post.
    #[error(transparent)]
    Ownership(#[from] OwnershipError),
    /// A server or a background task failed.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// The limits on how much may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// The number of payload bytes arriving or waiting for their certificate.
    pub in_flight_bytes: u64,
    /// The number of payload bytes parked on disk, of batches that too few members would take for
    /// now.
    pub parked_bytes: u64,
    /// The number of bytes of encoded payloads in memory, of batches that wait for their
    /// certificate.
    pub encoded_bytes: u64,
    /// The number of payload bytes loaded again for slow members.
    pub straggler_bytes: u64,
    /// The number of encodings at once.
    pub encoders: usize,
}

/// How the coverage of rollups is renewed.
#[derive(Clone)]
pub struct Renewal {
    /// The source that says how long rollups' batches are kept.
    pub source: Arc<dyn CoverageSource>,
    /// When coverage is renewed.
    pub settings: RenewSettings,
}

/// The parts that an aggregator is built from.
pub struct Parts {
    /// The chain and the registry that it works for.
    pub domain: Domain,
    /// The key that signs headers: its address is the disperser.
    pub signer: Arc<dyn TransactionSigner>,
    /// The key of the L1 account that pays.
    pub l1_signer: Arc<dyn TransactionSigner>,
    /// The store, which was opened for this disperser.
    pub store: Arc<dyn Store>,
    /// The registry's newest state as read from L1.
    pub registry: RegistryWatch,
    /// Access to L1.
    pub l1: Arc<dyn Chain>,
    /// Whether this process may post. It is set once L1 has confirmed that the certificate log
    /// belongs to the registry.
    pub may_post: Arc<AtomicBool>,
    /// How transactions are sent to L1.
    pub poster: PosterConfig,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The threads for long computations.
    pub workers: Workers,
    /// How connections to members are made.
    pub dialer: Dialer,
    /// How members are called.
    pub calls: CallSettings,
    /// When posting counts as late, and when it is tried again.
    pub posting: PostSettings,
    /// The times and limits by which batches are handled.
    pub settings: Settings,
    /// How coverage is renewed; none if this aggregator does not renew it.
    pub renewal: Option<Renewal>,
    /// The limits on how much may be in flight.
    pub capacity: Capacity,
    /// The limits of the gRPC service.
    pub service: ServiceLimits,
    /// The listener for BatchService and AggregatorService.
    pub grpc: Listener,
    /// The monitoring port with `/metrics` and the health probes; none if it is not configured.
    pub monitor: Option<Monitor>,
}

/// Where a running aggregator listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The address of the gRPC services.
    pub grpc: SocketAddr,
    /// The address of `/metrics` and `/healthz`.
    pub metrics: Option<SocketAddr>,
}

/// A running aggregator.
pub struct Aggregator {
    batches: Batches,
    addresses: Addresses,
    service: Service,
}

impl Aggregator {
    /// Continues the work on the batches in the store and starts serving. When the aggregator is
    /// stopped, calls and tasks under way have the time `grace` to finish.
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

    /// Returns when the server, the poster or a background task has ended by itself. None of them
    /// should; the caller then stops the process so that it is started again.
    pub async fn failed(&mut self) -> ServiceError {
        let posting = &self.batches.context().posting;
        tokio::select! {
            error = self.service.failed() => error,
            () = posting.lost() => ServiceError::Ended { task: "posting" },
        }
    }

    /// Stops taking requests, lets calls and store writes under way finish, and closes the store.
    /// The next start continues with the batches as they are stored.
    pub async fn stop(self) {
        let context = Arc::clone(self.batches.context());
        self.service.stop(context.store.close()).await;
    }
}
