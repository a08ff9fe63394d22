//! A reader serves what a member stored, from the member's database. It has no key, takes nothing
//! in, and repairs and deletes nothing. Any number of readers run beside the one process that
//! signs.

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

/// The parts of a reader.
pub struct ReaderParts {
    /// What its handlers share. The signer is a [`NoKey`].
    pub resources: Resources,
    /// How often the member's state is read.
    pub interval: Duration,
    /// The listener from which clients retrieve.
    pub retrieval: Listener,
    /// The listener of `/metrics` and the probes.
    pub monitor: Option<Monitor>,
}

/// Starts a reader. Calls under way have `grace` to finish once it is stopped.
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

/// Takes the place of the member's signer. It holds the public key and refuses to sign; no service
/// of a reader signs.
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
