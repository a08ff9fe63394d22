//! A rollup with its batch signer, and the valid and invalid submissions that it signs.

use std::time::{SystemTime, UNIX_EPOCH};

use dac_types::EcdsaKey;
use dac_types::{Address, B256, BatchSubmission, Domain, HashKind, SignedSubmission, keccak256};
use sha2::{Digest, Sha256};

/// The lifetime of the batches, in seconds.
const LIFETIME_SECONDS: u64 = 3600;
/// The time for which the submissions are valid, in seconds.
const SUBMIT_AHEAD_SECONDS: u64 = 600;

/// Returns the machine's time in Unix seconds.
#[expect(clippy::disallowed_methods, reason = "the processes under test go by the machine's clock, too")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the commitment to a payload that a rollup makes with this hash kind; for OPAQUE a hash
/// that members cannot check.
pub fn batch_hash(kind: HashKind, payload: &[u8]) -> B256 {
    match kind {
        HashKind::Opaque => keccak256([b"opaque".as_slice(), payload].concat()),
        HashKind::Keccak256 => keccak256(payload),
        HashKind::Sha256 => B256::from_slice(&Sha256::digest(payload)),
    }
}

/// A rollup that the registry admits, and the aggregator it submits to.
#[derive(Clone, Debug)]
pub struct Rollup {
    /// The domain in which its signatures are valid.
    pub domain: Domain,
    /// The address of its settlement contract.
    pub address: Address,
    /// The batch signer's key.
    pub poster: EcdsaKey,
    /// The address of the aggregator that its submissions name.
    pub disperser: Address,
}

impl Rollup {
    /// Makes a valid submission of this payload.
    pub fn order(&self, batch_number: u64, kind: HashKind, payload: &[u8]) -> BatchSubmission {
        let now = now();
        BatchSubmission {
            rollup: self.address,
            batch_number,
            payload_length: payload.len() as u64,
            expires_at: now + LIFETIME_SECONDS,
            hash_kind: kind,
            batch_hash: batch_hash(kind, payload),
            replaces: B256::ZERO,
            disperser: self.disperser,
            submit_before: now + SUBMIT_AHEAD_SECONDS,
        }
    }

    /// Signs a submission with the batch signer's key.
    pub fn signed(&self, order: BatchSubmission) -> SignedSubmission {
        let signature = self.poster.sign(order.digest(&self.domain));
        SignedSubmission { submission: order, signature }
    }
}
