//! The processes of a measured system, and a rollup that puts load on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dac_chain::{RegistryReader as _, RpcRegistryReader};
use dac_client::load::{self, LoadPlan, Rate, Sizes, Summary, Target};
use dac_client::{
    AggregatorClient, BatchSelector, BatchState, Dialer, Directory, EndpointPolicy, MemberClient, Patience,
    SubmissionBuilder, SubmitOptions,
};
use dac_database::Backend;
use dac_runtime::tls::ClientTls;
use dac_tests::configuration::{self, Tls};
use dac_tests::network::{Network, NetworkTls, Plan};
use dac_tests::pki::Authority;
use dac_tests::process::program;
use dac_tests::rollup::Rollup;
use dac_tests::{Context, Failure, Result, wait};
use dac_types::{Address, AdmittedRollup, B256, BatchDigest, HashKind, PostingMode, Seat};
use rand::RngCore as _;
use tempfile::TempDir;
use toml::{Table, Value};

use super::cold;
use super::postgres::{self, Server};
use super::setting::Setting;
use super::usage::{Usage, peak_memory_bytes};

/// The lifetime of batches, which is longer than any measurement.
const LIFETIME_SECONDS: u64 = 24 * 60 * 60;
/// The address of the rollup's settlement contract. The service needs no contract there.
const ROLLUP: Address = Address::repeat_byte(0x22);
/// The rollup's daily limit of payload bytes, more than any machine takes in a day.
const DAILY_PAYLOAD_BYTES: u64 = 1 << 50;
/// The time between two reads of L1 by each process while nothing changes on it. More frequent
/// reads by 65 processes, and by an aggregator that checks for each certified batch whether it is
/// settled, would keep a chain on the same machine busy.
pub const SELDOM: &str = "1h";
/// The time between two reads of L1 while a measurement waits for records.
pub const OFTEN: &str = "1s";
/// The age up to which data read from L1 are used.
const STALENESS_MAX: &str = "24h";
/// The number of members that are started at the same time. All 64 would wait for one another's key
/// derivations.
const STARTED_AT_ONCE: usize = 8;
/// The duration of one look at whether the processes are at rest.
const LOOK: Duration = Duration::from_millis(500);
/// The CPU time by which a look may exceed one at rest while the processes still count as at rest.
const SETTLED_CPU: Duration = Duration::from_millis(40);
/// The longest time until the processes are at rest.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// The longest time for one batch.
const BATCH_LIMIT: Duration = Duration::from_secs(120);

/// A running system.
pub struct Arena {
    /// The processes of the system.
    pub network: Network,
    /// The setting of the system.
    pub setting: Setting,
    client: AggregatorClient,
    dialer: Dialer,
    server: Option<Server>,
    /// The CPU time that all processes used during one look while they were at rest.
    idle: Duration,
    _tls: Option<TempDir>,
    store: TempDir,
}

impl Arena {
    /// Starts a system whose processes read L1 at the interval [`SELDOM`] or [`OFTEN`]. SQLite's
    /// files are in a folder below `target/bench`, which is on a disk.
    pub async fn start(setting: Setting, poll_interval: &str) -> Result<Self> {
        for name in ["dac-node", "dac-aggregator"] {
            refuse_fail_points(&program(name)?)?;
        }
        let folder = crate::report::folder();
        fs::create_dir_all(&folder).context(folder.display())?;
        let store = TempDir::with_prefix_in("system-", &folder).context("a folder for stores")?;
        let (tls, authority, tls_folder) = if setting.tls { encrypted()? } else { Default::default() };
        let connections: Value = i64::from(setting.connections()).into();
        let plan = Plan {
            tls,
            folder: Some(store.path().to_owned()),
            // The limit of repair is so high that it does not slow repair down.
            node: tables([
                ("store", vec![("max_connections", connections.clone())]),
                ("repair", vec![("bytes_per_second", "16GiB".into())]),
            ]),
            aggregator: tables([("store", vec![("max_connections", connections)])]),
            is_bare: true,
            ..Plan::default()
        };
        let mut network = Network::prepare_as(setting.shape(), &plan).await?;
        admit(&mut network).await?;
        look_at_l1(&network, poll_interval)?;
        start_members(&mut network, |_| true).await?;
        network.aggregator.start().await?;
        let server = match setting.backend {
            Backend::Sqlite => None,
            Backend::Postgres => Some(Server::behind(&network.aggregator).await?),
        };
        let mut dialer = Dialer::new(EndpointPolicy::AllowPrivate);
        let mut url = network.aggregator.gate(configuration::API).url();
        if let Some(authority) = authority {
            let trust = ClientTls { ca: Some(authority), identity: None };
            dialer = dialer.tls(trust.load(Duration::from_secs(5)).context("TLS")?);
            let port = network.aggregator.gate(configuration::API).address().port();
            url = format!("https://localhost:{port}");
        }
        let client = AggregatorClient::new(url.parse().context("a URL")?, dialer.clone());
        let mut this =
            Self { network, setting, client, dialer, server, idle: Duration::ZERO, _tls: tls_folder, store };
        this.idle = this.cpu_of_a_look().await?;
        Ok(this)
    }

