//! Streams a signed payload to an aggregator.
//!
//! Sending the same signed submission again returns the same batch, so a client can answer every
//! failure by sending it again. Keep the submission ([`crate::files::SubmissionFile`]) until the
//! batch is certified.

use std::time::Duration;

use bytes::Bytes;
use dac_proto::proof::posting_mode_to_wire;
use dac_proto::v1;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{Domain, PostingMode, SignedSubmission};

use crate::attempts::{Attempts, SubmitOptions};
use crate::batch::{AggregatorClient, AggregatorError};
use crate::status::BatchStatus;
use crate::submission::check_payload;

/// An event while a payload is submitted.
#[derive(Clone, Debug)]
pub enum SubmitProgress<'a> {
    /// The number of bytes handed to the connection in this attempt.
    Sent(u64),
    /// An attempt failed and will be repeated after a pause.
    Retrying {
        /// Why the attempt failed.
        error: &'a AggregatorError,
        /// The pause before the next attempt.
        pause: Duration,
    },
}

impl AggregatorClient {
    /// Submits a payload, and tries again as long as that may help. Returns once the aggregator has
    /// the payload on durable storage.
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
        // At most two pieces wait for the connection: the payload is shared, not copied.
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
