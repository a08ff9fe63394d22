//! A read-only server of a member: serves what the member stored, from the same database. It has no key, takes nothing in, repairs and
//! deletes nothing; any number of them run beside the one process that signs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dac_bls::{PublicKey, Signature};
use dac_chain::RegistryWatch;
use dac_runtime::clock::Clock;
use dac_runtime::monitor::Monitor;
use dac_runtime::workers::Workers;
use dac_types::{BatchDigest, Domain, RenewalDigest};
use tokio_util::sync::CancellationToken;

use super::{Addresses, Assembly, Listener, MEMBERS, Node, NodeError, RETRIEVAL, Shared};
use crate::attest::{Signer, SignerError};
use crate::context::Settings;
use crate::limits::{ClientRates, UploadLimits};
use crate::store::MemberStore;
use crate::sync::observe;

/// What a read-only server is made of.
pub struct ReaderParts {
    /// Where the member's signatures are valid.
    pub domain: Domain,
    /// The member's key: whose store it is.
    pub public_key: PublicKey,
    /// What the member keeps.
    pub store: MemberStore,
    /// What L1 says.
    pub registry: RegistryWatch,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where hashing runs.
    pub workers: Workers,
    /// Times and sizes.
    pub settings: Settings,
    /// Bounds of retrieval.
    pub clients: ClientRates,
    /// How often the member's state is looked at.
    pub interval: Duration,
    /// Where anyone retrieves.
    pub retrieval: Listener,
    /// `/metrics` and the probes.
    pub monitor: Option<Monitor>,
}

impl Node {
    /// Starts a read-only server. Calls under way have `grace` to finish once it is stopped.
    pub async fn start_reader(parts: ReaderParts, grace: Duration) -> Result<Self, NodeError> {
        crate::metrics::describe();
        let ReaderParts {
            domain,
            public_key,
            store,
            registry,
            clock,
            workers,
            settings,
            clients,
            interval,
            ..
        } = parts;
        let nothing = UploadLimits { bytes: 0, per_rollup: 0 };
        let context = Shared {
            domain,
            store,
            signer: Arc::new(NoKey(public_key)),
            registry,
            clock,
            disk: None,
            workers,
            settings,
            uploads: nothing,
            clients,
        }
        .context();
        let metrics = parts.monitor.as_ref().map(Monitor::address);
        let mut assembly = Assembly::new(context, &["", RETRIEVAL, MEMBERS], grace, parts.monitor).await;
        let retrieval = assembly.retrieval(parts.retrieval)?;
        let context = Arc::clone(&assembly.context);
        assembly.spawn("observation", |stop: CancellationToken| {
            observe(
                Arc::clone(&context.store.duties),
                context.registry.clone(),
                Arc::clone(&context.clock),
                Arc::clone(&context.progress),
                interval,
                stop,
            )
        });
        Ok(assembly.finish(Addresses { dispersal: None, retrieval, metrics }))
    }
}

/// Stands where a member has its key. Nothing that a reader serves signs.
struct NoKey(PublicKey);

#[async_trait]
impl Signer for NoKey {
    fn public_key(&self) -> PublicKey {
        self.0
    }

    async fn sign(&self, _: BatchDigest) -> Result<Signature, SignerError> {
        Err(SignerError("a read-only server has no key".to_owned()))
    }

    async fn sign_renewal(&self, _: RenewalDigest) -> Result<Signature, SignerError> {
        Err(SignerError("a read-only server has no key".to_owned()))
    }
}
