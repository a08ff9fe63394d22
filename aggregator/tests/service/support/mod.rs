//! Runs an aggregator in this process, with fake members on real sockets and a fake L1 that is
//! mined on demand.

pub(crate) mod l1;
pub(crate) mod members;
pub(crate) mod proof;
pub(crate) mod rollup;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dac_aggregator::aggregator::{Aggregator, Capacity, Parts};
use dac_aggregator::context::Settings;
use dac_aggregator::grpc::ServiceLimits;
use dac_aggregator::members::CallSettings;
use dac_aggregator::post::PostSettings;
use dac_aggregator::store::{Owner, SqlStore, Store, StoreError};
use dac_chain::{BlockRef, EcdsaKey, RegistryPublisher, RegistryView, RegistryWatch};
use dac_client::{Dialer, EndpointPolicy};
use dac_database::testing::TestDatabase;
use dac_database::{DatabaseOptions, sqlx};
use dac_poster::PosterConfig;
use dac_proto::v1;
use dac_proto::v1::batch_service_client::BatchServiceClient;
use dac_runtime::clients::ClientRates;
use dac_runtime::clock::ManualClock;
use dac_runtime::grpc::ListenerLimits;
use dac_runtime::service::Listener;
use dac_runtime::workers::Workers;
use dac_types::{Address, AdmittedRollup, B256, Committee, Domain, Member, Quorum};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tonic::transport::Channel;

pub(crate) use l1::FakeL1;
pub(crate) use members::{Behaviour, FakeMember};

/// The longest time that a test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The term of processes' leases: a process that has not renewed its lease for this long counts as
/// gone.
pub(crate) const TERM: Duration = Duration::from_secs(3);
/// The time of the fake clock at the start, in Unix seconds.
pub(crate) const NOW: u64 = 1_800_000_000;
/// The chain and the registry of all tests.
pub(crate) const DOMAIN: Domain = Domain { chain_id: 31337, registry: Address::repeat_byte(0xaa) };
/// The admitted rollup.
pub(crate) const ROLLUP: Address = Address::repeat_byte(0x11);
/// The longest retention of that rollup, in seconds.
pub(crate) const RETENTION: u64 = 30 * 24 * 3600;

/// Makes a key from one byte.
pub(crate) fn key(seed: u8) -> EcdsaKey {
    EcdsaKey::from_slice(&[seed; 32]).unwrap()
}

/// Returns the key of the rollup's poster.
pub(crate) fn poster() -> EcdsaKey {
    key(0x21)
}

/// Returns the aggregator's key.
pub(crate) fn disperser() -> EcdsaKey {
    key(0x31)
}

/// The surroundings of an aggregator, which outlive it: database, registry, members, L1 and clock.
pub(crate) struct World {
    pub(crate) members: Vec<FakeMember>,
    pub(crate) quorum: Quorum,
    pub(crate) publisher: RegistryPublisher,
    pub(crate) registry: RegistryWatch,
    pub(crate) l1: Arc<FakeL1>,
    pub(crate) clock: ManualClock,
    pub(crate) database: TestDatabase,
    pub(crate) options: Options,
    opened: Mutex<Option<SqlStore>>,
}

/// The settings of an aggregator that tests change.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) in_flight_bytes: u64,
    pub(crate) encoded_bytes: u64,
    pub(crate) call_timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) tick: Duration,
    pub(crate) piece_timeout: Duration,
    pub(crate) upload_timeout: Duration,
    pub(crate) registry_max_age: Duration,
    pub(crate) policy: EndpointPolicy,
    pub(crate) uploads: usize,
    pub(crate) watchers: usize,
    pub(crate) parked_bytes: u64,
    pub(crate) upload_rate: u64,
    pub(crate) reads: ClientRates,
    pub(crate) confirmations: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            in_flight_bytes: 256 << 20,
            encoded_bytes: 256 << 20,
            call_timeout: Duration::from_secs(30),
            grace: Duration::from_millis(100),
            tick: Duration::from_millis(20),
            piece_timeout: Duration::from_secs(30),
            upload_timeout: Duration::from_secs(60),
            registry_max_age: Duration::from_secs(3600),
            policy: EndpointPolicy::AllowPrivate,
            uploads: 64,
            watchers: 64,
            parked_bytes: 256 << 20,
            upload_rate: 1,
            reads: ClientRates {
                requests_per_second: 1e6,
                request_burst: 1e6,
                bytes_per_second: 1e9,
                byte_burst: 1e9,
                streams: u32::MAX,
                clients: 100,
            },
            confirmations: 1,
        }
    }
}

