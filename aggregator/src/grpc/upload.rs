//! Receives one payload. All checks of the submission come before the first byte, a large payload
//! is written to the store as it arrives, and the client is answered only after the commit.

use std::time::Duration;

use bytes::Bytes;
use dac_admission::{Claim, Pace, Rate};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::submit_batch_request::Message;
use dac_runtime::clients::ClientKey;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use std::sync::Arc;
use tokio::time::Instant;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::errors::store_status;
use super::limits::BUSY_RETRY;
use super::service::{Grpc, Named, Uploader};
use crate::batch::may_take_number;
use crate::batches::Submitted;
use crate::convert;
use crate::store::Upload;
use crate::submit::{self, Identified, PayloadCheck, Refusal};

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (reason, message) = (refusal.reason(), refusal.to_string());
        match refusal.retry_after() {
            Some(pause) => reason.status_with_retry(message, pause),
            None => reason.status(message),
        }
    }
}

/// The stream of an upload, with its deadlines.
struct Pieces {
    stream: Streaming<v1::SubmitBatchRequest>,
    timeout: Duration,
    /// The rate at which the payload must arrive, once it is admitted.
    pace: Option<Pace>,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Message>, Status> {
        let pause = Instant::now() + self.timeout;
        let deadline = self.pace.map_or(pause, |pace| pace.deadline().min(pause));
        let message = tokio::time::timeout_at(deadline, self.stream.message()).await.map_err(|_| {
            let slow = self.pace.and_then(|pace| pace.check(Instant::now()).err());
            Reason::TimedOut.status(
                slow.map_or_else(|| format!("nothing came for {:?}", self.timeout), |slow| slow.to_string()),
            )
        })?;
        match message {
            Ok(Some(request)) => Ok(Some(request.message.ok_or(Refusal::Stream("a message was empty"))?)),
            Ok(None) => Ok(None),
            // A broken stream, or a message that does not decode or is too large. The message comes
            // from tonic, the reason from this service.
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
            Some(Message::Piece(piece)) => {
                if let Some(pace) = &mut self.pace {
                    pace.received(piece.len() as u64);
                }
                Ok(Some(piece))
            }
        }
    }
}

fn busy(message: &str) -> Status {
    Reason::Busy.status_with_retry(format!("{message}; try again"), BUSY_RETRY)
}

/// Receives one submission and its payload. Sets `named` to the rollup that the submission names,
/// so that the caller can count a refusal.
pub(super) async fn receive(
    grpc: &Grpc,
    client: ClientKey,
    stream: Streaming<v1::SubmitBatchRequest>,
    named: &mut Option<Named>,
) -> Result<v1::Batch, Status> {
    let settings = grpc.batches.context().settings;
    let limit = settings.upload_timeout;
    let pieces = Pieces { stream, timeout: settings.piece_timeout, pace: None };
    let whole = receive_within(grpc, client, pieces, named);
    tokio::select! {
        () = grpc.draining.cancelled() => Err(Reason::ShuttingDown.status("this aggregator is stopping")),
        result = tokio::time::timeout(limit, whole) => {
            result.map_err(|_| Reason::TimedOut.status(format!("the upload took longer than {limit:?}")))?
        }
    }
}

async fn receive_within(
    grpc: &Grpc,
    client: ClientKey,
    mut pieces: Pieces,
    named: &mut Option<Named>,
) -> Result<v1::Batch, Status> {
    let ctx = grpc.batches.context();
    let Identified { id, submission, posting } = submit::identify(pieces.open().await?, &ctx.identity)?;
    *named = Some(Named { rollup: submission.submission.rollup, is_signed: false });
    if let Some(batch) = grpc.existing(id).await? {
        return Ok(batch);
    }
    let view = ctx.registry().map_err(|stale| Reason::L1Stale.status(stale.to_string()))?;
    let authorised = submit::authorise(&submission, id, &view, &ctx.identity, ctx.now());
    // Any client may send a submission here that is meant for another aggregator, so such a refusal
    // does not count against the rollup. Other refusals count if the rollup's poster signed the
    // submission.
    let is_signed = match &authorised {
        Ok(()) => true,
        Err(Refusal::WrongDisperser { .. }) => false,
        Err(_) => submit::is_by_poster(&submission, id, &view),
    };
    *named = Some(Named { rollup: submission.submission.rollup, is_signed });
    authorised?;
    let order = &submission.submission;
    let (rollup, length) = (order.rollup, order.payload_length);
    // A client's second upload of a submission waits for the outcome of its first.
    let turn = Claim::new(1, Uploader::Rollup(rollup), u64::MAX).and(Uploader::Order(id, client), 1);
    let turn = grpc.uploading.admit(turn);
    let _turn = tokio::time::timeout(ctx.settings.piece_timeout, turn)
        .await
        .map_err(|_| busy("this submission is being uploaded already"))?
        .map_err(|_| busy("too many submissions of this rollup wait that are being uploaded already"))?;
    let holder = ctx.store.holder(rollup, order.batch_number).await.map_err(|error| store_status(&error))?;
    if holder.as_ref().is_some_and(|holder| holder.id == id)
        && let Some(batch) = grpc.existing(id).await?
    {
        // Meanwhile another upload of the same submission became a batch.
        return Ok(batch);
    }
    may_take_number(holder.as_ref(), order.replaced()).map_err(Refusal::from)?;
    let daily = view.rollup(rollup).map_or(0, |admitted| admitted.daily_payload_bytes);
    let admitted = ctx.quotas.admit(rollup, length, daily, ctx.now()).await;
    let arriving = admitted.map_err(|error| store_status(&error))?.map_err(Refusal::QuotaSpent)?;
    // A place is taken only now, so that a client that may not submit, or that opens a stream and
    // sends nothing, never has one.
    let _place =
        grpc.uploads.try_take(rollup, 1).map_err(|full| busy(&format!("at the limit of uploads: {full}")))?;
    let in_flight = &grpc.batches.budgets().in_flight;
    let full = |full| busy(&format!("at the limit of bytes in flight: {full}"));
    // Checks that there is room for the whole payload now. Afterwards the upload holds only the
    // bytes that have arrived, not all that were announced.
    let mut held = in_flight.try_take(rollup, length).map_err(full)?;
    in_flight.resize(&mut held, 0).map_err(full)?;

    let mut upload = Upload::begin(Arc::clone(&ctx.store), ctx.now_ms(), length);
    let mut check = PayloadCheck::new(&submission);
    let rate = Rate { bytes_per_second: ctx.settings.upload_rate, grace: ctx.settings.piece_timeout };
    pieces.pace = Some(Pace::new(rate, Instant::now()));
    while let Some(piece) = pieces.piece().await? {
        check.push(&piece)?;
        in_flight.resize(&mut held, upload.bytes() + piece.len() as u64).map_err(full)?;
        upload.push(&piece).await.map_err(|error| store_status(&error))?;
    }
    check.finish()?;

    // From here on the batch is created and worked on even if the client disconnects.
    let batches = grpc.batches.clone();
    let create = async move {
        let _arriving = arriving;
        batches.create(id, submission, posting, upload, held).await
    };
    let submitted = tokio::spawn(create.in_current_span())
        .await
        .map_err(|_| Reason::Internal.status("internal error; the aggregator's log has the cause"))?
        .map_err(|error| store_status(&error))?;
    match submitted {
        Submitted::Batch(batch) => Ok(convert::batch_to_wire(&batch)),
        Submitted::Refused(taken) => Err(Refusal::from(taken).into()),
    }
}
