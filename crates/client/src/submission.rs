//! A rollup's order for one payload, signed by its batch signer, and the checks of a payload
//! against it.

use dac_coding::payload_hash;
use dac_types::limits::PAYLOAD_MAX_BYTES;
use dac_types::{
    Address, B256, BatchDigest, BatchSubmission, Domain, EcdsaSignature, EcdsaSignatureError, HashKind,
    SignedSubmission,
};
use thiserror::Error;

/// Why a submission cannot be made or sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmissionError {
    /// The payload is empty, or over the limit.
    #[error("a payload has 1 to {PAYLOAD_MAX_BYTES} bytes, got {got}")]
    PayloadLength {
        /// The payload's length.
        got: u64,
    },
    /// The hash kind is OPAQUE and no batch hash was given: the rollup must compute it itself.
    #[error("with hash kind OPAQUE the batch hash is the rollup's own commitment: give it")]
    BatchHashMissing,
    /// The batch hash given is not that of the payload.
    #[error("{kind} of the payload is {expected}, the batch hash given is {got}", kind = kind.name())]
    BatchHash {
        /// The hash kind.
        kind: HashKind,
        /// The payload's hash.
        expected: B256,
        /// The batch hash given.
        got: B256,
    },
    /// The key failed to sign.
    #[error("the poster's key did not sign: {0}")]
    Signing(String),
    /// The key's signature is not valid in this protocol.
    #[error("the poster's signature: {0}")]
    Signature(#[from] EcdsaSignatureError),
    /// The proof is empty, or over the limit.
    #[error("a validity proof has 1 to {max} bytes, got {got}", max = dac_types::limits::PROOF_MAX_BYTES)]
    ProofLength {
        /// The proof's length.
        got: usize,
    },
    /// The signed submission is for another payload.
    #[error("the submission is for another payload: {field} differs")]
    OtherPayload {
        /// The field that differs.
        field: &'static str,
    },
}

/// Builds a submission; [`SubmissionBuilder::sign`] completes and signs it.
///
/// # Example
///
/// ```
/// use dac_chain::{EcdsaKey, TransactionSigner as _};
/// use dac_client::SubmissionBuilder;
/// use dac_types::{Address, Domain, keccak256};
///
/// let domain = Domain { chain_id: 1, registry: Address::repeat_byte(1) };
/// let (rollup, disperser) = (Address::repeat_byte(2), Address::repeat_byte(3));
/// let batch_signer = EcdsaKey::random();
/// let now = 1_900_000_000;
/// let signed = SubmissionBuilder::new(domain, rollup, 1, disperser, now)
///     .expires_at(now + 24 * 60 * 60)
///     .sign(b"payload", |digest| batch_signer.sign_hash(&digest).map(|signature| signature.as_bytes()))?;
///
/// assert_eq!(signed.submission.batch_hash, keccak256(b"payload"));
/// # Ok::<(), dac_client::SubmissionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SubmissionBuilder {
    domain: Domain,
    submission: BatchSubmission,
    batch_hash: Option<B256>,
}

impl SubmissionBuilder {
    /// Begins a submission of one batch of one rollup, to be dispersed by one aggregator. `now` is
    /// in Unix seconds.
    ///
    /// Unless changed, the batch hash is keccak256 of the payload, members serve the batch for 14
    /// days, and the aggregator has an hour to accept the order.
    pub fn new(domain: Domain, rollup: Address, batch_number: u64, disperser: Address, now: u64) -> Self {
        Self {
            domain,
            submission: BatchSubmission {
                rollup,
                batch_number,
                payload_length: 0,
                expires_at: now.saturating_add(14 * 24 * 60 * 60),
                hash_kind: HashKind::Keccak256,
                batch_hash: B256::ZERO,
                replaces: B256::ZERO,
                disperser,
                submit_before: now.saturating_add(60 * 60),
            },
            batch_hash: None,
        }
    }

    /// Sets how the batch hash commits to the payload.
    #[must_use]
    pub const fn hash_kind(mut self, kind: HashKind) -> Self {
        self.submission.hash_kind = kind;
        self
    }

    /// Sets the rollup's own commitment. [`HashKind::Opaque`] requires it; for the other kinds it
    /// is compared with the payload's hash.
    #[must_use]
    pub const fn batch_hash(mut self, hash: B256) -> Self {
        self.batch_hash = Some(hash);
        self
    }

    /// Sets the last Unix second until which members serve the batch.
    #[must_use]
    pub const fn expires_at(mut self, time: u64) -> Self {
        self.submission.expires_at = time;
        self
    }

    /// Sets the last Unix second until which the order is valid, at most a day ahead.
    #[must_use]
    pub const fn submit_before(mut self, time: u64) -> Self {
        self.submission.submit_before = time;
        self
    }

    /// Sets the former batch of the same number that this one replaces.
    #[must_use]
    pub const fn replaces(mut self, former: BatchDigest) -> Self {
        self.submission.replaces = former.0;
        self
    }

    /// Completes the submission for a payload and signs it: `sign` gets the 32 bytes of the signing
    /// hash and returns r, s and v.
    pub fn sign<E: std::fmt::Display>(
        mut self,
        payload: &[u8],
        sign: impl FnOnce(B256) -> Result<[u8; 65], E>,
    ) -> Result<SignedSubmission, SubmissionError> {
        let length = payload.len() as u64;
        check_payload_length(length)?;
        self.submission.payload_length = length;
        let kind = self.submission.hash_kind;
        self.submission.batch_hash = match (payload_hash(kind, payload), self.batch_hash) {
            (Some(expected), Some(got)) if expected != got => {
                return Err(SubmissionError::BatchHash { kind, expected, got });
            }
            (Some(hash), _) | (None, Some(hash)) => hash,
            (None, None) => return Err(SubmissionError::BatchHashMissing),
        };
        let signature = sign(self.submission.digest(&self.domain))
            .map_err(|error| SubmissionError::Signing(error.to_string()))?;
        Ok(SignedSubmission {
            submission: self.submission,
            signature: EcdsaSignature::try_from(&signature[..])?,
        })
    }
}

