//! Configuration files and command lines of the processes, for the tests and the demo.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dac_database::{DatabaseOptions, DatabaseUrl};
use dac_types::{Address, Domain};
use serde::Deserialize;
use toml::{Table, Value};

use crate::failure::{Context, Failure, Result};
use crate::gate::Gate;
use crate::process::Process;
use crate::wait;

/// The name of a member's listener for aggregators.
pub const DISPERSAL: &str = "dispersal";
/// The name of a member's listener for retrieval.
pub const RETRIEVAL: &str = "retrieval";
/// The name of the aggregator's listener.
pub const API: &str = "grpc";

/// The L1 settings of a process.
#[derive(Clone, Debug)]
pub struct L1 {
    /// The URL of a JSON-RPC endpoint.
    pub url: String,
    /// The chain and the registry.
    pub domain: Domain,
    /// The address of the certificate log.
    pub log: Address,
}

/// A keystore and the file with its password.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// The keystore's path.
    pub keystore: PathBuf,
    /// The password file's path.
    pub password: PathBuf,
}

/// The TLS files of a listener.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The certificate and the key of this side.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The certificate authority that the other side must have.
    pub authority: Option<PathBuf>,
}

impl Tls {
    /// Returns the URL of a listener with this TLS behind a gate. The host is `localhost` because
    /// certificates name it.
    pub fn url(&self, gate: &Gate) -> String {
        if self.identity.is_some() {
            format!("https://localhost:{}", gate.address().port())
        } else {
            gate.url()
        }
    }
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn text(value: impl ToString) -> Value {
    Value::String(value.to_string())
}

fn path(path: &Path) -> Value {
    text(path.display())
}

/// Returns the whole URL of a database: displaying a [`DatabaseUrl`] hides its parameters.
fn database(options: &DatabaseOptions) -> Table {
    let url = match &options.url {
        DatabaseUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
        DatabaseUrl::Postgres(url) => url.as_str().to_owned(),
    };
    table([("url", text(url)), ("max_connections", Value::Integer(4))])
}

fn listener(tls: &Tls) -> Table {
    // Tests ask every member for every batch, over many connections and from one address.
    let limits = table([("connections_per_second", Value::Integer(4096))]);
    let mut listener = table([("listen", text("127.0.0.1:0")), ("limits", limits.into())]);
    if let Some((certificate, key)) = &tls.identity {
        let mut entry = table([("certificate", path(certificate)), ("key", path(key))]);
        if let Some(authority) = &tls.authority {
            entry.insert("client_ca".to_owned(), path(authority));
        }
        listener.insert("tls".to_owned(), entry.into());
    }
    listener
}

fn chain(l1: &L1) -> Table {
    let chain_id = i64::try_from(l1.domain.chain_id).expect("local chain ids are small");
    table([
        ("rpc", Value::Array(vec![text(&l1.url)])),
        ("chain_id", Value::Integer(chain_id)),
        ("registry", text(l1.domain.registry)),
        // A local chain makes one block for each transaction, so that what was read is soon old.
        ("poll_interval", text("200ms")),
        ("request_timeout", text("2s")),
    ])
}

/// Writes a member's configuration into `folder`.
pub fn write_node(
    folder: &Path,
    l1: &L1,
    store: &DatabaseOptions,
    key: &KeyFiles,
    dispersal: &Tls,
    retrieval: &Tls,
) -> Result<PathBuf> {
    let mut chain = chain(l1);
    chain.insert("certificate_log".to_owned(), text(l1.log));
    let keys = table([("bls_keystore", path(&key.keystore)), ("password_file", path(&key.password))]);
    // Members reach each other on this machine's private addresses.
    let repair = table([("private_endpoints", Value::Boolean(true))]);
    // One client stands for all clients, and the checker of histories asks for everything at once.
    let limits = table([
        ("client_requests_per_second", Value::Float(1e6)),
        ("client_request_burst", Value::Float(1e6)),
        ("client_bytes_per_second", text("16GiB")),
        ("client_byte_burst", text("16GiB")),
        ("client_streams", Value::Integer(1_024)),
    ]);
    let config = table([
        ("chain", chain.into()),
        ("keys", keys.into()),
        ("store", database(store).into()),
        (DISPERSAL, listener(dispersal).into()),
        (RETRIEVAL, listener(retrieval).into()),
        ("repair", repair.into()),
        ("limits", limits.into()),
        ("log", table([("filter", text("info"))]).into()),
    ]);
    write(folder, "node.toml", &config)
}

/// Writes an aggregator's configuration into `folder`. Certificates count as recorded after
/// `confirmations` blocks.
pub fn write_aggregator(
    folder: &Path,
    l1: &L1,
    store: &DatabaseOptions,
    key: &KeyFiles,
    confirmations: u64,
    tls: &Tls,
    members: &Tls,
) -> Result<PathBuf> {
    let mut chain = chain(l1);
    chain.insert("certificate_log".to_owned(), text(l1.log));
    let keys = table([("disperser_keystore", path(&key.keystore)), ("password_file", path(&key.password))]);
    let mut dispersal = table([
        ("allow_private_endpoints", Value::Boolean(true)),
        ("connect_timeout", text("2s")),
        ("call_timeout", text("10s")),
        ("retry_max", text("1s")),
        ("straggler_retry_max", text("1s")),
    ]);
    let mut client = Table::new();
    if let Some(authority) = &members.authority {
        client.insert("ca".to_owned(), path(authority));
    }
    if let Some((certificate, key)) = &members.identity {
        client.insert(
            "identity".to_owned(),
            table([("certificate", path(certificate)), ("key", path(key))]).into(),
        );
    }
    if !client.is_empty() {
        dispersal.insert("tls".to_owned(), client.into());
    }
    let confirmations = i64::try_from(confirmations).expect("a small number");
    let posting = table([("confirmations", Value::Integer(confirmations)), ("retry", text("1s"))]);
    // Tests decide themselves what the aggregator pays for on L1.
    let renewal = table([("enabled", Value::Boolean(false)), ("interval", text("1s"))]);
    let config = table([
        ("chain", chain.into()),
        ("keys", keys.into()),
        ("store", database(store).into()),
        (API, listener(tls).into()),
        ("renewal", renewal.into()),
        ("dispersal", dispersal.into()),
        ("posting", posting.into()),
        ("log", table([("filter", text("info"))]).into()),
    ]);
    write(folder, "aggregator.toml", &config)
}

/// Changes a configuration that was written: tables are merged, all other values are replaced.
pub fn change(file: &Path, changes: &Table) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut config: Table = toml::from_str(&fs::read_to_string(file).context(file.display())?)?;
    merge(&mut config, changes);
    fs::write(file, toml::to_string(&config)?).context(file.display())
}

