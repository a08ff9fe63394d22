//! `dac-aggregator`: parse, load, build, run, drain on a signal.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use dac_aggregator::config::{AggregatorConfig, KeysConfig, explain};
use dac_aggregator::renew::RpcCoverage;
use dac_aggregator::service::aggregator::{Addresses, Aggregator, Listener, Parts, Renewal};
use dac_aggregator::store::{Owner, SqlStore};
use dac_chain::{CertificateLogReader, ChainError, Follower, RpcL1, RpcRegistryReader, TransactionSigner};
use dac_client::Dialer;
use dac_runtime::allocator::Allocator;
use dac_runtime::clock::{Clock, SystemClock};
use dac_runtime::config::{ConfigArgs, ConfigError};
use dac_runtime::monitor::{self, Monitor};
use dac_runtime::tls::Renewals;
use dac_runtime::workers::Workers;
use dac_runtime::{config, shutdown, telemetry, tls};
use dac_types::Address;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The disperser of the data-availability committee: takes batches from rollups, spreads them over the members, makes
/// certificates and records them on L1.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Write the addresses that it listens on to this file, as JSON, once it is ready
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

/// A process that was not heard of for so long is counted as gone by those that share its database.
const LEASE_TERM: Duration = Duration::from_secs(5);
/// Between two attempts to read whose the certificate log is.
const LOG_CHECK_PAUSE: Duration = Duration::from_secs(2);

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    telemetry::finish("dac-aggregator", run(&Args::parse()))
}

fn run(args: &Args) -> Result<(), Failure> {
    let path = &args.config.config;
    let config: AggregatorConfig = config::load(path)?;
    config::check_files(&config, path)?;
    if args.config.check_config {
        let mut text = check(&config).map_err(|problem| ConfigError::invalid(path, problem))?;
        text += &explain(&config);
        text += &format!("files:      {}\n", config.descriptors().check()?);
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    telemetry::init(&config.log)?;
    tls::install_provider();
    monitor::metrics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(config, args.ready_file.as_deref()));
    // What was cut off ends here.
    runtime.shutdown_background();
    result
}

/// Everything that can be checked without starting: files exist, the passwords open the keystores, TLS fits together and is valid.
fn check(config: &AggregatorConfig) -> Result<String, Failure> {
    let (disperser, l1) = load_keys(&config.keys)?;
    let mut renewals = Renewals::default();
    config.grpc.load_tls("grpc", &mut renewals)?;
    renewals.client("members", &config.dispersal.tls, *config.dispersal.connect_timeout)?;
    config.store.check_file()?;
    let warnings = renewals.check(SystemClock.now_unix_seconds())?;
    let mut text: String = warnings.iter().map(|warning| format!("WARNING:    {warning}\n")).collect();
    text += &format!("disperser:  {}\npays:       {}\n", disperser.address(), l1.address());
    Ok(text)
}

async fn serve(config: AggregatorConfig, ready_file: Option<&Path>) -> Result<(), Failure> {
    let stop = shutdown::on_signal()?;
    if let Some(path) = ready_file {
        // That of a former run would speak too early.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let descriptors = config.descriptors().check()?;
    tracing::info!(%descriptors, "file descriptors that may be used");
    let follower_stop = CancellationToken::new();
    let grace = *config.shutdown.grace;
    let mut renewals = Renewals::default();
    let parts = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        started = build(&config, follower_stop.clone(), &mut renewals) => started?,
    };
    let (parts, log) = parts;
    let (registry, may_post) = (parts.registry.clone(), Arc::clone(&parts.may_post));
    // What the store holds is told and served while L1 is away; nothing is taken and nothing is posted before L1 was seen.
    let mut aggregator = Aggregator::start(parts, grace).await?;
    tokio::spawn(renewals.run(Arc::new(SystemClock)));
    let addresses = aggregator.addresses();
    let ready = async {
        registry.wait_ready().await?;
        check_log(&log, config.chain.registry).await?;
        may_post.store(true, Ordering::Relaxed);
        if let Some(path) = ready_file {
            write_ready_file(path, &addresses)?;
        }
        std::future::pending::<Result<(), Failure>>().await
    };
    let result = tokio::select! {
        () = stop.cancelled() => Ok(()),
        error = aggregator.failed() => Err(error.into()),
        () = registry.ended() => Err("the task that reads the registry ended by itself".into()),
        failed = ready => failed,
    };
    aggregator.stop().await;
    follower_stop.cancel();
    result
}

