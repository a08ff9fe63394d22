//! The order that a rollup's poster signs. It lets one named aggregator disperse one batch.

#[cfg(feature = "std")]
use crate::ecdsa::EcdsaSignatureError;
use alloy_primitives::{Address, B256};
use thiserror::Error;

use crate::ecdsa::EcdsaSignature;
use crate::header::{BatchHeader, HashKind};
use crate::ids::BatchDigest;
use crate::signing_domain::{BATCH_SUBMISSION_TYPE, Domain, StructHash};

/// The first field in which a header and its submission differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("header and submission disagree in {field}")]
pub struct Disagreement {
    /// The field's name as in the EIP-712 type.
    pub field: &'static str,
}

/// A rollup's order to disperse one payload. See section 6.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatchSubmission {
    /// The rollup's settlement contract.
    pub rollup: Address,
    /// The rollup's number of this batch.
    pub batch_number: u64,
    /// The length L of the payload in bytes.
    pub payload_length: u64,
    /// The last Unix second until which members must serve the batch.
    pub expires_at: u64,
    /// How `batch_hash` commits to the payload.
    pub hash_kind: HashKind,
    /// The rollup's commitment to the payload.
    pub batch_hash: B256,
    /// Zero, or the digest of the earlier batch of the same number that this one replaces.
    pub replaces: B256,
    /// The aggregator's secp256k1 address. Only this aggregator may disperse the submission.
    pub disperser: Address,
    /// The order is void after this Unix second.
    pub submit_before: u64,
}

impl BatchSubmission {
    /// Returns the EIP-712 digest that the poster signs.
    pub fn digest(&self, domain: &Domain) -> B256 {
        domain.digest(
            StructHash::new(BATCH_SUBMISSION_TYPE)
                .address(self.rollup)
                .number(self.batch_number)
                .number(self.payload_length)
                .number(self.expires_at)
                .number(self.hash_kind as u64)
                .word(self.batch_hash)
                .word(self.replaces)
                .address(self.disperser)
                .number(self.submit_before)
                .finish(),
        )
    }

    /// Returns the digest of the batch that this one replaces, if it names one.
    pub fn replaced(&self) -> Option<BatchDigest> {
        (!self.replaces.is_zero()).then_some(BatchDigest(self.replaces))
    }

    /// Checks that header and submission agree field by field, so that one submission yields one
    /// header in each epoch.
    pub fn check_agrees(&self, header: &BatchHeader) -> Result<(), Disagreement> {
        let field = if self.rollup != header.rollup {
            "rollup"
        } else if self.batch_number != header.batch_number {
            "batchNumber"
        } else if self.payload_length != header.payload_length {
            "payloadLength"
        } else if self.expires_at != header.expires_at {
            "expiresAt"
        } else if self.hash_kind != header.hash_kind {
            "hashKind"
        } else if self.batch_hash != header.batch_hash {
            "batchHash"
        } else {
            return Ok(());
        };
        Err(Disagreement { field })
    }
}

/// A submission and the poster's signature over it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SignedSubmission {
    /// The order that was signed.
    pub submission: BatchSubmission,
    /// The poster's signature. [`SignedSubmission::signer`] recovers its address.
    pub signature: EcdsaSignature,
}

impl SignedSubmission {
    /// Returns the address that signed the order. The caller compares it with the poster that the
    /// registry admits.
    #[cfg(feature = "std")]
    pub fn signer(&self, domain: &Domain) -> Result<Address, EcdsaSignatureError> {
        self.signature.recover(self.submission.digest(domain))
    }
}
