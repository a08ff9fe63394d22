//! What all handlers of a member share: the member's identity, its store, and its bounds.

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

/// The times and sizes that the handlers go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The age up to which the registry's snapshot is good for decisions.
    pub registry_max_age: Duration,
    /// The longest pause between two messages of an upload.
    pub piece_timeout: Duration,
    /// The longest duration of an upload.
    pub upload_timeout: Duration,
    /// The longest duration of any other call, its request included. If the answer is a stream, the
    /// time until it begins.
    pub call_timeout: Duration,
    /// The space that may be used up.
    pub space: SpaceLimits,
    /// The difference in seconds between the clock and L1's newest block above which it is
    /// reported.
    pub clock_difference_max_seconds: u64,
}

/// What the surrounding process gives to a member or to one of its readers.
pub struct Resources {
    /// The domain in which the member's signatures are valid.
    pub domain: Domain,
    /// The member's store.
    pub store: MemberStore,
    /// The signer with the member's key.
    pub signer: Arc<dyn Signer>,
    /// The registry's state on L1.
    pub registry: RegistryWatch,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The file system under the store, if it is one of this machine.
    pub disk: Option<Arc<dyn Disk>>,
    /// The threads on which hashing and signing run.
    pub workers: Workers,
    /// The times and sizes of the handlers.
    pub settings: Settings,
    /// The bounds of uploads.
    pub uploads: UploadLimits,
    /// The bounds of retrieval.
    pub clients: ClientRates,
}

/// What all services of a member share.
pub struct Context {
    /// The member's identity.
    pub identity: Identity,
    /// The member's store.
    pub store: MemberStore,
    /// The signer with the member's key.
    pub signer: Arc<dyn Signer>,
    /// The registry's state on L1.
    pub registry: RegistryWatch,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The room for more shards.
    pub space: Space,
    /// The threads on which incoming data is checked.
    pub workers: Workers,
    /// The threads on which served data is checked.
    pub serving: Workers,
    /// The uploads in flight.
    pub uploads: Uploads,
    /// The shares of the clients that retrieve.
    pub clients: ClientLimits,
    /// The clients that have delivered batches.
    pub deliverers: Deliverers,
    /// What dispersers and rollups did wrong.
    pub accusations: Arc<Accusations>,
    /// The checker of certificates, with the keys of the committees.
    pub certificates: CertificateChecker,
    /// The times and sizes of the handlers.
    pub settings: Settings,
    /// Notified when a shard is found to need repair.
    pub repair_wanted: Arc<Notify>,
    /// Notified when the stored shards have changed.
    pub recount: Arc<Notify>,
    /// How far L1 was read, and what is owed according to it.
    pub progress: Arc<Progress>,
    /// The progress of repair.
    pub repair: Arc<RepairStatus>,
    /// The progress of re-verification.
    pub scrub: Arc<ScrubStatus>,
    /// The renewals being checked.
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

    /// Returns the registry's snapshot, or fails if it is too old to decide anything by.
    pub fn registry(&self) -> Result<Arc<RegistryView>, Status> {
        self.registry
            .fresh(self.settings.registry_max_age)
            .map_err(|stale| Reason::L1Stale.status(stale.to_string()))
    }

    /// Returns the status that a caller gets for an error of the store. If stored bytes failed
    /// their check, they are marked for repair.
    pub async fn store_failed(&self, error: &StoreError) -> Status {
        match error {
            StoreError::Corrupt { digest, shard, what } => self.corrupt(*digest, *shard, what).await,
            error => store_status(error),
        }
    }

    /// Returns the status that a caller gets for a batch that fails its check here. The batch is
    /// marked and will be repaired.
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

/// Returns the status that a caller gets for an error of the store. It tells only the class of the
/// error. The rest goes to the log, here and only here.
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
