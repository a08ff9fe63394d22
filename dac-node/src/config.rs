//! The configuration file of a member. Committee, thresholds and coding come from L1 and are not
//! configured.

mod bounds;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dac_bls::PublicKey;
use dac_chain::feed::FeedConfig;
use dac_database::{DatabaseOptions, DatabaseUrl};
use dac_runtime::config::{
    self, ByteSize, ChainConfig, ListenerConfig, MetricsConfig, NamedFile, Period, ShutdownConfig, within,
};
use dac_runtime::descriptors::{Descriptors, endpoint_descriptors};
use dac_runtime::monitor;
use dac_runtime::service::ServiceConfig;
use dac_runtime::telemetry::LogConfig;
use dac_types::limits::COMMITTEE_MAX_SEATS;
use dac_types::{PUBLIC_KEY_BYTES, PublicKeyBytes};
use serde::Deserialize;

pub use self::bounds::{LimitsConfig, RepairConfig, RetentionConfig, ScrubConfig};
use crate::context::Settings;
use crate::store::SpaceLimits;
use crate::sync::SyncSettings;

/// A clock that differs from L1's newest block by more than this is reported.
const CLOCK_DIFFERENCE_MAX_SECONDS: u64 = 60;
/// The time between two blocks of L1. Each block that must lie on top of the one that is read adds
/// so much delay.
const L1_SLOT_SECONDS: u64 = 12;

/// The configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Whether this process signs for the member or only serves what the member's process stored.
    #[serde(default)]
    pub role: Role,
    /// L1: its endpoints and contracts.
    pub chain: ChainConfig,
    /// The member's key.
    #[serde(default)]
    pub keys: Option<KeysConfig>,
    /// The member's public key, 96 bytes in hexadecimal. A reader has no other key.
    #[serde(default)]
    pub public_key: Option<String>,
    /// The database: `sqlite:PATH` or `postgres://…`.
    pub store: DatabaseOptions,
    /// The listener to which aggregators deliver shards.
    #[serde(default)]
    pub dispersal: Option<ListenerConfig>,
    /// The listener from which clients retrieve shards.
    pub retrieval: ListenerConfig,
    /// The listener of `/metrics` and `/healthz`. They are not served if it is left out.
    #[serde(default)]
    pub metrics: Option<MetricsConfig>,
    /// What callers may use up.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The deletion of expired batches.
    #[serde(default)]
    pub retention: RetentionConfig,
    /// The repair of missing shards.
    #[serde(default)]
    pub repair: RepairConfig,
    /// The re-verification of what is stored.
    #[serde(default)]
    pub scrub: ScrubConfig,
    /// How the process stops.
    #[serde(default)]
    pub shutdown: ShutdownConfig,
    /// How the process logs.
    #[serde(default)]
    pub log: LogConfig,
}

/// What a process does for a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It takes shards in, signs, serves, repairs and deletes. A member has one such process.
    #[default]
    Member,
    /// It serves what the member stored in the same PostgreSQL. There may be any number of them.
    Reader,
}

/// The parts of the configuration that a process needs for its role.
#[derive(Clone, Copy, Debug)]
pub enum RoleConfig<'a> {
    /// The role of a member.
    Member {
        /// The member's key.
        keys: &'a KeysConfig,
        /// The listener to which aggregators deliver.
        dispersal: &'a ListenerConfig,
    },
    /// The role of a reader.
    Reader {
        /// The member's public key.
        public_key: PublicKey,
    },
}

/// The `[keys]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// The EIP-2335 keystore of the BLS key.
    pub bls_keystore: PathBuf,
    /// The file with the keystore's password.
    pub password_file: PathBuf,
}