    /// Waits until the processes use no more CPU time than before any load. After the submitter has
    /// its certificate, members beyond the quorum still get their shards, and all members the
    /// certificates.
    pub async fn settle(&mut self) -> Result<()> {
        let deadline = Instant::now() + SETTLE_LIMIT;
        while self.cpu_of_a_look().await? > self.idle * 2 + SETTLED_CPU {
            if Instant::now() >= deadline {
                return Err(Failure::new(format!("still busy {} s after a load", SETTLE_LIMIT.as_secs())));
            }
        }
        Ok(())
    }

    /// Returns the CPU time that all processes of the system use during one look.
    async fn cpu_of_a_look(&mut self) -> Result<Duration> {
        let before = self.aggregator_usage()?.cpu + self.members_usage()?.cpu;
        tokio::time::sleep(LOOK).await;
        Ok((self.aggregator_usage()?.cpu + self.members_usage()?.cpu).saturating_sub(before))
    }

    /// Stops the system and deletes all that it stored, also on a PostgreSQL server, which would
    /// keep it.
    pub async fn finish(mut self) -> Result<()> {
        self.network.aggregator.kill();
        for member in &mut self.network.members {
            member.service.kill();
        }
        if self.server.is_some() {
            let members = self.network.members.iter().map(|member| &member.service);
            for service in members.chain([&self.network.aggregator]) {
                postgres::drop_all(service).await?;
            }
        }
        Ok(())
    }

    /// Restarts the members after the kernel has dropped their stores' files from its cache. Only
    /// the disk's own cache may still have them. A PostgreSQL server keeps its caches.
    pub async fn cool_down(&mut self) -> Result<()> {
        for member in &mut self.network.members {
            member.service.stop().await?;
        }
        cold::drop_cached(self.store.path())?;
        start_members(&mut self.network, |_| true).await
    }

    /// Returns the folder of SQLite's stores.
    pub fn stores(&self) -> &Path {
        self.store.path()
    }

    /// Returns the database server's usage, if there is a server and its usage can be read.
    pub async fn server_usage(&self) -> Result<Option<Usage>> {
        self.server.as_ref().map_or(Ok(None), |server| Ok(server.usage()))
    }

    /// Puts load on the system, with random pauses.
    pub async fn load(&self, load: Load) -> Result<Summary> {
        self.load_with(load, true).await
    }

    /// Puts load on the system, with equal pauses.
    pub async fn load_evenly(&self, load: Load) -> Result<Summary> {
        self.load_with(load, false).await
    }

    async fn load_with(&self, load: Load, random_pauses: bool) -> Result<Summary> {
        let rollup = &self.network.rollup;
        let target =
            Target { rollup: rollup.address, poster: rollup.poster.clone(), disperser: rollup.disperser };
        let plan = LoadPlan {
            rate: load.rate,
            random_pauses,
            sizes: Sizes::of(load.bytes),
            duration: load.warm_up + load.measured,
            warm_up: load.warm_up,
            in_flight_max: load.in_flight,
            connections: 2,
            hash_kind: HashKind::Opaque,
            // Batches are certified but never posted, because L1 is not measured.
            posting: PostingMode::Settle,
            lifetime_seconds: LIFETIME_SECONDS,
            timeout: BATCH_LIMIT,
            first_number: microseconds(),
            seed: rand::random(),
        };
        let summary = load::run(&self.client, rollup.domain, vec![target], &plan, seconds, |_| {});
        summary.await.context("a load")
    }

