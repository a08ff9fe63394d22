//! Tests of the whole member over real sockets, with a registry, a clock and limits made by hand.

mod committee;
mod dispersal;
mod lifecycle;
mod refusals;
mod renewal;
mod repair;
mod retrieval;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dac_bls::SecretKey;
use dac_chain::feed::{FeedConfig, L1Events};
use dac_chain::testing::FakeEvents;
use dac_chain::{RegistryPublisher, RegistryWatch};
use dac_client::EndpointPolicy;
use dac_database::DatabaseOptions;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::dispersal_service_client::DispersalServiceClient;
use dac_proto::v1::member_service_client::MemberServiceClient;
use dac_proto::v1::retrieval_service_client::RetrievalServiceClient;
use dac_proto::v1::store_shard_request::Message;
use dac_runtime::clock::ManualClock;
use dac_runtime::grpc::ListenerLimits;
use dac_runtime::monitor::Monitor;
use dac_runtime::service::Listener;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{Address, Attestation, Seat};
use futures::{Stream, stream};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::attest::LocalSigner;
use crate::context::{Resources, Settings};
use crate::limits::{ClientRates, UploadLimits};
use crate::member::Parts;
use crate::node::Node;
use crate::repair::RepairSettings;
use crate::retain::Retention;
use crate::scrub::ScrubSettings;
use crate::store::{Catalog, Disk, Duties, DutyCounts, MemberStore, SpaceLimits, SqlStore};
use crate::sync::SyncSettings;
use crate::testing::{Batch, NOW, World};
use dac_runtime::workers::Workers;

/// The seat of the member under test: a parity seat.
const SEAT: Seat = Seat(4);
/// The time within which everything that must happen happens, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// A payload whose shard has several rows.
const LARGE: usize = 3_000_000;

struct Member {
    world: World,
    node: Node,
    store: SqlStore,
    clock: ManualClock,
    registry: RegistryPublisher,
    folder: TempDir,
    seat: Seat,
    key: SecretKey,
    l1: FakeEvents,
}

/// What a test may change of the usual member.
#[derive(Clone)]
struct Config {
    settings: Settings,
    uploads: UploadLimits,
    clients: ClientRates,
    disk: Arc<dyn Disk>,
    /// A database on a server. `None` is a file in the member's folder.
    server: Option<DatabaseOptions>,
    /// The seat whose key the member has in epochs 1 to 3, unless `key` is another one.
    seat: Seat,
    key: Option<SecretKey>,
    l1: FakeEvents,
    /// The events that are read instead of those of `l1`.
    events: Option<Arc<dyn L1Events>>,
    repair: RepairSettings,
    scrub: ScrubSettings,
}

/// A file system with as much room as a test sets.
#[derive(Clone)]
struct FakeDisk(Arc<AtomicU64>);

impl Disk for FakeDisk {
    fn free_bytes(&self) -> std::io::Result<u64> {
        match self.0.load(Ordering::SeqCst) {
            u64::MAX => Err(std::io::ErrorKind::NotFound.into()),
            free => Ok(free),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            settings: Settings {
                registry_max_age: PATIENCE * 10,
                piece_timeout: PATIENCE,
                upload_timeout: PATIENCE,
                call_timeout: PATIENCE,
                space: SpaceLimits { disk_reserve_bytes: 1_000_000, ..SpaceLimits::default() },
                clock_difference_max_seconds: 60,
            },
            uploads: UploadLimits { bytes: 1 << 30, per_rollup: 64 },
            clients: ClientRates {
                requests_per_second: 1e6,
                request_burst: 1e6,
                bytes_per_second: 1e12,
                byte_burst: 1e12,
                streams: 64,
                clients: 100,
            },
            disk: Arc::new(FakeDisk(Arc::new(AtomicU64::new(1 << 40)))),
            server: None,
            seat: SEAT,
            key: None,
            l1: FakeEvents::new(Address::repeat_byte(0x10), NOW, 1),
            events: None,
            // No peer is asked unless a test says so.
            repair: RepairSettings::new(NonZeroU64::MAX, 1, EndpointPolicy::PublicOnly),
            scrub: ScrubSettings { period: PATIENCE * 1000, bytes_per_second: NonZeroU64::MAX },
        }
    }
}

