//! What a rollup's poster signs when it hands in a validity proof, and how a batch comes to L1.

#[cfg(feature = "std")]
use alloy_primitives::Address;
use alloy_primitives::{B256, keccak256};

use crate::ids::BatchDigest;
use crate::signing_domain::{Domain, StructHash, VALIDITY_PROOF_TYPE};
#[cfg(feature = "std")]
use crate::{EcdsaSignature, EcdsaSignatureError};

/// What a certified batch's way to L1 is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PostingMode {
    /// Its certificate is recorded in the log; the rollup settles by itself, or hands in a proof later.
    #[default]
    Record,
    /// Certificate and validity proof go to the rollup's settlement contract, in one transaction.
    Settle,
}

impl PostingMode {
    /// As in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "RECORD",
            Self::Settle => "SETTLE",
        }
    }
}

/// The state transition that a batch makes, as its settlement contract is told it. Old root and number it knows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transition {
    /// The state after the batch.
    pub new_state_root: B256,
    /// L1 inputs consumed in all, up to and with this batch.
    pub inputs_consumed: u64,
    /// Commitment to what the batch grants on L1.
    pub outputs: B256,
}

/// A rollup's word that a proof is its own, for one batch: only then an aggregator keeps and simulates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValidityProof {
    /// The batch.
    pub digest: BatchDigest,
    /// What is proved.
    pub transition: Transition,
    /// keccak256 of the proof's bytes.
    pub proof_hash: B256,
}

impl ValidityProof {
    /// For the bytes of a proof.
    pub fn new(digest: BatchDigest, transition: Transition, proof: &[u8]) -> Self {
        Self { digest, transition, proof_hash: keccak256(proof) }
    }

    /// The EIP-712 digest that the poster signs.
    pub fn signing_digest(&self, domain: &Domain) -> B256 {
        domain.digest(
            StructHash::new(VALIDITY_PROOF_TYPE)
                .word(self.digest.0)
                .word(self.transition.new_state_root)
                .number(self.transition.inputs_consumed)
                .word(self.transition.outputs)
                .word(self.proof_hash)
                .finish(),
        )
    }

    /// The address that signed it: to be compared with the poster that the registry admits.
    #[cfg(feature = "std")]
    pub fn signer(
        &self,
        signature: &EcdsaSignature,
        domain: &Domain,
    ) -> Result<Address, EcdsaSignatureError> {
        signature.recover(self.signing_digest(domain))
    }
}
