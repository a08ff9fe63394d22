//! A production member on a simulated host.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dac_bls::PublicKey;
use dac_chain::Follower;
use dac_chain::feed::FeedConfig;
use dac_client::EndpointPolicy;
use dac_node::attest::{LocalSigner, Signer, SignerError};
use dac_node::context::{Resources, Settings};
use dac_node::limits::{ClientRates, UploadLimits};
use dac_node::member::Parts;
use dac_node::repair::RepairSettings;
use dac_node::retain::Retention;
use dac_node::scrub::ScrubSettings;
use dac_node::store::{MemberStore, SpaceLimits};
use dac_node::sync::SyncSettings;
use dac_runtime::grpc::ListenerLimits;
use dac_runtime::service::Listener;
use dac_runtime::workers::Workers;
use dac_types::{BatchDigest, RenewalDigest, Seat};
use tokio_util::sync::CancellationToken;

use crate::auditor::retrieve_options;
use crate::cast::{Cast, DISPERSAL_PORT, DOMAIN, LOG, RETRIEVAL_PORT};
use crate::clock::SimulatedClock;
use crate::l1::ChainView;
use crate::network::{dialer, listen};
use crate::store::MemberMemory;
use crate::trace;
use crate::witness::{Signature, Witness};

/// The time between two reads of the registry.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Number of blocks on top of a block before a member reads it. It is smaller than the deepest
/// reorganisation, so that members have to undo what they read.
const FEED_CONFIRMATIONS: u64 = 1;
/// The limit of repair in bytes per second, which is more than a simulation needs.
const REPAIR_BYTES_PER_SECOND: NonZeroU64 = NonZeroU64::new(1 << 20).expect("not zero");
/// How long a stop waits for running calls. It has no effect, because members are killed.
const GRACE: Duration = Duration::from_secs(1);

/// The parts of a member that outlive its process.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) seat: Seat,
    pub(crate) cast: Arc<Cast>,
    pub(crate) store: MemberMemory,
    pub(crate) l1: ChainView,
    pub(crate) witness: Witness,
    pub(crate) clock: SimulatedClock,
}

impl Member {
    /// Runs the member until the host is killed.
    pub(crate) async fn run(self) -> turmoil::Result {
        let key = self.cast.members[self.seat.index()].clone();
        let workers = Workers::inline();
        let signer = WatchedSigner {
            signer: LocalSigner::new(key, workers.clone()),
            seat: self.seat,
            store: self.store.clone(),
            witness: self.witness,
        };
        let events = Arc::new(self.l1.clone());
        let registry = Follower::spawn(Arc::new(self.l1), POLL_INTERVAL, 0, CancellationToken::new());
        registry.wait_ready().await?;
        let limits = ListenerLimits::default();
        let resources = Resources {
            domain: DOMAIN,
            store: MemberStore::of(self.store),
            signer: Arc::new(signer),
            registry,
            clock: Arc::new(self.clock),
            disk: None,
            workers,
            settings: Settings {
                registry_max_age: Duration::from_secs(4),
                piece_timeout: Duration::from_secs(1),
                upload_timeout: Duration::from_secs(2),
                call_timeout: Duration::from_secs(2),
                space: SpaceLimits::default(),
                clock_difference_max_seconds: 60,
            },
            uploads: UploadLimits { bytes: 1 << 24, per_rollup: 64 },
            clients: ClientRates {
                requests_per_second: 1e6,
                request_burst: 1e6,
                bytes_per_second: 1e9,
                byte_burst: 1e9,
                streams: 64,
                clients: 100,
            },
        };
        let parts = Parts {
            resources,
            retention: Retention {
                delete_expired: true,
                slack: Duration::from_secs(60),
                interval: Duration::from_secs(1),
            },
            events,
            sync: SyncSettings {
                log: LOG,
                feed: FeedConfig::new(FEED_CONFIRMATIONS),
                interval: Duration::from_secs(1),
            },
            repair: RepairSettings {
                dialer: dialer(),
                options: retrieve_options(),
                ..RepairSettings::new(REPAIR_BYTES_PER_SECOND, 1, EndpointPolicy::AllowPrivate)
            },
            scrub: ScrubSettings {
                period: Duration::from_secs(7),
                bytes_per_second: REPAIR_BYTES_PER_SECOND,
            },
            dispersal: Listener { socket: listen(DISPERSAL_PORT).await?, limits, tls: None },
            retrieval: Listener { socket: listen(RETRIEVAL_PORT).await?, limits, tls: None },
            monitor: None,
        };
        let mut node = dac_node::member::start(parts, GRACE).await?;
        Err(node.failed().await.into())
    }
}

/// The production signer. It reports each use of the key to the witness.
struct WatchedSigner {
    signer: LocalSigner,
    seat: Seat,
    store: MemberMemory,
    witness: Witness,
}

#[async_trait]
impl Signer for WatchedSigner {
    fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    async fn sign(&self, digest: BatchDigest) -> Result<dac_bls::Signature, SignerError> {
        let signature = Signature { seat: self.seat, digest, is_stored: self.store.holds(digest) };
        self.witness.signed(signature);
        trace::event("signed", &[&[self.seat.0], digest.as_bytes()]);
        self.signer.sign(digest).await
    }

    async fn sign_renewal(&self, digest: RenewalDigest) -> Result<dac_bls::Signature, SignerError> {
        self.signer.sign_renewal(digest).await
    }
}
