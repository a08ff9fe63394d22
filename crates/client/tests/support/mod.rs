//! A committee of members on real sockets, each of them honest or with a vice, and a certificate
//! that all their keys signed.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dac_bls::{CommitteeKeys, SecretKey};
use dac_chain::{EcdsaKey, TransactionSigner as _};
use dac_client::{Dialer, Directory, EndpointPolicy, Patience, RetrieveOptions, Retriever};
use dac_coding::testing::{Dispersal, noise};
use dac_coding::{ChunkProof, ShardTree};
use dac_proto::reason::Reason;
use dac_proto::v1::member_service_server::{MemberService, MemberServiceServer};
use dac_proto::v1::retrieval_service_server::{RetrievalService, RetrievalServiceServer};
use dac_proto::{v1, wire};
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{
    Address, B256, BatchDigest, BatchHeader, BatchSubmission, Certificate, Committee, Domain, EcdsaSignature,
    Geometry, HashKind, Member, Quorum, Record, Seat, SignedSubmission,
};
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// How a member behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vice {
    /// It is honest.
    None,
    /// Nothing listens at its address.
    Down,
    /// It says that it does not have the batch.
    Forgetful,
    /// It says that its store is corrupt.
    Corrupt,
    /// It is busy for this many requests.
    BusyFirst(usize),
    /// A byte of its shard and of its chunks is wrong.
    WrongByte,
    /// Its shard ends a byte early.
    Truncated,
    /// Its shard does not end.
    Endless,
    /// It sends pieces without bytes.
    EmptyPieces,
    /// It sends a piece over the limit.
    OversizedPiece,
    /// It serves the shard of the next seat.
    OtherSeat,
    /// It serves the record and shard of another batch.
    OtherBatch,
    /// It serves a record of random bytes.
    Garbage,
    /// It serves a record with a forged certificate.
    ForgedCertificate,
    /// It serves a record with other row fingerprints than those committed to.
    WrongFingerprints,
    /// It serves the Merkle paths of another chunk.
    WrongPath,
    /// It serves other chunks than those asked for.
    WrongChunks,
    /// It accepts calls and never answers.
    Silent,
    /// It sends one piece of its shard and stops.
    Stalls,
    /// It answers for another seat.
    Impostor,
    /// It says that the shard that the disperser committed to for it does not match the other
    /// shards.
    SeatBad,
}

/// The number of batches that a member says it stores, numbered from 1.
pub const LISTED: u64 = 3;

/// A member that serves one batch with its vice.
pub struct FakeMember {
    pub seat: Seat,
    pub vice: Vice,
    pub record: Record,
    pub shards: Arc<Vec<Bytes>>,
    pub geometry: Geometry,
    pub operator: Address,
    pub domain: Domain,
    pub calls: AtomicUsize,
}

impl FakeMember {
    fn shard(&self) -> Bytes {
        let mut shard = self.shards[self.seat.index()].to_vec();
        match self.vice {
            Vice::WrongByte => *shard.last_mut().unwrap() ^= 1,
            Vice::Truncated => {
                shard.pop();
            }
            Vice::OtherBatch => shard = noise(0x0B, shard.len()),
            Vice::OtherSeat => return self.shards[(self.seat.index() + 1) % self.shards.len()].clone(),
            _ => {}
        }
        shard.into()
    }

