//! gRPC calls without checks, so that tests can send what no honest client sends.

use std::time::Duration;

use bytes::Bytes;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::batch_service_client::BatchServiceClient;
use dac_proto::v1::dispersal_service_client::DispersalServiceClient;
use dac_proto::v1::member_service_client::MemberServiceClient;
use dac_proto::v1::retrieval_service_client::RetrievalServiceClient;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{BatchDigest, CoverageRenewal, Domain, Seat, SignedSubmission};
use futures::{Stream, StreamExt, stream};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::failure::{Context, Result};

/// The longest time that a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// Makes a channel that connects at its first call.
pub fn channel(url: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(url.to_owned()).context(url)?.timeout(CALL_LIMIT).connect_lazy())
}

/// Returns the reason of a refusal. Panics if the status has no reason of this protocol.
pub fn reason(status: &Status) -> Reason {
    Reason::of(status).unwrap_or_else(|| panic!("no reason of ours in {status:?}"))
}

/// Splits a payload into pieces of the largest size.
pub fn pieces(payload: &Bytes) -> Vec<Bytes> {
    (0..payload.len())
        .step_by(STREAM_PIECE_MAX_BYTES)
        .map(|start| payload.slice(start..payload.len().min(start + STREAM_PIECE_MAX_BYTES)))
        .collect()
}

/// Returns the first message of a submission.
pub fn submit_open(domain: &Domain, order: &SignedSubmission) -> v1::SubmitBatchOpen {
    v1::SubmitBatchOpen {
        chain_id: domain.chain_id,
        registry: Bytes::copy_from_slice(domain.registry.as_slice()),
        submission: Some(order.into()),
        ..v1::SubmitBatchOpen::default()
    }
}

/// Calls SubmitBatch with any messages.
pub async fn submit(
    channel: Channel,
    open: v1::SubmitBatchOpen,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<v1::Batch, Status> {
    use v1::submit_batch_request::Message;
    let open = stream::iter([Message::Open(open)]);
    let messages = open.chain(pieces.map(Message::Piece));
    let requests = messages.map(|message| v1::SubmitBatchRequest { message: Some(message) });
    let answer = BatchServiceClient::new(channel).submit_batch(requests).await?.into_inner();
    answer.batch.ok_or_else(|| Status::internal("the answer holds no batch"))
}

/// Calls StoreShard with any messages.
pub async fn store_shard(
    channel: Channel,
    open: v1::StoreShardOpen,
    pieces: impl Stream<Item = Bytes> + Send + 'static,
) -> Result<v1::Attestation, Status> {
    use v1::store_shard_request::Message;
    let open = stream::iter([Message::Open(open)]);
    let messages = open.chain(pieces.map(Message::Piece));
    let requests = messages.map(|message| v1::StoreShardRequest { message: Some(message) });
    let answer = DispersalServiceClient::new(channel).store_shard(requests).await?.into_inner();
    answer.attestation.ok_or_else(|| Status::internal("the answer holds no attestation"))
}

/// Calls SignRenewal.
pub async fn sign_renewal(
    channel: Channel,
    domain: &Domain,
    seat: Seat,
    renewal: &CoverageRenewal,
) -> Result<v1::SignRenewalResponse, Status> {
    let request = v1::SignRenewalRequest {
        chain_id: domain.chain_id,
        registry: Bytes::copy_from_slice(domain.registry.as_slice()),
        seat: seat.0.into(),
        renewal: Some(renewal.into()),
    };
    Ok(DispersalServiceClient::new(channel).sign_renewal(request).await?.into_inner())
}

/// Returns the first message of a delivery.
pub fn store_open(domain: &Domain, seat: Seat, record: v1::Record) -> v1::StoreShardOpen {
    v1::StoreShardOpen {
        chain_id: domain.chain_id,
        registry: Bytes::copy_from_slice(domain.registry.as_slice()),
        seat: seat.0.into(),
        record: Some(record),
        certificate_only: false,
    }
}

/// Names a batch by its own digest.
pub fn by_digest(digest: BatchDigest) -> v1::BatchSelector {
    let digest = Bytes::copy_from_slice(digest.as_bytes());
    v1::BatchSelector { by: Some(v1::batch_selector::By::Digest(digest)) }
}

/// Names a batch by the digest of its submission.
pub fn by_submission(digest: dac_types::B256) -> v1::BatchSelector {
    let digest = Bytes::copy_from_slice(digest.as_slice());
    v1::BatchSelector { by: Some(v1::batch_selector::By::SubmissionDigest(digest)) }
}

/// Calls GetBatch.
pub async fn batch(channel: Channel, selector: v1::BatchSelector) -> Result<v1::Batch, Status> {
    let request = v1::GetBatchRequest { batch: Some(selector) };
    let answer = BatchServiceClient::new(channel).get_batch(request).await?.into_inner();
    answer.batch.ok_or_else(|| Status::internal("the answer holds no batch"))
}

/// Watches a batch until `done` is true for it.
pub async fn watch(
    channel: Channel,
    selector: v1::BatchSelector,
    mut done: impl FnMut(&v1::Batch) -> bool,
) -> Result<v1::Batch, Status> {
    let request = v1::WatchBatchRequest { batch: Some(selector) };
    let mut answers = BatchServiceClient::new(channel).watch_batch(request).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        if let Some(batch) = answer.batch
            && done(&batch)
        {
            return Ok(batch);
        }
    }
    Err(Status::internal("the batch's stream ended before what was waited for"))
}