    /// Submits one batch of random bytes and waits until it has reached the state `goal`.
    pub async fn submit(&self, number: u64, bytes: usize, goal: BatchState) -> Result<(BatchDigest, Bytes)> {
        let rollup = &self.network.rollup;
        let mut payload = vec![0; bytes];
        rand::rng().fill_bytes(&mut payload);
        let payload = Bytes::from(payload);
        let posting = if goal == BatchState::Posted { PostingMode::Record } else { PostingMode::Settle };
        let now = seconds();
        let signed = SubmissionBuilder::new(rollup.domain, rollup.address, number, rollup.disperser, now)
            .hash_kind(HashKind::Opaque)
            .batch_hash(B256::random())
            .expires_at(now + LIFETIME_SECONDS)
            .sign(&payload, |digest| sign(&rollup.poster, digest))
            .context("an order")?;
        let options = SubmitOptions { posting, ..SubmitOptions::default() };
        let status = self.client.submit(&rollup.domain, &signed, &payload, options, |_| {}).await;
        let selector = BatchSelector::Submission(status.context("a submission")?.submission_digest);
        let status = self.client.wait(selector, goal, BATCH_LIMIT, |_| {}).await.context("a batch")?;
        Ok((status.digest.context("a certified batch's digest")?, payload))
    }

