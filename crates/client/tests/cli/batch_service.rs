//! An aggregator whose answers a test defines. Calls that it does not define are refused.

use dac_proto::v1;
use dac_proto::v1::batch_service_server::{BatchService, BatchServiceServer};
use futures::stream::{BoxStream, StreamExt as _};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

/// The calls of `BatchService` that a test can answer.
#[tonic::async_trait]
pub(crate) trait Calls: Send + Sync + 'static {
    /// Answers SubmitBatch.
    async fn submit(&self, _: Streaming<v1::SubmitBatchRequest>) -> Result<v1::Batch, Status> {
        Err(Status::unimplemented("SubmitBatch"))
    }

    /// Answers GetBatch for every batch.
    fn batch(&self) -> Result<v1::Batch, Status> {
        Err(Status::unimplemented("GetBatch"))
    }

    /// Answers WatchBatch for every batch.
    fn watch(&self) -> Result<BoxStream<'static, v1::Batch>, Status> {
        Err(Status::unimplemented("WatchBatch"))
    }
}

/// Serves these calls until the test ends, and returns the URL.
pub(crate) async fn serve(calls: impl Calls) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder()
        .add_service(BatchServiceServer::new(Served(calls)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    url
}

struct Served<C>(C);

#[tonic::async_trait]
impl<C: Calls> BatchService for Served<C> {
    type WatchBatchStream = BoxStream<'static, Result<v1::WatchBatchResponse, Status>>;

    async fn submit_batch(
        &self,
        request: Request<Streaming<v1::SubmitBatchRequest>>,
    ) -> Result<Response<v1::SubmitBatchResponse>, Status> {
        let batch = Some(self.0.submit(request.into_inner()).await?);
        Ok(Response::new(v1::SubmitBatchResponse { batch }))
    }

    async fn submit_validity_proof(
        &self,
        _: Request<v1::SubmitValidityProofRequest>,
    ) -> Result<Response<v1::SubmitValidityProofResponse>, Status> {
        Err(Status::unimplemented("SubmitValidityProof"))
    }

    async fn get_batch(
        &self,
        _: Request<v1::GetBatchRequest>,
    ) -> Result<Response<v1::GetBatchResponse>, Status> {
        Ok(Response::new(v1::GetBatchResponse { batch: Some(self.0.batch()?) }))
    }

    async fn watch_batch(
        &self,
        _: Request<v1::WatchBatchRequest>,
    ) -> Result<Response<Self::WatchBatchStream>, Status> {
        let batches = self.0.watch()?.map(|batch| Ok(v1::WatchBatchResponse { batch: Some(batch) }));
        Ok(Response::new(batches.boxed()))
    }

    async fn list_batches(
        &self,
        _: Request<v1::ListBatchesRequest>,
    ) -> Result<Response<v1::ListBatchesResponse>, Status> {
        Err(Status::unimplemented("ListBatches"))
    }

    async fn get_certificate(
        &self,
        _: Request<v1::GetCertificateRequest>,
    ) -> Result<Response<v1::GetCertificateResponse>, Status> {
        Err(Status::unimplemented("GetCertificate"))
    }
}