/// Fetches a member's whole shard of a batch.
pub async fn shard(channel: Channel, digest: BatchDigest) -> Result<Vec<u8>, Status> {
    let request = v1::GetShardRequest { digest: Bytes::copy_from_slice(digest.as_bytes()) };
    let mut answers = RetrievalServiceClient::new(channel).get_shard(request).await?.into_inner();
    let mut shard = Vec::new();
    while let Some(answer) = answers.message().await? {
        shard.extend_from_slice(&answer.piece);
    }
    Ok(shard)
}

/// Fetches a member's record of a batch.
pub async fn record(channel: Channel, digest: BatchDigest) -> Result<v1::Record, Status> {
    let request = v1::GetBatchRecordRequest { digest: Bytes::copy_from_slice(digest.as_bytes()) };
    let answer = RetrievalServiceClient::new(channel).get_batch_record(request).await?.into_inner();
    answer.record.ok_or_else(|| Status::internal("the answer holds no record"))
}

/// Fetches the digests of all batches that a member holds, in the order in which it stored them.
pub async fn stored(channel: Channel) -> Result<Vec<BatchDigest>, Status> {
    let mut client = RetrievalServiceClient::new(channel);
    let mut digests = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListStoredBatchesRequest { rollup: Bytes::new(), page_size: 0, page_token };
        let page = client.list_batches(request).await?.into_inner();
        for batch in page.batches {
            digests.push(dac_proto::wire::digest("digest", &batch.digest)?);
        }
        if page.next_page_token.is_empty() {
            return Ok(digests);
        }
        page_token = page.next_page_token;
    }
}

/// Calls GetCertificate.
pub async fn certificate(channel: Channel, selector: v1::BatchSelector) -> Result<v1::Certificate, Status> {
    let request = v1::GetCertificateRequest { batch: Some(selector) };
    let answer = BatchServiceClient::new(channel).get_certificate(request).await?.into_inner();
    answer.certificate.ok_or_else(|| Status::internal("the answer holds no certificate"))
}

/// Calls GetMember.
pub async fn member(channel: Channel) -> Result<v1::GetMemberResponse, Status> {
    let answer = MemberServiceClient::new(channel).get_member(v1::GetMemberRequest {}).await?;
    Ok(answer.into_inner())
}
