//! Store, then sign: an attestation is made from a store's receipt and from nothing else.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dac_bls::{PublicKey, SecretKey, Signature};
use dac_runtime::failpoint;
use dac_types::{Attestation, BatchDigest, Domain, RenewalDigest, SignatureBytes, SignedDigest};
use thiserror::Error;

use crate::store::{Covered, Stored};
use dac_runtime::workers::{Lane, Workers};

/// The key could not be used.
#[derive(Debug, Error)]
#[error("the signer failed: {0}")]
pub struct SignerError(pub String);

/// Signs with this member's BLS key, which is in memory or in another place.
#[async_trait]
pub trait Signer: Send + Sync + 'static {
    /// Returns the public key of the key that signs.
    fn public_key(&self) -> PublicKey;

    /// Signs a batch's digest.
    async fn sign(&self, digest: BatchDigest) -> Result<Signature, SignerError>;

    /// Signs a renewal's digest.
    async fn sign_renewal(&self, digest: RenewalDigest) -> Result<Signature, SignerError>;
}

/// A signer whose key is in this process's memory.
pub struct LocalSigner {
    key: Arc<SecretKey>,
    public_key: PublicKey,
    workers: Workers,
}

impl LocalSigner {
    /// Makes a signer that computes on `workers`.
    pub fn new(key: SecretKey, workers: Workers) -> Self {
        Self { public_key: key.public_key(), key: Arc::new(key), workers: workers.lane(Lane::Signing) }
    }
}

impl fmt::Debug for LocalSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSigner").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

#[async_trait]
impl Signer for LocalSigner {
    fn public_key(&self) -> PublicKey {
        self.public_key
    }

    async fn sign(&self, digest: BatchDigest) -> Result<Signature, SignerError> {
        self.sign_digest(digest).await
    }

    async fn sign_renewal(&self, digest: RenewalDigest) -> Result<Signature, SignerError> {
        self.sign_digest(digest).await
    }
}

impl LocalSigner {
    async fn sign_digest(
        &self,
        digest: impl SignedDigest + Send + 'static,
    ) -> Result<Signature, SignerError> {
        let key = Arc::clone(&self.key);
        self.workers
            .run(move || key.sign_digest(&digest))
            .await
            .map_err(|error| SignerError(error.to_string()))
    }
}

/// Signs the promise that the batch of this receipt is stored, was checked and is served.
pub async fn attest(signer: &dyn Signer, stored: &Stored) -> Result<Attestation, SignerError> {
    failpoint!("node.attest.before_sign");
    let signature = signer.sign(stored.digest()).await?;
    failpoint!("node.attest.after_sign");
    Ok(Attestation { digest: stored.digest(), seat: stored.seat(), signature: signature.to_compressed() })
}

/// Signs the promise that the batches of this receipt are stored, were checked and are served until
/// the renewal's expiry.
pub async fn renew(
    signer: &dyn Signer,
    covered: &Covered,
    domain: &Domain,
) -> Result<(RenewalDigest, SignatureBytes), SignerError> {
    let digest = covered.renewal().digest(domain);
    failpoint!("node.renewal.before_sign");
    let signature = signer.sign_renewal(digest).await?;
    failpoint!("node.renewal.after_sign");
    Ok((digest, signature.to_compressed()))
}
