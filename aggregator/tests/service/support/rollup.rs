//! The rollup's side of the tests: payloads, submissions and uploads, well-formed or not.

use bytes::Bytes;
use dac_chain::{EcdsaKey, TransactionSigner};
use dac_coding::payload_hash;
use dac_proto::v1;
use dac_proto::v1::submit_batch_request::Message;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{B256, BatchSubmission, Domain, EcdsaSignature, HashKind, SignedSubmission};
use tonic::Status;

use super::{DOMAIN, NOW, ROLLUP, Running, disperser, poster};

/// Makes a payload of bytes without a repeating pattern.
pub(crate) fn payload(length: usize, seed: u8) -> Bytes {
    let mut state = u64::from(seed) + 1;
    (0..length)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// Makes a submission for a payload that is valid in every respect.
pub(crate) fn order(batch_number: u64, kind: HashKind, payload: &[u8]) -> BatchSubmission {
    BatchSubmission {
        rollup: ROLLUP,
        batch_number,
        payload_length: payload.len() as u64,
        expires_at: NOW + 24 * 3600,
        hash_kind: kind,
        batch_hash: payload_hash(kind, payload).unwrap_or_else(|| dac_types::keccak256(payload)),
        replaces: B256::ZERO,
        disperser: disperser().address(),
        submit_before: NOW + 3600,
    }
}

pub(crate) fn sign(submission: BatchSubmission) -> SignedSubmission {
    sign_by(submission, &poster())
}

pub(crate) fn sign_by(submission: BatchSubmission, key: &EcdsaKey) -> SignedSubmission {
    sign_in(&DOMAIN, submission, key)
}

pub(crate) fn sign_in(domain: &Domain, submission: BatchSubmission, key: &EcdsaKey) -> SignedSubmission {
    let signature = TransactionSigner::sign_hash(key, &submission.digest(domain)).unwrap();
    let signature = EcdsaSignature::try_from(&signature.as_bytes()[..]).unwrap();
    SignedSubmission { submission, signature }
}

pub(crate) fn digest(submission: &SignedSubmission) -> B256 {
    submission.submission.digest(&DOMAIN)
}

pub(crate) fn open(submission: &SignedSubmission) -> v1::SubmitBatchOpen {
    v1::SubmitBatchOpen {
        chain_id: DOMAIN.chain_id,
        registry: Bytes::copy_from_slice(DOMAIN.registry.as_slice()),
        submission: Some(submission.into()),
        posting: v1::PostingMode::Record.into(),
    }
}

/// Returns the messages of an upload: `open`, then the payload in pieces.
pub(crate) fn messages(open: v1::SubmitBatchOpen, payload: &Bytes) -> Vec<v1::SubmitBatchRequest> {
    let pieces = (0..payload.len()).step_by(STREAM_PIECE_MAX_BYTES).map(|start| {
        Message::Piece(payload.slice(start..(start + STREAM_PIECE_MAX_BYTES).min(payload.len())))
    });
    std::iter::once(Message::Open(open)).chain(pieces).map(request).collect()
}

pub(crate) fn request(message: Message) -> v1::SubmitBatchRequest {
    v1::SubmitBatchRequest { message: Some(message) }
}

impl Running {
    pub(crate) async fn submit(
        &self,
        submission: &SignedSubmission,
        payload: &Bytes,
    ) -> Result<v1::Batch, Status> {
        self.upload(messages(open(submission), payload)).await
    }

    pub(crate) async fn upload(&self, messages: Vec<v1::SubmitBatchRequest>) -> Result<v1::Batch, Status> {
        let mut client = self.client.clone();
        let response = client.submit_batch(tokio_stream::iter(messages)).await?;
        Ok(response.into_inner().batch.unwrap())
    }

    /// Submits an opaque batch, which must be taken, and returns the digest of its submission.
    pub(crate) async fn submit_new(&self, batch_number: u64, length: usize) -> B256 {
        let payload = payload(length, u8::try_from(batch_number & 0xff).unwrap());
        let submission = sign(order(batch_number, HashKind::Opaque, &payload));
        let batch = self.submit(&submission, &payload).await.unwrap();
        assert_eq!(batch.submission_digest, digest(&submission).to_vec());
        digest(&submission)
    }
}
