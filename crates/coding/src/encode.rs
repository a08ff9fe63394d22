//! Encoding of a payload to shards and commitment, in stripes that stay in the cache; and the check
//! of a whole payload by a member that received one.

use std::num::NonZeroUsize;
use std::ops::Range;

use bytes::Bytes;
use dac_types::limits::CHUNK_BYTES;
use dac_types::{B256, Geometry, GeometryError, HashKind, RecordShapeError, RowFingerprints, Seat};
use thiserror::Error;

use crate::binding::payload_hash;
use crate::code::Interpolation;
use crate::fingerprint::{Points, fingerprints_hash, fingerprints_of_rows, payload_fingerprint_of_rows};
use crate::kernels::combine::Combiner;
use crate::merkle::{ShardTree, shard_root};
use crate::record::CheckedRecord;
use crate::shard::{CheckedShard, ShardError};

/// The reasons why a payload cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodingError {
    /// The payload is empty or longer than 64 MiB.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// A length that the encoder itself made does not fit. Only a fault of this program can cause
    /// this.
    #[error("encoder: {0}")]
    Shape(#[from] RecordShapeError),
}

/// The reasons why a payload is not the one that a record commits to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// The payload does not have the length in the header.
    #[error("the payload has {got} bytes, the header says {expected}")]
    Length {
        /// The length in the header, in bytes.
        expected: u64,
        /// The length that was received, in bytes.
        got: u64,
    },
    /// The payload does not have the hash to which the rollup committed.
    #[error("the payload's {kind} is {got}, the header says {expected}", kind = .kind.name())]
    BatchHash {
        /// The kind of the hash.
        kind: HashKind,
        /// The hash in the header.
        expected: B256,
        /// The hash of the received payload.
        got: B256,
    },
    /// The disperser committed to a different shard for this seat.
    #[error("encoded from the payload, the shard of seat {seat} hashes to {got}, the record says {expected}")]
    ShardHash {
        /// The lowest such seat.
        seat: Seat,
        /// The shard hash in the record.
        expected: B256,
        /// The hash of the shard that was encoded from the payload.
        got: B256,
    },
    /// The disperser committed to different row fingerprints.
    #[error("the payload's row fingerprints hash to {got}, the header says {expected}")]
    FingerprintsHash {
        /// The hash in the header.
        expected: B256,
        /// The hash of the payload's row fingerprints.
        got: B256,
    },
    /// The payload's length cannot be encoded.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The encoded shard of this member fails its own check. Only a fault of this program or
    /// machine can cause this, or a seat that does not exist.
    #[error("the encoded shard fails the member's check: {0}")]
    OwnShard(#[from] ShardError),
}

/// The values in a record that commit to a payload. See sections 2 to 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// The hashes of all n shards in seat order.
    pub shard_hashes: Vec<B256>,
    /// The Merkle root over the shard hashes.
    pub shard_root: B256,
    /// z, the fingerprints of the k rows.
    pub row_fingerprints: RowFingerprints,
    /// The hash over z.
    pub fingerprints_hash: B256,
    /// The fingerprint of the whole payload, 16t bytes.
    pub payload_fingerprint: Vec<u8>,
}

impl Commitment {
    /// Computes the rest of a commitment from the shard hashes and the row fingerprints z.
    pub(crate) fn new(
        geometry: Geometry,
        payload_length: u64,
        batch_hash: B256,
        shard_hashes: Vec<B256>,
        row_fingerprints: impl FnOnce(&Points) -> Vec<u8>,
    ) -> Result<Self, CodingError> {
        let shard_length = geometry.shard_length(payload_length)?;
        let shard_root = shard_root(&shard_hashes);
        let points = Points::from_record(shard_root, batch_hash, payload_length, geometry);
        let row_fingerprints = RowFingerprints::new(geometry, row_fingerprints(&points))?;
        let z = row_fingerprints.as_bytes();
        Ok(Self {
            fingerprints_hash: fingerprints_hash(z),
            payload_fingerprint: payload_fingerprint_of_rows(&points, shard_length, z).as_bytes().to_vec(),
            shard_hashes,
            shard_root,
            row_fingerprints,
        })
    }
}

/// A payload's shards and the commitment to them. Data shards are slices of the payload.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    geometry: Geometry,
    shard_length: usize,
    rows: Vec<Bytes>,
    parity: Bytes,
    trees: Vec<ShardTree>,
    commitment: Commitment,
}

