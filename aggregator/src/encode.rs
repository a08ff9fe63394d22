//! From the stored payload to what is sent: read and checked, encoded off the async threads, header made and signed. A payload that has
//! just been received is encoded as it came, without being read back.
//!
//! Encoded payloads are the bulk of this process's memory. They are shared by all deliveries of a batch, counted
//! against a bound, and dropped as soon as the certificate is there; stragglers load them again.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use dac_chain::TransactionSigner;
use dac_coding::{CodingError, EncodedBatch};
use dac_runtime::workers::Workers;
use dac_types::{
    BatchHeader, Committee, Domain, EcdsaSignature, EcdsaSignatureError, Geometry, Record, Seat,
    SignedSubmission,
};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::batch::Dispersal;
use crate::disperse::Urgency;
use crate::store::{Store, StoreError, UploadId};

/// Why a payload could not be loaded or encoded, or a header not be made.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// Reading it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Encoding it.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The key refused to sign.
    #[error("signing the header: {0}")]
    Signing(String),
    /// What the key signed is no signature.
    #[error("signing the header: {0}")]
    Signature(#[from] EcdsaSignatureError),
    /// The encoder's own commitment does not fit the committee.
    #[error("the encoder: {0}")]
    Shape(#[from] dac_types::RecordShapeError),
    /// A worker panicked or the process is stopping.
    #[error("the encoding worker ended early")]
    Worker,
}

/// A payload in memory, encoded where its members get shards.
#[derive(Debug)]
pub struct Loaded {
    payload: Bytes,
    encoded: Option<EncodedBatch>,
    _memory: OwnedSemaphorePermit,
}

impl Loaded {
    /// What a seat is sent: its shard, or the payload where it must check that.
    pub fn body(&self, seat: Seat) -> Bytes {
        self.encoded.as_ref().map_or_else(|| self.payload.clone(), |encoded| encoded.shard(seat))
    }
}

/// The bounds of encoding: how many at once, and bytes of encoded payloads.
#[derive(Debug)]
pub struct Encoders {
    workers: Workers,
    turns: Arc<Semaphore>,
    fresh: Arc<Semaphore>,
    stragglers: Arc<Semaphore>,
    fresh_kib: u32,
    straggler_kib: u32,
}

impl Encoders {
    /// So many encodings at once, and bytes. Batches that wait for their certificate and stragglers have separate shares.
    pub fn new(workers: Workers, at_once: usize, fresh_bytes: u64, straggler_bytes: u64) -> Self {
        let kib = |bytes: u64| u32::try_from((bytes >> 10).clamp(1, 1 << 28)).expect("clamped");
        let (fresh_kib, straggler_kib) = (kib(fresh_bytes), kib(straggler_bytes));
        let semaphore = |permits: u32| Arc::new(Semaphore::new(permits as usize));
        Self {
            workers,
            turns: Arc::new(Semaphore::new(at_once)),
            fresh: semaphore(fresh_kib),
            stragglers: semaphore(straggler_kib),
            fresh_kib,
            straggler_kib,
        }
    }

    /// Waits for memory. What is larger than all of it goes alone.
    async fn memory(&self, bytes: u64, urgency: Urgency) -> OwnedSemaphorePermit {
        let (semaphore, all) = match urgency {
            Urgency::Fresh => (&self.fresh, self.fresh_kib),
            Urgency::Straggler | Urgency::Certificate => (&self.stragglers, self.straggler_kib),
        };
        Arc::clone(semaphore).acquire_many_owned(permits(bytes, all)).await.expect("never closed")
    }

    /// The same for a straggler, if there is room now.
    fn try_memory(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.stragglers).try_acquire_many_owned(permits(bytes, self.straggler_kib)).ok()
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EncodeError> + Send + 'static,
    ) -> Result<T, EncodeError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.expect("never closed");
        let done = self.workers.run(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| EncodeError::Worker)?
    }

    /// Encodes a payload: the one that is given, or that of the store, read and checked.
    async fn load(
        &self,
        source: Source<'_>,
        submission: &SignedSubmission,
        geometry: Geometry,
        urgency: Urgency,
    ) -> Result<(Loaded, Option<EncodedBatch>), EncodeError> {
        let order = &submission.submission;
        let length = order.payload_length;
        let memory = self.memory(encoded_bytes(length, geometry), urgency).await;
        let payload = match source {
            Source::Received(payload) => payload,
            Source::Stored(store, upload) => store.read_payload(upload, length).await?,
        };
        // Members of a checked kind get the payload itself; only the header needs it encoded.
        if order.hash_kind.is_checked() && urgency != Urgency::Fresh {
            return Ok((Loaded { payload, encoded: None, _memory: memory }, None));
        }
        let (bytes, batch_hash) = (payload.clone(), order.batch_hash);
        // A batch alone is encoded by all processors, many at once by one each.
        let threads = self.workers.idle();
        let encode = move || Ok(dac_coding::encode_on(threads, geometry, bytes, batch_hash)?);
        let encoded = self.work(encode).await?;
        Ok(if order.hash_kind.is_checked() {
            (Loaded { payload, encoded: None, _memory: memory }, Some(encoded))
        } else {
            let commitment = encoded.clone();
            (Loaded { payload, encoded: Some(encoded), _memory: memory }, Some(commitment))
        })
    }
}

