//! Prepares a stored payload for its members: reads and checks it, encodes it on a worker thread,
//! and makes and signs the header. A payload that was just received is encoded from memory and not
//! read back.
//!
//! Encoded payloads are the bulk of this process's memory. All deliveries of a batch share one, and
//! it counts against a budget of which each rollup has a limited share. It is dropped as soon as
//! the batch has its certificate or too few members would take it. For slow members and later
//! attempts it is loaded again.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use dac_admission::{QueueLimits, Refused};
use dac_chain::TransactionSigner;
use dac_coding::{CodingError, EncodedBatch};
use dac_runtime::workers::Workers;
use dac_types::{
    Address, BatchHeader, BatchSubmission, Committee, Domain, EcdsaSignature, EcdsaSignatureError, Geometry,
    Record, Seat, SignedSubmission,
};
use parking_lot::Mutex;
use thiserror::Error;

use crate::batch::Dispersal;
use crate::budget::{Budget, Held, Part, Turns};
use crate::members::Urgency;
use crate::store::{Store, StoreError, UploadId};

/// Why a payload could not be loaded or encoded, or a header not be made.
#[derive(Debug, Error)]
pub enum EncodeError {
    /// The payload cannot be read from the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The payload cannot be encoded.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The disperser's key refused to sign the header.
    #[error("signing the header: {0}")]
    Signing(String),
    /// The disperser's key returned bytes that are no signature.
    #[error("signing the header: {0}")]
    Signature(#[from] EcdsaSignatureError),
    /// What the encoder made does not fit the committee's number of seats.
    #[error("the encoder: {0}")]
    Shape(#[from] dac_types::RecordShapeError),
    /// The queue for memory is full.
    #[error("memory for an encoded payload: {0}")]
    Crowded(#[from] Refused<Address>),
    /// A worker panicked or the process is stopping.
    #[error("the encoding worker ended early")]
    Worker,
}

/// A payload in memory. It is encoded unless members are to get the whole payload.
#[derive(Debug)]
pub struct Loaded {
    payload: Bytes,
    encoded: Option<EncodedBatch>,
    _memory: Held,
}

impl Loaded {
    /// Returns what a seat is sent: its shard, or the whole payload if members must check its hash.
    pub fn body(&self, seat: Seat) -> Bytes {
        self.encoded.as_ref().map_or_else(|| self.payload.clone(), |encoded| encoded.shard(seat))
    }
}

/// The fewest bytes that a batch counts as, because its tasks and its record take memory as well.
const BATCH_MIN_BYTES: u64 = 16 << 10;
/// The length of the queue of batches that wait for memory. Batches that find it full ask again
/// later.
const QUEUE: QueueLimits = QueueLimits { total: 4096, per_party: 1024 };

/// Limits the number of encodings at once and the bytes of encoded payloads.
#[derive(Debug)]
pub struct Encoders {
    workers: Workers,
    turns: Turns,
    fresh: Budget,
    stragglers: Budget,
}

impl Encoders {
    /// Makes the budgets for encodings that run at once and for encoded bytes. Batches that wait
    /// for their certificate and stragglers have separate budgets.
    pub fn new(workers: Workers, at_once: usize, fresh_bytes: u64, straggler_bytes: u64) -> Self {
        Self {
            workers,
            turns: Turns::new(at_once, Part::Whole),
            fresh: Budget::with_queue(fresh_bytes, Part::ThreeQuarters, QUEUE),
            stragglers: Budget::with_queue(straggler_bytes, Part::ThreeQuarters, QUEUE),
        }
    }

    const fn memory(&self, urgency: Urgency) -> &Budget {
        match urgency {
            Urgency::Fresh => &self.fresh,
            Urgency::Straggler | Urgency::Certificate => &self.stragglers,
        }
    }

    /// Returns the bytes of encoded payloads of batches that wait for their certificate, and the
    /// number of batches that wait for such memory.
    pub fn fresh_use(&self) -> (u64, usize) {
        (self.fresh.used(), self.fresh.waiting())
    }

    async fn work<T: Send + 'static>(
        &self,
        rollup: Address,
        work: impl FnOnce() -> Result<T, EncodeError> + Send + 'static,
    ) -> Result<T, EncodeError> {
        let turn = self.turns.take(rollup).await;
        let done = self.workers.run(move || {
            let _turn = turn;
            work()
        });
        done.await.map_err(|_| EncodeError::Worker)?
    }

    /// Waits until there is memory for `bytes` bytes; then reads the payload from the store and
    /// checks it, unless the caller gives it.
    async fn fetch(
        &self,
        source: Source<'_>,
        order: &BatchSubmission,
        bytes: u64,
        urgency: Urgency,
    ) -> Result<(Bytes, Held), EncodeError> {
        let memory = self.memory(urgency).take(order.rollup, bytes.max(BATCH_MIN_BYTES)).await?;
        let payload = match source {
            Source::Received(payload) => payload,
            Source::Stored(store, upload) => store.read_payload(upload, order.payload_length).await?,
        };
        Ok((payload, memory))
    }

    async fn encode(
        &self,
        payload: Bytes,
        order: &BatchSubmission,
        geometry: Geometry,
    ) -> Result<EncodedBatch, EncodeError> {
        // A single batch is encoded on all idle processors; many batches at once get one processor
        // each.
        let (threads, batch_hash) = (self.workers.idle(), order.batch_hash);
        self.work(order.rollup, move || Ok(dac_coding::encode_on(threads, geometry, payload, batch_hash)?))
            .await
    }
}

/// Returns the bytes of all n shards of a payload of this length.
fn encoded_bytes(length: u64, geometry: Geometry) -> u64 {
    length * u64::from(geometry.n()).div_ceil(u64::from(geometry.k()))
}

/// The place that a payload is taken from.
enum Source<'a> {
    /// The payload, which the rollup has just uploaded.
    Received(Bytes),
    /// The store, and the payload's name in it.
    Stored(&'a dyn Store, UploadId),
}

/// The payload of one batch, which all its deliveries share.
#[derive(Debug)]
pub struct EncodedPayload {
    store: Arc<dyn Store>,
    encoders: Arc<Encoders>,
    upload: UploadId,
    submission: SignedSubmission,
    /// The payload as the rollup uploaded it, until it is encoded or not needed any more.
    received: Mutex<Option<Bytes>>,
    state: Mutex<PayloadState>,
    /// Held by the one delivery that loads the payload, while others wait for it.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct PayloadState {
    /// Whether a loaded payload stays in memory between deliveries.
    pinning: bool,
    pinned: Option<Arc<Loaded>>,
    last: Weak<Loaded>,
}

impl EncodedPayload {
    /// Makes the shared payload of a batch, with nothing loaded. `received` is the payload if the
    /// rollup has just uploaded it; its bytes count as in flight.
    pub fn new(
        store: Arc<dyn Store>,
        encoders: Arc<Encoders>,
        upload: UploadId,
        submission: SignedSubmission,
        received: Option<Bytes>,
    ) -> Self {
        let state = Mutex::new(PayloadState { pinning: true, pinned: None, last: Weak::new() });
        let received = Mutex::new(received);
        Self { store, encoders, upload, submission, received, state, loading: tokio::sync::Mutex::default() }
    }

    fn stored(&self) -> Source<'_> {
        Source::Stored(&*self.store, self.upload)
    }

    /// Returns the payload, and loads it if it is not in memory. It stays in memory until
    /// [`EncodedPayload::unpin`].
    pub async fn get(&self, geometry: Geometry, urgency: Urgency) -> Result<Arc<Loaded>, EncodeError> {
        let _one = self.loading.lock().await;
        if let Some(loaded) = self.state.lock().last.upgrade() {
            return Ok(loaded);
        }
        let (order, encoders) = (&self.submission.submission, &self.encoders);
        // Members that must check the payload's hash get the payload itself.
        let is_encoded = !order.hash_kind.is_checked();
        let bytes = self.bytes(is_encoded, geometry);
        let (payload, memory) = encoders.fetch(self.stored(), order, bytes, urgency).await?;
        let encoded = match is_encoded {
            true => Some(encoders.encode(payload.clone(), order, geometry).await?),
            false => None,
        };
        Ok(self.keep(Loaded { payload, encoded, _memory: memory }))
    }

    /// Returns the bytes that the payload takes in memory, encoded or not.
    fn bytes(&self, is_encoded: bool, geometry: Geometry) -> u64 {
        let length = self.submission.submission.payload_length;
        if is_encoded { encoded_bytes(length, geometry) } else { length }
    }

    /// Returns whether the payload is in memory now.
    pub fn is_in_memory(&self) -> bool {
        self.state.lock().last.strong_count() > 0
    }

    /// Moves the memory of a call that outlives its batch's certificate to the stragglers' budget.
    /// Returns none if that has no room.
    pub fn becomes_straggler(&self, loaded: Arc<Loaded>, geometry: Geometry) -> Option<Held> {
        let is_encoded = loaded.encoded.is_some();
        drop(loaded);
        let bytes = self.bytes(is_encoded, geometry).max(BATCH_MIN_BYTES);
        self.encoders.stragglers.try_take(self.submission.submission.rollup, bytes).ok()
    }

    fn keep(&self, loaded: Loaded) -> Arc<Loaded> {
        let loaded = Arc::new(loaded);
        let mut state = self.state.lock();
        state.last = Arc::downgrade(&loaded);
        state.pinned = state.pinning.then(|| Arc::clone(&loaded));
        loaded
    }

    /// From now on keeps the payload in memory only while a call sends it, because the batch is
    /// certified or too few members would take it for now.
    pub fn unpin(&self) {
        let mut state = self.state.lock();
        (state.pinning, state.pinned) = (false, None);
        *self.received.lock() = None;
    }

    /// Encodes the payload for a committee, makes the header and signs it.
    pub async fn prepare(
        &self,
        committee: &Committee,
        domain: Domain,
        signer: &Arc<dyn TransactionSigner>,
    ) -> Result<Dispersal, EncodeError> {
        let _one = self.loading.lock().await;
        let geometry = committee.quorum().geometry();
        let (order, encoders) = (&self.submission.submission, &self.encoders);
        // `received` keeps the payload until there is memory, so that a task that is cancelled
        // before loses nothing.
        let received = self.received.lock().clone();
        let source = received.map_or_else(|| self.stored(), Source::Received);
        let bytes = self.bytes(true, geometry);
        let (payload, mut memory) = encoders.fetch(source, order, bytes, Urgency::Fresh).await?;
        let encoded = encoders.encode(payload.clone(), order, geometry).await?;
        *self.received.lock() = None;
        let commitment = encoded.commitment().clone();
        let loaded = if order.hash_kind.is_checked() {
            drop(encoded);
            // Shrinking a hold never fails.
            let _ = memory.resize(memory.amount().min(self.bytes(false, geometry).max(BATCH_MIN_BYTES)));
            Loaded { payload, encoded: None, _memory: memory }
        } else {
            Loaded { payload, encoded: Some(encoded), _memory: memory }
        };
        let (submission, signer, epoch, quorum) =
            (self.submission.clone(), Arc::clone(signer), committee.epoch(), committee.quorum());
        let dispersal = self
            .encoders
            .work(order.rollup, move || {
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
