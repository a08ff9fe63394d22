//! The configuration file of an aggregator. Committee, thresholds and coding come from L1 and are
//! not configured.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dac_client::EndpointPolicy;
use dac_database::{DatabaseOptions, DatabaseUrl};
use dac_poster::PosterConfig;
use dac_runtime::config::{
    self, ChainConfig, ListenerConfig, MetricsConfig, NamedFile, Period, ShutdownConfig, within,
};
use dac_runtime::descriptors::{Descriptors, endpoint_descriptors};
use dac_runtime::monitor;
use dac_runtime::service::ServiceConfig;
use dac_runtime::telemetry::LogConfig;
use dac_runtime::tls::ClientTls;
use dac_types::limits::COMMITTEE_MAX_SEATS;
use serde::Deserialize;

pub use self::limits::LimitsConfig;
pub use self::posting::PostingConfig;
use crate::aggregator::Capacity;
use crate::batches::SHARE_INTERVAL;
use crate::context::Settings;
use crate::grpc::ServiceLimits;
use crate::members::CallSettings;
use crate::post::PostSettings;
use crate::renew::RenewSettings;

mod limits;
mod posting;

/// The largest number of simultaneous calls that can be configured.
const CALLS_MAX: usize = 65_536;
/// How long a batch that too few members would take keeps its memory. Members that are busy only
/// for a moment take it within that time.
const HOLD_UP: Duration = Duration::from_secs(1);

/// The whole configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregatorConfig {
    /// The `[chain]` table: how L1 is read.
    pub chain: ChainConfig,
    /// This aggregator's keys.
    pub keys: KeysConfig,
    /// The database: `sqlite:PATH` or `postgres://…`.
    pub store: DatabaseOptions,
    /// The listener on which rollups submit.
    pub grpc: ListenerConfig,
    /// `/metrics` and `/healthz`; not served where it is left out.
    #[serde(default)]
    pub metrics: Option<MetricsConfig>,
    /// The `[dispersal]` table: how shards are delivered to members.
    #[serde(default)]
    pub dispersal: DispersalConfig,
    /// The `[posting]` table: how certificates are recorded on L1.
    #[serde(default)]
    pub posting: PostingConfig,
    /// The `[renewal]` table: when the coverage of settled batches is renewed.
    #[serde(default)]
    pub renewal: RenewalConfig,
    /// The `[limits]` table: how much may be in flight.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The `[shutdown]` table: how long the process takes to stop.
    #[serde(default)]
    pub shutdown: ShutdownConfig,
    /// The `[log]` table.
    #[serde(default)]
    pub log: LogConfig,
}

/// The `[keys]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// Web3 keystore of the secp256k1 key that signs headers: its address is the disperser that
    /// submissions name.
    pub disperser_keystore: PathBuf,
    /// A file with its password.
    pub password_file: PathBuf,
    /// The keystore of the L1 account that pays for transactions. If it is left out, the
    /// disperser's account pays. No other program may send transactions from this account.
    #[serde(default)]
    pub l1: Option<KeyFiles>,
}

/// A keystore and its password.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFiles {
    /// The Web3 keystore file.
    pub keystore: PathBuf,
    /// A file with its password.
    pub password_file: PathBuf,
}

/// The `[dispersal]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DispersalConfig {
    /// Whether members may be called at private and loopback addresses. Their
    /// operators chose the URLs when they registered.
    pub allow_private_endpoints: bool,
    /// TLS towards members with `https` URLs.
    pub tls: ClientTls,
    /// The longest time to connect to a member: name resolution, TCP and TLS together.
    pub connect_timeout: Period,
    /// The longest time of one delivery, from connecting to the member's attestation.
    pub call_timeout: Period,
    /// The number of deliveries at once, to all members together. One rollup has at most three
    /// quarters of them.
    pub calls: usize,
    /// The number of deliveries at once to one member. One rollup has at most three quarters of
    /// them.
    pub calls_per_member: usize,
    /// How long the aggregator waits for further signatures after a quorum has signed.
    pub grace: Period,
    /// The pause after the first failed call; it doubles with each further failure.
    pub retry_initial: Period,
    /// The longest pause between calls while a batch waits for its certificate.
    pub retry_max: Period,
    /// The longest pause between calls to a member that has no shard of a certified batch yet.
    pub straggler_retry_max: Period,
}

