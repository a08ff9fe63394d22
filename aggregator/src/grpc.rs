//! `BatchService`, which rollups call. Every refusal carries a machine-readable reason.
//!
//! | file | content |
//! |---|---|
//! | `limits`, `errors`, `readers` | bounds, answers to failures, and each client's share |
//! | `service` | the state that all methods share |
//! | `upload`, `proof`, `watch` | the methods that are too long for this file |
//! | `description` | `AggregatorService` |

mod description;
mod errors;
mod limits;
mod proof;
mod readers;
mod service;
mod upload;
mod watch;

pub use self::description::Description;
pub use self::limits::ServiceLimits;
pub use self::service::Grpc;

use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::batch_service_server::BatchService;
use dac_proto::wire;
use dac_runtime::clients::ClientKey;
use dac_types::limits::PAGE_MAX_ENTRIES;
use tonic::{Request, Response, Status, Streaming};

use self::errors::store_status;
use self::watch::{WatchStream, watch};
use crate::convert;

/// Number of entries of a page if the caller names none.
const PAGE_DEFAULT_ENTRIES: u32 = 50;

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
