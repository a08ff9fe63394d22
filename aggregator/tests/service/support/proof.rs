//! Proofs of the fake chain's proof system, and requests that submit them, signed by the rollup's
//! poster or by another key.

use bytes::Bytes;
use dac_chain::{EcdsaKey, TransactionSigner};
use dac_proto::proof::ReceivedProof;
use dac_proto::v1;
use dac_types::{
    B256, BatchDigest, BatchHeader, Certificate, Domain, EcdsaSignature, HashKind, Transition, ValidityProof,
};
use tonic::Status;

use super::rollup::{digest, messages, open, order, payload, sign};
use super::{DOMAIN, Running, by_submission, poster};

/// Makes a proof that rollups of the fake chain accept. Each seed gives another proof.
pub(crate) fn good_proof(seed: u8) -> Bytes {
    [&[1, seed][..], &[7; 254]].concat().into()
}

/// Makes a proof that rollups of the fake chain refuse.
pub(crate) fn bad_proof(seed: u8) -> Bytes {
    [&[0, seed][..], &[7; 254]].concat().into()
}

pub(crate) fn transition(number: u64) -> Transition {
    Transition {
        new_state_root: B256::left_padding_from(&number.to_be_bytes()),
        inputs_consumed: number,
        outputs: B256::ZERO,
    }
}

/// Makes a request that submits a proof for a digest, signed by `key`.
pub(crate) fn proof_request(
    digest: BatchDigest,
    proof: Bytes,
    key: &EcdsaKey,
) -> v1::SubmitValidityProofRequest {
    signed_in(&DOMAIN, digest, transition(7), proof, key)
}

/// Makes such a request for another domain, signed by the rollup's poster.
pub(crate) fn request_in(
    domain: &Domain,
    digest: BatchDigest,
    transition: Transition,
    proof: Bytes,
) -> v1::SubmitValidityProofRequest {
    signed_in(domain, digest, transition, proof, &poster())
}

fn signed_in(
    domain: &Domain,
    digest: BatchDigest,
    transition: Transition,
    proof: Bytes,
    key: &EcdsaKey,
) -> v1::SubmitValidityProofRequest {
    let signed = ValidityProof::new(digest, transition, &proof);
    let signature = TransactionSigner::sign_hash(key, &signed.signing_digest(domain)).unwrap();
    let signature = EcdsaSignature::try_from(&signature.as_bytes()[..]).unwrap();
    let by = Some(v1::batch_selector::By::Digest(Bytes::copy_from_slice(digest.as_bytes())));
    ReceivedProof { transition, proof, signature }.to_wire(v1::BatchSelector { by })
}

pub(crate) fn batch_digest(batch: &v1::Batch) -> BatchDigest {
    BatchDigest(B256::from_slice(&batch.digest))
}

impl Running {
    /// Submits an opaque batch that is to be settled, and returns the digest of its submission.
    pub(crate) async fn submit_to_settle(&self, batch_number: u64) -> B256 {
        let payload = payload(1000, u8::try_from(batch_number & 0xff).unwrap());
        let submission = sign(order(batch_number, HashKind::Opaque, &payload));
        let mut opening = open(&submission);
        opening.posting = v1::PostingMode::Settle.into();
        self.upload(messages(opening, &payload)).await.unwrap();
        digest(&submission)
    }

    pub(crate) async fn encoded(&self, submission: B256) -> BatchDigest {
        batch_digest(&self.until(submission, |batch| !batch.digest.is_empty()).await)
    }

    pub(crate) async fn hand_in(&self, request: v1::SubmitValidityProofRequest) -> Result<v1::Batch, Status> {
        let response = self.client.clone().submit_validity_proof(request).await?;
        Ok(response.into_inner().batch.unwrap())
    }

    /// Submits a correctly signed proof for a batch.
    pub(crate) async fn prove(&self, submission: B256, proof: Bytes) -> Result<v1::Batch, Status> {
        let digest = self.encoded(submission).await;
        self.hand_in(proof_request(digest, proof, &poster())).await
    }

    pub(crate) async fn certificate(&self, submission: B256) -> Certificate {
        let request = v1::GetCertificateRequest { batch: Some(by_submission(submission)) };
        let answer = self.client.clone().get_certificate(request).await.unwrap().into_inner();
        answer.certificate.unwrap().try_into().unwrap()
    }

    pub(crate) async fn header(&self, submission: B256) -> BatchHeader {
        self.certificate(submission).await.header
    }
}
