//! `BatchService`: what rollups call. Every refusal carries a machine-readable reason.

mod description;
mod proof;
mod readers;
mod upload;

pub use self::description::Description;
use self::readers::{Readers, WatchPlace};

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dac_admission::{Admission, QueueLimits};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::batch_service_server::BatchService;
use dac_proto::wire;
use dac_runtime::clients::{ClientKey, ClientRates};
use dac_types::Address;
use dac_types::limits::PAGE_MAX_ENTRIES;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::error;

use crate::accusations::{Accused, Charge};
use crate::batch::{Batch, SubmissionDigest};
use crate::batches::{Batches, Selector, Watched};
use crate::budget::{Budget, Part};
use crate::convert;
use crate::store::StoreError;

/// When a busy aggregator may have room again.
const BUSY_RETRY: Duration = Duration::from_secs(1);
/// Entries of a page where the caller does not say.
const PAGE_DEFAULT_ENTRIES: u32 = 50;

/// Bounds of the service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceLimits {
    /// Uploads at once; and as many proofs. One rollup has half of them at most.
    pub uploads: usize,
    /// Watchers at once. One client has a quarter of them at most.
    pub watchers: usize,
    /// What one client may read.
    pub reads: ClientRates,
}

/// In whose name uploads wait for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Uploader {
    /// One rollup's uploads fill no more than half of the queue.
    Rollup(Address),
    /// An order is public where there is no TLS: a client that copied it does not keep its owner
    /// waiting.
    Order(SubmissionDigest, ClientKey),
}

/// In whose name a submission comes.
#[derive(Clone, Copy, Debug)]
struct Named {
    rollup: Address,
    /// Whether its poster signed the order.
    is_signed: bool,
}

/// The service.
#[derive(Clone)]
pub struct Grpc {
    batches: Batches,
    uploads: Budget,
    proofs: Budget,
    /// One upload of an order at a time by each client.
    uploading: Admission<Uploader>,
    readers: Readers,
    /// Cancelled when nothing new is taken.
    draining: CancellationToken,
}

impl Grpc {
    /// Over all batches; `draining` is cancelled when the process is about to stop.
    pub fn new(batches: Batches, limits: ServiceLimits, draining: CancellationToken) -> Self {
        Self {
            batches,
            uploads: Budget::new(limits.uploads as u64, Part::Half),
            proofs: Budget::new(limits.uploads as u64, Part::Half),
            uploading: Admission::new(
                u64::MAX,
                QueueLimits { total: limits.uploads, per_party: limits.uploads.div_ceil(2) },
            ),
            readers: Readers::new(&limits),
            draining,
        }
    }

    async fn find(&self, selector: Option<v1::BatchSelector>) -> Result<Arc<Batch>, Status> {
        self.find_batch(convert::selector(selector)?).await
    }

    /// As it stands: a batch that rests is not woken by who asks for it.
    async fn find_batch(&self, selector: Selector) -> Result<Arc<Batch>, Status> {
        let id = self.resolve(selector).await?;
        self.batches.get(id).await.map_err(|error| store_status(&error))?.ok_or_else(unknown_batch)
    }

    async fn find_to_watch(&self, selector: Option<v1::BatchSelector>) -> Result<Watched, Status> {
        let id = self.resolve(convert::selector(selector)?).await?;
        self.batches.watch(id).await.map_err(|error| store_status(&error))?.ok_or_else(unknown_batch)
    }

    async fn resolve(&self, selector: Selector) -> Result<SubmissionDigest, Status> {
        let found = self.batches.resolve(selector).await.map_err(|error| store_status(&error))?;
        found.ok_or_else(unknown_batch)
    }

    /// Counts a refused submission by the rollup whose poster signed it, and holds it against that
    /// rollup where no honest one is refused.
    fn note_refusal(&self, named: Option<Named>, status: &Status) {
        let ctx = self.batches.context();
        let is_admitted =
            |named: &Named| ctx.registry.latest().is_some_and(|view| view.rollup(named.rollup).is_some());
        // A rollup answers for what its poster signed, not for what strangers send in its name.
        let rollup = named.filter(|named| named.is_signed && is_admitted(named)).map(|named| named.rollup);
        let reason = Reason::of(status);
        let label = rollup.map_or("other".to_owned(), |rollup| rollup.to_string());
        metrics::counter!(
            "dac_aggregator_submissions_refused_total",
            "reason" => reason.map_or("UNNAMED", Reason::as_str), "rollup" => label
        )
        .increment(1);
        let (kind, is_proven) = match reason {
            // Its poster signed both orders.
            Some(reason @ Reason::ConflictingBatch) => (reason, true),
            Some(
                reason @ (Reason::QuotaExceeded
                | Reason::BadPayload
                | Reason::BadSubmissionSignature
                | Reason::WrongPoster
                | Reason::WrongDisperser
                | Reason::LengthMismatch),
            ) => (reason, false),
            // Clocks differ, connections break, room is short.
            _ => return,
        };
        let charge = Charge { kind: kind.as_str(), is_proven, detail: status.message() };
        let accused = rollup.map_or(Accused::Other, Accused::Rollup);
        ctx.accusations.add(accused, charge, ctx.now());
    }