impl EncodedBatch {
    /// Returns n and k.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Returns the length of each shard in bytes.
    pub const fn shard_length(&self) -> usize {
        self.shard_length
    }

    /// Returns the values for the header and the record.
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// Returns the shard of a seat, without copying it.
    ///
    /// # Panics
    ///
    /// It panics if there is no such seat.
    pub fn shard(&self, seat: Seat) -> Bytes {
        if let Some(row) = self.rows.get(seat.index()) {
            return row.clone();
        }
        let start = (seat.index() - self.rows.len()) * self.shard_length;
        self.parity.slice(start..start + self.shard_length)
    }

    /// Returns the tree over the chunks of a seat's shard.
    ///
    /// # Panics
    ///
    /// It panics if there is no such seat.
    pub fn tree(&self, seat: Seat) -> &ShardTree {
        &self.trees[seat.index()]
    }
}

/// Encodes a payload and commits to it, on the calling thread.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use dac_coding::encode;
/// use dac_types::{B256, Geometry, Seat};
///
/// // Any 3 of 7 shards give the payload back.
/// let geometry = Geometry::new(7, 3)?;
/// let payload = Bytes::from_static(b"transactions of a rollup, as bytes of its own format");
/// let batch_hash = B256::repeat_byte(7); // the rollup's own hash of the payload
/// let batch = encode(geometry, payload.clone(), batch_hash)?;
///
/// // The code is systematic: the first three shards are the payload itself, padded with zeros.
/// assert_eq!(batch.shard(Seat(0)), payload[..batch.shard_length()]);
/// // The commitment is what a header says of the shards, and what members sign.
/// assert_eq!(batch.commitment().shard_hashes.len(), 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encode(geometry: Geometry, payload: Bytes, batch_hash: B256) -> Result<EncodedBatch, CodingError> {
    encode_on(NonZeroUsize::MIN, geometry, payload, batch_hash)
}

/// Does what [`encode`] does, on at most `threads` threads: the calling one, and others that end
/// before this returns. Small payloads use fewer.
pub fn encode_on(
    threads: NonZeroUsize,
    geometry: Geometry,
    payload: Bytes,
    batch_hash: B256,
) -> Result<EncodedBatch, CodingError> {
    let payload_length = payload.len() as u64;
    let shard_length = geometry.shard_length(payload_length)?;
    let rows = split_rows(geometry, shard_length, &payload);
    let parts = threads.get().min(payload.len() / THREAD_MIN_BYTES).max(1);
    let stripes = Stripes::new(geometry, shard_length, &rows);
    let mut parity = vec![0; shard_length * usize::from(geometry.n() - geometry.k())];
    let mut outputs: Vec<&mut [u8]> = parity.chunks_exact_mut(shard_length).collect();
    // Each part has the same columns of all shards.
    let work = stripes.parts(parts).map(|columns| {
        let part: Vec<&mut [u8]> = outputs
            .iter_mut()
            .map(|output| output.split_off_mut(..columns.len()).expect("of the shard's length"))
            .collect();
        (columns, part)
    });
    let parts_of_trees = on_threads(work.collect(), |(columns, mut outputs)| {
        let start = columns.start;
        stripes.each(columns, |range, inputs, trees| {
            let mut stripe: Vec<&mut [u8]> = outputs
                .iter_mut()
                .map(|output| &mut output[range.start - start..range.end - start])
                .collect();
            stripes.combiner.apply(inputs, &mut stripe);
            hash_stripe(trees, inputs, &stripe);
        })
    });
    let trees = join_trees(geometry, shard_length, parts_of_trees);
    let shard_hashes = trees.iter().map(ShardTree::root).collect();
    let commitment = Commitment::new(geometry, payload_length, batch_hash, shard_hashes, |points| {
        let work = rows.chunks(rows.len().div_ceil(parts)).collect();
        on_threads(work, |rows: &[Bytes]| {
            fingerprints_of_rows(points, shard_length, rows.iter().map(|row| &**row))
        })
        .concat()
    })?;
    Ok(EncodedBatch { geometry, shard_length, rows, parity: parity.into(), trees, commitment })
}

/// The smallest number of payload bytes for which a further thread is worth its cost.
const THREAD_MIN_BYTES: usize = 512 << 10;

