//! A rollup's validity proof: the rollup's batch signer signs it, and the client hands it to the
//! aggregator that has the batch.

use bytes::Bytes;
use dac_proto::proof::ReceivedProof;
use dac_types::limits::PROOF_MAX_BYTES;
use dac_types::{B256, BatchDigest, Domain, EcdsaSignature, Transition, ValidityProof};

use crate::attempts::{Attempts, SubmitOptions};
use crate::batch::{AggregatorClient, AggregatorError, BatchSelector};
use crate::status::BatchStatus;
use crate::submission::SubmissionError;

/// A validity proof of one batch, with the batch signer's signature. It can be submitted again
/// safely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedProof {
    digest: BatchDigest,
    signed: ReceivedProof,
}

impl SignedProof {
    /// Signs a proof: `sign` gets the 32 bytes of the signing hash and returns r, s and v.
    ///
    /// # Example
    ///
    /// ```
    /// use bytes::Bytes;
    /// use dac_chain::{EcdsaKey, TransactionSigner as _};
    /// use dac_client::SignedProof;
    /// use dac_types::{Address, B256, BatchDigest, Domain, Transition};
    ///
    /// let domain = Domain { chain_id: 1, registry: Address::repeat_byte(1) };
    /// let digest = BatchDigest(B256::repeat_byte(2));
    /// let transition = Transition {
    ///     new_state_root: B256::repeat_byte(3),
    ///     inputs_consumed: 4,
    ///     outputs: B256::ZERO,
    /// };
    /// let batch_signer = EcdsaKey::random();
    /// let proof = SignedProof::sign(&domain, digest, transition, Bytes::from(vec![5; 256]), |hash| {
    ///     batch_signer.sign_hash(&hash).map(|signature| signature.as_bytes())
    /// })?;
    /// assert_eq!(proof.digest(), digest);
    /// # Ok::<(), dac_client::SubmissionError>(())
    /// ```
    pub fn sign<E: std::fmt::Display>(
        domain: &Domain,
        digest: BatchDigest,
        transition: Transition,
        proof: Bytes,
        sign: impl FnOnce(B256) -> Result<[u8; 65], E>,
    ) -> Result<Self, SubmissionError> {
        if proof.is_empty() || proof.len() > PROOF_MAX_BYTES {
            return Err(SubmissionError::ProofLength { got: proof.len() });
        }
        let order = ValidityProof::new(digest, transition, &proof);
        let signature = sign(order.signing_digest(domain))
            .map_err(|error| SubmissionError::Signing(error.to_string()))?;
        let signature = EcdsaSignature::try_from(&signature[..])?;
        Ok(Self { digest, signed: ReceivedProof { transition, proof, signature } })
    }

    /// The digest of the batch that the proof belongs to.
    pub const fn digest(&self) -> BatchDigest {
        self.digest
    }

    /// keccak256 of the proof's bytes.
    pub fn proof_hash(&self) -> B256 {
        self.signed.signed(self.digest).proof_hash
    }
}

impl AggregatorClient {
    /// Submits a proof, and tries again as long as that may help. Returns once the aggregator has
    /// the proof on durable storage.
    pub async fn submit_proof(
        &self,
        proof: &SignedProof,
        options: SubmitOptions,
    ) -> Result<BatchStatus, AggregatorError> {
        let mut attempts = Attempts::new("SubmitValidityProof", options);
        loop {
            let error = match attempts.one(options.answer, self.submit_proof_once(proof)).await? {
                Ok(status) => return Ok(status),
                Err(error) => error,
            };
            let (pause, _) = attempts.again(error)?;
            tokio::time::sleep(pause).await;
        }
    }

    async fn submit_proof_once(&self, proof: &SignedProof) -> Result<BatchStatus, AggregatorError> {
        let selector = BatchSelector::Batch(proof.digest);
        let request = proof.signed.to_wire(selector.to_wire());
        let answer = self.connect().await?.submit_validity_proof(request).await;
        let batch = answer.map_err(|status| AggregatorError::from_status(&status))?.into_inner().batch;
        selector.check(BatchStatus::from_wire(batch)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_types::Address;

    #[test]
    fn lengths_and_signatures_are_checked() {
        let domain = Domain { chain_id: 1, registry: Address::repeat_byte(1) };
        let digest = BatchDigest(B256::repeat_byte(2));
        let transition =
            Transition { new_state_root: B256::repeat_byte(3), inputs_consumed: 4, outputs: B256::ZERO };
        let sign = |proof: Vec<u8>, signature: [u8; 65]| {
            SignedProof::sign(&domain, digest, transition, proof.into(), |_| Ok::<_, String>(signature))
        };
        let mut good = [1; 65];
        good[64] = 27;
        let signed = sign(vec![9; 256], good).unwrap();
        assert_eq!((signed.digest(), signed.proof_hash()), (digest, dac_types::keccak256([9; 256])));
        assert_eq!(sign(Vec::new(), good), Err(SubmissionError::ProofLength { got: 0 }));
        let long = PROOF_MAX_BYTES + 1;
        assert_eq!(sign(vec![0; long], good), Err(SubmissionError::ProofLength { got: long }));
        assert!(matches!(sign(vec![0; PROOF_MAX_BYTES], [0xff; 65]), Err(SubmissionError::Signature(_))));
    }
}
