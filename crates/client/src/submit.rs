//! A rollup's side: an order for one payload, signed by the rollup's poster, and the payload streamed to an aggregator.
//!
//! Sending the same signed submission again returns the same batch, so every failure on the way is answered by sending it
//! again: keep the submission ([`crate::SubmissionFile`]) until the batch is certified.

use std::time::Duration;

use bytes::Bytes;
use dac_coding::payload_hash;
use dac_proto::proof::posting_mode_to_wire;
use dac_proto::v1;
use dac_types::limits::{PAYLOAD_MAX_BYTES, STREAM_PIECE_MAX_BYTES};
use dac_types::{
    Address, B256, BatchDigest, BatchSubmission, Domain, EcdsaSignature, EcdsaSignatureError, HashKind,
    PostingMode, SignedSubmission,
};
use thiserror::Error;

use crate::attempts::Attempts;
use crate::batch::{AggregatorClient, AggregatorError};
use crate::status::BatchStatus;

/// Why there is no submission to send.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmissionError {
    /// Empty, or over the limit.
    #[error("a payload has 1 to {PAYLOAD_MAX_BYTES} bytes, got {got}")]
    PayloadLength {
        /// Length given.
        got: u64,
    },
    /// The batch hash is the rollup's own affair, and was not given.
    #[error("with hash kind OPAQUE the batch hash is the rollup's own commitment: give it")]
    BatchHashMissing,
    /// The batch hash given is not that of the payload.
    #[error("{kind} of the payload is {expected}, the batch hash given is {got}", kind = kind.name())]
    BatchHash {
        /// Which hash.
        kind: HashKind,
        /// Of the payload.
        expected: B256,
        /// Given.
        got: B256,
    },
    /// The key would not sign.
    #[error("the poster's key did not sign: {0}")]
    Signing(String),
    /// The key gave something that is no signature of this protocol.
    #[error("the poster's signature: {0}")]
    Signature(#[from] EcdsaSignatureError),
    /// No proof, or more than any is long.
    #[error("a validity proof has 1 to {max} bytes, got {got}", max = dac_types::limits::PROOF_MAX_BYTES)]
    ProofLength {
        /// Length given.
        got: usize,
    },
    /// A signed submission that is for another payload.
    #[error("the submission is for another payload: {field} differs")]
    OtherPayload {
        /// In what.
        field: &'static str,
    },
}

/// Describes an order; [`SubmissionBuilder::sign`] makes it one.
///
/// # Example
///
/// ```
/// use dac_chain::{PrivateKeySigner, TransactionSigner as _};
/// use dac_client::SubmissionBuilder;
/// use dac_types::{Address, Domain, keccak256};
///
/// let domain = Domain { chain_id: 1, registry: Address::repeat_byte(1) };
/// let (rollup, disperser) = (Address::repeat_byte(2), Address::repeat_byte(3));
/// let batch_signer = PrivateKeySigner::random();
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
    /// For one batch of one rollup, to be dispersed by one aggregator. `now` and the durations are in Unix seconds.
    ///
    /// Without more, the batch hash is keccak256 of the payload, the batch is served for 14 days, and the aggregator has an
    /// hour to begin.
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

    /// What the batch hash is.
    #[must_use]
    pub const fn hash_kind(mut self, kind: HashKind) -> Self {
        self.submission.hash_kind = kind;
        self
    }

    /// The rollup's own commitment; must be given for [`HashKind::Opaque`], is compared with the payload's for the others.
    #[must_use]
    pub const fn batch_hash(mut self, hash: B256) -> Self {
        self.batch_hash = Some(hash);
        self
    }

    /// Until when members serve the batch, included.
    #[must_use]
    pub const fn expires_at(mut self, time: u64) -> Self {
        self.submission.expires_at = time;
        self
    }

    /// Until when the order stands, included; at most a day ahead.
    #[must_use]
    pub const fn submit_before(mut self, time: u64) -> Self {
        self.submission.submit_before = time;
        self
    }

    /// The former batch of this number that this one replaces.
    #[must_use]
    pub const fn replaces(mut self, former: BatchDigest) -> Self {
        self.submission.replaces = former.0;
        self
    }

    /// Completes the order for a payload and has it signed: `sign` gets the 32 bytes and answers with r, s and v.
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

/// Refuses a payload of a length that none has.
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

/// Whether a certificate's header is about this payload and this order, to the last byte: what its signers promised to
/// serve is what was submitted. Costs one pass over the payload.
pub fn check_certified_payload(
    header: &dac_types::BatchHeader,
    geometry: dac_types::Geometry,
    submission: &BatchSubmission,
    payload: &[u8],
) -> Result<(), CertifiedPayloadError> {
    submission.check_agrees(header)?;
    check_payload_of_header(header, geometry, payload)
}

/// Whether a header is about this payload, to the last byte. Costs one pass over it.
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