impl NodeConfig {
    /// Returns this process's role, with what it needs for that role.
    pub fn role(&self) -> Result<RoleConfig<'_>, String> {
        match (self.role, &self.keys, &self.dispersal) {
            (Role::Member, Some(keys), Some(dispersal)) => Ok(RoleConfig::Member { keys, dispersal }),
            (Role::Member, None, _) => Err("keys: missing; a member signs with its key".to_owned()),
            (Role::Member, _, None) => Err("dispersal: missing; aggregators deliver to it".to_owned()),
            (Role::Reader, None, None) => {
                if matches!(self.store.url, DatabaseUrl::Sqlite(_)) {
                    return Err(
                        "role = \"reader\": store.url must be the PostgreSQL of the member".to_owned()
                    );
                }
                let text =
                    self.public_key.as_deref().ok_or("public_key: missing; it names the reader's member")?;
                let bytes = text
                    .parse::<dac_chain::Bytes>()
                    .ok()
                    .and_then(|bytes| <[u8; PUBLIC_KEY_BYTES]>::try_from(&bytes[..]).ok())
                    .ok_or_else(|| format!("public_key: must be {PUBLIC_KEY_BYTES} bytes in hexadecimal"))?;
                let public_key = PublicKey::from_compressed(&PublicKeyBytes(bytes))
                    .map_err(|error| format!("public_key: {error}"))?;
                Ok(RoleConfig::Reader { public_key })
            }
            (Role::Reader, _, _) => {
                Err("role = \"reader\": a reader has neither [keys] nor [dispersal]".to_owned())
            }
        }
    }

    /// Returns the listeners by name.
    fn listeners(&self) -> impl Iterator<Item = (&'static str, &ListenerConfig)> {
        let dispersal = self.dispersal.iter().map(|listener| ("dispersal", listener));
        dispersal.chain([("retrieval", &self.retrieval)])
    }

    /// Returns which contracts of L1 are followed, and how.
    pub fn sync(&self) -> SyncSettings {
        SyncSettings {
            log: self.chain.certificate_log,
            feed: FeedConfig::new(self.chain.confirmations),
            interval: *self.chain.poll_interval,
        }
    }

    /// Returns the settings of the handlers.
    pub fn settings(&self) -> Settings {
        Settings {
            registry_max_age: *self.chain.max_staleness,
            piece_timeout: *self.limits.piece_timeout,
            upload_timeout: *self.limits.upload_timeout,
            call_timeout: *self.limits.call_timeout,
            space: SpaceLimits {
                capacity_bytes: self.limits.capacity.map(ByteSize::bytes),
                database_size_max_bytes: self.limits.database_size.map(ByteSize::bytes),
                disk_reserve_bytes: self.limits.disk_reserve.bytes(),
            },
            clock_difference_max_seconds: CLOCK_DIFFERENCE_MAX_SECONDS
                .saturating_add(self.chain.confirmations.saturating_mul(L1_SLOT_SECONDS)),
        }
    }
}

impl config::Config for NodeConfig {
    fn resolve_paths(&mut self, folder: &Path) {
        if let Some(keys) = &mut self.keys {
            config::resolve(&mut keys.bls_keystore, folder);
            config::resolve(&mut keys.password_file, folder);
        }
        self.store.resolve_paths(folder);
        if let Some(tls) = &mut self.repair.tls {
            tls.resolve_paths(folder);
        }
        for listener in self.dispersal.iter_mut().chain([&mut self.retrieval]) {
            listener.resolve_paths(folder);
        }
    }

    fn check(&self) -> Result<(), String> {
        self.chain.check()?;
        self.role()?;
        for (name, listener) in self.listeners() {
            listener.limits.check().map_err(|problem| format!("{name}.limits.{problem}"))?;
        }
        let taken = |address: SocketAddr| address.port() != 0;
        let listen = self.dispersal.as_ref().map(|listener| listener.listen);
        if listen.is_some_and(|listen| taken(listen) && listen == self.retrieval.listen) {
            return Err("dispersal.listen and retrieval.listen: must differ".to_owned());
        }
        within("retention.interval", self.retention.interval, Period::SHORTEST, Period::DAY)?;
        within("repair.bytes_per_second", self.repair.bytes_per_second, ByteSize(1), ByteSize::MEMORY)?;
        within("repair.concurrency", self.repair.concurrency, 1, 1024)?;
        within("scrub.period", self.scrub.period, Period::SHORTEST, Period::from_secs(3650 * 86_400))?;
        within("scrub.bytes_per_second", self.scrub.bytes_per_second, ByteSize(1), ByteSize::MEMORY)?;
        self.shutdown.check()?;
        self.limits.check()?;
        if self.limits.database_size.is_some() && matches!(self.store.url, DatabaseUrl::Sqlite(_)) {
            return Err(
                "limits.database_size: only for PostgreSQL; for a SQLite file set limits.disk_reserve"
                    .to_owned(),
            );
        }
        self.log.check().map_err(|error| format!("log.filter: {error}"))
    }

