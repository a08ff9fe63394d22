//! Fake members of a committee on real sockets. Honest ones check deliveries as real members do;
//! the others do what the test sets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use dac_bls::SecretKey;
use dac_coding::{CheckedRecord, CheckedShard, check_payload_for_seat};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::dispersal_service_server::{DispersalService, DispersalServiceServer};
use dac_proto::v1::store_shard_request::Message;
use dac_proto::wire;
use dac_types::{
    Address, B256, BatchDigest, CoverageRenewal, Domain, Geometry, PublicKeyBytes, Seat, SignatureBytes,
};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tonic::{Request, Response, Status, Streaming};

use super::{DOMAIN, disperser};

/// What a member does with a delivery.
#[derive(Clone)]
pub(crate) enum Behaviour {
    Honest,
    /// Behaves honestly after the test notifies it to go on.
    Wait(Arc<Notify>),
    /// Refuses this many calls for the given reason, and then behaves honestly.
    RefuseFirst(usize, Reason),
    Refuse(Reason),
    /// Refuses batches of this rollup for the given reason, and otherwise behaves honestly.
    RefuseRollup(Address, Reason),
    /// Answers with a gRPC status that has no reason of the protocol.
    Fail(tonic::Code),
    /// Returns a signature by another key.
    WrongSignature,
    /// Returns its own signature over another digest as if it were over this one.
    OtherMessage,
    /// Returns an honest attestation of another digest.
    OtherDigest,
    OtherSeat,
    /// Returns bytes that encode no point of the curve.
    NoPoint,
    /// Returns the point at infinity as its signature.
    Infinity,
    /// Answers without an attestation.
    Empty,
    /// Returns a signature of one megabyte.
    Oversized,
    /// Never answers.
    Silent,
    /// Never answers for batches of this rollup, and otherwise behaves honestly.
    SilentTo(Address),
}

/// A delivery as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) digest: BatchDigest,
    pub(crate) bytes: usize,
    pub(crate) with_certificate: bool,
}

struct Inner {
    seat: Seat,
    geometry: Geometry,
    identity: Mutex<(Domain, SecretKey)>,
    behaviour: Mutex<Behaviour>,
    calls: AtomicUsize,
    unanswered: AtomicUsize,
    stored: Mutex<HashMap<BatchDigest, Bytes>>,
    delivered: Mutex<Vec<Delivered>>,
}

