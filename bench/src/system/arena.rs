//! The processes, and a rollup that puts load on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use dac_chain::{RegistryReader as _, RpcRegistryReader};
use dac_client::load::{self, LoadPlan, Rate, Sizes, Summary, Target};
use dac_client::{
    AggregatorClient, BatchSelector, BatchState, Dialer, Directory, EndpointPolicy, SubmissionBuilder,
    SubmitOptions,
};
use dac_runtime::tls::ClientTls;
use dac_tests::configuration::{self, Tls};
use dac_tests::network::{Network, NetworkTls, Plan};
use dac_tests::pki::Authority;
use dac_tests::process::program;
use dac_tests::{Context, Failure, Result};
use dac_types::{B256, BatchDigest, HashKind, PostingMode};
use rand::RngCore as _;
use tempfile::TempDir;
use toml::{Table, Value};

use super::setting::Setting;
use super::usage::{Usage, peak_memory_bytes};

/// Batches are kept for so long; nothing here lasts longer.
const LIFETIME_SECONDS: u64 = 24 * 60 * 60;
/// One batch may take so long.
const BATCH_LIMIT: Duration = Duration::from_secs(120);

/// A running system.
pub struct Arena {
    /// Its processes.
    pub network: Network,
    /// Which it is.
    pub setting: Setting,
    client: AggregatorClient,
    dialer: Dialer,
    _tls: Option<TempDir>,
    _store: TempDir,
}

impl Arena {
    /// Starts it; SQLite's files go to a folder below `target/bench`, on a disk.
    pub async fn start(setting: Setting) -> Result<Self> {
        for name in ["dac-node", "dac-aggregator"] {
            refuse_fail_points(&program(name)?)?;
        }
        let folder = crate::report::folder();
        fs::create_dir_all(&folder).context(folder.display())?;
        let store = TempDir::with_prefix_in("system-", &folder).context("a folder for stores")?;
        let (tls, authority, tls_folder) = if setting.tls { encrypted()? } else { Default::default() };
        let plan = Plan {
            tls,
            folder: Some(store.path().to_owned()),
            // As many connections as a configuration without a number has; repair as fast as it can.
            node: tables([
                ("store", [("max_connections", 8.into())].to_vec()),
                ("repair", [("bytes_per_second", "16GiB".into())].to_vec()),
            ]),
            aggregator: tables([("store", [("max_connections", 8.into())].to_vec())]),
            is_bare: true,
            ..Plan::default()
        };
        let network = Network::start_as(setting.shape(), &plan).await?;
        let mut dialer = Dialer::new(EndpointPolicy::AllowPrivate);
        let mut url = network.aggregator.gate(configuration::API).url();
        if let Some(authority) = authority {
            let trust = ClientTls { ca: Some(authority), identity: None };
            dialer = dialer.tls(trust.load(Duration::from_secs(5)).context("TLS")?);
            let port = network.aggregator.gate(configuration::API).address().port();
            url = format!("https://localhost:{port}");
        }
        let client = AggregatorClient::new(url.parse().context("a URL")?, dialer.clone());
        Ok(Self { network, setting, client, dialer, _tls: tls_folder, _store: store })
    }

    /// Puts load on it.
    pub async fn load(&self, load: Load) -> Result<Summary> {
        let rollup = &self.network.rollup;
        let target =
            Target { rollup: rollup.address, poster: rollup.poster.clone(), disperser: rollup.disperser };
        let plan = LoadPlan {
            rate: load.rate,
            random_pauses: true,
            sizes: Sizes::of(load.bytes),
            duration: load.warm_up + load.measured,
            warm_up: load.warm_up,
            in_flight_max: load.in_flight,
            connections: 2,
            hash_kind: HashKind::Opaque,
            // Certified, and never posted: L1 is not what is measured.
            posting: PostingMode::Settle,
            lifetime_seconds: LIFETIME_SECONDS,
            timeout: BATCH_LIMIT,
            first_number: microseconds(),
            seed: rand::random(),
        };
        let summary = load::run(&self.client, rollup.domain, vec![target], &plan, seconds, |_| {});
        let summary = summary.await.context("a load")?;
        if !summary.failed.is_empty() || !summary.refused.is_empty() || summary.unfinished > 0 {
            eprintln!(
                "  a load met {:?} {:?} {} unfinished",
                summary.refused, summary.failed, summary.unfinished
            );
        }
        Ok(summary)
    }

    /// Submits one batch of random bytes and waits until it has come so far.
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

    /// Everybody's seats and keys, by L1.
    pub async fn directory(&self) -> Result<Arc<Directory>> {
        let registry = self.network.committee.deployment.registry;
        let view = RpcRegistryReader::new(self.network.anvil.endpoints(), registry).read(0).await?;
        Ok(Arc::new(Directory::from_view(&view).context("the registry")?))
    }

    /// How members are connected to.
    pub fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// What the aggregator used up so far.
    pub fn aggregator_usage(&mut self) -> Result<Usage> {
        Usage::of(self.network.aggregator.process()?.id())
    }

    /// What all members together did.
    pub fn members_usage(&mut self) -> Result<Usage> {
        let mut sum = Usage::default();
        for member in &mut self.network.members {
            let Usage { cpu, written_bytes } = Usage::of(member.service.process()?.id())?;
            sum.cpu += cpu;
            sum.written_bytes += written_bytes;
        }
        Ok(sum)
    }

    /// Most memory that the aggregator, and that any member had.
    pub fn peak_memory_bytes(&mut self) -> Result<(u64, u64)> {
        let aggregator = peak_memory_bytes(self.network.aggregator.process()?.id())?;
        let mut member = 0;
        for one in &mut self.network.members {
            member = member.max(peak_memory_bytes(one.service.process()?.id())?);
        }
        Ok((aggregator, member))
    }
}

/// One load, all of one size.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How much.
    pub rate: Rate,
    /// Bytes of a payload.
    pub bytes: usize,
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub measured: Duration,
    /// Batches in flight, at most.
    pub in_flight: usize,
}

/// What can be killed at any point by its environment is not what anybody runs.
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

fn sign(
    key: &dac_chain::PrivateKeySigner,
    digest: B256,
) -> std::result::Result<[u8; 65], dac_chain::ChainError> {
    use dac_chain::TransactionSigner as _;
    Ok(key.sign_hash(&digest)?.as_bytes())
}

/// Unix time.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds() -> u64 {
    since_epoch().as_secs()
}

/// A batch number that was not used before.
pub fn microseconds() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}
