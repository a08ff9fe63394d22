//! The program `dac-node`: opens and starts what its configuration asks for.

use std::path::Path;
use std::sync::Arc;

use dac_chain::RegistryWatch;
use dac_chain::feed::RpcEvents;
use dac_database::DatabaseUrl;
use dac_runtime::clock::SystemClock;
use dac_runtime::config::ListenerConfig;
use dac_runtime::monitor::Monitor;
use dac_runtime::service::{Failure, Listener, Program, Run};
use dac_runtime::tls::Renewals;
use dac_runtime::workers::Workers;
use tokio_util::sync::CancellationToken;

use crate::attest::{LocalSigner, Signer};
use crate::config::{KeysConfig, NodeConfig, RoleConfig};
use crate::context::Resources;
use crate::limits::UploadLimits;
use crate::member;
use crate::node::{Addresses, Node};
use crate::reader::{self, NoKey};
use crate::store::{Disk, FolderDisk, MemberStore, SqlStore};

/// The program of a member or reader.
#[derive(Debug)]
pub struct NodeProgram;

impl Program for NodeProgram {
    const NAME: &'static str = "dac-node";
    type Config = NodeConfig;
    type Running = RunningNode;

    fn check(config: &NodeConfig, renewals: &mut Renewals) -> Result<String, Failure> {
        let public_key = match config.role()? {
            RoleConfig::Member { keys, .. } => {
                dac_keys::load_bls_keystore(&keys.bls_keystore, &keys.password_file)?.public_key()
            }
            RoleConfig::Reader { public_key } => public_key,
        };
        if let Some(dispersal) = &config.dispersal {
            dispersal.load_tls("dispersal", renewals)?;
        }
        config.retrieval.load_tls("retrieval", renewals)?;
        config.repair.settings(renewals)?;
        config.store.check_file()?;
        Ok(format!("key:        {}\n", public_key.to_compressed()))
    }

    async fn start(config: &NodeConfig, renewals: &mut Renewals) -> Result<RunningNode, Failure> {
        // The monitoring port is opened first, so that its probes answer while this process waits
        // for another one to end.
        let monitor = Monitor::bind(config.metrics.as_ref()).await?;
        let retrieval = Listener::bind("retrieval", &config.retrieval, renewals).await?;
        match config.role()? {
            RoleConfig::Member { keys, dispersal } => {
                start_member(config, keys, dispersal, retrieval, monitor, renewals).await
            }
            RoleConfig::Reader { public_key } => {
                let domain = config.chain.domain();
                let store =
                    SqlStore::open_to_read(&config.store, domain, &public_key.to_compressed()).await?;
                let following = CancellationToken::new();
                let registry = config.chain.follow(config.chain.endpoints()?, following.clone());
                let signer = Arc::new(NoKey(public_key));
                let mut resources = resources(config, &store, registry.clone(), signer, Workers::threads());
                resources.uploads = UploadLimits { bytes: 0, per_rollup: 0 };
                let interval = *config.chain.poll_interval;
                let parts = reader::ReaderParts { resources, interval, retrieval, monitor };
                let node = reader::start(parts, *config.shutdown.grace).await?;
                Ok(RunningNode { node, store, registry, following })
            }
        }
    }
}

async fn start_member(
    config: &NodeConfig,
    keys: &KeysConfig,
    dispersal: &ListenerConfig,
    retrieval: Listener,
    monitor: Option<Monitor>,
    renewals: &mut Renewals,
) -> Result<RunningNode, Failure> {
    let keys = keys.clone();
    // Deriving the key from its password takes a second or more, so it runs off the async threads.
    tracing::info!("opening the keystore");
    let load = move || dac_keys::load_bls_keystore(&keys.bls_keystore, &keys.password_file);
    let key = tokio::task::spawn_blocking(load).await??;
    let workers = Workers::threads();
    let signer = LocalSigner::new(key, workers.clone());
    let (public_key, holder) = (signer.public_key().to_compressed(), holder());
    let domain = config.chain.domain();
    let store = SqlStore::open_as_signer(&config.store, domain, &public_key, &holder).await?;
    warn_where_nothing_is_bounded(config);
    let (endpoints, following) = (config.chain.endpoints()?, CancellationToken::new());
    let registry = config.chain.follow(endpoints.clone(), following.clone());
    let mut resources = resources(config, &store, registry.clone(), Arc::new(signer), workers);
    resources.disk = disk(config);
    let parts = member::Parts {
        resources,
        retention: config.retention.retention(),
        events: Arc::new(RpcEvents::new(endpoints)),
        sync: config.sync(),
        repair: config.repair.settings(renewals)?,
        scrub: config.scrub.settings(),
        dispersal: Listener::bind("dispersal", dispersal, renewals).await?,
        retrieval,
        monitor,
    };
    let node = member::start(parts, *config.shutdown.grace).await?;
    Ok(RunningNode { node, store, registry, following })
}

/// Makes the resources that members and readers have in common.
fn resources(
    config: &NodeConfig,
    store: &SqlStore,
    registry: RegistryWatch,
    signer: Arc<dyn Signer>,
    workers: Workers,
) -> Resources {
    Resources {
        domain: config.chain.domain(),
        store: MemberStore::of(store.clone()),
        signer,
        registry,
        clock: Arc::new(SystemClock),
        disk: None,
        workers,
        settings: config.settings(),
        uploads: config.limits.uploads(),
        clients: config.limits.clients(),
    }
}

/// The program while it runs.
pub struct RunningNode {
    node: Node,
    store: SqlStore,
    registry: RegistryWatch,
    /// Cancelled to end the reading of the registry.
    following: CancellationToken,
}

impl Run for RunningNode {
    type Addresses = Addresses;

    fn addresses(&self) -> Addresses {
        self.node.addresses()
    }

    fn ready(&self) -> impl Future<Output = Result<(), Failure>> + 'static {
        let registry = self.registry.clone();
        async move {
            registry.wait_ready().await?;
            Ok(())
        }
    }

    async fn failed(&mut self) -> Failure {
        tokio::select! {
            error = self.node.failed() => error.into(),
            () = self.registry.ended() => "the task that reads the registry ended by itself".into(),
            () = self.store.lost() => "another process signs for this member now".into(),
        }
    }

    async fn stop(self) {
        self.node.stop().await;
        self.following.cancel();
    }
}

/// Names this process so that no other has the same name. In a container each has process id 1.
fn holder() -> String {
    format!("dac-node, process {}, run {:016x}", std::process::id(), rand::random::<u64>())
}

/// Returns the disk to watch: that of a SQLite store. The disk of a database server is its
/// administrator's to watch.
fn disk(config: &NodeConfig) -> Option<Arc<dyn Disk>> {
    match &config.store.url {
        DatabaseUrl::Sqlite(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            Some(Arc::new(FolderDisk::new(folder.unwrap_or(Path::new(".")))))
        }
        DatabaseUrl::Postgres(_) => None,
    }
}

/// Warns if nothing bounds the store. SQLite's disk keeps a reserve by default, but the size of a
/// server's disk cannot be seen from here.
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