/// A fake member and its server.
pub(crate) struct FakeMember {
    pub(crate) seat: u8,
    address: SocketAddr,
    inner: Arc<Inner>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for FakeMember {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeMember {
    pub(crate) async fn start(seat: u8, geometry: Geometry) -> Self {
        let inner = Arc::new(Inner {
            seat: Seat(seat),
            geometry,
            identity: Mutex::new((DOMAIN, SecretKey::derive(&[seat + 1; 32]))),
            behaviour: Mutex::new(Behaviour::Honest),
            calls: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            stored: Mutex::default(),
            delivered: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = DispersalServiceServer::new(Service(Arc::clone(&inner)))
            .max_decoding_message_size(dac_types::limits::MESSAGE_MAX_BYTES);
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = tokio::spawn(async move {
            let router = tonic::transport::Server::builder().add_service(service);
            let _ = router.serve_with_incoming(incoming).await;
        });
        Self { seat, address, inner, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn public_key(&self) -> PublicKeyBytes {
        self.inner.secret().public_key().to_compressed()
    }

    /// Makes it a member of another committee, with another key, from now on.
    pub(crate) fn adopt(&self, domain: Domain, secret: SecretKey) {
        *self.inner.identity.lock() = (domain, secret);
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.inner.behaviour.lock() = behaviour;
    }

    /// Returns the number of calls that reached it.
    pub(crate) fn calls(&self) -> usize {
        self.inner.calls.load(Ordering::SeqCst)
    }

    /// Returns the deliveries that it read to their end.
    pub(crate) fn delivered(&self) -> Vec<Delivered> {
        self.inner.delivered.lock().clone()
    }

    /// Returns the number of calls that it left unanswered because of [`Behaviour::SilentTo`].
    pub(crate) fn unanswered(&self) -> usize {
        self.inner.unanswered.load(Ordering::SeqCst)
    }

    /// Returns whether it holds its shard of a batch.
    pub(crate) fn holds(&self, digest: BatchDigest) -> bool {
        self.inner.stored.lock().contains_key(&digest)
    }

    /// Returns whether it was given the certificate of a batch.
    pub(crate) fn has_certificate(&self, digest: BatchDigest) -> bool {
        self.delivered().iter().any(|delivered| delivered.digest == digest && delivered.with_certificate)
    }
}

struct Service(Arc<Inner>);

#[tonic::async_trait]
impl DispersalService for Service {
    async fn store_shard(
        &self,
        request: Request<Streaming<v1::StoreShardRequest>>,
    ) -> Result<Response<v1::StoreShardResponse>, Status> {
        let inner = &self.0;
        let call = inner.calls.fetch_add(1, Ordering::SeqCst);
        let behaviour = inner.behaviour.lock().clone();
        match behaviour {
            Behaviour::Refuse(reason) => return Err(reason.status("as told")),
            Behaviour::RefuseFirst(times, reason) if call < times => return Err(reason.status("not yet")),
            Behaviour::Fail(code) => return Err(Status::new(code, "as told")),
            Behaviour::Silent => std::future::pending().await,
            _ => {}
        }
        if let Behaviour::Wait(go_on) = &behaviour {
            go_on.notified().await;
            // Passes the notification on, so that the next waiting call goes on too.
            go_on.notify_one();
        }
        let digest = inner.receive(request.into_inner()).await?;
        let attestation = inner.attest(digest, &behaviour);
        Ok(Response::new(v1::StoreShardResponse { attestation }))
    }

    async fn sign_renewal(
        &self,
        request: Request<v1::SignRenewalRequest>,
    ) -> Result<Response<v1::SignRenewalResponse>, Status> {
        let inner = &self.0;
        let call = inner.calls.fetch_add(1, Ordering::SeqCst);
        let behaviour = inner.behaviour.lock().clone();
        match &behaviour {
            Behaviour::Refuse(reason) => return Err(reason.status("as told")),
            Behaviour::RefuseFirst(times, reason) if call < *times => {
                return Err(reason.status_with_retry("not yet", std::time::Duration::from_millis(5)));
            }
            Behaviour::Silent => std::future::pending().await,
            _ => {}
        }
        let request = request.into_inner();
        assert_eq!(request.seat, u32::from(inner.seat.0), "asked the wrong member");
        let renewal = CoverageRenewal::try_from(request.renewal.unwrap()).unwrap();
        let digest = renewal.digest(&inner.domain());
        let key = match behaviour {
            Behaviour::WrongSignature => SecretKey::derive(&[0xee; 32]),
            _ => inner.secret(),
        };
        let other = matches!(behaviour, Behaviour::OtherDigest);
        let digest =
            if other { CoverageRenewal { expires_at: 1, ..renewal }.digest(&inner.domain()) } else { digest };
        Ok(Response::new(v1::SignRenewalResponse {
            digest: Bytes::copy_from_slice(digest.as_bytes()),
            seat: if matches!(behaviour, Behaviour::OtherSeat) { request.seat ^ 1 } else { request.seat },
            signature: Bytes::copy_from_slice(key.sign_digest(&digest).to_compressed().as_bytes()),
        }))
    }
}

impl Inner {
    fn domain(&self) -> Domain {
        self.identity.lock().0
    }

    fn secret(&self) -> SecretKey {
        self.identity.lock().1.clone()
    }

    /// Receives a delivery and checks it as real members do.
    async fn receive(&self, mut stream: Streaming<v1::StoreShardRequest>) -> Result<BatchDigest, Status> {
        let Some(Message::Open(open)) = stream.message().await?.and_then(|request| request.message) else {
            return Err(Reason::MalformedRequest.status("open comes first"));
        };
        assert_eq!(open.chain_id, self.domain().chain_id);
        assert_eq!(open.seat, u32::from(self.seat.0), "delivered to the wrong member");
        let record = wire::record(open.record.unwrap(), self.geometry)?;
        if let Behaviour::RefuseRollup(rollup, reason) = &*self.behaviour.lock()
            && *rollup == record.header.rollup
        {
            return Err(reason.status_with_retry("as told", std::time::Duration::from_millis(5)));
        }
        let is_silent =
            matches!(&*self.behaviour.lock(), Behaviour::SilentTo(rollup) if *rollup == record.header.rollup);
        if is_silent {
            self.unanswered.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        let digest = record.header.digest(&self.domain());
        let with_certificate = record.certificate.is_some();
        assert_eq!(record.disperser_signature.recover(digest.0), Ok(disperser().address()));
        record.submission.submission.check_agrees(&record.header).unwrap();
        let note = |bytes| self.delivered.lock().push(Delivered { digest, bytes, with_certificate });
        if self.stored.lock().contains_key(&digest) {
            note(0);
            return Ok(digest);
        }
        let mut bytes = BytesMut::new();
        while let Some(request) = stream.message().await? {
            let Some(Message::Piece(piece)) = request.message else {
                return Err(Reason::MalformedRequest.status("pieces follow"));
            };
            assert!(piece.len() <= dac_types::limits::STREAM_PIECE_MAX_BYTES);
            bytes.extend_from_slice(&piece);
        }
        let kind = record.header.hash_kind;
        let checked = CheckedRecord::check(record, self.geometry)
            .map_err(|error| Reason::BadRecord.status(error.to_string()))?;
        let length = bytes.len();
        let bytes = bytes.freeze();
        if kind.is_checked() {
            check_payload_for_seat(&checked, bytes.clone(), self.seat)
                .map_err(|error| Reason::BadPayload.status(error.to_string()))?;
        } else {
            CheckedShard::check(&checked, self.seat, bytes.clone())
                .map_err(|error| Reason::BadShard.status(error.to_string()))?;
        }
        self.stored.lock().insert(digest, bytes);
        note(length);
        Ok(digest)
    }

    fn attest(&self, digest: BatchDigest, behaviour: &Behaviour) -> Option<v1::Attestation> {
        let other = BatchDigest(B256::repeat_byte(0x77));
        let somebody = SecretKey::derive(&[0xee; 32]);
        let signature = match behaviour {
            Behaviour::WrongSignature => somebody.sign_digest(&digest).to_compressed(),
            Behaviour::OtherMessage | Behaviour::OtherDigest => {
                self.secret().sign_digest(&other).to_compressed()
            }
            Behaviour::NoPoint => SignatureBytes([0xff; 48]),
            Behaviour::Infinity => {
                let mut bytes = [0; 48];
                bytes[0] = 0xc0;
                SignatureBytes(bytes)
            }
            _ => self.secret().sign_digest(&digest).to_compressed(),
        };
        let named = if matches!(behaviour, Behaviour::OtherDigest) { other } else { digest };
        let seat = if matches!(behaviour, Behaviour::OtherSeat) { self.seat.0 ^ 1 } else { self.seat.0 };
        match behaviour {
            Behaviour::Empty => None,
            Behaviour::Oversized => Some(v1::Attestation {
                digest: Bytes::copy_from_slice(digest.as_bytes()),
                seat: seat.into(),
                signature: vec![1; 1 << 20].into(),
            }),
            _ => Some(v1::Attestation {
                digest: Bytes::copy_from_slice(named.as_bytes()),
                seat: seat.into(),
                signature: Bytes::copy_from_slice(signature.as_bytes()),
            }),
        }
    }
}