/// Does the first piece of work on this thread and each other on a thread of its own.
fn on_threads<W: Send, R: Send>(work: Vec<W>, each: impl Fn(W) -> R + Sync) -> Vec<R> {
    let mut work = work.into_iter();
    let Some(first) = work.next() else { return Vec::new() };
    std::thread::scope(|scope| {
        let each = &each;
        let others: Vec<_> = work.map(|work| scope.spawn(move || each(work))).collect();
        let mut results = vec![each(first)];
        results.extend(
            others
                .into_iter()
                .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        results
    })
}

/// Joins the trees of parts, in order, to the trees of whole shards.
fn join_trees(geometry: Geometry, shard_length: usize, parts: Vec<Vec<ShardTree>>) -> Vec<ShardTree> {
    let mut trees = vec![ShardTree::with_shard_length(shard_length); usize::from(geometry.n())];
    for (tree, part) in parts.into_iter().flat_map(|part| part.into_iter().enumerate()) {
        trees[tree].append(part);
    }
    trees
}

/// Returns the data rows as slices of the payload. The row in which the payload ends is a padded
/// copy, and the rows after it share one row of zeros.
fn split_rows(geometry: Geometry, shard_length: usize, payload: &Bytes) -> Vec<Bytes> {
    let mut zeros = None;
    (0..usize::from(geometry.k()))
        .map(|row| {
            let start = (row * shard_length).min(payload.len());
            let end = (start + shard_length).min(payload.len());
            if end - start == shard_length {
                payload.slice(start..end)
            } else if start < end {
                let mut padded = payload[start..end].to_vec();
                padded.resize(shard_length, 0);
                padded.into()
            } else {
                zeros.get_or_insert_with(|| Bytes::from(vec![0; shard_length])).clone()
            }
        })
        .collect()
}

/// The smallest number of chunks of all shards together in a stripe. It is large enough that
/// hashing them costs the same for each, however many there are.
const STRIPE_MIN_CHUNKS: usize = 64;

fn hash_stripe(trees: &mut [ShardTree], data: &[&[u8]], parity: &[&mut [u8]]) {
    let stripe: Vec<&[u8]> = data.iter().copied().chain(parity.iter().map(|output| &**output)).collect();
    ShardTree::push_stripe(trees, &stripe);
}

/// The rows of a batch, cut into stripes. A stripe of all shards together is small enough for the
/// L2 cache.
struct Stripes<'a> {
    geometry: Geometry,
    shard_length: usize,
    rows: &'a [Bytes],
    /// The matrix that turns the rows into the parity shards.
    combiner: Combiner,
    /// Bytes of each shard in a stripe.
    width_bytes: usize,
}

impl<'a> Stripes<'a> {
    fn new(geometry: Geometry, shard_length: usize, rows: &'a [Bytes]) -> Self {
        let interpolation = Interpolation::from_rows(geometry);
        let parity = Seat::all(geometry.n()).skip(rows.len());
        let combiner = Combiner::new(parity.map(|seat| interpolation.coefficients(seat)).collect());
        let width_bytes = CHUNK_BYTES * STRIPE_MIN_CHUNKS.div_ceil(usize::from(geometry.n()));
        Self { geometry, shard_length, rows, combiner, width_bytes }
    }

    /// Divides the columns of the shards into at most `parts` ranges of whole stripes, in order.
    fn parts(&self, parts: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let stripes = self.shard_length.div_ceil(self.width_bytes);
        let (length, part_bytes) = (self.shard_length, self.width_bytes * stripes.div_ceil(parts));
        (0..length).step_by(part_bytes).map(move |start| start..(start + part_bytes).min(length))
    }

    /// Calls `encode` for each stripe of these columns, to encode and hash it. Returns the trees of
    /// all shards.
    fn each(
        &self,
        columns: Range<usize>,
        mut encode: impl FnMut(Range<usize>, &[&[u8]], &mut [ShardTree]),
    ) -> Vec<ShardTree> {
        let mut trees = vec![ShardTree::with_shard_length(columns.len()); usize::from(self.geometry.n())];
        for start in columns.clone().step_by(self.width_bytes) {
            let range = start..(start + self.width_bytes).min(columns.end);
            let inputs: Vec<&[u8]> = self.rows.iter().map(|row| &row[range.clone()]).collect();
            encode(range, &inputs, &mut trees);
        }
        trees
    }
}