impl Member {
    async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    async fn start_with(config: Config) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config).await
    }

    async fn start_in(folder: TempDir, config: Config) -> Self {
        let world = World::new();
        let Config { seat, l1, .. } = config.clone();
        let key = config.key.clone().unwrap_or_else(|| world.members[seat.index()].clone());
        let file = DatabaseOptions::sqlite(folder.path().join("node.db"));
        let options = config.server.unwrap_or(file);
        let public_key = key.public_key().to_compressed();
        let store = SqlStore::open(&options, world.domain, &public_key).await.unwrap();
        let (registry, watch) = RegistryWatch::with(world.view());
        let clock = ManualClock::at(NOW);
        let workers = Workers::threads();
        let resources = Resources {
            domain: world.domain,
            store: MemberStore::of(store.clone()),
            signer: Arc::new(LocalSigner::new(key.clone(), workers.clone())),
            registry: watch,
            clock: Arc::new(clock.clone()),
            disk: Some(config.disk),
            workers,
            settings: config.settings,
            uploads: config.uploads,
            clients: config.clients,
        };
        let parts = Parts {
            resources,
            retention: Retention { delete_expired: true, slack: Duration::from_secs(60), interval: PATIENCE },
            events: config.events.unwrap_or_else(|| Arc::new(l1.clone())),
            sync: SyncSettings {
                log: l1.log(),
                feed: FeedConfig::new(0),
                interval: Duration::from_millis(20),
            },
            repair: config.repair,
            scrub: config.scrub,
            dispersal: listener().await,
            retrieval: listener().await,
            monitor: Some(Monitor::start(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap()),
        };
        let node = crate::member::start(parts, Duration::from_secs(5)).await.unwrap();
        Self { world, node, store, clock, registry, folder, seat, key, l1 }
    }

    /// Stops the member and starts another one on the same database.
    async fn restart(self) -> Self {
        let Self { node, folder, .. } = self;
        node.stop().await;
        Self::start_in(folder, Config::default()).await
    }

    async fn channel(&self, address: std::net::SocketAddr) -> Channel {
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
    }

    async fn dispersal(&self) -> DispersalServiceClient<Channel> {
        DispersalServiceClient::new(self.channel(self.node.addresses().dispersal.unwrap()).await)
    }

    async fn retrieval(&self) -> RetrievalServiceClient<Channel> {
        RetrievalServiceClient::new(self.channel(self.node.addresses().retrieval).await)
            .max_decoding_message_size(dac_types::limits::MESSAGE_MAX_BYTES)
    }

    async fn members(&self) -> MemberServiceClient<Channel> {
        MemberServiceClient::new(self.channel(self.node.addresses().retrieval).await)
    }

    /// Delivers a batch as an honest disperser would.
    async fn put(&self, batch: &Batch) -> Result<Attestation, Status> {
        let seat = self.seat;
        self.send(stream::iter(messages(batch.open(&self.world, seat), &batch.body(seat)))).await
    }

    async fn send<S>(&self, messages: S) -> Result<Attestation, Status>
    where
        S: Stream<Item = v1::StoreShardRequest> + Send + 'static,
    {
        let call = async { self.dispersal().await.store_shard(messages).await };
        let response = tokio::time::timeout(PATIENCE, call).await.expect("an answer")?;
        Ok(Attestation::try_from(response.into_inner().attestation.unwrap()).unwrap())
    }

    /// Checks that the attestation is this member's over this batch.
    fn assert_signed(&self, attestation: &Attestation, batch: &Batch) {
        assert_eq!((attestation.digest, attestation.seat), (batch.digest, self.seat));
        let expected = self.key.sign_digest(&batch.digest);
        assert_eq!(attestation.signature, expected.to_compressed());
    }

    async fn assert_not_stored(&self, batch: &Batch) {
        assert!(self.store.find(batch.digest).await.unwrap().is_none());
    }

    async fn describe(&self) -> v1::GetMemberResponse {
        self.members().await.get_member(v1::GetMemberRequest {}).await.unwrap().into_inner()
    }

    /// Waits until the member's description of itself has what is asked for.
    async fn until(
        &self,
        what: &str,
        condition: impl Fn(&v1::GetMemberResponse) -> bool,
    ) -> v1::GetMemberResponse {
        let mut last = None;
        // All questions use one connection, because new ones are accepted at a bounded rate.
        let mut members = self.members().await;
        let waiting = async {
            loop {
                let answer = members.get_member(v1::GetMemberRequest {}).await.unwrap().into_inner();
                if condition(&answer) {
                    return answer;
                }
                last = Some(answer);
                tokio::task::yield_now().await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(answer) => answer,
            Err(_) => panic!("{what}: {last:#?}"),
        }
    }

    async fn until_state(&self, state: v1::MemberState) -> v1::GetMemberResponse {
        self.until(state.as_str_name(), |answer| answer.state() == state).await
    }

    /// Waits until the member has read L1 to its present head.
    async fn until_read(&self) -> v1::GetMemberResponse {
        let head = self.l1.newest().number;
        self.until("L1 is read", |answer| {
            answer.duties.as_ref().is_some_and(|duties| duties.read_up_to_block >= head)
        })
        .await
    }

    async fn counts(&self) -> DutyCounts {
        self.store.duty_counts(NOW).await.unwrap()
    }

    async fn get_shard(&self, batch: &Batch) -> Result<Bytes, Status> {
        let request = v1::GetShardRequest { digest: digest(batch) };
        let mut stream = self.retrieval().await.get_shard(request).await?.into_inner();
        let mut shard = Vec::new();
        while let Some(response) = stream.message().await? {
            assert!(response.piece.len() <= STREAM_PIECE_MAX_BYTES);
            shard.extend_from_slice(&response.piece);
        }
        Ok(shard.into())
    }
}

fn digest(batch: &Batch) -> Bytes {
    Bytes::copy_from_slice(batch.digest.as_bytes())
}

fn opening(open: v1::StoreShardOpen) -> v1::StoreShardRequest {
    v1::StoreShardRequest { message: Some(Message::Open(open)) }
}

fn piece(bytes: impl Into<Bytes>) -> v1::StoreShardRequest {
    v1::StoreShardRequest { message: Some(Message::Piece(bytes.into())) }
}

/// Returns `open` and the body in pieces of an odd size.
fn messages(open: v1::StoreShardOpen, body: &Bytes) -> Vec<v1::StoreShardRequest> {
    let pieces = body.chunks(100_003).map(|bytes| piece(Bytes::copy_from_slice(bytes)));
    std::iter::once(opening(open)).chain(pieces).collect()
}

#[track_caller]
fn assert_reason<T: std::fmt::Debug>(result: Result<T, Status>, expected: Reason) {
    match result {
        Ok(value) => panic!("{expected} expected, got {value:?}"),
        Err(status) => assert_eq!(Reason::of(&status), Some(expected), "{status:?}"),
    }
}

/// Makes a listener on a free port.
async fn listener() -> Listener {
    Listener {
        socket: TcpListener::bind("127.0.0.1:0").await.unwrap().into(),
        limits: ListenerLimits::default(),
        tls: None,
    }
}
