//! What every handler of a member shares: who it is, what it holds, what it is allowed to use up.

use std::sync::Arc;
use std::time::Duration;

use dac_chain::{RegistryView, RegistryWatch};
use dac_proto::reason::Reason;
use dac_runtime::clock::Clock;
use dac_types::{BatchDigest, Domain};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::accusations::Accusations;
use crate::admit::Identity;
use crate::attest::Signer;
use crate::certificates::CertificateChecker;
use crate::limits::{ClientLimits, ClientRates, Deliverers, Renewals, UploadLimits, Uploads};
use crate::repair::RepairStatus;
use crate::scrub::ScrubStatus;
use crate::store::{Disk, MemberStore, ShardId, Space, SpaceLimits, StoreError};
use crate::sync::Progress;
use dac_runtime::workers::{Lane, Workers};

/// Times and sizes that the handlers go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Age up to which the registry's snapshot is good for decisions.
    pub registry_max_age: Duration,
    /// Longest pause between two messages of an upload.
    pub piece_timeout: Duration,
    /// Longest upload.
    pub upload_timeout: Duration,
    /// Longest other call, its request included; where a stream is the answer, until it begins.
    pub call_timeout: Duration,
    /// The space that may be used up.
    pub space: SpaceLimits,
    /// By how many seconds the clock may differ from L1's newest block before that is told.
    pub clock_difference_max_seconds: u64,
}

/// What a member, or one of its read-only servers, is given by the process around it.
pub struct Resources {
    /// Where the member's signatures are valid.
    pub domain: Domain,
    /// What the member keeps.
    pub store: MemberStore,
    /// The member's key.
    pub signer: Arc<dyn Signer>,
    /// What L1 says.
    pub registry: RegistryWatch,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The file system under the store, where there is one of this machine's.
    pub disk: Option<Arc<dyn Disk>>,
    /// Where hashing and signing run.
    pub workers: Workers,
    /// Times and sizes.
    pub settings: Settings,
    /// Bounds of uploads.
    pub uploads: UploadLimits,
    /// Bounds of retrieval.
    pub clients: ClientRates,
}

/// Shared by all services.
pub struct Context {
    /// Who we are.
    pub identity: Identity,
    /// What we keep.
    pub store: MemberStore,
    /// Our key.
    pub signer: Arc<dyn Signer>,
    /// What L1 says.
    pub registry: RegistryWatch,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The room for more shards.
    pub space: Space,
    /// Where the checks of what comes in run.
    pub workers: Workers,
    /// Where the checks of what is served run.
    pub serving: Workers,
    /// Uploads in flight.
    pub uploads: Uploads,
    /// Shares of retrieval.
    pub clients: ClientLimits,
    /// Which clients deliver.
    pub deliverers: Deliverers,
    /// What dispersers and rollups did.
    pub accusations: Arc<Accusations>,
    /// Keys of the committees.
    pub certificates: CertificateChecker,
    /// Times and sizes.
    pub settings: Settings,
    /// Told when something is found to need repair.
    pub repair_wanted: Arc<Notify>,
    /// Told when what is held has changed.
    pub recount: Arc<Notify>,
    /// How far L1 was read, and what is owed by it.
    pub progress: Arc<Progress>,
    /// How repair goes.
    pub repair: Arc<RepairStatus>,
    /// How looking again goes.
    pub scrub: Arc<ScrubStatus>,
    /// Renewals being looked at.
    pub renewals: Renewals,
    /// Cancelled when no new upload is taken any more.
    pub draining: CancellationToken,
}

impl Context {
    /// Makes the context of a node that has stored and done nothing yet in this process. `draining`
    /// is cancelled when no new upload is taken any more.
    pub fn new(resources: Resources, draining: CancellationToken) -> Arc<Self> {
        let Resources { domain, store, signer, registry, clock, disk, workers, settings, uploads, clients } =
            resources;
        let (serving, intake) = (workers.lane(Lane::Serving), workers.lane(Lane::Intake));
        Arc::new(Self {
            identity: Identity { domain, public_key: signer.public_key().to_compressed() },
            space: Space::new(settings.space, &store, disk, intake.clone()),
            store,
            signer,
            registry,
            clock,
            certificates: CertificateChecker::new(domain, &workers),
            serving,
            workers: intake,
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
            draining,
        })
    }

    /// The registry's snapshot, unless it is too old to decide anything by.
    pub fn registry(&self) -> Result<Arc<RegistryView>, Status> {
        self.registry
            .fresh(self.settings.registry_max_age)
            .map_err(|stale| Reason::L1Stale.status(stale.to_string()))
    }

    /// What a caller learns of a failed store. What fails its check is marked for repair on the
    /// way.
    pub async fn store_failed(&self, error: &StoreError) -> Status {
        match error {
            StoreError::Corrupt { digest, shard, what } => self.corrupt(*digest, *shard, what).await,
            error => store_status(error),
        }
    }

    /// What a caller learns of a batch that fails its check here. It is marked and will be
    /// repaired.
    pub async fn corrupt(&self, digest: BatchDigest, shard: Option<ShardId>, what: &'static str) -> Status {
        match self.store.catalog.mark_corrupt(digest, shard).await {
            Ok(true) => {
                self.repair_wanted.notify_one();
                self.recount.notify_one();
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%digest, %error, "the batch could not be marked corrupt"),
        }
        store_status(&StoreError::Corrupt { digest, shard, what })
    }
}

/// What a caller learns of a failed store: nothing but the class. The rest goes to the log, here
/// and only here.
pub fn store_status(error: &StoreError) -> Status {
    match error {
        StoreError::Corrupt { digest, what, .. } => {
            metrics::counter!("dac_node_corrupt_total").increment(1);
            tracing::error!(%digest, what, "what is stored fails its check and is not served");
            Reason::Corrupt.status(format!("{what} of this batch fails its check here and is not served"))
        }
        error => {
            metrics::counter!("dac_node_store_failures_total").increment(1);
            tracing::error!(%error, "the store failed");
            Reason::StorageFailed.status("the store failed; try again")
        }
    }
}