/// Checks the length and, for checked hash kinds, the hash.
fn check_length_and_hash(record: &CheckedRecord, payload: &[u8]) -> Result<(), PayloadError> {
    let header = record.header();
    let (expected, got) = (header.payload_length, payload.len() as u64);
    if got != expected {
        return Err(PayloadError::Length { expected, got });
    }
    let (kind, expected) = (header.hash_kind, header.batch_hash);
    match payload_hash(kind, payload) {
        Some(got) if got != expected => Err(PayloadError::BatchHash { kind, expected, got }),
        _ => Ok(()),
    }
}

/// Checks that the record commits to what was encoded from the payload.
fn check_commitment(record: &CheckedRecord, encoded: &Commitment) -> Result<(), PayloadError> {
    let committed = record.record();
    for ((seat, expected), got) in
        Seat::all(record.geometry().n()).zip(&committed.shard_hashes).zip(&encoded.shard_hashes)
    {
        if got != expected {
            return Err(PayloadError::ShardHash { seat, expected: *expected, got: *got });
        }
    }
    // If root and z are equal, all other values that were checked in the record are equal too.
    if encoded.row_fingerprints != committed.row_fingerprints {
        let expected = committed.header.fingerprints_hash;
        return Err(PayloadError::FingerprintsHash { expected, got: encoded.fingerprints_hash });
    }
    Ok(())
}

/// Checks a whole payload that a member received: its length, its hash for checked kinds, and all
/// values that the record commits to. They are computed from the payload and compared.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use dac_coding::{CheckedRecord, PayloadError, check_payload, encode};
/// use dac_types::{B256, Geometry};
///
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/record.rs")); }
/// # use support::record_of;
/// let geometry = Geometry::new(7, 3)?;
/// let payload = Bytes::from_static(b"transactions of a rollup");
/// let batch = encode(geometry, payload.clone(), B256::repeat_byte(7))?;
/// let record = CheckedRecord::check(record_of(&batch, payload.len() as u64), geometry)?;
///
/// assert!(check_payload(&record, payload).is_ok());
/// let other = Bytes::from_static(b"transactions of another.");
/// assert!(matches!(check_payload(&record, other), Err(PayloadError::ShardHash { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_payload(record: &CheckedRecord, payload: Bytes) -> Result<EncodedBatch, PayloadError> {
    check_length_and_hash(record, &payload)?;
    let encoded = encode(record.geometry(), payload, record.header().batch_hash)?;
    check_commitment(record, &encoded.commitment)?;
    Ok(encoded)
}

/// Does what [`check_payload`] does, for a member that keeps only one shard. It holds only one
/// stripe of the other shards at a time.
pub fn check_payload_for_seat(
    record: &CheckedRecord,
    payload: Bytes,
    seat: Seat,
) -> Result<CheckedShard, PayloadError> {
    let (geometry, shard_length) = (record.geometry(), record.shard_length());
    if seat.index() >= usize::from(geometry.n()) {
        return Err(ShardError::Seat { seat, n: geometry.n() }.into());
    }
    check_length_and_hash(record, &payload)?;
    let rows = split_rows(geometry, shard_length, &payload);
    let stripes = Stripes::new(geometry, shard_length, &rows);
    let mut scratch = vec![0; stripes.width_bytes * usize::from(geometry.n() - geometry.k())];
    let own_parity = seat.index().checked_sub(rows.len());
    let mut own = Vec::with_capacity(if own_parity.is_some() { shard_length } else { 0 });
    let trees = stripes.each(0..shard_length, |range, inputs, trees| {
        let mut stripe: Vec<&mut [u8]> =
            scratch.chunks_exact_mut(stripes.width_bytes).map(|output| &mut output[..range.len()]).collect();
        stripes.combiner.apply(inputs, &mut stripe);
        hash_stripe(trees, inputs, &stripe);
        own.extend_from_slice(own_parity.map_or(&[], |index| &*stripe[index]));
    });
    let header = record.header();
    let shard_hashes = trees.iter().map(ShardTree::root).collect();
    let commitment =
        Commitment::new(geometry, header.payload_length, header.batch_hash, shard_hashes, |points| {
            fingerprints_of_rows(points, shard_length, rows.iter().map(|row| &**row))
        })?;
    check_commitment(record, &commitment)?;
    // A data row is copied so that the shard does not keep the whole payload in memory.
    let own = if own_parity.is_some() { own } else { rows[seat.index()].to_vec() };
    Ok(CheckedShard::check(record, seat, own.into())?)
}
