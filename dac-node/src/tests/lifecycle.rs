//! The member as a process: its description of itself, its health, and how it stops.

use dac_chain::feed::{Cursor, SecondReading, Step};
use dac_chain::{BlockRef, ChainError};
use dac_runtime::grpc::tonic_health::pb::HealthCheckRequest;
use dac_runtime::grpc::tonic_health::pb::health_client::HealthClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use dac_runtime::service::ServiceError;

use crate::reader::{NoKey, ReaderParts};

#[tokio::test]
async fn a_member_says_who_it_is() {
    let member = Member::start().await;
    member.put(&member.world.batch(1, LARGE)).await.unwrap();
    let answer = member.members().await.get_member(v1::GetMemberRequest {}).await.unwrap().into_inner();
    assert_eq!(answer.chain_id, 31337);
    assert_eq!(answer.public_key, member.world.public_key(SEAT).as_bytes().as_slice());
    assert_eq!(answer.operator, vec![0x74; 20]);
    let seats: Vec<_> = answer.seats.iter().map(|held| (held.epoch, held.seat, held.active)).collect();
    assert_eq!(seats, [(3, 4, false), (2, 4, true), (1, 4, false)]);
    assert_eq!((answer.stored_batches, answer.stored_bytes), (1, 1_000_000));
    assert_eq!((answer.l1_block, answer.protocols), (100, vec!["dac.v1".to_owned()]));
}

async fn http(member: &Member, path: &str) -> String {
    http_at(member.node.addresses().metrics.unwrap(), path).await
}