    fn files(&self) -> Vec<NamedFile<'_>> {
        let mut files: Vec<NamedFile<'_>> = Vec::new();
        if let Some(keys) = &self.keys {
            files.push(("keys.bls_keystore".to_owned(), &keys.bls_keystore));
            files.push(("keys.password_file".to_owned(), &keys.password_file));
        }
        files.extend(
            self.store.password_file.iter().map(|path| ("store.password_file".to_owned(), path.as_path())),
        );
        for (name, listener) in self.listeners() {
            files.extend(listener.files(name));
        }
        files.extend(self.repair.tls.iter().flat_map(|tls| config::client_tls_files(tls, "repair.tls")));
        files
    }
}

impl ServiceConfig for NodeConfig {
    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn descriptors(&self) -> Descriptors {
        let listeners = [("dispersal", self.dispersal.as_ref()), ("retrieval", Some(&self.retrieval))];
        let mut uses = Descriptors::default();
        for (name, listener) in listeners {
            if let Some(listener) = listener {
                uses = uses.and(format!("{name}.limits.connections"), listener.limits.connections);
            }
        }
        if self.metrics.is_some() {
            uses = uses.and("metrics", monitor::CONNECTIONS);
        }
        uses.and("store.max_connections", self.store.descriptors())
            .and("chain.rpc", endpoint_descriptors(self.chain.rpc.len()))
            .and("peers", COMMITTEE_MAX_SEATS)
    }