    async fn enter(&self, for_record: bool) -> Result<(), Status> {
        let before = self.calls.fetch_add(1, Ordering::Relaxed);
        match self.vice {
            Vice::Silent => std::future::pending().await,
            Vice::Forgetful => Err(Reason::UnknownBatch.status("never heard of it")),
            Vice::Corrupt => Err(Reason::Corrupt.status("the disk ate it")),
            Vice::SeatBad if !for_record => Err(Reason::SeatBad.status("no shard of the code")),
            Vice::BusyFirst(times) if before < times => Err(Reason::Busy.status("later")),
            _ => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl RetrievalService for FakeMember {
    type GetShardStream = BoxStream<'static, Result<v1::GetShardResponse, Status>>;

    async fn get_batch_record(
        &self,
        _: Request<v1::GetBatchRecordRequest>,
    ) -> Result<Response<v1::GetBatchRecordResponse>, Status> {
        self.enter(true).await?;
        let mut record = v1::Record::from(&self.record);
        match self.vice {
            Vice::Garbage => {
                record.shard_hashes = noise(3, 77).into();
                record.row_fingerprints = noise(4, 5).into();
            }
            Vice::OtherBatch => record.header.as_mut().unwrap().batch_number += 1,
            Vice::WrongFingerprints => {
                let mut z = record.row_fingerprints.to_vec();
                z[0] ^= 1;
                record.row_fingerprints = z.into();
            }
            Vice::ForgedCertificate => {
                let forger = SecretKey::derive(&[0xF0; 32]).sign_digest(&BatchDigest(B256::repeat_byte(1)));
                let aggregate = record.certificate.get_or_insert_default();
                aggregate.signature = Bytes::copy_from_slice(forger.to_compressed().as_bytes());
            }
            _ => {}
        }
        let seat = if self.vice == Vice::Impostor { self.seat.0 ^ 1 } else { self.seat.0 };
        Ok(Response::new(v1::GetBatchRecordResponse { record: Some(record), seat: seat.into() }))
    }

    async fn get_shard(
        &self,
        _: Request<v1::GetShardRequest>,
    ) -> Result<Response<Self::GetShardStream>, Status> {
        self.enter(false).await?;
        let shard = self.shard();
        let piece = |piece: Bytes| Ok(v1::GetShardResponse { piece });
        let pieces: Vec<Bytes> = (0..shard.len())
            .step_by(4096)
            .map(|start| shard.slice(start..(start + 4096).min(shard.len())))
            .collect();
        let stream: Self::GetShardStream = match self.vice {
            Vice::Endless => stream::repeat(pieces[0].clone()).map(piece).boxed(),
            Vice::EmptyPieces => stream::repeat(Bytes::new()).map(piece).boxed(),
            Vice::OversizedPiece => {
                stream::iter([Bytes::from(vec![0; STREAM_PIECE_MAX_BYTES + 1])]).map(piece).boxed()
            }
            Vice::Stalls => stream::iter([pieces[0].slice(..1)]).map(piece).chain(stream::pending()).boxed(),
            _ => stream::iter(pieces).map(piece).boxed(),
        };
        Ok(Response::new(stream))
    }

    async fn get_chunks(
        &self,
        request: Request<v1::GetChunksRequest>,
    ) -> Result<Response<v1::GetChunksResponse>, Status> {
        self.enter(false).await?;
        let shard = self.shard();
        let tree = ShardTree::of_shard(&self.shards[self.seat.index()]);
        let count = Geometry::chunk_count(self.shards[self.seat.index()].len());
        let chunks = request
            .into_inner()
            .indices
            .iter()
            .map(|&index| {
                let place = index as usize;
                let proved = if self.vice == Vice::WrongPath { (place + 1) % count } else { place };
                let proof = ChunkProof::new(&self.record.shard_hashes, self.seat, &tree, proved).unwrap();
                let index = if self.vice == Vice::WrongChunks { index + 1 } else { index };
                let mut data = shard.slice(place * 4096..((place + 1) * 4096).min(shard.len())).to_vec();
                if self.vice == Vice::WrongByte {
                    data[0] ^= 1;
                }
                v1::Chunk {
                    index,
                    data: data.into(),
                    chunk_path: wire::hashes_to_wire(&proof.chunk_path),
                    shard_path: wire::hashes_to_wire(&proof.shard_path),
                }
            })
            .collect();
        let seat = if self.vice == Vice::Impostor { self.seat.0 ^ 1 } else { self.seat.0 };
        Ok(Response::new(v1::GetChunksResponse { seat: seat.into(), chunks }))
    }

    async fn list_batches(
        &self,
        request: Request<v1::ListStoredBatchesRequest>,
    ) -> Result<Response<v1::ListStoredBatchesResponse>, Status> {
        let v1::ListStoredBatchesRequest { page_size, page_token, .. } = request.into_inner();
        let first: u64 = if page_token.is_empty() { 1 } else { page_token.parse().unwrap() };
        let last = LISTED.min(first + u64::from(page_size) - 1);
        let header = &self.record.header;
        let stored = |batch_number| v1::StoredBatch {
            digest: header.digest(&self.domain).0.to_vec().into(),
            rollup: header.rollup.to_vec().into(),
            batch_number,
            epoch: header.epoch,
            seat: self.seat.0.into(),
            expires_at: header.expires_at,
            payload_length: header.payload_length,
        };
        Ok(Response::new(v1::ListStoredBatchesResponse {
            batches: (first..=last).map(stored).collect(),
            next_page_token: if last < LISTED { (last + 1).to_string() } else { String::new() },
        }))
    }
}

/// A node that answers requests for its description only.
pub struct FakeIdentity(pub v1::GetMemberResponse);

#[tonic::async_trait]
impl MemberService for FakeIdentity {
    async fn get_member(
        &self,
        _: Request<v1::GetMemberRequest>,
    ) -> Result<Response<v1::GetMemberResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }
}

/// A committee, one batch and its members.
pub struct Scene {
    pub domain: Domain,
    pub quorum: Quorum,
    pub committee: Arc<Committee>,
    pub certificate: Certificate,
    pub digest: BatchDigest,
    pub header: BatchHeader,
    pub payload: Option<Bytes>,
    pub urls: Vec<String>,
    servers: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        for server in &self.servers {
            server.abort();
        }
    }
}

/// The parameters of a scene.
pub struct Plan {
    pub quorum: Quorum,
    pub domain: Domain,
    pub epoch: u64,
    pub keys: Vec<SecretKey>,
    pub operators: Vec<Address>,
    /// The seats that sign; all of them if not given.
    pub signers: Option<Vec<Seat>>,
    /// Whether members have the certificate.
    pub with_certificate: bool,
    pub expires_at: u64,
    pub rollup: Address,
    pub batch_number: u64,
    /// The TLS configuration of each seat's listener. If it is empty, all of them speak plain text.
    pub tls: Vec<ServerTlsConfig>,
}

impl Plan {
    pub fn new(n: u16, k: u16, q: u16) -> Self {
        let key = |seat: Seat| SecretKey::derive(&[seat.0 + 1; 32]);
        Self {
            quorum: Quorum::new(n, k, q).unwrap(),
            domain: Domain { chain_id: 31_337, registry: Address::repeat_byte(0xAA) },
            epoch: 1,
            keys: Seat::all(n).map(key).collect(),
            operators: Seat::all(n).map(|seat| Address::repeat_byte(seat.0 + 1)).collect(),
            signers: None,
            with_certificate: true,
            expires_at: 4_000_000_000,
            rollup: Address::repeat_byte(0x11),
            batch_number: 7,
            tls: Vec::new(),
        }
    }

