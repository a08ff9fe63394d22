//! Members that lie: to aggregators about what they sign, and to all clients about what they store.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use dac_bls::SecretKey;
use dac_proto::v1::dispersal_service_server::{DispersalService, DispersalServiceServer};
use dac_proto::v1::retrieval_service_client::RetrievalServiceClient;
use dac_proto::v1::retrieval_service_server::{RetrievalService, RetrievalServiceServer};
use dac_proto::{v1, wire};
use dac_types::limits::{MESSAGE_MAX_BYTES, STREAM_PIECE_MAX_BYTES};
use dac_types::{B256, BatchDigest, BatchHeader, Domain};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};

use crate::failure::{Context, Result};

/// What a member answers instead of an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attests {
    /// Its own valid signature of another digest, with this batch's digest.
    OtherDigest,
    /// An attestation of another digest.
    OtherBatch,
    /// A signature of the right digest with another key.
    OtherKey,
    /// 48 bytes that are not a point of the curve.
    Junk,
    /// An attestation of another seat.
    OtherSeat,
    /// An empty answer.
    Nothing,
    /// An answer that is larger than any valid one.
    Oversized,
    /// No answer, after it has received everything.
    Silent,
}

/// A member that signs falsely.
#[derive(Debug)]
pub struct FalseSigner {
    /// The member's own key.
    pub key: SecretKey,
    /// What it answers.
    pub vice: Attests,
}

impl FalseSigner {
    /// Serves until the test ends, and returns the address.
    pub async fn serve(self) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a free port")?;
        let address = listener.local_addr().context("a port")?;
        let service = DispersalServiceServer::new(self);
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Ok(address)
    }

    fn attest(&self, seat: u32, digest: BatchDigest) -> Option<v1::Attestation> {
        let other = BatchDigest(digest.0 ^ B256::repeat_byte(1));
        let sign = |key: &SecretKey, digest: &BatchDigest| {
            Bytes::copy_from_slice(key.sign_digest(digest).to_compressed().as_bytes())
        };
        let (named, seat, signature) = match self.vice {
            Attests::OtherDigest => (digest, seat, sign(&self.key, &other)),
            Attests::OtherBatch => (other, seat, sign(&self.key, &other)),
            Attests::OtherKey => (digest, seat, sign(&SecretKey::derive(&[0xF0; 32]), &digest)),
            Attests::Junk => (digest, seat, Bytes::from_static(&[0x2a; 48])),
            Attests::OtherSeat => (digest, seat ^ 1, sign(&self.key, &digest)),
            Attests::Oversized => (digest, seat, Bytes::from(vec![0x2a; MESSAGE_MAX_BYTES])),
            Attests::Nothing | Attests::Silent => return None,
        };
        Some(v1::Attestation { digest: Bytes::copy_from_slice(named.as_bytes()), seat, signature })
    }
}

#[tonic::async_trait]
impl DispersalService for FalseSigner {
    async fn store_shard(
        &self,
        request: Request<Streaming<v1::StoreShardRequest>>,
    ) -> Result<Response<v1::StoreShardResponse>, Status> {
        let mut messages = request.into_inner();
        let mut open = None;
        while let Some(message) = messages.message().await? {
            if let Some(v1::store_shard_request::Message::Open(first)) = message.message {
                open = Some(first);
            }
        }
        if self.vice == Attests::Silent {
            std::future::pending::<()>().await;
        }
        let open = open.ok_or_else(|| Status::internal("no open"))?;
        let record = open.record.ok_or_else(|| Status::internal("no record"))?;
        let header = BatchHeader::try_from(record.header.ok_or_else(|| Status::internal("no header"))?)?;
        let registry = wire::address("registry", &open.registry)?;
        let digest = header.digest(&Domain { chain_id: open.chain_id, registry });
        Ok(Response::new(v1::StoreShardResponse { attestation: self.attest(open.seat, digest) }))
    }

    async fn sign_renewal(
        &self,
        _: Request<v1::SignRenewalRequest>,
    ) -> Result<Response<v1::SignRenewalResponse>, Status> {
        Err(Status::unimplemented("it lies about batches only"))
    }
}