async fn http_at(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn health_and_metrics_tell_the_truth() {
    let member = Member::start().await;
    for address in [member.node.addresses().dispersal.unwrap(), member.node.addresses().retrieval] {
        for service in ["", "dac.v1.DispersalService", "dac.v1.RetrievalService"] {
            let mut health = HealthClient::new(member.channel(address).await);
            let request = HealthCheckRequest { service: service.to_owned() };
            let mut watch = health.watch(request).await.unwrap().into_inner();
            let serving = async { while watch.message().await.unwrap().unwrap().status != 1 {} };
            tokio::time::timeout(PATIENCE, serving).await.expect("it becomes healthy");
        }
    }
    member.put(&member.world.batch(1, 1000)).await.unwrap();
    let healthy = async {
        while !http(&member, "/healthz").await.starts_with("HTTP/1.1 200") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, healthy).await.unwrap();
    let told = member.describe().await;
    assert_eq!((told.l1_stale, told.l1_max_age_seconds), (false, (PATIENCE * 10).as_secs()));
    let page = http(&member, "/metrics").await;
    assert!(page.contains("dac_node_store_shard_total{outcome=\"OK\"}"), "{page}");

    let mut config = Config::default();
    config.settings.registry_max_age = Duration::ZERO;
    let member = Member::start_with(config).await;
    let mut health = HealthClient::new(member.channel(member.node.addresses().dispersal.unwrap()).await);
    for (service, expected) in [("dac.v1.RetrievalService", 1), ("dac.v1.DispersalService", 2)] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut watch = health.watch(request).await.unwrap().into_inner();
        let told = async { while watch.message().await.unwrap().unwrap().status != expected {} };
        tokio::time::timeout(PATIENCE, told).await.expect("without L1 it serves, but takes nothing");
    }
    // The member's description of itself and its health agree.
    assert!(member.describe().await.l1_stale);
    assert!(http(&member, "/healthz").await.starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way_and_takes_nothing_new() {
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    let (sender, receiver) = mpsc::channel(64);
    let mut client = member.dispersal().await;
    let mut second = client.clone();
    let call = tokio::spawn(async move { client.store_shard(ReceiverStream::new(receiver)).await });
    let mut all = messages(batch.open(&member.world, SEAT), &batch.body(SEAT)).into_iter();
    sender.send(all.next().unwrap()).await.unwrap();
    let context = Arc::clone(member.node.context());
    let under_way = async {
        while context.uploads.bytes() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, under_way).await.unwrap();

    context.draining.cancel();
    let other = member.world.batch(2, 1000);
    let refused =
        second.store_shard(stream::iter(messages(other.open(&member.world, SEAT), &other.body(SEAT)))).await;
    assert_reason(refused, Reason::ShuttingDown);
    let Member { world, node, folder, .. } = member;
    let stopped = tokio::spawn(node.stop());
    for message in all {
        sender.send(message).await.unwrap();
    }
    drop(sender);
    let attestation = call.await.unwrap().unwrap().into_inner().attestation.unwrap();
    assert_eq!(attestation.digest, digest(&batch));
    drop(second);
    tokio::time::timeout(PATIENCE, stopped).await.expect("it stops").unwrap();

    let member = Member::start_in(folder, Config::default()).await;
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
    member.assert_not_stored(&other).await;
    assert_eq!(world.domain, member.world.domain);
}

/// An L1 that makes each task that reads it panic.
struct Broken;

#[tonic::async_trait]
impl L1Events for Broken {
    async fn head(&self, _: u64) -> Result<BlockRef, ChainError> {
        panic!("told to fail")
    }

    async fn step(&self, _: &Cursor, _: &FeedConfig) -> Result<Step, ChainError> {
        panic!("told to fail")
    }

    async fn read_again(
        &self,
        _: &Cursor,
        _: u64,
        _: &FeedConfig,
    ) -> Result<Option<SecondReading>, ChainError> {
        panic!("told to fail")
    }
}

/// A file system that does not tell its size.
struct BrokenDisk;

impl Disk for BrokenDisk {
    fn free_bytes(&self) -> std::io::Result<u64> {
        panic!("told to fail")
    }
}

#[tokio::test]
async fn a_task_that_panics_is_not_done_without() {
    let broken: [(&str, Config); 2] = [
        ("L1", Config { events: Some(Arc::new(Broken)), ..Config::default() }),
        ("health", Config { disk: Arc::new(BrokenDisk), ..Config::default() }),
    ];
    for (part, config) in broken {
        let mut member = Member::start_with(config).await;
        let error = tokio::time::timeout(PATIENCE, member.node.failed()).await.expect("it is noticed");
        assert!(
            matches!(&error, ServiceError::Panicked { task, message } if *task == part && message == "told to fail"),
            "{error}"
        );
        // The node stops as always.
        tokio::time::timeout(PATIENCE, member.node.stop()).await.expect("it stops");
    }
    let mut member = Member::start().await;
    let goes_on = tokio::time::timeout(Duration::from_millis(1500), member.node.failed()).await;
    assert!(goes_on.is_err(), "nothing ended");
}

#[tokio::test]
async fn a_reader_serves_what_the_member_stored_and_nothing_else() {
    let _counted = dac_measure::counted!(Readers, 1);
    let member = Member::start().await;
    let batch = member.world.batch(1, LARGE);
    member.put(&batch).await.unwrap();
    member.l1.mine(vec![FakeEvents::recorded(batch.digest, &batch.header)]);
    member.until("it is owed", |answer| answer.duties.is_some_and(|duties| duties.held == 1)).await;
    let options = DatabaseOptions::sqlite(member.folder.path().join("node.db"));
    let public_key = member.key.public_key();
    let store =
        SqlStore::open_to_read(&options, member.world.domain, &public_key.to_compressed()).await.unwrap();
    let mut view = member.world.view();
    view.head.number = member.l1.newest().number;
    let (registry, watch) = RegistryWatch::with(view.clone());
    let resources = Resources {
        domain: member.world.domain,
        store: MemberStore::of(store),
        signer: Arc::new(NoKey(public_key)),
        registry: watch,
        clock: Arc::new(member.clock.clone()),
        disk: None,
        workers: Workers::threads(),
        settings: Settings { registry_max_age: Duration::from_secs(1), ..Config::default().settings },
        uploads: UploadLimits { bytes: 0, per_rollup: 0 },
        clients: Config::default().clients,
    };
    let parts = ReaderParts {
        resources,
        interval: Duration::from_millis(20),
        retrieval: listener().await,
        monitor: Some(Monitor::start(TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap()),
    };
    let reader = crate::reader::start(parts, Duration::from_secs(5)).await.unwrap();
    assert_eq!(reader.addresses().dispersal, None);
    let channel = member.channel(reader.addresses().retrieval).await;
    let mut retrieval = RetrievalServiceClient::new(channel.clone());
    let request = v1::GetShardRequest { digest: digest(&batch) };
    let mut stream = retrieval.get_shard(request).await.unwrap().into_inner();
    let mut shard = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        shard.extend_from_slice(&piece.piece);
    }
    assert_eq!(shard, batch.shard(SEAT));
    let mut members = MemberServiceClient::new(channel.clone());
    let ready = async {
        loop {
            registry.publish(view.clone());
            let answer = members.get_member(v1::GetMemberRequest {}).await.unwrap().into_inner();
            if answer.state() == v1::MemberState::Ready {
                break answer;
            }
        }
    };
    let answer = tokio::time::timeout(PATIENCE, ready).await.unwrap();
    assert_eq!(
        (answer.public_key, answer.duties.unwrap().held),
        (public_key.to_compressed().0.to_vec().into(), 1)
    );
    assert_eq!(answer.duties.unwrap().unread_blocks, 0);
    // L1 goes on without being read. What is known gets old, and is served all the same.
    view.head.number += 1000;
    registry.publish(view);
    let waiting = async {
        while members
            .get_member(v1::GetMemberRequest {})
            .await
            .unwrap()
            .into_inner()
            .duties
            .unwrap()
            .unread_blocks
            != 1000
        {}
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    // No client can deliver to a reader.
    let mut dispersal = DispersalServiceClient::new(channel);
    let open = stream::iter(vec![opening(batch.open(&member.world, SEAT))]);
    assert_eq!(dispersal.store_shard(open).await.unwrap_err().code(), tonic::Code::Unimplemented);
    let stale = async {
        loop {
            let answer = members.get_member(v1::GetMemberRequest {}).await.unwrap().into_inner();
            if answer.state() == v1::MemberState::Starting {
                break answer.duties.unwrap();
            }
        }
    };
    let duties = tokio::time::timeout(PATIENCE, stale).await.expect("it says that it does not know any more");
    assert!((duties.held, duties.age_seconds >= 1) == (1, true), "{duties:?}");
    let health = http_at(reader.addresses().metrics.unwrap(), "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200"), "what is stored is served: {health}");
    // What the reader finds damaged is marked for the member, which repairs it.
    member.store.damage("DELETE FROM shard_rows WHERE row_index = 1").await;
    let request = v1::GetChunksRequest { digest: digest(&batch), indices: vec![70] };
    assert_reason(retrieval.get_chunks(request).await, Reason::Corrupt);
    assert!(member.store.find(batch.digest).await.unwrap().unwrap().is_corrupt);
    reader.stop().await;
    member.put(&batch).await.unwrap();
    assert_eq!(member.get_shard(&batch).await.unwrap(), batch.shard(SEAT));
}
