//! Streams the changes of one batch to a client.

use std::pin::Pin;
use std::sync::Arc;

use dac_proto::reason::Reason;
use dac_proto::v1;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::errors::store_status;
use super::readers::WatchPlace;
use crate::batch::{Batch, SubmissionDigest};
use crate::batches::{Batches, Watched};
use crate::convert;

/// The answers to one watcher.
pub(super) type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchBatchResponse, Status>> + Send>>;

/// Returns a stream of the batch's state, now and after every change. A slow reader gets the newest
/// state and misses some in between. The stream ends with the batch's last state.
pub(super) fn watch(
    watched: Watched,
    batches: Batches,
    permit: WatchPlace,
    draining: CancellationToken,
) -> impl Stream<Item = Result<v1::WatchBatchResponse, Status>> + Send {
    struct Watcher {
        next: Option<Arc<Batch>>,
        id: SubmissionDigest,
        batches: Batches,
        changes: Option<tokio::sync::watch::Receiver<Arc<Batch>>>,
        draining: CancellationToken,
        _permit: WatchPlace,
    }
    let Watched { batch, changes } = watched;
    let id = batch.id;
    let watcher = Watcher { next: Some(batch), id, batches, changes, draining, _permit: permit };
    futures::stream::unfold(watcher, |mut watcher| async move {
        let batch = match watcher.next.take() {
            Some(batch) => batch,
            None => {
                let changes = watcher.changes.as_mut()?;
                let changed = tokio::select! {
                    () = watcher.draining.cancelled() => {
                        watcher.changes = None;
                        let stopping = Reason::ShuttingDown.status("this aggregator is stopping; the batch goes on");
                        return Some((Err(stopping), watcher));
                    }
                    changed = changes.changed() => changed.is_ok(),
                };
                if changed {
                    Arc::clone(&changes.borrow_and_update())
                } else {
                    // The batch's task has ended; another one may have begun.
                    match watcher.batches.watch(watcher.id).await {
                        Ok(Some(watched)) => {
                            watcher.changes = watched.changes;
                            watched.batch
                        }
                        Ok(None) => return None,
                        Err(error) => {
                            watcher.changes = None;
                            return Some((Err(store_status(&error)), watcher));
                        }
                    }
                }
            }
        };
        if batch.is_over() {
            watcher.changes = None;
        }
        let response = v1::WatchBatchResponse { batch: Some(convert::batch_to_wire(&batch)) };
        Some((Ok(response), watcher))
    })
}
