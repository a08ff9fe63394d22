//! The message that a rollup's poster signs when it submits a validity proof.

#[cfg(feature = "std")]
use alloy_primitives::Address;
use alloy_primitives::{B256, keccak256};

use crate::ids::BatchDigest;
use crate::signing_domain::{Domain, StructHash, VALIDITY_PROOF_TYPE};
#[cfg(feature = "std")]
use crate::{EcdsaSignature, EcdsaSignatureError};

/// The part of a state transition that the settlement contract is told. It knows the old state root
/// and the batch number from its own storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transition {
    /// The state root after the batch.
    pub new_state_root: B256,
    /// The number of L1 inputs consumed in total, by this batch and those before it.
    pub inputs_consumed: u64,
    /// The commitment to what the batch pays out on L1.
    pub outputs: B256,
}

/// The statement, signed by a rollup's poster, that a proof of one batch is its own. An aggregator
/// keeps and simulates only proofs that come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValidityProof {
    /// The digest of the batch.
    pub digest: BatchDigest,
    /// The state transition that is proved.
    pub transition: Transition,
    /// The keccak256 hash of the proof's bytes.
    pub proof_hash: B256,
}

impl ValidityProof {
    /// Makes the statement for the bytes of a proof.
    pub fn new(digest: BatchDigest, transition: Transition, proof: &[u8]) -> Self {
        Self { digest, transition, proof_hash: keccak256(proof) }
    }

    /// Returns the EIP-712 digest that the poster signs.
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

    /// Returns the address that signed the statement. The caller compares it with the poster that
    /// the registry admits.
    #[cfg(feature = "std")]
    pub fn signer(
        &self,
        signature: &EcdsaSignature,
        domain: &Domain,
    ) -> Result<Address, EcdsaSignatureError> {
        signature.recover(self.signing_digest(domain))
    }
}
