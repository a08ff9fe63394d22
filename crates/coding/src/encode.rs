//! The disperser: payload to shards and commitment, in stripes that stay in the cache; and the check of a whole payload
//! by a member that was sent one.

use bytes::Bytes;
use dac_types::limits::CHUNK_BYTES;
use dac_types::{B256, Geometry, GeometryError, HashKind, RecordShapeError, RowFingerprints, Seat};
use thiserror::Error;

use crate::binding::payload_hash;
use crate::code::Interpolation;
use crate::fingerprint::{Points, fingerprint, fingerprints_hash, payload_fingerprint_of_rows};
use crate::kernels::combine::Combiner;
use crate::merkle::{ShardTree, shard_root};
use crate::record::CheckedRecord;
use crate::shard::{CheckedShard, ShardError};

/// Why a payload cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CodingError {
    /// Empty, or over the limit.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// A length that the encoder itself made does not fit: a fault of this program.
    #[error("encoder: {0}")]
    Shape(#[from] RecordShapeError),
}

/// Why a payload is not the one that a record commits to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// Longer or shorter than the header says.
    #[error("the payload has {got} bytes, the header says {expected}")]
    Length {
        /// In the header.
        expected: u64,
        /// Received.
        got: u64,
    },
    /// Not the payload that the rollup committed to.
    #[error("the payload's {kind} is {got}, the header says {expected}", kind = .kind.name())]
    BatchHash {
        /// Which hash.
        kind: HashKind,
        /// In the header.
        expected: B256,
        /// Of the payload received.
        got: B256,
    },
    /// The disperser committed another shard to this seat.
    #[error("encoded from the payload, the shard of seat {seat} hashes to {got}, the record says {expected}")]
    ShardHash {
        /// First such seat.
        seat: Seat,
        /// In the record.
        expected: B256,
        /// Encoded.
        got: B256,
    },
    /// The disperser committed other row fingerprints.
    #[error("the payload's row fingerprints hash to {got}, the header says {expected}")]
    FingerprintsHash {
        /// In the header.
        expected: B256,
        /// Of the payload.
        got: B256,
    },
    /// The payload's length cannot be encoded at all.
    #[error(transparent)]
    Coding(#[from] CodingError),
    /// The encoded shard of this member fails its own check: a fault of this program or machine.
    #[error("the encoded shard fails the member's check: {0}")]
    OwnShard(#[from] ShardError),
}

/// What a record says of a payload: sections 2 to 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitment {
    /// Hashes of all n shards in seat order.
    pub shard_hashes: Vec<B256>,
    /// The root over them.
    pub shard_root: B256,
    /// z.
    pub row_fingerprints: RowFingerprints,
    /// The hash over z.
    pub fingerprints_hash: B256,
    /// Of the whole payload, 16t bytes.
    pub payload_fingerprint: Vec<u8>,
}

impl Commitment {
    /// Hashes z and adds it up, for shards and fingerprints given.
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

/// A payload's shards and what commits to them. Data shards are slices of the payload.
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
    /// n and k.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Bytes of each shard.
    pub const fn shard_length(&self) -> usize {
        self.shard_length
    }

    /// What goes into header and record.
    pub const fn commitment(&self) -> &Commitment {
        &self.commitment
    }

    /// The shard of a seat, shared.
    ///
    /// # Panics
    ///
    /// If there is no such seat.
    pub fn shard(&self, seat: Seat) -> Bytes {
        if let Some(row) = self.rows.get(seat.index()) {
            return row.clone();
        }
        let start = (seat.index() - self.rows.len()) * self.shard_length;
        self.parity.slice(start..start + self.shard_length)
    }

    /// The tree over the chunks of a seat's shard.
    ///
    /// # Panics
    ///
    /// If there is no such seat.
    pub fn tree(&self, seat: Seat) -> &ShardTree {
        &self.trees[seat.index()]
    }
}

/// Encodes a payload and commits to it.
pub fn encode(geometry: Geometry, payload: Bytes, batch_hash: B256) -> Result<EncodedBatch, CodingError> {
    let payload_length = payload.len() as u64;
    let shard_length = geometry.shard_length(payload_length)?;
    let rows = split_rows(geometry, shard_length, &payload);
    let mut parity = vec![0; shard_length * usize::from(geometry.n() - geometry.k())];
    let trees = {
        let mut outputs: Vec<&mut [u8]> = parity.chunks_exact_mut(shard_length).collect();
        encode_stripes(geometry, shard_length, &rows, |range, combiner, inputs, trees| {
            let mut stripe: Vec<&mut [u8]> =
                outputs.iter_mut().map(|output| &mut output[range.clone()]).collect();
            combiner.apply(inputs, &mut stripe);
            stripe.iter().zip(trees).for_each(|(output, tree)| tree.push_chunk(output));
        })
    };
    let shard_hashes = trees.iter().map(ShardTree::root).collect();
    let commitment = Commitment::new(geometry, payload_length, batch_hash, shard_hashes, |points| {
        fingerprint_rows(points, &rows)
    })?;
    Ok(EncodedBatch { geometry, shard_length, rows, parity: parity.into(), trees, commitment })
}

