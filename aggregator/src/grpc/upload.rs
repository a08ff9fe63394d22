//! Receives one payload: checks before bytes, bytes that are many to the store as they come, an answer only after the commit.

use std::time::Duration;

use bytes::Bytes;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::submit_batch_request::Message;
use dac_types::Address;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use std::sync::Arc;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::{Grpc, store_status};
use crate::convert;
use crate::service::Submitted;
use crate::store::Upload;
use crate::submit::{self, Identified, PayloadCheck, Refusal};

/// When a busy aggregator may have room again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.reason().status(refusal.to_string())
    }
}

/// The stream of an upload, with its deadlines.
struct Pieces {
    stream: Streaming<v1::SubmitBatchRequest>,
    timeout: Duration,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Message>, Status> {
        let message = tokio::time::timeout(self.timeout, self.stream.message())
            .await
            .map_err(|_| Reason::TimedOut.status(format!("nothing came for {:?}", self.timeout)))?;
        match message {
            Ok(Some(request)) => Ok(Some(request.message.ok_or(Refusal::Stream("a message was empty"))?)),
            Ok(None) => Ok(None),
            // Broken streams, undecodable or oversized messages: tonic's own words, a reason of ours.
            Err(status) => Err(Reason::MalformedRequest.status(dac_client::printable(status.message()))),
        }
    }

    async fn open(&mut self) -> Result<v1::SubmitBatchOpen, Status> {
        match self.next().await? {
            Some(Message::Open(open)) => Ok(open),
            Some(Message::Piece(_)) => Err(Refusal::Stream("the first message must be `open`").into()),
            None => Err(Refusal::Stream("the stream ended before `open`").into()),
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, Status> {
        match self.next().await? {
            None => Ok(None),
            Some(Message::Open(_)) => Err(Refusal::Stream("`open` came twice").into()),
            Some(Message::Piece(piece)) if piece.is_empty() || piece.len() > STREAM_PIECE_MAX_BYTES => {
                Err(Refusal::Piece { got: piece.len(), limit: STREAM_PIECE_MAX_BYTES }.into())
            }
            Some(Message::Piece(piece)) => Ok(Some(piece)),
        }
    }
}

/// Takes one submission and its payload. `named` becomes the rollup in whose name it comes.
pub(super) async fn receive(
    grpc: &Grpc,
    stream: Streaming<v1::SubmitBatchRequest>,
    named: &mut Option<Address>,
) -> Result<v1::Batch, Status> {
    let settings = grpc.batches.context().settings;
    let limit = settings.upload_timeout;
    let whole = receive_within(grpc, Pieces { stream, timeout: settings.piece_timeout }, named);
    tokio::select! {
        () = grpc.draining.cancelled() => Err(Reason::ShuttingDown.status("this aggregator is stopping")),
        result = tokio::time::timeout(limit, whole) => {
            result.map_err(|_| Reason::TimedOut.status(format!("the upload took longer than {limit:?}")))?
        }
    }
}

async fn receive_within(
    grpc: &Grpc,
    mut pieces: Pieces,
    named: &mut Option<Address>,
) -> Result<v1::Batch, Status> {
    let ctx = grpc.batches.context();
    let Identified { id, submission, posting } = submit::identify(pieces.open().await?, &ctx.identity)?;
    *named = Some(submission.submission.rollup);
    if let Some(batch) = grpc.existing(id).await? {
        return Ok(batch);
    }
    let view = ctx.registry().map_err(|stale| Reason::L1Stale.status(stale.to_string()))?;
    submit::authorise(&submission, id, &view, &ctx.identity, ctx.now())?;
    let order = &submission.submission;
    let holder =
        ctx.store.holder(order.rollup, order.batch_number).await.map_err(|error| store_status(&error))?;
    if holder.as_ref().is_some_and(|holder| holder.id == id)
        && let Some(batch) = grpc.existing(id).await?
    {
        // Its twin was faster.
        return Ok(batch);
    }
    submit::may_take_number(holder.as_ref(), order.replaced()).map_err(Refusal::from)?;
    // Only now: places are for those who may submit, not for whoever opens a stream and says nothing.
    let _place = Arc::clone(&grpc.uploads)
        .try_acquire_owned()
        .map_err(|_| Reason::Busy.status_with_retry("at the limit of uploads; try again", BUSY_RETRY))?;
    let budget = grpc.batches.budget();
    let reservation = budget.try_reserve(order.payload_length).ok_or_else(|| {
        let message = format!("at the limit of {} bytes in flight; try again", budget.limit());
        Reason::Busy.status_with_retry(message, BUSY_RETRY)
    })?;

    let mut upload = Upload::begin(Arc::clone(&ctx.store), ctx.now_ms(), order.payload_length);
    let mut check = PayloadCheck::new(&submission);
    while let Some(piece) = pieces.piece().await? {
        check.push(&piece)?;
        upload.push(&piece).await.map_err(|error| store_status(&error))?;
    }
    check.finish()?;

    // From here on a caller that goes away changes nothing: the batch is made and worked on.
    let batches = grpc.batches.clone();
    let create = async move { batches.create(id, submission, posting, upload, reservation).await };
    let submitted = tokio::spawn(create.in_current_span())
        .await
        .map_err(|_| Reason::Internal.status("a fault that the log explains"))?
        .map_err(|error| store_status(&error))?;
    match submitted {
        Submitted::Batch(batch) => Ok(convert::batch_to_wire(&batch)),
        Submitted::Refused(taken) => Err(Refusal::from(taken).into()),
    }
}