impl Default for DispersalConfig {
    fn default() -> Self {
        Self {
            allow_private_endpoints: false,
            tls: ClientTls::default(),
            connect_timeout: Period::from_secs(5),
            call_timeout: Period::from_secs(60),
            calls: 684,
            calls_per_member: 11,
            grace: Period(Duration::from_millis(200)),
            retry_initial: Period(Duration::from_millis(200)),
            retry_max: Period::from_secs(5),
            straggler_retry_max: Period::from_secs(30),
        }
    }
}

/// The `[renewal]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RenewalConfig {
    /// Whether this aggregator renews the coverage of the rollups that the registry admits.
    pub enabled: bool,
    /// The time between two checks of all these rollups.
    pub interval: Period,
    /// How long before a lack of coverage would stop a rollup from settling its coverage is
    /// renewed. If it is left out, a third of the rollup's longest retention.
    pub ahead: Option<Period>,
}

impl Default for RenewalConfig {
    fn default() -> Self {
        Self { enabled: true, interval: Period::from_secs(60), ahead: None }
    }
}

impl AggregatorConfig {
    /// Converts the tables into the times and bounds that batches are handled by.
    pub fn settings(&self) -> Settings {
        Settings {
            registry_max_age: *self.chain.max_staleness,
            grace: *self.dispersal.grace,
            tick: Duration::from_secs(1),
            piece_timeout: *self.limits.piece_timeout,
            upload_rate: self.limits.upload_rate.bytes(),
            upload_timeout: *self.limits.upload_timeout,
            hold_up: HOLD_UP,
            share_interval: SHARE_INTERVAL,
        }
    }

    /// Returns the settings of calls to members.
    pub fn calls(&self) -> CallSettings {
        let dispersal = &self.dispersal;
        CallSettings {
            calls_max: dispersal.calls,
            calls_per_member: dispersal.calls_per_member,
            call_timeout: *dispersal.call_timeout,
            retry_initial: *dispersal.retry_initial,
            retry_max: *dispersal.retry_max,
            straggler_retry_max: *dispersal.straggler_retry_max,
            shows_certificate: dispersal.tls.identity.is_some(),
        }
    }

    /// Returns which addresses members may have.
    pub const fn endpoint_policy(&self) -> EndpointPolicy {
        if self.dispersal.allow_private_endpoints {
            EndpointPolicy::AllowPrivate
        } else {
            EndpointPolicy::PublicOnly
        }
    }

    /// Returns how transactions are sent to L1.
    pub fn poster(&self) -> PosterConfig {
        self.posting.apply_to(PosterConfig {
            poll_interval: *self.chain.poll_interval,
            ..PosterConfig::new(self.chain.domain(), self.chain.certificate_log)
        })
    }

    /// Returns when a posting counts as late, and when it is tried again.
    pub fn posting(&self) -> PostSettings {
        PostSettings { deadline: *self.posting.deadline, retry: *self.posting.retry }
    }

    /// Returns when coverage is renewed.
    pub fn renewals(&self) -> RenewSettings {
        RenewSettings { interval: *self.renewal.interval, ahead: self.renewal.ahead.map(|ahead| *ahead) }
    }

    /// Returns how much may be in flight.
    pub fn capacity(&self) -> Capacity {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Capacity {
            in_flight_bytes: self.limits.in_flight.bytes(),
            parked_bytes: self.limits.parked.bytes(),
            encoded_bytes: self.limits.encoded.bytes(),
            straggler_bytes: self.limits.straggler.bytes(),
            encoders: if self.limits.encoders == 0 { processors } else { self.limits.encoders },
        }
    }

    /// Returns the limits of the gRPC service.
    pub const fn service(&self) -> ServiceLimits {
        let limits = &self.limits;
        ServiceLimits { uploads: limits.uploads, watchers: limits.watchers, reads: limits.reads() }
    }
}

