//! Members that speak the protocol and lie.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_proto::v1;
use dac_proto::v1::dispersal_service_server::{DispersalService, DispersalServiceServer};
use dac_proto::v1::retrieval_service_server::{RetrievalService, RetrievalServiceServer};
use dac_runtime::grpc::{self, CallTimes, Incoming, ListenerLimits, Port};
use dac_types::limits::MESSAGE_MAX_BYTES;
use dac_types::{Attestation, B256, BatchDigest, Seat};
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use rand::Rng;
use rand::seq::IndexedRandom;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::cast::{Cast, DISPERSAL_PORT, DOMAIN, RETRIEVAL_PORT};
use crate::network::listen;

/// Largest number of bytes of garbage.
const GARBAGE_MAX_BYTES: usize = 8 << 10;

/// How a member lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It accepts everything and answers nothing.
    Silence,
    /// It returns its valid signature of a different digest under the right digest.
    WrongSignature,
    /// It returns an attestation of a different digest.
    OtherDigest,
    /// It returns bytes that are not an attestation.
    Junk,
    /// It signs at once, keeps only the record, and serves garbage as its shard.
    SignsAndForgets,
}

impl Lie {
    const ALL: [Self; 5] =
        [Self::Silence, Self::WrongSignature, Self::OtherDigest, Self::Junk, Self::SignsAndForgets];

    /// Draws one of the lies.
    pub(crate) fn draw(chance: &mut impl Rng) -> Self {
        *Self::ALL.choose(chance).expect("there are some")
    }
}

/// A member that lies.
#[derive(Clone)]
pub(crate) struct Liar {
    pub(crate) seat: Seat,
    pub(crate) lie: Lie,
    pub(crate) cast: Arc<Cast>,
    pub(crate) records: Arc<Mutex<HashMap<BatchDigest, v1::Record>>>,
}

impl Liar {
    /// Runs until the host is killed.
    pub(crate) async fn run(self) -> turmoil::Result {
        let limits = ListenerLimits::default();
        let serve = async |number, port: &Port, router| {
            let incoming = Incoming::new(listen(number).await?, port);
            grpc::serve(router, incoming, None, Duration::from_secs(1)).await?;
            turmoil::Result::Ok(())
        };
        let port = |name, services| {
            Port::new(name, services, &limits, CallTimes::default(), CancellationToken::new())
        };
        let dispersal_port = port("dispersal", &["dac.v1.DispersalService"]);
        let retrieval_port = port("retrieval", &["dac.v1.RetrievalService"]);
        let dispersal =
            DispersalServiceServer::new(self.clone()).max_decoding_message_size(MESSAGE_MAX_BYTES);
        let dispersal = grpc::server(&dispersal_port).add_service(dispersal);
        let retrieval = grpc::server(&retrieval_port).add_service(RetrievalServiceServer::new(self));
        futures::try_join!(
            serve(DISPERSAL_PORT, &dispersal_port, dispersal),
            serve(RETRIEVAL_PORT, &retrieval_port, retrieval)
        )?;
        Ok(())
    }

    fn attestation(&self, digest: BatchDigest) -> v1::Attestation {
        let key = &self.cast.members[self.seat.index()];
        let other = BatchDigest(B256::from(rand::random::<[u8; 32]>()));
        let (named, signed) = match self.lie {
            Lie::WrongSignature => (digest, other),
            Lie::OtherDigest => (other, other),
            _ => (digest, digest),
        };
        let signature = key.sign_digest(&signed).to_compressed();
        let mut attestation =
            v1::Attestation::from(&Attestation { digest: named, seat: self.seat, signature });
        if self.lie == Lie::Junk {
            attestation.signature = garbage();
        }
        attestation
    }
}

fn garbage() -> Bytes {
    let length = rand::rng().random_range(0..GARBAGE_MAX_BYTES);
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes[..]);
    bytes.into()
}

#[tonic::async_trait]
impl DispersalService for Liar {
    async fn store_shard(
        &self,
        request: Request<Streaming<v1::StoreShardRequest>>,
    ) -> Result<Response<v1::StoreShardResponse>, Status> {
        use v1::store_shard_request::Message;
        let mut stream = request.into_inner();
        let mut digest = None;
        while let Some(message) = stream.next().await {
            let Some(Message::Open(open)) = message?.message else { continue };
            let Some(record) = open.record else { continue };
            let geometry = self.cast.quorum.geometry();
            let parsed = dac_proto::wire::record(record.clone(), geometry)
                .map_err(|error| Status::invalid_argument(error.to_string()))?;
            let named = parsed.header.digest(&DOMAIN);
            self.records.lock().insert(named, record);
            digest = Some(named);
        }
        if self.lie == Lie::Silence {
            return futures::future::pending().await;
        }
        let digest = digest.ok_or_else(|| Status::invalid_argument("no record"))?;
        Ok(Response::new(v1::StoreShardResponse { attestation: Some(self.attestation(digest)) }))
    }

    async fn sign_renewal(
        &self,
        _request: Request<v1::SignRenewalRequest>,
    ) -> Result<Response<v1::SignRenewalResponse>, Status> {
        futures::future::pending().await
    }
}

#[tonic::async_trait]
impl RetrievalService for Liar {
    async fn get_batch_record(
        &self,
        request: Request<v1::GetBatchRecordRequest>,
    ) -> Result<Response<v1::GetBatchRecordResponse>, Status> {
        if self.lie == Lie::Silence {
            return futures::future::pending().await;
        }
        let digest = B256::try_from(&request.get_ref().digest[..])
            .map_err(|_| Status::invalid_argument("a digest has 32 bytes"))?;
        let record = self.records.lock().get(&BatchDigest(digest)).cloned();
        let mut record = record.ok_or_else(|| Status::not_found("no such batch"))?;
        if self.lie == Lie::Junk {
            record.disperser_signature = garbage();
        }
        Ok(Response::new(v1::GetBatchRecordResponse { record: Some(record), seat: self.seat.0.into() }))
    }

    type GetShardStream = Pin<Box<dyn Stream<Item = Result<v1::GetShardResponse, Status>> + Send>>;

    async fn get_shard(
        &self,
        _request: Request<v1::GetShardRequest>,
    ) -> Result<Response<Self::GetShardStream>, Status> {
        if self.lie == Lie::Silence {
            return Ok(Response::new(Box::pin(futures::stream::pending())));
        }
        let pieces = (0..4).map(|_| Ok(v1::GetShardResponse { piece: garbage() }));
        Ok(Response::new(Box::pin(futures::stream::iter(pieces.collect::<Vec<_>>()))))
    }

    async fn get_chunks(
        &self,
        _request: Request<v1::GetChunksRequest>,
    ) -> Result<Response<v1::GetChunksResponse>, Status> {
        Err(Status::not_found("no such batch"))
    }

    async fn list_batches(
        &self,
        _request: Request<v1::ListStoredBatchesRequest>,
    ) -> Result<Response<v1::ListStoredBatchesResponse>, Status> {
        Ok(Response::new(v1::ListStoredBatchesResponse::default()))
    }
}
