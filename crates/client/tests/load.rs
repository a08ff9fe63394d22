//! Load on an aggregator that is busy, stops for a while, or cannot be reached.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dac_chain::EcdsaKey;
use dac_client::load::{self, LoadPlan, Rate, Sizes, Summary, Target};
use dac_client::{AggregatorClient, Dialer, EndpointPolicy};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::batch_service_server::{BatchService, BatchServiceServer};
use dac_types::{Address, B256, BatchSubmission, Domain, HashKind, PostingMode, SignedSubmission};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

const DOMAIN: Domain = Domain { chain_id: 1, registry: Address::repeat_byte(1) };

/// This aggregator takes batches, and says that they are certified.
#[derive(Clone)]
struct FakeAggregator {
    /// While this is true, nothing is answered.
    stands_still: watch::Receiver<bool>,
    /// One submission in this many is refused.
    refuse_every: u64,
    seen: Arc<Mutex<Seen>>,
    /// The number of submissions so far.
    count: watch::Sender<u64>,
}

#[derive(Default)]
struct Seen {
    submissions: u64,
    numbers: HashSet<(Address, u64)>,
    payloads: HashSet<Vec<u8>>,
    connections: HashSet<std::net::SocketAddr>,
}

fn certified(digest: Bytes) -> v1::Batch {
    // The client looks at nothing but the state.
    let order = BatchSubmission {
        rollup: Address::repeat_byte(1),
        batch_number: 1,
        payload_length: 1,
        expires_at: 1,
        hash_kind: HashKind::Opaque,
        batch_hash: B256::repeat_byte(1),
        replaces: B256::ZERO,
        disperser: Address::repeat_byte(1),
        submit_before: 1,
    };
    v1::Batch {
        submission_digest: digest,
        submission: Some((&order).into()),
        state: v1::BatchState::Certified.into(),
        ..v1::Batch::default()
    }
}

#[tonic::async_trait]
impl BatchService for FakeAggregator {
    type WatchBatchStream = BoxStream<'static, Result<v1::WatchBatchResponse, Status>>;

    async fn submit_batch(
        &self,
        request: Request<Streaming<v1::SubmitBatchRequest>>,
    ) -> Result<Response<v1::SubmitBatchResponse>, Status> {
        let caller = request.remote_addr().unwrap();
        let mut stream = request.into_inner();
        let mut messages = Vec::new();
        while let Some(message) = stream.message().await? {
            messages.push(message.message.unwrap());
        }
        let mut order = None;
        let mut payload = Vec::new();
        for message in messages {
            match message {
                v1::submit_batch_request::Message::Open(open) => order = open.submission,
                v1::submit_batch_request::Message::Piece(piece) => payload.extend_from_slice(&piece),
            }
        }
        let order: SignedSubmission = order.unwrap().try_into().unwrap();
        self.count.send_modify(|count| *count += 1);
        let is_refused = {
            let mut seen = self.seen.lock().unwrap();
            seen.submissions += 1;
            seen.connections.insert(caller);
            assert!(seen.numbers.insert((order.submission.rollup, order.submission.batch_number)));
            assert!(seen.payloads.insert(payload), "every payload is new");
            self.refuse_every != 0 && seen.submissions.is_multiple_of(self.refuse_every)
        };
        if is_refused {
            return Err(Reason::Busy.status("because"));
        }
        let digest = Bytes::copy_from_slice(order.submission.digest(&DOMAIN).as_slice());
        let received = v1::Batch { state: v1::BatchState::Received.into(), ..certified(digest) };
        Ok(Response::new(v1::SubmitBatchResponse { batch: Some(received) }))
    }

    async fn watch_batch(
        &self,
        request: Request<v1::WatchBatchRequest>,
    ) -> Result<Response<Self::WatchBatchStream>, Status> {
        self.stands_still.clone().wait_for(|stands| !stands).await.unwrap();
        let Some(v1::batch_selector::By::SubmissionDigest(digest)) = request.into_inner().batch.unwrap().by
        else {
            panic!("a load knows its batches by their orders");
        };
        let batch = Some(certified(digest));
        Ok(Response::new(stream::iter([Ok(v1::WatchBatchResponse { batch })]).boxed()))
    }

    async fn submit_validity_proof(
        &self,
        _: Request<v1::SubmitValidityProofRequest>,
    ) -> Result<Response<v1::SubmitValidityProofResponse>, Status> {
        Err(Status::unimplemented("no proofs here"))
    }

    async fn get_batch(
        &self,
        _: Request<v1::GetBatchRequest>,
    ) -> Result<Response<v1::GetBatchResponse>, Status> {
        Err(Status::unimplemented("watch it"))
    }

    async fn list_batches(
        &self,
        _: Request<v1::ListBatchesRequest>,
    ) -> Result<Response<v1::ListBatchesResponse>, Status> {
        Err(Status::unimplemented("no lists here"))
    }

    async fn get_certificate(
        &self,
        _: Request<v1::GetCertificateRequest>,
    ) -> Result<Response<v1::GetCertificateResponse>, Status> {
        Err(Status::unimplemented("no certificates here"))
    }
}