impl AggregatorConfig {
    fn check_dispersal(&self) -> Result<(), String> {
        let (dispersal, shortest) = (&self.dispersal, Period::SHORTEST);
        within("dispersal.connect_timeout", dispersal.connect_timeout, shortest, Period::HOUR)?;
        within("dispersal.call_timeout", dispersal.call_timeout, shortest, Period::HOUR)?;
        within("dispersal.calls", dispersal.calls, 1, CALLS_MAX)?;
        within("dispersal.calls_per_member", dispersal.calls_per_member, 1, CALLS_MAX)?;
        within("dispersal.grace", dispersal.grace, Period::from_secs(0), Period::HOUR)?;
        within("dispersal.retry_initial", dispersal.retry_initial, shortest, Period::HOUR)?;
        within("dispersal.retry_max", dispersal.retry_max, shortest, Period::HOUR)?;
        within("dispersal.straggler_retry_max", dispersal.straggler_retry_max, shortest, Period::DAY)
    }
}

impl config::Config for AggregatorConfig {
    fn resolve_paths(&mut self, folder: &Path) {
        config::resolve(&mut self.keys.disperser_keystore, folder);
        config::resolve(&mut self.keys.password_file, folder);
        if let Some(l1) = &mut self.keys.l1 {
            config::resolve(&mut l1.keystore, folder);
            config::resolve(&mut l1.password_file, folder);
        }
        self.store.resolve_paths(folder);
        self.grpc.resolve_paths(folder);
        self.dispersal.tls.resolve_paths(folder);
    }

    fn check(&self) -> Result<(), String> {
        self.chain.check()?;
        self.grpc.limits.check().map_err(|problem| format!("grpc.limits.{problem}"))?;
        self.posting.check()?;
        self.check_dispersal()?;
        within("renewal.interval", self.renewal.interval, Period::SHORTEST, Period::DAY)?;
        self.shutdown.check()?;
        self.limits.check()?;
        self.log.check().map_err(|error| format!("log.filter: {error}"))
    }

    fn files(&self) -> Vec<NamedFile<'_>> {
        let keys = &self.keys;
        let mut files: Vec<NamedFile<'_>> = vec![
            ("keys.disperser_keystore".to_owned(), &keys.disperser_keystore),
            ("keys.password_file".to_owned(), &keys.password_file),
        ];
        if let Some(l1) = &keys.l1 {
            files.push(("keys.l1.keystore".to_owned(), &l1.keystore));
            files.push(("keys.l1.password_file".to_owned(), &l1.password_file));
        }
        files.extend(
            self.store.password_file.iter().map(|path| ("store.password_file".to_owned(), path.as_path())),
        );
        files.extend(self.grpc.files("grpc"));
        files.extend(config::client_tls_files(&self.dispersal.tls, "dispersal.tls"));
        files
    }
}

impl ServiceConfig for AggregatorConfig {
    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn descriptors(&self) -> Descriptors {
        let mut uses = Descriptors::default().and("grpc.limits.connections", self.grpc.limits.connections);
        if self.metrics.is_some() {
            uses = uses.and("metrics", monitor::CONNECTIONS);
        }
        uses.and("store.max_connections", self.store.descriptors())
            .and("chain.rpc", endpoint_descriptors(self.chain.rpc.len()))
            .and("members", COMMITTEE_MAX_SEATS)
    }

    fn explain(&self) -> String {
        let metrics = self.metrics.as_ref().map_or("off".to_owned(), |metrics| metrics.listen.to_string());
        let store = match &self.store.url {
            DatabaseUrl::Sqlite(path) => format!("SQLite in {}", path.display()),
            DatabaseUrl::Postgres(_) => format!("PostgreSQL, {}", self.store.url),
        };
        let members = match self.endpoint_policy() {
            EndpointPolicy::AllowPrivate => "at any address, private ones too",
            EndpointPolicy::PublicOnly => "at public addresses only",
        };
        format!(
            "L1:         chain {} through {}\n\
             registry:   {}\n\
             log:        {}, at most {} gwei per gas\n\
             store:      {store}\n\
             grpc:       {} ({})\n\
             metrics:    {metrics}\n\
             members:    {members}\n\
             in flight:  {} of payloads\n",
            self.chain.chain_id,
            self.chain.explain_rpc(),
            self.chain.registry,
            self.chain.certificate_log,
            self.posting.fee_cap_gwei,
            self.grpc.listen,
            self.grpc.protection(),
            self.limits.in_flight,
        )
    }
}