/// Refuses a length that no payload has.
pub const fn check_payload_length(length: u64) -> Result<(), SubmissionError> {
    if length == 0 || length > PAYLOAD_MAX_BYTES {
        return Err(SubmissionError::PayloadLength { got: length });
    }
    Ok(())
}

/// Refuses a submission that was signed for another payload.
pub fn check_payload(signed: &SignedSubmission, payload: &[u8]) -> Result<(), SubmissionError> {
    let submission = &signed.submission;
    if submission.payload_length != payload.len() as u64 {
        return Err(SubmissionError::OtherPayload { field: "payloadLength" });
    }
    match payload_hash(submission.hash_kind, payload) {
        Some(hash) if hash != submission.batch_hash => {
            Err(SubmissionError::OtherPayload { field: "batchHash" })
        }
        _ => Ok(()),
    }
}

/// Checks that a certificate's header is about exactly this payload and this submission, so that
/// its signers promised to serve what was submitted. Costs one pass over the payload.
pub fn check_certified_payload(
    header: &dac_types::BatchHeader,
    geometry: dac_types::Geometry,
    submission: &BatchSubmission,
    payload: &[u8],
) -> Result<(), CertifiedPayloadError> {
    submission.check_agrees(header)?;
    check_payload_of_header(header, geometry, payload)
}

/// Checks that a header is about exactly this payload. Costs one pass over the payload.
pub fn check_payload_of_header(
    header: &dac_types::BatchHeader,
    geometry: dac_types::Geometry,
    payload: &[u8],
) -> Result<(), CertifiedPayloadError> {
    if let Some(got) = payload_hash(header.hash_kind, payload)
        && got != header.batch_hash
    {
        return Err(CertifiedPayloadError::BatchHash { expected: header.batch_hash, got });
    }
    if header.payload_length != payload.len() as u64 {
        return Err(CertifiedPayloadError::Length {
            expected: header.payload_length,
            got: payload.len() as u64,
        });
    }
    let points = dac_coding::Points::from_record(
        header.shard_root,
        header.batch_hash,
        header.payload_length,
        geometry,
    );
    if dac_coding::payload_fingerprint(&points, payload).as_bytes() != header.payload_fingerprint {
        return Err(CertifiedPayloadError::Fingerprint);
    }
    Ok(())
}

/// Why a certificate is not about the payload that was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertifiedPayloadError {
    /// The certificate is about another submission.
    #[error(transparent)]
    Disagreement(#[from] dac_types::Disagreement),
    /// The certificate is for a payload of another length.
    #[error("the certificate is for a payload of {expected} bytes, submitted were {got}")]
    Length {
        /// The length in the header.
        expected: u64,
        /// The length of the submitted payload.
        got: u64,
    },
    /// The certificate has another batch hash.
    #[error("the certificate's batch hash is {expected}, the payload's {got}")]
    BatchHash {
        /// The batch hash in the header.
        expected: B256,
        /// The payload's hash.
        got: B256,
    },
    /// The fingerprint is not the payload's: the aggregator dispersed other bytes.
    #[error("the certified fingerprint is not that of the payload: the aggregator dispersed other bytes")]
    Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder() -> SubmissionBuilder {
        let domain = Domain { chain_id: 1, registry: Address::repeat_byte(1) };
        SubmissionBuilder::new(domain, Address::repeat_byte(2), 3, Address::repeat_byte(4), 1_000)
    }

    fn signature(_: B256) -> Result<[u8; 65], String> {
        let mut signature = [1; 65];
        signature[64] = 28;
        Ok(signature)
    }

    #[test]
    fn the_batch_hash_follows_from_the_payload_or_is_given() {
        let signed = builder().sign(b"payload", signature).unwrap();
        assert_eq!(signed.submission.batch_hash, dac_types::keccak256(b"payload"));
        assert_eq!(signed.submission.payload_length, 7);
        assert_eq!(check_payload(&signed, b"payload"), Ok(()));
        assert_eq!(
            check_payload(&signed, b"Payload"),
            Err(SubmissionError::OtherPayload { field: "batchHash" })
        );
        assert_eq!(
            check_payload(&signed, b"pay"),
            Err(SubmissionError::OtherPayload { field: "payloadLength" })
        );

        let opaque = builder().hash_kind(HashKind::Opaque);
        assert_eq!(opaque.clone().sign(b"p", signature), Err(SubmissionError::BatchHashMissing));
        let own = B256::repeat_byte(7);
        assert_eq!(opaque.batch_hash(own).sign(b"p", signature).unwrap().submission.batch_hash, own);

        let wrong = builder().hash_kind(HashKind::Sha256).batch_hash(own).sign(b"p", signature);
        assert!(matches!(wrong, Err(SubmissionError::BatchHash { kind: HashKind::Sha256, .. })));
    }

    #[test]
    fn lengths_and_signatures_are_checked() {
        assert_eq!(builder().sign(b"", signature), Err(SubmissionError::PayloadLength { got: 0 }));
        let malleable = builder().sign(b"p", |_| Ok::<_, String>([0xff; 65]));
        assert!(matches!(malleable, Err(SubmissionError::Signature(_))));
        let refused = builder().sign(b"p", |_| Err("locked".to_owned()));
        assert_eq!(refused, Err(SubmissionError::Signing("locked".to_owned())));
    }
}
