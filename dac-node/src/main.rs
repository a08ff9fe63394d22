//! `dac-node`: parse, load, build, run, drain.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use dac_chain::feed::RpcEvents;
use dac_chain::{Endpoints, Follower, RegistryWatch, RpcRegistryReader};
use dac_database::DatabaseUrl;
use dac_node::attest::{LocalSigner, Signer};
use dac_node::config::{NodeConfig, RoleConfig, explain};
use dac_node::node::{Addresses, Listener, Node, Parts, ReaderParts};
use dac_node::store::{Disk, FolderDisk, MemberStore, SqlStore};
use dac_runtime::allocator::Allocator;
use dac_runtime::clock::{Clock, SystemClock};
use dac_runtime::config::{ConfigArgs, ConfigError, ListenerConfig, check_files, load};
use dac_runtime::monitor::{self, Monitor};
use dac_runtime::tls::Renewals;
use dac_runtime::workers::Workers;
use dac_runtime::{shutdown, telemetry, tls};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A member of the data-availability committee: checks, stores, signs and serves its shards
#[derive(Debug, Parser)]
#[command(
    name = "dac-node",
    version,
    after_help = "\
Stops on SIGTERM or SIGINT: takes no new uploads, lets those under way finish, exits with 0.\n\
The environment variable DAC_LOG overrides the log filter of the configuration."
)]
struct Arguments {
    #[command(flatten)]
    config: ConfigArgs,
    /// Once ready (serving, and L1 read), write the listening addresses to this file as JSON
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    telemetry::finish("dac-node", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let path = &arguments.config.config;
    let config: NodeConfig = load(path)?;
    check_files(&config, path)?;
    if arguments.config.check_config {
        let mut text = check(&config).map_err(|problem| ConfigError::invalid(path, problem))?;
        text += &explain(&config);
        text += &format!("files:      {}\n", config.descriptors().check()?);
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    telemetry::init(&config.log)?;
    tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(&config, arguments.ready_file.as_deref()));
    // Calls that were cut off end here.
    runtime.shutdown_background();
    result
}

/// Everything that can be checked without starting: files exist, the password opens the keystore, TLS fits together and is valid.
fn check(config: &NodeConfig) -> Result<String, Failure> {
    let public_key = match config.role()? {
        RoleConfig::Member { keys, .. } => {
            dac_keys::load_bls_keystore(&keys.bls_keystore, &keys.password_file)?.public_key()
        }
        RoleConfig::Reader { public_key } => public_key,
    };
    let mut renewals = Renewals::default();
    if let Some(dispersal) = &config.dispersal {
        dispersal.load_tls("dispersal", &mut renewals)?;
    }
    config.retrieval.load_tls("retrieval", &mut renewals)?;
    config.repair.settings(&mut renewals)?;
    config.store.check_file()?;
    let warnings = renewals.check(SystemClock.now_unix_seconds())?;
    let mut text: String = warnings.iter().map(|warning| format!("WARNING:    {warning}\n")).collect();
    text += &format!("key:        {}\n", public_key.to_compressed());
    Ok(text)
}

async fn serve(config: &NodeConfig, ready_file: Option<&Path>) -> Result<(), Failure> {
    let signal = shutdown::on_signal()?;
    if let Some(path) = ready_file {
        remove(path)?;
    }
    // Before anything is recorded.
    monitor::metrics();
    let descriptors = config.descriptors().check()?;
    tracing::info!(%descriptors, "file descriptors that may be used");

    let following = CancellationToken::new();
    let mut renewals = Renewals::default();
    let starting = start(config, following.clone(), &mut renewals);
    let (mut node, store, registry) = tokio::select! {
        started = starting => started?,
        // It may be waiting for another process to end.
        () = signal.cancelled() => return Ok(()),
    };
    tokio::spawn(renewals.run(Arc::new(SystemClock)));
    let addresses = node.addresses();
    let ready = async {
        if registry.wait_ready().await.is_ok()
            && let Some(path) = ready_file
            && let Err(error) = write_ready(path, &addresses)
        {
            tracing::error!(%error, path = %path.display(), "the ready file cannot be written");
        }
        std::future::pending::<Failure>().await
    };
    let result = tokio::select! {
        () = signal.cancelled() => Ok(()),
        error = node.failed() => Err(error.into()),
        () = registry.ended() => Err("the task that reads the registry ended by itself".into()),
        () = store.lost() => Err("another process signs for this member now".into()),
        error = ready => Err(error),
    };
    if let Some(path) = ready_file {
        remove(path)?;
    }
    node.stop().await;
    following.cancel();
    result
}

/// Opens the store and starts what the role asks for.
async fn start(
    config: &NodeConfig,
    following: CancellationToken,
    renewals: &mut Renewals,
) -> Result<(Node, SqlStore, RegistryWatch), Failure> {
    let (domain, workers) = (config.chain.domain(), Workers::threads());
    let endpoints = config.chain.endpoints()?;
    let (interval, confirmations) = (*config.chain.poll_interval, config.chain.confirmations);
    let follow = |endpoints: Endpoints| {
        let reader = Arc::new(RpcRegistryReader::new(endpoints, domain.registry));
        Follower::spawn(reader, interval, confirmations, following)
    };
    // First of all, so that its probes answer while this process waits for another one to end.
    let monitor = Monitor::bind(config.metrics.as_ref()).await?;
    let retrieval = bind("retrieval", &config.retrieval, renewals).await?;
    let clock = Arc::new(SystemClock);
    match config.role()? {
        RoleConfig::Member { keys, dispersal } => {
            let keys = keys.clone();
            // It takes a second or more.
            tracing::info!("opening the keystore");
            let key = tokio::task::spawn_blocking(move || {
                dac_keys::load_bls_keystore(&keys.bls_keystore, &keys.password_file)
            })
            .await??;
            let signer = LocalSigner::new(key, workers.clone());
            let (public_key, holder) = (signer.public_key().to_compressed(), holder());
            let store = SqlStore::open_as_signer(&config.store, domain, &public_key, &holder).await?;
            warn_where_nothing_is_bounded(config);
            let registry = follow(endpoints.clone());
            let parts = Parts {
                domain,
                store: MemberStore::of(store.clone()),
                signer: Arc::new(signer),
                registry: registry.clone(),
                clock,
                disk: disk(config),
                workers,
                settings: config.settings(),
                uploads: config.limits.uploads(),
                clients: config.limits.clients(),
                retention: config.retention.retention(),
                events: Arc::new(RpcEvents::new(endpoints)),
                sync: config.sync(),
                repair: config.repair.settings(renewals)?,
                scrub: config.scrub.settings(),
                dispersal: bind("dispersal", dispersal, renewals).await?,
                retrieval,
                monitor,
            };
            Ok((Node::start(parts, *config.shutdown.grace).await?, store, registry))
        }
        RoleConfig::Reader { public_key } => {
            let store = SqlStore::open_to_read(&config.store, domain, &public_key.to_compressed()).await?;
            let registry = follow(endpoints);
            let parts = ReaderParts {
                domain,
                public_key,
                store: MemberStore::of(store.clone()),
                registry: registry.clone(),
                clock,
                workers,
                settings: config.settings(),
                clients: config.limits.clients(),
                interval,
                retrieval,
                monitor,
            };
            Ok((Node::start_reader(parts, *config.shutdown.grace).await?, store, registry))
        }
    }
}

/// This process, told from all others: in containers each is process 1.
fn holder() -> String {
    format!("dac-node, process {}, run {:016x}", std::process::id(), rand::random::<u64>())
}

/// A SQLite store's disk is ours to watch; a server's is its administrator's.
fn disk(config: &NodeConfig) -> Option<Arc<dyn Disk>> {
    match &config.store.url {
        DatabaseUrl::Sqlite(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            Some(Arc::new(FolderDisk::new(folder.unwrap_or(Path::new(".")))))
        }
        DatabaseUrl::Postgres(_) => None,
    }
}

/// SQLite's disk keeps a reserve by default. How large a server's disk is cannot be seen from here.
fn warn_where_nothing_is_bounded(config: &NodeConfig) {
    let limits = &config.limits;
    let is_bounded = limits.capacity.is_some() || limits.database_size.is_some();
    if matches!(config.store.url, DatabaseUrl::Postgres(_)) && !is_bounded {
        tracing::warn!(
            "this member takes batches until PostgreSQL's disk is full, which limits.disk_reserve does not watch: set \
             limits.database_size or limits.capacity"
        );
    }
}

async fn bind(
    name: &'static str,
    config: &ListenerConfig,
    renewals: &mut Renewals,
) -> Result<Listener, Failure> {
    let tcp = TcpListener::bind(config.listen)
        .await
        .map_err(|error| format!("{name} {}: {error}", config.listen))?;
    tls::warn_if_exposed(name, config.listen, config.tls.is_some());
    let tls = config.load_tls(name, renewals)?;
    Ok(Listener { tcp: tcp.into(), limits: config.limits, tls })
}

/// Appears whole or not at all: whoever waits for the file may read it at once.
fn write_ready(path: &Path, addresses: &Addresses) -> Result<(), std::io::Error> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, serde_json::to_vec(addresses)?)?;
    std::fs::rename(partial, path)
}

fn remove(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn commands_of_the_pages_can_be_copied_into_a_shell() {
        dac_cli::testing::check_pages(&super::Arguments::command());
    }
}
