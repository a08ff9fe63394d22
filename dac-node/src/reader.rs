//! A read-only server of a member: serves what the member stored, from the same database. It has no
//! key, takes nothing in, repairs and deletes nothing. Any number of them run beside the one
//! process that signs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dac_bls::{PublicKey, Signature};
use dac_runtime::monitor::Monitor;
use dac_runtime::service::{Listener, Service, ServiceError};
use dac_types::{BatchDigest, RenewalDigest};

use crate::attest::{Signer, SignerError};
use crate::context::{Context, Resources};
use crate::health::NodeHealth;
use crate::node::{Addresses, MEMBERS, Node, RETRIEVAL, serve_retrieval};
use crate::sync::observe;

/// What a read-only server is made of.
pub struct ReaderParts {
    /// What its handlers share. The signer is a [`NoKey`].
    pub resources: Resources,
    /// How often the member's state is looked at.
    pub interval: Duration,
    /// Where anyone retrieves.
    pub retrieval: Listener,
    /// `/metrics` and the probes.
    pub monitor: Option<Monitor>,
}

/// Starts a read-only server. Calls under way have `grace` to finish once it is stopped.
///
/// # Errors
/// It fails if the listener cannot be used.
pub async fn start(parts: ReaderParts, grace: Duration) -> Result<Node, ServiceError> {
    crate::metrics::describe();
    let mut service = Service::new(&[RETRIEVAL, MEMBERS], grace, parts.monitor).await;
    let context = Context::new(parts.resources, service.draining().clone());
    service.watch_health(NodeHealth::new(Arc::clone(&context), false));
    let retrieval = serve_retrieval(&mut service, &context, parts.retrieval)?;
    let (shared, interval) = (Arc::clone(&context), parts.interval);
    service.task("observation", |stop| {
        observe(
            Arc::clone(&shared.store.duties),
            shared.registry.clone(),
            Arc::clone(&shared.clock),
            Arc::clone(&shared.progress),
            interval,
            stop,
        )
    });
    let metrics = service.monitor_address();
    Ok(Node::new(context, service, Addresses { dispersal: None, retrieval, metrics }))
}

/// Stands where a member has its key. Nothing that a reader serves signs.
pub struct NoKey(pub PublicKey);

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