    async fn existing(&self, id: SubmissionDigest) -> Result<Option<v1::Batch>, Status> {
        let batch = self.batches.taken(id).await.map_err(|error| store_status(&error))?;
        Ok(batch.map(|batch| convert::batch_to_wire(&batch)))
    }
}

fn unknown_batch() -> Status {
    Reason::UnknownBatch.status("this aggregator has no such batch")
}

/// What a caller learns of a failed store: nothing but the class. The rest goes to the log, here
/// and only here.
pub(crate) fn store_status(error: &StoreError) -> Status {
    metrics::counter!("dac_aggregator_store_failures_total").increment(1);
    error!(%error, "the store failed");
    match error {
        StoreError::Corrupt { .. } | StoreError::CorruptPayload { .. } | StoreError::CorruptBooks { .. } => {
            Reason::Corrupt.status("what is stored of this batch does not pass its check")
        }
        _ => Reason::StorageFailed.status("the store failed; try again"),
    }
}

type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchBatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl BatchService for Grpc {
    async fn submit_batch(
        &self,
        request: Request<Streaming<v1::SubmitBatchRequest>>,
    ) -> Result<Response<v1::SubmitBatchResponse>, Status> {
        let (mut named, client) = (None, ClientKey::of(&request));
        let batch = upload::receive(self, client, request.into_inner(), &mut named).await;
        let batch = batch.inspect_err(|status| self.note_refusal(named, status))?;
        Ok(Response::new(v1::SubmitBatchResponse { batch: Some(batch) }))
    }

    async fn submit_validity_proof(
        &self,
        request: Request<v1::SubmitValidityProofRequest>,
    ) -> Result<Response<v1::SubmitValidityProofResponse>, Status> {
        let batch = proof::receive(self, request.into_inner()).await.inspect_err(|status| {
            let reason = Reason::of(status).map_or("UNNAMED", Reason::as_str);
            metrics::counter!("dac_aggregator_proofs_refused_total", "reason" => reason).increment(1);
        })?;
        Ok(Response::new(v1::SubmitValidityProofResponse { batch: Some(batch) }))
    }

    async fn get_batch(
        &self,
        request: Request<v1::GetBatchRequest>,
    ) -> Result<Response<v1::GetBatchResponse>, Status> {
        let client = self.readers.read(&request)?;
        let found = self.find(request.into_inner().batch).await?;
        self.readers.answer(
            client,
            Response::new(v1::GetBatchResponse { batch: Some(convert::batch_to_wire(&found)) }),
        )
    }

    type WatchBatchStream = WatchStream;

    async fn watch_batch(
        &self,
        request: Request<v1::WatchBatchRequest>,
    ) -> Result<Response<WatchStream>, Status> {
        self.readers.read(&request)?;
        let permit = self.readers.watch(ClientKey::of(&request))?;
        let watched = self.find_to_watch(request.into_inner().batch).await?;
        Ok(Response::new(Box::pin(watch(watched, self.batches.clone(), permit, self.draining.clone()))))
    }

    async fn list_batches(
        &self,
        request: Request<v1::ListBatchesRequest>,
    ) -> Result<Response<v1::ListBatchesResponse>, Status> {
        let client = self.readers.read(&request)?;
        let v1::ListBatchesRequest { rollup, page_size, page_token } = request.into_inner();
        let rollup = wire::optional_address("rollup", &rollup)?;
        let from = convert::page_token(&page_token)?;
        let entries = if page_size == 0 { PAGE_DEFAULT_ENTRIES } else { page_size.min(PAGE_MAX_ENTRIES) };
        let _turn = self.readers.list(client).await?;
        let store = &self.batches.context().store;
        let page = store.list(rollup, from, entries).await.map_err(|error| store_status(&error))?;
        self.readers.answer(
            client,
            Response::new(v1::ListBatchesResponse {
                batches: page.batches.iter().map(convert::listed_to_wire).collect(),
                next_page_token: page.next.map(convert::page_token_to_wire).unwrap_or_default(),
            }),
        )
    }

    async fn get_certificate(
        &self,
        request: Request<v1::GetCertificateRequest>,
    ) -> Result<Response<v1::GetCertificateResponse>, Status> {
        let client = self.readers.read(&request)?;
        let found = self.find(request.into_inner().batch).await?;
        let certificate = found
            .certificate()
            .ok_or_else(|| Reason::NotCertified.status(format!("the batch is {}", found.phase.name())))?;
        let answer = v1::GetCertificateResponse { certificate: Some((&certificate).into()) };
        self.readers.answer(client, Response::new(answer))
    }
}

/// The batch now and after every change; who reads slowly gets the newest state. Ends with the
/// batch's last state.
fn watch(
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
                    // Whoever worked on it does so no more; somebody else may.
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
