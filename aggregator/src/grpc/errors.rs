//! Answers to failures that several methods share.

use dac_proto::reason::Reason;
use tonic::Status;
use tracing::error;

use crate::store::StoreError;

/// Returns the answer for a batch that the store does not have.
pub(super) fn unknown_batch() -> Status {
    Reason::UnknownBatch.status("this aggregator has no such batch")
}

/// Logs a failure of the store, and returns the answer to the client, which tells only the class of
/// the failure.
pub(super) fn store_status(error: &StoreError) -> Status {
    metrics::counter!("dac_aggregator_store_failures_total").increment(1);
    error!(%error, "the store failed");
    match error {
        StoreError::Corrupt { .. } | StoreError::CorruptPayload { .. } | StoreError::CorruptBooks { .. } => {
            Reason::Corrupt.status("what is stored of this batch does not pass its check")
        }
        _ => Reason::StorageFailed.status("the store failed; try again"),
    }
}