    /// Waits until every member, including those beyond the quorum, stores these batches and their
    /// certificates.
    pub async fn held_by_all(&self, digests: &[BatchDigest]) -> Result<()> {
        for member in &self.network.committee.members {
            let url = &member.retrieval_url;
            let mut client =
                MemberClient::connect(&self.dialer, url, Patience::default()).await.context(url)?;
            for digest in digests {
                let what = format!("{url} to hold {digest} and its certificate");
                wait::until(&what, BATCH_LIMIT, async || {
                    let (record, _) = client.record(*digest).await.ok()?;
                    record.certificate.map(drop)
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Returns the members' seats and keys, as L1 has them.
    pub async fn directory(&self) -> Result<Arc<Directory>> {
        let registry = self.network.committee.deployment.registry;
        let view = RpcRegistryReader::new(self.network.anvil.endpoints(), registry).read(0).await?;
        Ok(Arc::new(Directory::from_view(&view).context("the registry")?))
    }

    /// Returns the dialer for connections to members.
    pub fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// Returns the aggregator's usage so far.
    pub fn aggregator_usage(&mut self) -> Result<Usage> {
        Usage::of(self.network.aggregator.process()?.id())
    }

    /// Returns the usage of all members together.
    pub fn members_usage(&mut self) -> Result<Usage> {
        let mut sum = Usage::default();
        for member in &mut self.network.members {
            let Usage { cpu, written_bytes } = Usage::of(member.service.process()?.id())?;
            sum.cpu += cpu;
            sum.written_bytes += written_bytes;
        }
        Ok(sum)
    }

    /// Returns the peak memory of the aggregator, and the largest peak of a member.
    pub fn peak_memory_bytes(&mut self) -> Result<(u64, u64)> {
        let aggregator = peak_memory_bytes(self.network.aggregator.process()?.id())?;
        let mut member = 0;
        for one in &mut self.network.members {
            member = member.max(peak_memory_bytes(one.service.process()?.id())?);
        }
        Ok((aggregator, member))
    }
}

/// Admits a separate rollup, which may submit more in a day than the test harness's rollup.
async fn admit(network: &mut Network) -> Result<()> {
    let rollup = Rollup { address: ROLLUP, ..network.rollup.clone() };
    let terms = AdmittedRollup {
        rollup: rollup.address,
        poster: rollup.poster.address(),
        retention_max_seconds: 30 * LIFETIME_SECONDS,
        daily_payload_bytes: DAILY_PAYLOAD_BYTES,
    };
    let admin = network.committee.admin(&network.anvil);
    admin.admit_rollup(&terms).await.context("admitting the rollup")?;
    network.rollup = rollup;
    Ok(())
}

/// Makes each process read the chain at this interval and directly, not through the test harness's
/// proxy.
fn look_at_l1(network: &Network, poll_interval: &str) -> Result<()> {
    let chain = tables([(
        "chain",
        vec![
            ("rpc", Value::Array(vec![network.anvil.url().into()])),
            ("poll_interval", poll_interval.into()),
            ("max_staleness", STALENESS_MAX.into()),
        ],
    )]);
    let members = network.members.iter().map(|member| &member.service);
    members
        .chain([&network.aggregator])
        .try_for_each(|service| configuration::change(service.config(), &chain))
}

/// Starts the chosen members, `STARTED_AT_ONCE` at a time.
pub async fn start_members(network: &mut Network, which: impl Fn(Seat) -> bool) -> Result<()> {
    let mut members: Vec<_> = network.members.iter_mut().filter(|member| which(member.seat)).collect();
    for group in members.chunks_mut(STARTED_AT_ONCE) {
        for member in &mut *group {
            member.service.launch()?;
        }
        for member in group {
            member.service.await_ready().await?;
        }
    }
    Ok(())
}

/// One load, whose payloads have one size.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The load's rate or concurrency.
    pub rate: Rate,
    /// The bytes of a payload.
    pub bytes: usize,
    /// The time before the measurement.
    pub warm_up: Duration,
    /// The time of the measurement.
    pub measured: Duration,
    /// The largest number of batches in flight.
    pub in_flight: usize,
}

impl Load {
    /// Returns the payload bytes a second, if the load has a fixed rate.
    #[allow(clippy::cast_precision_loss)] // Sizes far below 2^52.
    pub fn bytes_per_second(&self) -> Option<f64> {
        match self.rate {
            Rate::Bytes(rate) => Some(rate),
            Rate::Batches(rate) => Some(rate * self.bytes as f64),
            Rate::Saturate => None,
        }
    }
}

/// Returns an error if the program was built with fail points, because operators run programs
/// without them.
fn refuse_fail_points(program: &Path) -> Result<()> {
    let bytes = fs::read(program).context(program.display())?;
    let needle = b"DAC_FAILPOINT";
    if bytes.windows(needle.len()).any(|window| window == needle) {
        return Err(Failure::new(format!(
            "{} was built with fail points: cargo build --release -p dac-node -p dac-aggregator",
            program.display()
        )));
    }
    Ok(())
}

fn encrypted() -> Result<(NetworkTls, Option<PathBuf>, Option<TempDir>)> {
    let folder = TempDir::new().context("a folder for certificates")?;
    let authority = Authority::new(folder.path(), "authority")?;
    let tls = NetworkTls {
        dispersal: authority.listener("dispersal", Some(&authority))?,
        retrieval: authority.listener("retrieval", None)?,
        aggregator: authority.listener("aggregator", None)?,
        towards_members: Tls {
            identity: Some(authority.identity("client")?),
            authority: Some(authority.certificate()),
        },
    };
    Ok((tls, Some(authority.certificate()), Some(folder)))
}

fn tables<const N: usize>(tables: [(&str, Vec<(&str, Value)>); N]) -> Table {
    let table = |entries: Vec<(&str, Value)>| -> Table {
        entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    };
    tables.into_iter().map(|(name, entries)| (name.to_owned(), table(entries).into())).collect()
}

fn sign(key: &dac_chain::EcdsaKey, digest: B256) -> std::result::Result<[u8; 65], dac_chain::ChainError> {
    use dac_chain::TransactionSigner as _;
    Ok(key.sign_hash(&digest)?.as_bytes())
}

/// Returns the Unix time.
#[expect(
    clippy::disallowed_methods,
    reason = "the processes that are measured go by the machine's clock, too"
)]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds() -> u64 {
    since_epoch().as_secs()
}

/// Returns a batch number that was not used before.
pub fn microseconds() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}