/// Data rows as slices of the payload; the row in which it ends is a padded copy, and rows beyond share their zeros.
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

/// Goes through the rows chunk by chunk: hashes the data, and lets `parity` encode and hash the other shards.
fn encode_stripes(
    geometry: Geometry,
    shard_length: usize,
    rows: &[Bytes],
    mut parity: impl FnMut(core::ops::Range<usize>, &Combiner, &[&[u8]], &mut [ShardTree]),
) -> Vec<ShardTree> {
    let interpolation = Interpolation::from_rows(geometry);
    let combiner = Combiner::new(
        Seat::all(geometry.n()).skip(rows.len()).map(|seat| interpolation.coefficients(seat)).collect(),
    );
    let mut trees = vec![ShardTree::with_shard_length(shard_length); usize::from(geometry.n())];
    let (data_trees, parity_trees) = trees.split_at_mut(rows.len());
    for start in (0..shard_length).step_by(CHUNK_BYTES) {
        let range = start..(start + CHUNK_BYTES).min(shard_length);
        let inputs: Vec<&[u8]> = rows.iter().map(|row| &row[range.clone()]).collect();
        parity(range, &combiner, &inputs, parity_trees);
        inputs.iter().zip(&mut *data_trees).for_each(|(chunk, tree)| tree.push_chunk(chunk));
    }
    trees
}

fn fingerprint_rows(points: &Points, rows: &[Bytes]) -> Vec<u8> {
    rows.iter().flat_map(|row| fingerprint(points, row).as_bytes().to_vec()).collect()
}

/// Length and, for the checked kinds, hash.
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

/// What was encoded from the payload is what the record commits to.
fn check_commitment(record: &CheckedRecord, encoded: &Commitment) -> Result<(), PayloadError> {
    let committed = record.record();
    for ((seat, expected), got) in
        Seat::all(record.geometry().n()).zip(&committed.shard_hashes).zip(&encoded.shard_hashes)
    {
        if got != expected {
            return Err(PayloadError::ShardHash { seat, expected: *expected, got: *got });
        }
    }
    // Of equal root and z, everything else that the record was checked for follows.
    if encoded.row_fingerprints != committed.row_fingerprints {
        let expected = committed.header.fingerprints_hash;
        return Err(PayloadError::FingerprintsHash { expected, got: encoded.fingerprints_hash });
    }
    Ok(())
}

/// The check of a member that was sent the whole payload: length, batch hash of the checked kinds, and everything that
/// the record commits to, encoded again and compared.
pub fn check_payload(record: &CheckedRecord, payload: Bytes) -> Result<EncodedBatch, PayloadError> {
    check_length_and_hash(record, &payload)?;
    let encoded = encode(record.geometry(), payload, record.header().batch_hash)?;
    check_commitment(record, &encoded.commitment)?;
    Ok(encoded)
}

/// As [`check_payload`], for a member that keeps one shard only: of the others it holds a stripe at a time.
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
    let mut scratch = vec![0; CHUNK_BYTES * usize::from(geometry.n() - geometry.k())];
    let own_parity = seat.index().checked_sub(rows.len());
    let mut own = Vec::with_capacity(if own_parity.is_some() { shard_length } else { 0 });
    let trees = encode_stripes(geometry, shard_length, &rows, |range, combiner, inputs, trees| {
        let mut stripe: Vec<&mut [u8]> =
            scratch.chunks_exact_mut(CHUNK_BYTES).map(|output| &mut output[..range.len()]).collect();
        combiner.apply(inputs, &mut stripe);
        stripe.iter().zip(trees).for_each(|(output, tree)| tree.push_chunk(output));
        own.extend_from_slice(own_parity.map_or(&[], |index| &*stripe[index]));
    });
    let header = record.header();
    let shard_hashes = trees.iter().map(ShardTree::root).collect();
    let commitment =
        Commitment::new(geometry, header.payload_length, header.batch_hash, shard_hashes, |points| {
            fingerprint_rows(points, &rows)
        })?;
    check_commitment(record, &commitment)?;
    // A data row is copied, so that one shard does not keep the payload in memory.
    let own = if own_parity.is_some() { own } else { rows[seat.index()].to_vec() };
    Ok(CheckedShard::check(record, seat, own.into())?)
}