/// Waits until L1 says that the log is this registry's.
async fn check_log(log: &CertificateLogReader, registry: Address) -> Result<(), Failure> {
    let mut is_first = true;
    loop {
        match log.check_registry(registry).await {
            Ok(()) => return Ok(()),
            Err(error @ (ChainError::WrongRegistry { .. } | ChainError::NoContract { .. })) => {
                return Err(error.into());
            }
            Err(error) if std::mem::take(&mut is_first) => {
                tracing::warn!(%error, "whose certificate log this is cannot be read; nothing is posted until it is");
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOG_CHECK_PAUSE).await;
    }
}

async fn build(
    config: &AggregatorConfig,
    follower_stop: CancellationToken,
    renewals: &mut Renewals,
) -> Result<(Parts, CertificateLogReader), Failure> {
    // First of all, so that its probes answer while L1 is away.
    let monitor = Monitor::bind(config.metrics.as_ref()).await?;
    if let Some(monitor) = &monitor {
        monitor.health().set_unhealthy("starting: the registry has not been read from L1 yet");
    }
    let keys = config.keys.clone();
    // Deriving a key from its password takes a second or more: off the async threads, and told.
    tracing::info!("opening the keystores");
    let (signer, l1_signer) = tokio::task::spawn_blocking(move || load_keys(&keys)).await??;
    let chain = &config.chain;
    let endpoints = chain.endpoints()?;
    let reader = Arc::new(RpcRegistryReader::new(endpoints.clone(), chain.registry));
    let registry = Follower::spawn(reader, *chain.poll_interval, chain.confirmations, follower_stop);
    let log = CertificateLogReader::new(endpoints.clone(), chain.certificate_log);

    let owner = Owner { domain: chain.domain(), disperser: signer.address() };
    let store = SqlStore::open(&config.store, owner, LEASE_TERM).await?;
    let mut dialer = Dialer::new(config.endpoint_policy()).connect_timeout(*config.dispersal.connect_timeout);
    let tls = renewals.client("members", &config.dispersal.tls, *config.dispersal.connect_timeout)?;
    dialer = dialer.renewed_tls(tls);
    let grpc = TcpListener::bind(config.grpc.listen).await?;
    tls::warn_if_exposed("grpc", grpc.local_addr()?, config.grpc.tls.is_some());
    let tls = config.grpc.load_tls("grpc", renewals)?;
    let parts = Parts {
        domain: chain.domain(),
        may_post: Arc::default(),
        signer,
        l1_signer,
        store: Arc::new(store),
        registry,
        l1: Arc::new(RpcL1::new(endpoints.clone())),
        poster: config.poster(),
        clock: Arc::new(SystemClock),
        workers: Workers::threads(),
        dialer,
        calls: config.calls(),
        posting: config.posting(),
        settings: config.settings(),
        renewal: config.renewal.enabled.then(|| Renewal {
            // Of a posting's confirmations the including block is the first.
            source: Arc::new(RpcCoverage::new(
                endpoints.clone(),
                config.posting.confirmations.saturating_sub(1),
            )),
            settings: config.renewals(),
        }),
        capacity: config.capacity(),
        service: config.service(),
        grpc: Listener { tcp: grpc.into(), limits: config.grpc.limits, tls },
        monitor,
    };
    Ok((parts, log))
}

type Signer = Arc<dyn TransactionSigner>;

fn load_keys(keys: &KeysConfig) -> Result<(Signer, Signer), dac_keys::KeystoreError> {
    let load = |keystore: &Path, password: &Path| -> Result<Signer, dac_keys::KeystoreError> {
        Ok(Arc::new(dac_keys::load_ecdsa_keystore(keystore, password)?))
    };
    let disperser = load(&keys.disperser_keystore, &keys.password_file)?;
    let l1 = match &keys.l1 {
        Some(files) => load(&files.keystore, &files.password_file)?,
        None => Arc::clone(&disperser),
    };
    Ok((disperser, l1))
}

/// Whole or not at all: whoever waits for the file reads it at once.
fn write_ready_file(path: &Path, addresses: &Addresses) -> Result<(), Failure> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, serde_json::to_vec(addresses)?)?;
    std::fs::rename(&temporary, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn commands_of_the_pages_can_be_copied_into_a_shell() {
        dac_cli::testing::check_pages(&super::Args::command());
    }
}