/// A certificate that is not about the payload that was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CertifiedPayloadError {
    /// Another order.
    #[error(transparent)]
    Disagreement(#[from] dac_types::Disagreement),
    /// Another length.
    #[error("the certificate is for a payload of {expected} bytes, submitted were {got}")]
    Length {
        /// In the header.
        expected: u64,
        /// Submitted.
        got: u64,
    },
    /// Another hash.
    #[error("the certificate's batch hash is {expected}, the payload's {got}")]
    BatchHash {
        /// In the header.
        expected: B256,
        /// Of the payload.
        got: B256,
    },
    /// Other bytes: the aggregator dispersed something else.
    #[error("the certified fingerprint is not that of the payload: the aggregator dispersed other bytes")]
    Fingerprint,
}

/// How a payload or proof is submitted, and how long it is tried again.
#[derive(Clone, Copy, Debug)]
pub struct SubmitOptions {
    /// How the batch shall come to L1. What it was first submitted with counts.
    pub posting: PostingMode,
    /// For how long attempts are repeated, from the first one on.
    pub retry_for: Duration,
    /// For one attempt: its connection, its upload at 64 KiB a second or more, its answer.
    pub answer: Duration,
    /// For all of it: an attempt that is under way then is given up.
    pub limit: Duration,
    /// L1 says that the rollup is admitted. An aggregator that does not know it has not read that yet, and is asked again.
    pub is_admitted: bool,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self {
            posting: PostingMode::Record,
            retry_for: Duration::from_secs(60),
            answer: Duration::from_secs(60),
            limit: Duration::from_secs(60 * 60),
            is_admitted: false,
        }
    }
}

/// What a submission tells while it runs.
#[derive(Clone, Debug)]
pub enum SubmitProgress<'a> {
    /// Bytes handed to the connection in this attempt.
    Sent(u64),
    /// An attempt failed and will be repeated after a pause.
    Retrying {
        /// Why.
        error: &'a AggregatorError,
        /// The pause.
        pause: Duration,
    },
}

impl AggregatorClient {
    /// Hands over a payload. Returns once the aggregator has it on durable storage. Sent again as long as that may help.
    pub async fn submit(
        &self,
        domain: &Domain,
        signed: &SignedSubmission,
        payload: &Bytes,
        options: SubmitOptions,
        mut progress: impl FnMut(SubmitProgress<'_>) + Send,
    ) -> Result<BatchStatus, AggregatorError> {
        check_payload(signed, payload)?;
        let mut attempts = Attempts::new("SubmitBatch", options);
        let limit = options.answer + Duration::from_secs(payload.len() as u64 / (64 << 10));
        loop {
            let attempt = self.submit_once(domain, signed, payload, options.posting, &mut progress);
            let error = match attempts.one(limit, attempt).await? {
                Ok(status) => return Ok(status),
                Err(error) => error,
            };
            let (pause, error) = attempts.again(error)?;
            progress(SubmitProgress::Retrying { error, pause });
            tokio::time::sleep(pause).await;
        }
    }

    async fn submit_once(
        &self,
        domain: &Domain,
        signed: &SignedSubmission,
        payload: &Bytes,
        posting: PostingMode,
        progress: &mut (impl FnMut(SubmitProgress<'_>) + Send),
    ) -> Result<BatchStatus, AggregatorError> {
        let mut client = self.connect().await?;
        // Two pieces wait for the connection at most: the payload is shared, not copied.
        let (sender, receiver) = tokio::sync::mpsc::channel(2);
        let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let call = client.submit_batch(requests);
        tokio::pin!(call);
        let feed = feed(sender, open_message(domain, signed, posting), payload, progress);
        tokio::pin!(feed);
        let answer = tokio::select! {
            // An aggregator that knows the batch answers before it has read everything.
            answer = &mut call => answer,
            () = &mut feed => call.await,
        };
        let batch = answer.map_err(|status| AggregatorError::from_status(&status))?.into_inner().batch;
        let status = BatchStatus::from_wire(batch)?;
        let expected = signed.submission.digest(domain);
        if status.submission_digest != expected {
            return Err(AggregatorError::OtherBatch { expected, got: status.submission_digest });
        }
        Ok(status)
    }
}

fn open_message(domain: &Domain, signed: &SignedSubmission, posting: PostingMode) -> v1::SubmitBatchRequest {
    v1::SubmitBatchRequest {
        message: Some(v1::submit_batch_request::Message::Open(v1::SubmitBatchOpen {
            chain_id: domain.chain_id,
            registry: Bytes::copy_from_slice(domain.registry.as_slice()),
            submission: Some(signed.into()),
            posting: posting_mode_to_wire(posting).into(),
        })),
    }
}

async fn feed(
    sender: tokio::sync::mpsc::Sender<v1::SubmitBatchRequest>,
    open: v1::SubmitBatchRequest,
    payload: &Bytes,
    progress: &mut (impl FnMut(SubmitProgress<'_>) + Send),
) {
    if sender.send(open).await.is_err() {
        return;
    }
    let mut sent = 0;
    while sent < payload.len() {
        let end = (sent + STREAM_PIECE_MAX_BYTES).min(payload.len());
        let piece = v1::submit_batch_request::Message::Piece(payload.slice(sent..end));
        if sender.send(v1::SubmitBatchRequest { message: Some(piece) }).await.is_err() {
            return;
        }
        sent = end;
        progress(SubmitProgress::Sent(sent as u64));
    }
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