/// One for each KiB. What is larger than all of them takes all.
fn permits(bytes: u64, all_kib: u32) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, all_kib)
}

/// Bytes of a payload of this length with its parity.
fn encoded_bytes(length: u64, geometry: Geometry) -> u64 {
    length * u64::from(geometry.n()).div_ceil(u64::from(geometry.k()))
}

/// Where a payload comes from.
enum Source<'a> {
    /// From the rollup, just now.
    Received(Bytes),
    /// From the store.
    Stored(&'a dyn Store, UploadId),
}

/// Where a batch's payload is found by all who deliver it.
#[derive(Debug)]
pub struct Cargo {
    store: Arc<dyn Store>,
    encoders: Arc<Encoders>,
    upload: UploadId,
    submission: SignedSubmission,
    /// As it came from the rollup, until it is encoded or not needed any more.
    received: Mutex<Option<Bytes>>,
    state: Mutex<CargoState>,
    /// One loads, the others wait for it.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct CargoState {
    /// Whether what is loaded stays in memory between deliveries.
    pinning: bool,
    pinned: Option<Arc<Loaded>>,
    last: Weak<Loaded>,
}

impl Cargo {
    /// Nothing is loaded yet. `received` is the payload, if it has just come from the rollup: its bytes are those of a batch in flight.
    pub fn new(
        store: Arc<dyn Store>,
        encoders: Arc<Encoders>,
        upload: UploadId,
        submission: SignedSubmission,
        received: Option<Bytes>,
    ) -> Self {
        let state = Mutex::new(CargoState { pinning: true, pinned: None, last: Weak::new() });
        let received = Mutex::new(received);
        Self { store, encoders, upload, submission, received, state, loading: tokio::sync::Mutex::default() }
    }

    fn stored(&self) -> Source<'_> {
        Source::Stored(&*self.store, self.upload)
    }

    /// The payload, loaded if it is not in memory. It stays there until [`Cargo::unpin`].
    pub async fn get(&self, geometry: Geometry, urgency: Urgency) -> Result<Arc<Loaded>, EncodeError> {
        let _one = self.loading.lock().await;
        if let Some(loaded) = self.state.lock().last.upgrade() {
            return Ok(loaded);
        }
        let (loaded, _) = self.encoders.load(self.stored(), &self.submission, geometry, urgency).await?;
        Ok(self.keep(loaded))
    }

    /// Gives a fresh batch's memory back, for a call that goes on with a part of it: what that keeps is counted as a straggler's, if
    /// there is room for that.
    pub fn becomes_straggler(&self, loaded: Arc<Loaded>, geometry: Geometry) -> Option<OwnedSemaphorePermit> {
        drop(loaded);
        let length = self.submission.submission.payload_length;
        self.encoders.try_memory(encoded_bytes(length, geometry))
    }

    fn keep(&self, loaded: Loaded) -> Arc<Loaded> {
        let loaded = Arc::new(loaded);
        let mut state = self.state.lock();
        state.last = Arc::downgrade(&loaded);
        state.pinned = state.pinning.then(|| Arc::clone(&loaded));
        loaded
    }

    /// From now on it is held only while somebody sends it.
    pub fn unpin(&self) {
        let mut state = self.state.lock();
        (state.pinning, state.pinned) = (false, None);
        *self.received.lock() = None;
    }

    /// Encodes for a committee, makes the header and signs it.
    pub async fn prepare(
        &self,
        committee: &Committee,
        domain: Domain,
        signer: &Arc<dyn TransactionSigner>,
    ) -> Result<Dispersal, EncodeError> {
        let _one = self.loading.lock().await;
        let geometry = committee.quorum().geometry();
        let received = self.received.lock().take();
        let source = received.map_or_else(|| self.stored(), Source::Received);
        let (loaded, encoded) =
            self.encoders.load(source, &self.submission, geometry, Urgency::Fresh).await?;
        let commitment = encoded.ok_or(EncodeError::Worker)?.commitment().clone();
        let (submission, signer, epoch, quorum) =
            (self.submission.clone(), Arc::clone(signer), committee.epoch(), committee.quorum());
        let dispersal = self
            .encoders
            .work(move || {
                let order = &submission.submission;
                let header = BatchHeader {
                    rollup: order.rollup,
                    batch_number: order.batch_number,
                    epoch,
                    expires_at: order.expires_at,
                    payload_length: order.payload_length,
                    hash_kind: order.hash_kind,
                    batch_hash: order.batch_hash,
                    shard_root: commitment.shard_root,
                    fingerprints_hash: commitment.fingerprints_hash,
                    payload_fingerprint: commitment.payload_fingerprint,
                };
                let digest = header.digest(&domain);
                let signature =
                    signer.sign_hash(&digest.0).map_err(|error| EncodeError::Signing(error.to_string()))?;
                let record = Record {
                    header,
                    shard_hashes: commitment.shard_hashes,
                    row_fingerprints: commitment.row_fingerprints,
                    disperser_signature: EcdsaSignature::try_from(&signature.as_bytes()[..])?,
                    submission,
                    certificate: None,
                };
                record.check_shape(quorum.geometry())?;
                Ok(Dispersal::new(digest, quorum, Arc::new(record)))
            })
            .await?;
        self.state.lock().pinning = true;
        self.keep(loaded);
        Ok(dispersal)
    }
}