    fn explain(&self) -> String {
        let metrics = self.metrics.as_ref().map_or("off".to_owned(), |metrics| metrics.listen.to_string());
        let store = match &self.store.url {
            DatabaseUrl::Sqlite(path) => {
                format!("SQLite in {}, {} of its disk left free", path.display(), self.limits.disk_reserve)
            }
            DatabaseUrl::Postgres(_) => {
                let size =
                    self.limits.database_size.map_or("any size".to_owned(), |size| format!("up to {size}"));
                format!("PostgreSQL, {}, {size} on its disk", self.store.url)
            }
        };
        let dispersal = self.dispersal.as_ref().map_or("none: a read-only server".to_owned(), |listener| {
            format!("{} ({})", listener.listen, listener.protection())
        });
        let capacity =
            self.limits.capacity.map_or("as much as fits".to_owned(), |capacity| capacity.to_string());
        format!(
            "L1:         chain {} through {}, registry {}, log {}\n\
             store:      {store}, {capacity}\n\
             dispersal:  {dispersal}\n\
             retrieval:  {} ({})\n\
             metrics:    {metrics}\n\
             uploads:    {} in flight; a quarter of that, and {} uploads, a rollup\n",
            self.chain.chain_id,
            self.chain.explain_rpc(),
            self.chain.registry,
            self.chain.certificate_log,
            self.retrieval.listen,
            self.retrieval.protection(),
            self.limits.uploads,
            self.limits.uploads_per_rollup,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_runtime::tls::Renewals;

    const MINIMAL: &str = r#"
        [chain]
        rpc = ["http://127.0.0.1:8545"]
        chain_id = 31337
        registry = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
        certificate_log = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
        [keys]
        bls_keystore = "bls.json"
        password_file = "password"
        [store]
        url = "sqlite:node.db"
        [dispersal]
        listen = "127.0.0.1:0"
        [retrieval]
        listen = "127.0.0.1:0"
    "#;

    fn load(text: &str) -> Result<NodeConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        config::load(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn a_minimal_file_is_enough() {
        let config = load(MINIMAL).unwrap();
        let Ok(RoleConfig::Member { keys, .. }) = config.role() else { panic!("a member by default") };
        assert!(keys.bls_keystore.is_absolute());
        assert_eq!(config.settings().space.capacity_bytes, None);
        let text = config.explain();
        assert!(text.contains("31337") && text.contains("no TLS"), "{text}");
    }

    #[test]
    fn peers_may_have_an_authority_of_their_own() {
        assert!(load(MINIMAL).unwrap().repair.settings(&mut Renewals::default()).is_ok());
        let tls =
            "[repair]\ntls = { ca = 'ca.pem', identity = { certificate = 'own.pem', key = 'own.key' } }";
        let config = load(&format!("{MINIMAL}\n{tls}")).unwrap();
        assert!(config.repair.tls.as_ref().unwrap().ca.as_ref().unwrap().is_absolute());
        // None of these files exists.
        assert!(config.repair.settings(&mut Renewals::default()).unwrap_err().to_string().contains("ca.pem"));
        assert!(
            load(&format!("{MINIMAL}\n[repair]\ntls = {{ root = 'x' }}"))
                .unwrap_err()
                .contains("unknown field")
        );
    }

    #[test]
    fn the_example_is_a_configuration() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/node.toml");
        let config: NodeConfig = config::load(&path).unwrap();
        let text = config.explain();
        assert!(text.contains("client certificates demanded") && text.contains("500GiB"), "{text}");
    }

    #[test]
    fn the_readers_example_is_a_configuration() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/reader.toml");
        let config: NodeConfig = config::load(&path).unwrap();
        assert!(matches!(config.role(), Ok(RoleConfig::Reader { .. })));
    }

    #[test]
    fn a_reader_has_a_public_key_and_no_other() {
        let reader = |key: &str| {
            let head = format!("role = 'reader'\npublic_key = '{key}'\n");
            let rest = MINIMAL.split_once("[keys]").unwrap();
            let chain = format!("{head}{}", rest.0);
            format!("{chain}\n[store]\nurl = 'postgres://dac@db/node'\n[retrieval]\nlisten = '127.0.0.1:0'\n")
        };
        let key = dac_bls::SecretKey::derive(&[7; 32]).public_key();
        let text = reader(&key.to_compressed().to_string());
        let config = load(&text).unwrap();
        assert!(matches!(config.role(), Ok(RoleConfig::Reader { public_key }) if public_key == key));
        assert!(config.explain().contains("read-only"));
        for (from, to, problem) in [
            ("postgres://dac@db/node", "sqlite:node.db", "PostgreSQL"),
            ("role = 'reader'", "role = 'writer'", "unknown variant"),
            ("role = 'reader'", "role = 'member'", "keys"),
            ("public_key = '0x", "public_key = '0y", "hexadecimal"),
            ("[retrieval]", "[dispersal]\nlisten = '127.0.0.1:0'\n[retrieval]", "neither"),
        ] {
            let error = load(&text.replace(from, to)).unwrap_err();
            assert!(error.contains(problem), "{to}: {error}");
        }
        assert!(load(&reader(&format!("0x{}", "00".repeat(96)))).unwrap_err().contains("public_key"));
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_refused() {
        for (more, problem) in [
            ("[limits]\nuplods = '1GiB'", "unknown field"),
            ("[limits]\nuploads = '1MiB'", "at least one payload"),
            ("[limits]\nclients = 0", "limits.clients = 0: must be from 1"),
            ("[limits]\nclients = 9223372036854775807", "limits.clients"),
            ("[limits]\nclient_requests_per_second = nan", "limits.client_requests_per_second"),
            ("[limits]\nclient_requests_per_second = 1e308", "limits.client_requests_per_second"),
            ("[limits]\nclient_request_burst = 0", "limits.client_request_burst"),
            ("[limits]\nuploads = '18446744073709551615B'", "at most"),
            ("[limits]\nuploads = '2TiB'", "limits.uploads = 2TiB: must be from 64MiB to 1TiB"),
            ("[limits]\nuploads_per_rollup = 4294967295", "limits.uploads_per_rollup"),
            ("[limits]\npiece_timeout = '99999999999999999s'", "at most"),
            ("[limits]\ncall_timeout = '2h'", "limits.call_timeout = 2h: must be from 1ms to 1h"),
            ("[retrieval.limits]\nconnections = 4294967295", "retrieval.limits.connections"),
            ("[retrieval.limits]\nkeepalive_timeout = '2days'", "retrieval.limits.keepalive_timeout"),
            ("[shutdown]\ngrace = '2h'", "shutdown.grace"),
            ("[scrub]\nbytes_per_second = '2TiB'", "scrub.bytes_per_second"),
            ("[retrieval.limits]\nconnections = 0", "retrieval.limits.connections"),
            ("[retention]\ninterval = '0s'", "retention.interval"),
            ("[limits]\ndatabase_size = '1GiB'", "for PostgreSQL"),
            ("[repair]\nconcurrency = 0", "repair.concurrency"),
            ("[repair]\nbytes_per_second = '0B'", "repair.bytes_per_second"),
            ("[scrub]\nperiod = '0s'", "scrub.period"),
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
                "0x5FbDB2315678afecb367f032d93F642f64180aa3",
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
                "chain_id = 31337\nconfirmations = 18446744073709551615",
                "chain.confirmations",
            ),
            ("chain_id = 31337", "chain_id = 31337\npoll_interval = '0s'", "chain.poll_interval"),
            ("127.0.0.1:0", "127.0.0.1:7000", "must differ"),
        ] {
            let error = load(&MINIMAL.replace(from, to)).unwrap_err();
            assert!(error.contains(problem), "{to}: {error}");
        }
    }
}