#[cfg(test)]
mod tests {
    use dac_chain::amount::GWEI;

    use super::*;

    const MINIMAL: &str = r#"
        [chain]
        rpc = ["http://127.0.0.1:8545"]
        chain_id = 31337
        registry = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
        certificate_log = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
        [keys]
        disperser_keystore = "disperser.json"
        password_file = "password"
        [store]
        url = "sqlite:aggregator.db"
        [grpc]
        listen = "127.0.0.1:0"
    "#;

    fn load(text: &str) -> Result<AggregatorConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aggregator.toml");
        std::fs::write(&path, text).unwrap();
        config::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_minimal_file_is_enough() {
        let config = load(MINIMAL).unwrap();
        assert!(config.keys.disperser_keystore.is_absolute());
        assert_eq!(config.endpoint_policy(), EndpointPolicy::PublicOnly);
        assert_eq!(config.poster().fee_cap, 200 * GWEI);
        let text = config.explain();
        assert!(text.contains("31337") && text.contains("no TLS"), "{text}");
    }

    #[test]
    fn the_example_is_one() {
        let config = load(include_str!("../../deploy/examples/aggregator.toml")).unwrap();
        assert!(config.keys.l1.is_some() && config.grpc.tls.is_some() && config.metrics.is_some());
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_refused() {
        for (more, problem) in [
            ("[limits]\nin_fligth = '1GiB'", "unknown field"),
            ("[limits]\nin_flight = '1MiB'", "at least one payload"),
            ("[limits]\nuploads = 0", "limits.uploads"),
            ("[limits]\nwatchers = 2305843009213693952", "limits.watchers"),
            ("[limits]\nencoders = 2305843009213693952", "limits.encoders"),
            ("[limits]\nparked = '18446744073709551615B'", "at most \"1024TiB\""),
            ("[limits]\nparked = '1024TiB'", "limits.parked"),
            ("[limits]\nupload_rate = '0B'", "limits.upload_rate"),
            ("[limits]\nclient_requests_per_second = 1e308", "limits.client_requests_per_second"),
            ("[limits]\npiece_timeout = '99999999s'", "limits.piece_timeout"),
            ("[dispersal]\ncalls = 2305843009213693952", "dispersal.calls"),
            ("[dispersal]\ncalls = 0", "dispersal.calls"),
            ("[dispersal]\ncalls_per_member = 4611686018427387904", "dispersal.calls_per_member"),
            ("[renewal]\ninterval = '2days'", "renewal.interval"),
            ("[dispersal]\nretry_max = '0s'", "dispersal.retry_max"),
            ("[posting]\nconfirmations = 0", "posting.confirmations"),
            ("[grpc.limits]\nconnections = 0", "grpc.limits.connections"),
            ("[log]\nfilter = 'a=b=c'", "log"),
            ("[quorum]\nq = 5", "unknown field"),
        ] {
            let error = load(&format!("{MINIMAL}\n{more}")).unwrap_err();
            assert!(error.contains(problem), "{more}: {error}");
        }
        for (from, to, problem) in [
            ("\"http://127.0.0.1:8545\"", "", "chain.rpc"),
            ("0x5FbDB2315678afecb367f032d93F642f64180aa3", "0x5FbD", "an address"),
            (
                "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512",
                "0x0000000000000000000000000000000000000000",
                "zero",
            ),
            (
                "0x5FbDB2315678afecb367f032d93F642f64180aa3",
                "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512",
                "not the registry's",
            ),
            ("chain_id = 31337", "chain_id = 31337\nmax_staleness = '1s'", "max_staleness"),
            (
                "chain_id = 31337",
                "chain_id = 31337\nagree = 2",
                "chain.agree = 2: at least 1 and at most the 1",
            ),
            ("chain_id = 31337", "chain_id = 31337\nagree = 0", "chain.agree = 0"),
        ] {
            let error = load(&MINIMAL.replace(from, to)).unwrap_err();
            assert!(error.contains(problem), "{to}: {error}");
        }
    }
}