/// What a member serves instead of its shard and record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// A shard with a wrong byte.
    WrongByte,
    /// A shard that ends early.
    Truncated,
    /// A shard that does not end.
    Endless,
    /// A shard that comes byte by byte with pauses.
    Trickle,
    /// A shard in pieces over the limit.
    OversizedPiece,
    /// A message over the limit of messages.
    OversizedMessage,
    /// Pieces without bytes.
    EmptyPieces,
    /// A record with other fingerprints than those committed to.
    WrongRecord,
    /// The record of another batch.
    OtherRecord,
    /// The answer that it does not have the batch.
    Denies,
}

/// A proxy before an honest member that falsifies its answers.
#[derive(Debug)]
pub struct FalseServer {
    honest: RetrievalServiceClient<Channel>,
    vice: Serves,
}

impl FalseServer {
    /// Serves until the test ends, and returns the address.
    pub async fn serve(honest: Channel, vice: Serves) -> Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a free port")?;
        let address = listener.local_addr().context("a port")?;
        let service = RetrievalServiceServer::new(Self { honest: RetrievalServiceClient::new(honest), vice });
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Ok(address)
    }

    fn denies(&self) -> Result<(), Status> {
        if self.vice == Serves::Denies {
            return Err(dac_proto::reason::Reason::UnknownBatch.status("never heard of it"));
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl RetrievalService for FalseServer {
    type GetShardStream = BoxStream<'static, Result<v1::GetShardResponse, Status>>;

    async fn get_batch_record(
        &self,
        request: Request<v1::GetBatchRecordRequest>,
    ) -> Result<Response<v1::GetBatchRecordResponse>, Status> {
        self.denies()?;
        let mut answer = self.honest.clone().get_batch_record(request.into_inner()).await?.into_inner();
        let record = answer.record.as_mut().ok_or_else(|| Status::internal("no record"))?;
        match self.vice {
            Serves::WrongRecord => {
                let mut fingerprints = record.row_fingerprints.to_vec();
                fingerprints[0] ^= 1;
                record.row_fingerprints = fingerprints.into();
            }
            Serves::OtherRecord => {
                record.header.as_mut().ok_or_else(|| Status::internal("no header"))?.batch_number += 1;
            }
            _ => {}
        }
        Ok(Response::new(answer))
    }

    async fn get_shard(
        &self,
        request: Request<v1::GetShardRequest>,
    ) -> Result<Response<Self::GetShardStream>, Status> {
        self.denies()?;
        let honest = self.honest.clone().get_shard(request.into_inner()).await?.into_inner();
        let piece = |bytes: Bytes| Ok(v1::GetShardResponse { piece: bytes });
        let stream: Self::GetShardStream = match self.vice {
            Serves::WrongByte => honest
                .map(|message| {
                    let mut bytes = message?.piece.to_vec();
                    bytes[0] ^= 1;
                    Ok(v1::GetShardResponse { piece: bytes.into() })
                })
                .boxed(),
            Serves::Truncated => stream::iter([Bytes::from_static(&[1])]).map(piece).boxed(),
            Serves::Endless => stream::repeat(Bytes::from(vec![7; 4096])).map(piece).boxed(),
            Serves::Trickle => stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                Some((Bytes::from_static(&[1]), ()))
            })
            .map(piece)
            .boxed(),
            Serves::OversizedPiece => {
                stream::iter([Bytes::from(vec![0; STREAM_PIECE_MAX_BYTES + 1])]).map(piece).boxed()
            }
            Serves::OversizedMessage => {
                stream::iter([Bytes::from(vec![0; 2 * MESSAGE_MAX_BYTES])]).map(piece).boxed()
            }
            Serves::EmptyPieces => stream::repeat(Bytes::new()).map(piece).boxed(),
            _ => honest.boxed(),
        };
        Ok(Response::new(stream))
    }

    async fn get_chunks(
        &self,
        request: Request<v1::GetChunksRequest>,
    ) -> Result<Response<v1::GetChunksResponse>, Status> {
        self.denies()?;
        let mut answer = self.honest.clone().get_chunks(request.into_inner()).await?.into_inner();
        if self.vice == Serves::WrongByte {
            for chunk in &mut answer.chunks {
                let mut bytes = chunk.data.to_vec();
                bytes[0] ^= 1;
                chunk.data = bytes.into();
            }
        }
        Ok(Response::new(answer))
    }

    async fn list_batches(
        &self,
        request: Request<v1::ListStoredBatchesRequest>,
    ) -> Result<Response<v1::ListStoredBatchesResponse>, Status> {
        Ok(Response::new(self.honest.clone().list_batches(request.into_inner()).await?.into_inner()))
    }
}