fn plan() -> LoadPlan {
    LoadPlan {
        rate: Rate::Batches(100.0),
        random_pauses: false,
        sizes: "1..2000".parse().unwrap(),
        duration: Duration::from_secs(1),
        warm_up: Duration::ZERO,
        in_flight_max: 1_000,
        connections: 2,
        hash_kind: HashKind::Opaque,
        posting: PostingMode::Record,
        lifetime_seconds: 3_600,
        timeout: Duration::from_secs(30),
        first_number: 1_000,
        seed: 5,
    }
}

struct Setting {
    aggregator: FakeAggregator,
    stands_still: watch::Sender<bool>,
    client: AggregatorClient,
}

async fn set(refuse_every: u64) -> Setting {
    let (stands_still, watched) = watch::channel(false);
    let aggregator = FakeAggregator {
        stands_still: watched,
        refuse_every,
        seen: Arc::default(),
        count: watch::Sender::new(0),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(BatchServiceServer::new(aggregator.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let client = AggregatorClient::new(url.parse().unwrap(), Dialer::new(EndpointPolicy::AllowPrivate));
    Setting { aggregator, stands_still, client }
}

fn rollups(count: u8) -> Vec<Target> {
    let target = |byte| Target {
        rollup: Address::repeat_byte(byte),
        poster: EcdsaKey::random(),
        disperser: Address::repeat_byte(4),
    };
    (1..=count).map(target).collect()
}

async fn run(setting: &Setting, plan: &LoadPlan, rollups_count: u8) -> Summary {
    load::run(&setting.client, DOMAIN, rollups(rollups_count), plan, || 1_000_000, |_| {}).await.unwrap()
}

#[tokio::test]
async fn all_that_is_due_is_sent_once_and_refusals_are_counted_by_name() {
    let setting = set(10).await;
    let summary = run(&setting, &plan(), 3).await;
    let seen = setting.aggregator.seen.lock().unwrap();
    assert_eq!((summary.due, summary.certified, summary.dropped, summary.unfinished), (100, 90, 0, 0));
    assert_eq!(summary.refused.get("BUSY"), Some(&10));
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    assert_eq!((seen.submissions, seen.numbers.len()), (100, 100));
    let of_rollups: HashSet<Address> = seen.numbers.iter().map(|(rollup, _)| *rollup).collect();
    assert_eq!(of_rollups.len(), 3);
    assert_eq!(seen.connections.len(), 2, "connections are kept");
    assert!(seen.numbers.iter().all(|(_, number)| (1_000..1_100).contains(number)));
}

#[tokio::test]
async fn a_service_that_stands_still_is_charged_by_every_batch_that_was_due() {
    let setting = set(0).await;
    setting.stands_still.send_replace(true);
    let mut count = setting.aggregator.count.subscribe();
    let release = async {
        // The sixtieth batch is due after 600 ms.
        count.wait_for(|count| *count > 60).await.unwrap();
        setting.stands_still.send_replace(false);
    };
    let plan = plan();
    let (summary, ()) = tokio::join!(run(&setting, &plan, 1), release);
    assert_eq!(summary.certified, 100);
    // The first batch waited for 600 ms, the tenth for 500. None was sent late, and the latency of
    // each includes its wait.
    let latency = summary.certificate_latency;
    assert!(latency.max >= Duration::from_millis(590), "{latency:?}");
    assert!(latency.p90 >= Duration::from_millis(490), "{latency:?}");
    assert!(summary.receipt_latency.p50 < latency.p90, "{summary:?}");
}

#[tokio::test]
async fn what_finds_no_room_is_dropped_and_what_never_ends_is_unfinished() {
    let setting = set(0).await;
    setting.stands_still.send_replace(true);
    let bounded = LoadPlan { in_flight_max: 7, timeout: Duration::from_millis(300), ..plan() };
    let summary = run(&setting, &bounded, 1).await;
    assert_eq!(summary.certified, 0);
    assert_eq!(summary.due, 100);
    let ended: u64 = summary.failed.values().sum::<u64>() + summary.unfinished;
    assert_eq!(summary.dropped + ended, 100);
    assert!(summary.dropped >= 50, "{summary:?}");
    assert!(summary.failed.keys().all(|name| name == "NOT_IN_TIME" || name == "TIMED_OUT"), "{summary:?}");
}

#[tokio::test]
async fn a_saturating_load_keeps_its_bound_in_flight() {
    let setting = set(0).await;
    let closed = LoadPlan {
        rate: Rate::Saturate,
        sizes: Sizes::of(100),
        in_flight_max: 4,
        warm_up: Duration::from_millis(200),
        ..plan()
    };
    let mut snapshots = Vec::new();
    let summary = load::run(
        &setting.client,
        DOMAIN,
        rollups(1),
        &closed,
        || 1_000_000,
        |now| snapshots.push(now.clone()),
    )
    .await
    .unwrap();
    assert!(summary.certified > 20, "{summary:?}");
    assert_eq!(summary.dropped, 0);
    assert!(summary.certificates_per_second > 20.0, "{summary:?}");
    assert!(snapshots.iter().all(|snapshot| snapshot.in_flight <= 4));
}

#[tokio::test]
async fn an_aggregator_that_is_not_there_is_said_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = AggregatorClient::new(url.parse().unwrap(), Dialer::new(EndpointPolicy::AllowPrivate));
    let short = LoadPlan { duration: Duration::from_millis(100), ..plan() };
    let summary = load::run(&client, DOMAIN, rollups(1), &short, || 1_000_000, |_| {}).await.unwrap();
    assert_eq!(summary.failed.get("UNREACHABLE"), Some(&10));
}