impl World {
    /// Makes a world whose members are all honest, for a committee of n seats in which k shards
    /// rebuild and q signatures are a quorum.
    pub(crate) async fn new(n: u16, k: u16, q: u16) -> Self {
        let quorum = Quorum::new(n, k, q).unwrap();
        let mut members = Vec::new();
        for seat in 0..n {
            members.push(FakeMember::start(u8::try_from(seat).unwrap(), quorum.geometry()).await);
        }
        let (publisher, registry) = RegistryWatch::with(view(quorum, &members, 1));
        Self {
            members,
            quorum,
            publisher,
            registry,
            l1: Arc::new(FakeL1::default()),
            clock: ManualClock::at(NOW),
            database: TestDatabase::sqlite(),
            options: Options::default(),
            opened: Mutex::default(),
        }
    }

    /// Makes a world with the usual committee of the tests: 4 seats, 2 shards rebuild, 3 signatures
    /// are a quorum.
    pub(crate) async fn small() -> Self {
        Self::new(4, 2, 3).await
    }

    pub(crate) fn member(&self, seat: usize) -> &FakeMember {
        &self.members[seat]
    }

    pub(crate) fn behave(&self, seat: usize, behaviour: Behaviour) {
        self.members[seat].behave(behaviour);
    }

    /// Changes the registry and publishes it to the aggregator.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut RegistryView)) {
        let mut view = (*self.publisher.latest().unwrap()).clone();
        change(&mut view);
        self.publisher.publish(view);
    }

    /// Opens the next epoch with the same members, active from now on.
    pub(crate) fn open_epoch(&self, epoch: u64) {
        self.publish(|view| {
            let now = dac_runtime::clock::Clock::now_unix_seconds(&self.clock);
            for committee in view.committees.values_mut() {
                *committee = Arc::new(
                    Committee::new(
                        committee.epoch(),
                        committee.quorum(),
                        committee.members().to_vec(),
                        committee.active_from(),
                        now.min(committee.active_until()),
                        now + 3600,
                    )
                    .unwrap(),
                );
            }
            view.committees.insert(epoch, committee(epoch, self.quorum, &self.members, now));
            view.current_epoch = Some(epoch);
        });
    }

    pub(crate) fn database(&self) -> &DatabaseOptions {
        self.database.options()
    }

    pub(crate) async fn store(&self) -> SqlStore {
        let owner = Owner { domain: DOMAIN, disperser: disperser().address() };
        // A SQLite file can be opened by only one store at a time.
        let former = self.opened.lock().take().filter(|_| self.database.file().is_some());
        if let Some(former) = former {
            former.close().await;
        }
        let store = SqlStore::open(self.database(), owner, TERM).await.unwrap();
        *self.opened.lock() = Some(store.clone());
        store
    }

    /// The store that was opened last. Opening the database once more would clean it up.
    pub(crate) fn opened(&self) -> SqlStore {
        self.opened.lock().clone().unwrap()
    }

    /// Ends the poster's lease as if its holder had slept beyond its term, and waits until `other`
    /// posts.
    pub(crate) async fn pass_the_lead_to(&self, other: &Running) {
        let run_out = async || {
            let done: Result<(), StoreError> = self
                .opened()
                .database()
                .append(|connection| {
                    Box::pin(async move {
                        sqlx::query(
                            "UPDATE leases SET expires_at_ms = 1 WHERE name = 'poster' AND token = 1",
                        )
                        .execute(connection)
                        .await?;
                        Ok(())
                    })
                })
                .await;
            done.unwrap();
        };
        tokio::time::timeout(PATIENCE, async {
            while !other.aggregator.batches().context().posting.is_leading() {
                run_out().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the other takes it");
    }

    /// Starts an aggregator on this world's database.
    pub(crate) async fn start(&self) -> Running {
        Running::start(self.parts().await).await
    }

    /// Returns the parts that this world's aggregator is built from.
    pub(crate) async fn parts(&self) -> Parts {
        let options = self.options;
        Parts {
            domain: DOMAIN,
            signer: Arc::new(disperser()),
            l1_signer: Arc::new(key(0x41)),
            may_post: Arc::new(true.into()),
            store: Arc::new(self.store().await),
            registry: self.registry.clone(),
            l1: Arc::clone(&self.l1) as Arc<dyn dac_chain::Chain>,
            poster: PosterConfig {
                confirmations: options.confirmations,
                poll_interval: Duration::from_millis(20),
                ..PosterConfig::new(DOMAIN, Address::repeat_byte(0xbb))
            },
            clock: Arc::new(self.clock.clone()),
            workers: Workers::threads(),
            dialer: Dialer::new(options.policy).connect_timeout(Duration::from_secs(10)),
            calls: CallSettings {
                calls_max: 64,
                calls_per_member: 11,
                call_timeout: options.call_timeout,
                retry_initial: Duration::from_millis(10),
                retry_max: Duration::from_millis(50),
                straggler_retry_max: Duration::from_millis(50),
                shows_certificate: false,
            },
            posting: PostSettings { deadline: Duration::from_secs(120), retry: Duration::from_millis(50) },
            settings: Settings {
                registry_max_age: options.registry_max_age,
                grace: options.grace,
                tick: options.tick,
                piece_timeout: options.piece_timeout,
                upload_rate: options.upload_rate,
                upload_timeout: options.upload_timeout,
                hold_up: Duration::ZERO,
                share_interval: Duration::from_millis(20),
            },
            renewal: None,
            capacity: Capacity {
                in_flight_bytes: options.in_flight_bytes,
                parked_bytes: options.parked_bytes,
                encoded_bytes: options.encoded_bytes,
                straggler_bytes: 64 << 20,
                encoders: 2,
            },
            service: ServiceLimits {
                uploads: options.uploads,
                watchers: options.watchers,
                reads: options.reads,
            },
            grpc: Listener {
                socket: TcpListener::bind("127.0.0.1:0").await.unwrap().into(),
                limits: ListenerLimits::default(),
                tls: None,
            },
            monitor: None,
        }
    }
}

/// A running aggregator and a client of it.
pub(crate) struct Running {
    pub(crate) aggregator: Aggregator,
    pub(crate) client: BatchServiceClient<Channel>,
}

impl Running {
    pub(crate) async fn start(parts: Parts) -> Self {
        let aggregator = Aggregator::start(parts, Duration::from_secs(5)).await.unwrap();
        let url = format!("http://{}", aggregator.addresses().grpc);
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        Self { aggregator, client: BatchServiceClient::new(channel) }
    }

    pub(crate) async fn stop(self) {
        self.aggregator.stop().await;
    }

    /// Returns the aggregator's store.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.aggregator.batches().context().store
    }

    /// Returns the present state of the batch.
    pub(crate) async fn get(&self, submission_digest: B256) -> v1::Batch {
        let mut client = self.client.clone();
        let request = v1::GetBatchRequest { batch: Some(by_submission(submission_digest)) };
        client.get_batch(request).await.unwrap().into_inner().batch.unwrap()
    }

    /// Waits until the batch fulfils the condition, and returns it.
    pub(crate) async fn until(
        &self,
        submission_digest: B256,
        wanted: impl Fn(&v1::Batch) -> bool,
    ) -> v1::Batch {
        let mut last = None;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                let batch = self.get(submission_digest).await;
                if wanted(&batch) {
                    return batch;
                }
                last = Some(batch);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        match waited.await {
            Ok(batch) => batch,
            Err(_) => panic!("in vain: {last:#?}"),
        }
    }

    pub(crate) async fn until_state(&self, submission_digest: B256, state: v1::BatchState) -> v1::Batch {
        self.until(submission_digest, |batch| batch.state() == state).await
    }
}

pub(crate) fn by_submission(digest: B256) -> v1::BatchSelector {
    let bytes = digest.to_vec().into();
    v1::BatchSelector { by: Some(v1::batch_selector::By::SubmissionDigest(bytes)) }
}

fn committee(epoch: u64, quorum: Quorum, members: &[FakeMember], active_from: u64) -> Arc<Committee> {
    let members = members
        .iter()
        .map(|member| Member {
            operator: Address::repeat_byte(member.seat + 1),
            public_key: member.public_key(),
            dispersal_url: member.url(),
            retrieval_url: member.url(),
        })
        .collect();
    Arc::new(Committee::new(epoch, quorum, members, active_from, u64::MAX, u64::MAX).unwrap())
}

fn view(quorum: Quorum, members: &[FakeMember], epoch: u64) -> RegistryView {
    let rollup = AdmittedRollup {
        rollup: ROLLUP,
        poster: poster().address(),
        retention_max_seconds: RETENTION,
        daily_payload_bytes: 1 << 40,
    };
    RegistryView {
        chain_id: DOMAIN.chain_id,
        registry: DOMAIN.registry,
        head: BlockRef { number: 1, hash: B256::ZERO, timestamp: NOW },
        committees: BTreeMap::from([(epoch, committee(epoch, quorum, members, 0))]),
        current_epoch: Some(epoch),
        rollups: HashMap::from([(ROLLUP, rollup)]),
        paused: false,
    }
}
