//! The program `dac-aggregator`: opens what its configuration names, and starts the aggregator.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dac_chain::{CertificateLogReader, ChainError, Endpoints, RegistryWatch, RpcL1, TransactionSigner};
use dac_client::Dialer;
use dac_keys::KeystoreError;
use dac_runtime::clock::SystemClock;
use dac_runtime::monitor::Monitor;
use dac_runtime::service::{Failure, Listener, Program, Run};
use dac_runtime::tls::Renewals;
use dac_runtime::workers::Workers;
use dac_types::Address;
use tokio_util::sync::CancellationToken;

use crate::aggregator::{Addresses, Aggregator, Parts, Renewal};
use crate::config::{AggregatorConfig, KeysConfig};
use crate::renew::RpcCoverage;
use crate::store::{Owner, SqlStore};

/// The term of the lease that this process renews in its database. When it runs out, the other
/// processes on the database count this one as gone.
const LEASE_TERM: Duration = Duration::from_secs(5);
/// The time between two attempts to read which registry the certificate log belongs to.
const LOG_CHECK_PAUSE: Duration = Duration::from_secs(2);

type Signer = Arc<dyn TransactionSigner>;

/// The program.
#[derive(Debug)]
pub struct AggregatorProgram;

impl Program for AggregatorProgram {
    const NAME: &'static str = "dac-aggregator";
    type Config = AggregatorConfig;
    type Running = RunningAggregator;

    fn check(config: &AggregatorConfig, renewals: &mut Renewals) -> Result<String, Failure> {
        let (disperser, l1) = load_keys(&config.keys)?;
        config.grpc.load_tls("grpc", renewals)?;
        renewals.client("members", &config.dispersal.tls, *config.dispersal.connect_timeout)?;
        config.store.check_file()?;
        Ok(format!("disperser:  {}\npays:       {}\n", disperser.address(), l1.address()))
    }

    async fn start(config: &AggregatorConfig, renewals: &mut Renewals) -> Result<RunningAggregator, Failure> {
        // The monitoring port is first, so that its probes answer while L1 is away.
        let monitor = Monitor::bind(config.metrics.as_ref()).await?;
        if let Some(monitor) = &monitor {
            monitor.health().set_unhealthy("starting: the registry has not been read from L1 yet");
        }
        let following = CancellationToken::new();
        let endpoints = config.chain.endpoints()?;
        let log = CertificateLogReader::new(endpoints.clone(), config.chain.certificate_log);
        let parts = parts(config, endpoints, monitor, following.clone(), renewals).await?;
        let (registry, may_post) = (parts.registry.clone(), Arc::clone(&parts.may_post));
        // The contents of the store are served even while L1 cannot be reached. No submission is
        // accepted and nothing is posted before L1 was read.
        let aggregator = Aggregator::start(parts, *config.shutdown.grace).await?;
        let ready = Ready { registry, log: Arc::new(log), log_registry: config.chain.registry, may_post };
        Ok(RunningAggregator { aggregator, ready, following })
    }
}

/// The program while it runs.
pub struct RunningAggregator {
    aggregator: Aggregator,
    ready: Ready,
    /// Cancelled to end the reading of the registry.
    following: CancellationToken,
}

/// What the program waits for on L1 before it posts anything.
#[derive(Clone)]
struct Ready {
    registry: RegistryWatch,
    log: Arc<CertificateLogReader>,
    /// The registry that the certificate log must belong to.
    log_registry: Address,
    may_post: Arc<AtomicBool>,
}

impl Run for RunningAggregator {
    type Addresses = Addresses;

    fn addresses(&self) -> Addresses {
        self.aggregator.addresses()
    }

    fn ready(&self) -> impl Future<Output = Result<(), Failure>> + 'static {
        let Ready { registry, log, log_registry, may_post } = self.ready.clone();
        async move {
            registry.wait_ready().await?;
            check_log(&log, log_registry).await?;
            may_post.store(true, Ordering::Relaxed);
            Ok(())
        }
    }

    async fn failed(&mut self) -> Failure {
        tokio::select! {
            error = self.aggregator.failed() => error.into(),
            () = self.ready.registry.ended() => "the task that reads the registry ended by itself".into(),
        }
    }

    async fn stop(self) {
        self.aggregator.stop().await;
        self.following.cancel();
    }
}

/// Waits until L1 says that the certificate log belongs to this registry.
async fn check_log(log: &CertificateLogReader, registry: Address) -> Result<(), Failure> {
    let mut is_first = true;
    loop {
        match log.check_registry(registry).await {
            Ok(()) => return Ok(()),
            Err(error @ (ChainError::WrongRegistry { .. } | ChainError::NoContract { .. })) => {
                return Err(error.into());
            }
            Err(error) if std::mem::take(&mut is_first) => {
                tracing::warn!(%error, "cannot read which registry the certificate log belongs to; nothing is posted until that is known");
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOG_CHECK_PAUSE).await;
    }
}

async fn parts(
    config: &AggregatorConfig,
    endpoints: Endpoints,
    monitor: Option<Monitor>,
    following: CancellationToken,
    renewals: &mut Renewals,
) -> Result<Parts, Failure> {
    let keys = config.keys.clone();
    // Deriving a key from its password takes a second or more, so it runs off the async threads.
    tracing::info!("opening the keystores");
    let (signer, l1_signer) = tokio::task::spawn_blocking(move || load_keys(&keys)).await??;
    let chain = &config.chain;
    let registry = chain.follow(endpoints.clone(), following);
    let owner = Owner { domain: chain.domain(), disperser: signer.address() };
    let store = SqlStore::open(&config.store, owner, LEASE_TERM).await?;
    let connect_timeout = *config.dispersal.connect_timeout;
    let tls = renewals.client("members", &config.dispersal.tls, connect_timeout)?;
    let dialer = Dialer::new(config.endpoint_policy()).connect_timeout(connect_timeout).renewed_tls(tls);
    Ok(Parts {
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
            // `confirmations` counts the block that includes a transaction, the source counts only
            // the blocks on top of it.
            source: Arc::new(RpcCoverage::new(endpoints, config.posting.confirmations.saturating_sub(1))),
            settings: config.renewals(),
        }),
        capacity: config.capacity(),
        service: config.service(),
        grpc: Listener::bind("grpc", &config.grpc, renewals).await?,
        monitor,
    })
}

/// Loads the disperser's key and the key of the L1 account that pays.
fn load_keys(keys: &KeysConfig) -> Result<(Signer, Signer), KeystoreError> {
    let load = |keystore: &Path, password: &Path| -> Result<Signer, KeystoreError> {
        Ok(Arc::new(dac_keys::load_ecdsa_keystore(keystore, password)?))
    };
    let disperser = load(&keys.disperser_keystore, &keys.password_file)?;
    let l1 = match &keys.l1 {
        Some(files) => load(&files.keystore, &files.password_file)?,
        None => Arc::clone(&disperser),
    };
    Ok((disperser, l1))
}
