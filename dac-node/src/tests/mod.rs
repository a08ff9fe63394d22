//! The whole member over real sockets, with a registry, a clock and limits made by hand.

mod dispersal;
mod lifecycle;
mod refusals;
mod retrieval;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dac_chain::{RegistryPublisher, RegistryWatch};
use dac_database::DatabaseOptions;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::dispersal_service_client::DispersalServiceClient;
use dac_proto::v1::member_service_client::MemberServiceClient;
use dac_proto::v1::retrieval_service_client::RetrievalServiceClient;
use dac_proto::v1::store_shard_request::Message;
use dac_runtime::clock::ManualClock;
use dac_runtime::grpc::ListenerLimits;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{Attestation, Seat};
use futures::{Stream, stream};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::attest::LocalSigner;
use crate::context::Settings;
use crate::disk::Disk;
use crate::limits::{ClientRates, UploadLimits};
use crate::node::{Listener, Node, Parts};
use crate::retain::Retention;
use crate::store::{SqlStore, Store};
use crate::testing::{Batch, NOW, World};
use dac_runtime::workers::Workers;

/// The seat of the member under test: a parity seat.
const SEAT: Seat = Seat(4);
/// What must happen happens within this, on the slowest machine.
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
}

/// What a test may want otherwise.
#[derive(Clone)]
struct Config {
    settings: Settings,
    uploads: UploadLimits,
    clients: ClientRates,
    disk: FakeDisk,
}

/// A file system with as much room as a test says.
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
                capacity_bytes: None,
                disk_reserve_bytes: 1_000_000,
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
            disk: FakeDisk(Arc::new(AtomicU64::new(1 << 40))),
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
        let options = DatabaseOptions::sqlite(folder.path().join("node.db"));
        let store = SqlStore::open(&options, world.domain, &world.public_key(SEAT)).await.unwrap();
        let (registry, watch) = RegistryWatch::with(world.view());
        let clock = ManualClock::at(NOW);
        let workers = Workers::threads();
        let listener = async || Listener {
            tcp: TcpListener::bind("127.0.0.1:0").await.unwrap().into(),
            limits: ListenerLimits::default(),
            tls: None,
        };
        let parts = Parts {
            domain: world.domain,
            store: Arc::new(store.clone()),
            signer: Arc::new(LocalSigner::new(world.members[SEAT.index()].clone(), workers.clone())),
            registry: watch,
            clock: Arc::new(clock.clone()),
            disk: Some(Arc::new(config.disk)),
            workers,
            settings: config.settings,
            uploads: config.uploads,
            clients: config.clients,
            retention: Retention { delete_expired: true, slack: Duration::from_secs(60), interval: PATIENCE },
            dispersal: listener().await,
            retrieval: listener().await,
            monitor: Some(TcpListener::bind("127.0.0.1:0").await.unwrap()),
        };
        let node = Node::start(parts, Duration::from_secs(5)).await.unwrap();
        Self { world, node, store, clock, registry, folder }
    }

    /// Stops it and starts another one on the same database.
    async fn restart(self) -> Self {
        let Self { node, folder, .. } = self;
        node.stop().await;
        Self::start_in(folder, Config::default()).await
    }

    async fn channel(&self, address: std::net::SocketAddr) -> Channel {
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
    }

    async fn dispersal(&self) -> DispersalServiceClient<Channel> {
        DispersalServiceClient::new(self.channel(self.node.addresses().dispersal).await)
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
        self.send(stream::iter(messages(batch.open(&self.world, SEAT), &batch.body(SEAT)))).await
    }

    async fn send<S>(&self, messages: S) -> Result<Attestation, Status>
    where
        S: Stream<Item = v1::StoreShardRequest> + Send + 'static,
    {
        let call = async { self.dispersal().await.store_shard(messages).await };
        let response = tokio::time::timeout(PATIENCE, call).await.expect("an answer")?;
        Ok(Attestation::try_from(response.into_inner().attestation.unwrap()).unwrap())
    }

    /// The attestation is this member's over this batch.
    fn assert_signed(&self, attestation: &Attestation, batch: &Batch) {
        assert_eq!((attestation.digest, attestation.seat), (batch.digest, SEAT));
        let expected = self.world.members[SEAT.index()].sign_digest(&batch.digest);
        assert_eq!(attestation.signature, expected.to_compressed());
    }

    async fn assert_not_stored(&self, batch: &Batch) {
        assert!(self.store.find(batch.digest).await.unwrap().is_none());
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

/// `open` and the body in pieces of an odd size.
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