    /// Binds addresses for the members before they serve anything.
    pub fn listen(&self) -> Vec<std::net::TcpListener> {
        self.keys.iter().map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect()
    }

    pub fn urls(listeners: &[std::net::TcpListener]) -> Vec<String> {
        listeners.iter().map(|listener| format!("http://{}", listener.local_addr().unwrap())).collect()
    }

    /// Starts the members; seats beyond `vices` are honest.
    pub fn play(self, dispersal: &Dispersal, vices: &[Vice]) -> Scene {
        let listeners = self.listen();
        self.play_on(listeners, dispersal, vices)
    }

    pub fn play_on(
        self,
        listeners: Vec<std::net::TcpListener>,
        dispersal: &Dispersal,
        vices: &[Vice],
    ) -> Scene {
        let mut urls = Self::urls(&listeners);
        for (url, _) in urls.iter_mut().zip(&self.tls) {
            // Certificates name a host, not an address.
            *url = url.replace("http://127.0.0.1", "https://localhost");
        }
        let poster = EcdsaKey::from_slice(&[0x51; 32]).unwrap();
        let disperser = EcdsaKey::from_slice(&[0x52; 32]).unwrap();
        let sign = |key: &EcdsaKey, digest: B256| {
            EcdsaSignature::try_from(&key.sign_hash(&digest).unwrap().as_bytes()[..]).unwrap()
        };
        let mut header = BatchHeader {
            rollup: self.rollup,
            batch_number: self.batch_number,
            epoch: self.epoch,
            expires_at: self.expires_at,
            payload_length: 0,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::ZERO,
            shard_root: B256::ZERO,
            fingerprints_hash: B256::ZERO,
            payload_fingerprint: Vec::new(),
        };
        dispersal.fill(&mut header);
        let submission = BatchSubmission {
            rollup: header.rollup,
            batch_number: header.batch_number,
            payload_length: header.payload_length,
            expires_at: header.expires_at,
            hash_kind: header.hash_kind,
            batch_hash: header.batch_hash,
            replaces: B256::ZERO,
            disperser: disperser.address(),
            submit_before: header.expires_at,
        };
        let signature = sign(&poster, submission.digest(&self.domain));
        let signed = SignedSubmission { submission, signature };
        let digest = header.digest(&self.domain);
        let disperser_signature = sign(&disperser, digest.0);

        let members = Seat::all(self.quorum.geometry().n())
            .map(|seat| Member {
                operator: self.operators[seat.index()],
                public_key: self.keys[seat.index()].public_key().to_compressed(),
                dispersal_url: urls[seat.index()].clone(),
                retrieval_url: urls[seat.index()].clone(),
            })
            .collect();
        let committee =
            Arc::new(Committee::new(self.epoch, self.quorum, members, 0, u64::MAX, u64::MAX).unwrap());
        let signers = self.signers.unwrap_or_else(|| Seat::all(self.quorum.geometry().n()).collect());
        let signatures: Vec<_> =
            signers.iter().map(|seat| (*seat, self.keys[seat.index()].sign_digest(&digest))).collect();
        let aggregate = CommitteeKeys::new(&committee).unwrap().aggregate(&digest, &signatures).unwrap();
        let certificate = Certificate { header: header.clone(), aggregate: aggregate.clone() };

        let shards = Arc::new(dispersal.shards.clone());
        let mut servers = Vec::new();
        for (seat, listener) in Seat::all(self.quorum.geometry().n()).zip(listeners) {
            let vice = vices.get(seat.index()).copied().unwrap_or(Vice::None);
            if vice == Vice::Down {
                continue;
            }
            let mut record = dispersal.record(seat, header.clone(), signed.clone(), disperser_signature);
            if self.with_certificate {
                record.certificate = Some(aggregate.clone());
            }
            let member = FakeMember {
                seat,
                vice,
                record,
                shards: shards.clone(),
                geometry: self.quorum.geometry(),
                operator: self.operators[seat.index()],
                domain: self.domain,
                calls: AtomicUsize::new(0),
            };
            let identity = FakeIdentity(v1::GetMemberResponse {
                chain_id: self.domain.chain_id,
                registry: Bytes::copy_from_slice(self.domain.registry.as_slice()),
                operator: Bytes::copy_from_slice(member.operator.as_slice()),
                public_key: Bytes::copy_from_slice(
                    self.keys[seat.index()].public_key().to_compressed().as_bytes(),
                ),
                seats: vec![v1::MemberSeat { epoch: self.epoch, seat: seat.0.into(), active: true }],
                version: "1.0\x1b[2J".to_owned(),
                protocols: vec!["dac.v1".to_owned()],
                stored_batches: 1,
                stored_bytes: 2,
                capacity_bytes: 0,
                l1_block: 3,
                l1_age_seconds: 4,
                ..v1::GetMemberResponse::default()
            });
            listener.set_nonblocking(true).unwrap();
            let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(listener).unwrap());
            let mut server = Server::builder();
            if let Some(tls) = self.tls.get(seat.index()) {
                server = server.tls_config(tls.clone()).unwrap();
            }
            servers.push(tokio::spawn(async move {
                server
                    .add_service(RetrievalServiceServer::new(member))
                    .add_service(MemberServiceServer::new(identity))
                    .serve_with_incoming(incoming)
                    .await
                    .unwrap();
            }));
        }
        Scene {
            domain: self.domain,
            quorum: self.quorum,
            committee,
            certificate,
            digest,
            header,
            payload: dispersal.payload.clone(),
            urls,
            servers,
        }
    }
}

impl Scene {
    pub fn directory(&self) -> Arc<Directory> {
        Arc::new(Directory::new(self.domain, [self.committee.clone()]).unwrap())
    }

    pub fn retriever(&self) -> Retriever {
        self.retriever_with(options())
    }

    pub fn retriever_with(&self, options: RetrieveOptions) -> Retriever {
        Retriever::new(self.directory(), Dialer::new(EndpointPolicy::AllowPrivate), options)
    }
}

/// Options for tests: long deadlines for slow machines, short ones for members without progress.
pub fn options() -> RetrieveOptions {
    RetrieveOptions {
        patience: Patience { answer: Duration::from_secs(60), bytes_per_second_min: 1 },
        hedge_after: Duration::from_millis(100),
        spares_max: 2,
        attempts_max: 3,
        deadline: Duration::from_secs(120),
    }
}

/// An honest dispersal with a few chunks in every shard.
pub fn honest(n: u16, k: u16) -> Dispersal {
    let geometry = Geometry::new(n, k).unwrap();
    let payload = Bytes::from(noise(1, usize::from(k) * 20_000 - 7));
    dac_coding::testing::honest(geometry, payload, B256::repeat_byte(0x33)).unwrap()
}
