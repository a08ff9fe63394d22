//! Takes one validity proof: checks who signed it, and hands it to the batch's task, which answers
//! after the commit.

use std::time::Duration;

use dac_proto::proof::ReceivedProof;
use dac_proto::reason::Reason;
use dac_proto::v1;
use tonic::Status;
use tracing::Instrument;

use super::errors::store_status;
use super::service::Grpc;
use crate::batch::{Proof, ProofRefusal};
use crate::batches::{Batches, ProofOutcome, Selector};
use crate::convert;

/// The pause after which a client is told to try again, because the aggregator was busy or the
/// batch was not encoded yet.
const RETRY: Duration = Duration::from_secs(1);

impl From<ProofRefusal> for Status {
    fn from(refusal: ProofRefusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            ProofRefusal::NotEncoded => Reason::NotEncoded.status_with_retry(message, RETRY),
            ProofRefusal::OtherDigest { .. } => Reason::UnknownBatch.status(message),
            ProofRefusal::Conflict { .. } => Reason::ConflictingProof.status(message),
            ProofRefusal::Ended { .. } => Reason::BatchEnded.status(message),
        }
    }
}

/// Takes one proof, and returns the batch once the proof is stored.
pub(super) async fn receive(
    grpc: &Grpc,
    request: v1::SubmitValidityProofRequest,
) -> Result<v1::Batch, Status> {
    let ctx = grpc.batches.context();
    let limit = ctx.settings.upload_timeout;
    tokio::select! {
        () = grpc.draining.cancelled() => Err(Reason::ShuttingDown.status("this aggregator is stopping")),
        result = tokio::time::timeout(limit, receive_within(grpc, request)) => {
            result.map_err(|_| Reason::TimedOut.status(format!("the proof was not stored within {limit:?}")))?
        }
    }
}

async fn receive_within(grpc: &Grpc, request: v1::SubmitValidityProofRequest) -> Result<v1::Batch, Status> {
    let ctx = grpc.batches.context();
    let selector: Selector = convert::selector(request.batch.clone())?;
    let received = ReceivedProof::try_from(request)?;
    let batch = grpc.find_batch(selector).await?;
    let digest = Batches::proved_digest(&batch, selector)?;
    let order = &batch.submission.submission;
    let view = ctx.registry().map_err(|stale| Reason::L1Stale.status(stale.to_string()))?;
    let admitted = view.rollup(order.rollup).ok_or_else(|| {
        Reason::UnknownRollup.status(format!("the registry does not admit rollup {}", order.rollup))
    })?;
    let signer = received
        .signed(digest)
        .signer(&received.signature, &ctx.identity.domain)
        .map_err(|error| Reason::BadProofSignature.status(format!("the proof's signature: {error}")))?;
    if signer != admitted.poster {
        let expected = admitted.poster;
        let message = format!("the proof was signed by {signer}, the rollup's poster is {expected}");
        return Err(Reason::WrongPoster.status(message));
    }
    let place = grpc.proofs.try_take(order.rollup, 1).map_err(|full| {
        Reason::Busy.status_with_retry(format!("at the limit of proofs: {full}; try again"), RETRY)
    })?;

    // From here on the proof is stored and worked on even if the client disconnects.
    let (batches, id) = (grpc.batches.clone(), batch.id);
    let proof = Proof::received(received.transition, received.proof, ctx.now_ms());
    let offer = async move {
        let _place = place;
        batches.submit_proof(id, digest, proof).await
    };
    let outcome = tokio::spawn(offer.in_current_span())
        .await
        .map_err(|_| Reason::Internal.status("internal error; the aggregator's log has the cause"))?
        .map_err(|error| store_status(&error))?;
    match outcome {
        ProofOutcome::Batch(batch) => Ok(convert::batch_to_wire(&batch)),
        ProofOutcome::Refused(refusal) => Err(refusal.into()),
        ProofOutcome::Lost => Err(Reason::Busy.status_with_retry("the batch is changing; try again", RETRY)),
    }
}