fn merge(into: &mut Table, changes: &Table) {
    for (key, change) in changes {
        match (into.get_mut(key), change) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            _ => {
                into.insert(key.clone(), change.clone());
            }
        }
    }
}

fn write(folder: &Path, name: &str, config: &Table) -> Result<PathBuf> {
    fs::create_dir_all(folder).context(folder.display())?;
    let file = folder.join(name);
    fs::write(&file, toml::to_string(config)?).context(file.display())?;
    Ok(file)
}

/// The arguments of `dac submit`.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The payload's file.
    pub payload: &'a Path,
    /// The aggregator's URL.
    pub api: &'a str,
    /// The aggregator's address.
    pub disperser: &'a str,
    /// The rollup's settlement contract.
    pub rollup: Address,
    /// The batch's number.
    pub number: u64,
    /// The keystore of the rollup's batch signer.
    pub poster: &'a KeyFiles,
    /// The value of `--wait`.
    pub wait: &'a str,
}

impl Submission<'_> {
    /// Returns the command line.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["submit".into(), self.payload.into()];
        for (option, value) in [
            ("--aggregator", OsString::from(self.api)),
            ("--disperser", self.disperser.into()),
            ("--rollup", self.rollup.to_string().into()),
            ("--batch-number", self.number.to_string().into()),
            ("--poster", self.poster.keystore.clone().into()),
            ("--poster-password-file", self.poster.password.clone().into()),
            ("--wait", self.wait.into()),
        ] {
            arguments.extend([option.into(), value]);
        }
        arguments
    }
}

/// Returns the command line of a service: its configuration, and the file into which it writes its
/// addresses once it is ready.
pub fn arguments(config: &Path, ready: &Path) -> Vec<OsString> {
    vec!["--config".into(), config.into(), "--ready-file".into(), ready.into()]
}

/// Waits until a service has written its addresses. If it ends instead, the failure quotes its log.
pub async fn wait_ready(process: &mut Process, ready: &Path) -> Result<BTreeMap<String, SocketAddr>> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Addresses(BTreeMap<String, Option<SocketAddr>>);

    let what = format!("{} to be ready", process.name());
    let written = wait::until(&what, wait::LIMIT, async || {
        if let Err(failure) = process.check_running() {
            return Some(Err(failure));
        }
        // The file is written atomically.
        fs::read(ready).ok().map(Ok)
    });
    let written = written.await;
    let written = written.map_err(|failure| Failure::new(format!("{failure}\n{}", process.log_end())))??;
    let Addresses(addresses) = serde_json::from_slice(&written).context(ready.display())?;
    Ok(addresses.into_iter().filter_map(|(listener, address)| Some((listener, address?))).collect())
}
