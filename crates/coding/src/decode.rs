//! Decoding and repair of checked shards. The verdict on a batch does not depend on which shards
//! are used.

use bytes::Bytes;
use dac_types::limits::{BLOCK_BYTES, CHUNK_BYTES};
use dac_types::{B256, Seat};
use thiserror::Error;

use crate::binding::payload_hash;
use crate::code::Interpolation;
use crate::fingerprint::fingerprint;
use crate::kernels::combine::Combiner;
use crate::record::CheckedRecord;
use crate::shard::{CheckedShard, ShardError};

/// The verdict that the disperser committed to something that is not a payload. Every process that
/// decodes the batch comes to this verdict, from any shards that pass the member's check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Bytes beyond the payload's length are not zero.
    #[error("the decoded byte at {offset} lies beyond the payload's {length} bytes and is not zero")]
    Padding {
        /// The offset of the first such byte in the padded payload.
        offset: usize,
        /// The length of the payload in bytes.
        length: usize,
    },
    /// The payload does not have the batch hash. Only checked hash kinds can fail in this way.
    #[error("the decoded payload hashes to {got}, the header says {expected}")]
    BatchHash {
        /// The hash in the header.
        expected: B256,
        /// The hash of the decoded payload.
        got: B256,
    },
}

/// The reasons why shards do not decode to a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Fewer than k distinct shards were given.
    #[error("{needed} shards rebuild this batch, got {got}")]
    TooFewShards {
        /// The number k of shards that are needed.
        needed: usize,
        /// The number of shards that were given.
        got: usize,
    },
    /// Two shards belong to the same seat.
    #[error("two shards of seat {seat}")]
    DuplicateSeat {
        /// The seat that was given twice.
        seat: Seat,
    },
    /// A shard was checked against another batch.
    #[error("the shard of seat {seat} was checked against another batch")]
    OtherBatch {
        /// The seat of that shard.
        seat: Seat,
    },
    /// The batch itself is malformed.
    #[error("MALFORMED: {0}")]
    Malformed(#[from] Malformed),
    /// A decoded row has the wrong fingerprint although every shard passed. Only a fault of this
    /// machine can cause this.
    #[error("row {row} was decoded wrongly: a fault of this machine")]
    Computation {
        /// The row that was decoded wrongly.
        row: Seat,
    },
}

/// The reasons why a shard cannot be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RebuildError {
    /// The shards to start from are not usable.
    #[error(transparent)]
    Sources(DecodeError),
    /// The committee has no such seat.
    #[error("seat {seat} does not exist in a committee of {n}")]
    Seat {
        /// The seat that was asked for.
        seat: Seat,
        /// The number of seats of the committee.
        n: u16,
    },
    /// The verdict BAD: the bytes to which the disperser committed for this seat do not match the
    /// other shards, so the seat's shard cannot exist.
    #[error("BAD: the shard of seat {seat} is rebuilt as {got}, the record commits to {expected}")]
    BadSeat {
        /// The seat without a shard.
        seat: Seat,
        /// The shard hash in the record.
        expected: B256,
        /// The hash of the rebuilt shard.
        got: B256,
    },
    /// The verdict MALFORMED: the rebuilt shard is the committed one, and its padding is not zero.
    #[error("MALFORMED: {0}")]
    Malformed(#[from] Malformed),
    /// The rebuilt shard fails a check that the code guarantees. Only a fault of this machine can
    /// cause this.
    #[error("the shard was rebuilt wrongly, a fault of this machine: {0}")]
    Computation(ShardError),
}

/// Returns k of the shards in seat order, so that data rows are preferred. Checks that the shards
/// are usable.
fn choose<'a>(
    record: &CheckedRecord,
    shards: &'a [CheckedShard],
) -> Result<Vec<&'a CheckedShard>, DecodeError> {
    let mut chosen: Vec<&CheckedShard> = shards.iter().collect();
    chosen.sort_unstable_by_key(|shard| shard.seat());
    if let Some(pair) = chosen.windows(2).find(|pair| pair[0].seat() == pair[1].seat()) {
        return Err(DecodeError::DuplicateSeat { seat: pair[0].seat() });
    }
    if let Some(stranger) = chosen.iter().find(|shard| !shard.belongs_to(record)) {
        return Err(DecodeError::OtherBatch { seat: stranger.seat() });
    }
    let (needed, got) = (usize::from(record.geometry().k()), chosen.len());
    if got < needed {
        return Err(DecodeError::TooFewShards { needed, got });
    }
    chosen.truncate(needed);
    Ok(chosen)
}

fn interpolation(sources: &[&CheckedShard]) -> Interpolation {
    Interpolation::from_sources(sources.iter().map(|shard| shard.seat()).collect())
}

/// Computes the outputs chunk by chunk, so that the sources stay in the cache while every output
/// uses them.
fn combine(combiner: &Combiner, sources: &[&CheckedShard], outputs: &mut [&mut [u8]], length: usize) {
    for start in (0..length).step_by(CHUNK_BYTES) {
        let range = start..(start + CHUNK_BYTES).min(length);
        let inputs: Vec<&[u8]> = sources.iter().map(|shard| &shard.bytes()[range.clone()]).collect();
        let mut stripe: Vec<&mut [u8]> =
            outputs.iter_mut().map(|output| &mut output[range.clone()]).collect();
        combiner.apply(&inputs, &mut stripe);
    }
}

/// Decodes the payload from any k checked shards (more may be given), and checks the decoded
/// payload.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use dac_coding::{CheckedRecord, CheckedShard, decode, encode};
/// use dac_types::{B256, Geometry, Seat};
///
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/record.rs")); }
/// # use support::record_of;
/// let geometry = Geometry::new(7, 3)?;
/// let payload = Bytes::from_static(b"transactions of a rollup");
/// let batch = encode(geometry, payload.clone(), B256::repeat_byte(7))?;
///
/// // A reader has a record and some shards from members, and believes neither.
/// let record = CheckedRecord::check(record_of(&batch, payload.len() as u64), geometry)?;
/// let mut shards = Vec::new();
/// for seat in [Seat(1), Seat(4), Seat(6)] {
///     shards.push(CheckedShard::check(&record, seat, batch.shard(seat))?);
/// }
/// assert_eq!(decode(&record, &shards)?, payload);
///
/// // Two shards are too few, and a shard of another seat does not pass its check.
/// assert!(decode(&record, &shards[..2]).is_err());
/// assert!(CheckedShard::check(&record, Seat(5), batch.shard(Seat(4))).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decode(record: &CheckedRecord, shards: &[CheckedShard]) -> Result<Bytes, DecodeError> {
    let sources = choose(record, shards)?;
    let (k, shard_length) = (record.geometry().k(), record.shard_length());
    let mut payload = vec![0; usize::from(k) * shard_length];
    let mut missing = Vec::new();
    let mut outputs = Vec::new();
    for (row, seat) in payload.chunks_exact_mut(shard_length).zip(Seat::all(k)) {
        match sources.iter().find(|shard| shard.seat() == seat) {
            Some(shard) => row.copy_from_slice(shard.bytes()),
            None => {
                missing.push(seat);
                outputs.push(row);
            }
        }
    }
    let interpolation = interpolation(&sources);
    let combiner = Combiner::new(missing.iter().map(|seat| interpolation.coefficients(*seat)).collect());
    combine(&combiner, &sources, &mut outputs, shard_length);
    // Rows that were given as shards passed this check already.
    let fingerprint_bytes = record.points().count() * BLOCK_BYTES;
    let z = record.record().row_fingerprints.as_bytes();
    for (row, bytes) in missing.into_iter().zip(outputs) {
        let expected = &z[row.index() * fingerprint_bytes..][..fingerprint_bytes];
        if fingerprint(record.points(), bytes).as_bytes() != expected {
            return Err(DecodeError::Computation { row });
        }
    }
    let header = record.header();
    let length = usize::try_from(header.payload_length).expect("at most 64 MiB");
    if let Some(position) = payload[length..].iter().position(|byte| *byte != 0) {
        return Err(Malformed::Padding { offset: length + position, length }.into());
    }
    payload.truncate(length);
    match payload_hash(header.hash_kind, &payload) {
        Some(got) if got != header.batch_hash => {
            Err(Malformed::BatchHash { expected: header.batch_hash, got }.into())
        }
        _ => Ok(payload.into()),
    }
}

/// Rebuilds the shard of one seat from any k checked shards of others. It computes only that shard.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use dac_coding::{CheckedRecord, CheckedShard, encode, rebuild_shard};
/// use dac_types::{B256, Geometry, Seat};
///
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/record.rs")); }
/// # use support::record_of;
/// let geometry = Geometry::new(7, 3)?;
/// let payload = Bytes::from_static(b"transactions of a rollup");
/// let batch = encode(geometry, payload.clone(), B256::repeat_byte(7))?;
/// let record = CheckedRecord::check(record_of(&batch, payload.len() as u64), geometry)?;
/// let check = |seat| CheckedShard::check(&record, seat, batch.shard(seat));
///
/// let sources = [check(Seat(0))?, check(Seat(2))?, check(Seat(5))?];
/// let rebuilt = rebuild_shard(&record, &sources, Seat(3))?;
/// assert_eq!(rebuilt.bytes(), &batch.shard(Seat(3)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rebuild_shard(
    record: &CheckedRecord,
    shards: &[CheckedShard],
    seat: Seat,
) -> Result<CheckedShard, RebuildError> {
    let n = record.geometry().n();
    if seat.index() >= usize::from(n) {
        return Err(RebuildError::Seat { seat, n });
    }
    let sources = choose(record, shards).map_err(RebuildError::Sources)?;
    let shard_length = record.shard_length();
    let combiner = Combiner::new(vec![interpolation(&sources).coefficients(seat)]);
    let mut shard = vec![0; shard_length];
    combine(&combiner, &sources, &mut [&mut shard[..]], shard_length);
    CheckedShard::check(record, seat, shard.into()).map_err(|error| rebuild_verdict(record, error))
}

/// Returns the verdict that follows when a rebuilt shard fails the member's check.
pub fn rebuild_verdict(record: &CheckedRecord, error: ShardError) -> RebuildError {
    match error {
        ShardError::Hash { seat, expected, got } => RebuildError::BadSeat { seat, expected, got },
        ShardError::Padding { seat, offset } => {
            let length = usize::try_from(record.header().payload_length).expect("at most 64 MiB");
            let offset = seat.index() * record.shard_length() + offset;
            RebuildError::Malformed(Malformed::Padding { offset, length })
        }
        other => RebuildError::Computation(other),
    }
}

/// Rebuilds a shard piece by piece, for a member that holds none of the sources whole. Pieces of k
/// checked shards at one offset give the piece of the missing shard at that offset. The caller
/// feeds them to a [`crate::ShardChecker`] and turns its error, if any, into a verdict with
/// [`rebuild_verdict`].
#[derive(Debug)]
pub struct Rebuilder {
    combiner: Combiner,
    sources: usize,
}

impl Rebuilder {
    /// Prepares to rebuild the shard of `target` from the shards of these k distinct seats.
    pub fn new(record: &CheckedRecord, sources: &[Seat], target: Seat) -> Result<Self, RebuildError> {
        let (n, k) = (record.geometry().n(), record.geometry().k());
        if let Some(seat) = sources.iter().chain([&target]).find(|seat| seat.index() >= usize::from(n)) {
            return Err(RebuildError::Seat { seat: *seat, n });
        }
        if let Some((_, seat)) = sources.iter().enumerate().find(|(i, seat)| sources[..*i].contains(seat)) {
            return Err(RebuildError::Sources(DecodeError::DuplicateSeat { seat: *seat }));
        }
        let (needed, got) = (usize::from(k), sources.len());
        if got != needed {
            return Err(RebuildError::Sources(DecodeError::TooFewShards { needed, got }));
        }
        let coefficients = Interpolation::from_sources(sources.to_vec()).coefficients(target);
        Ok(Self { combiner: Combiner::new(vec![coefficients]), sources: got })
    }

    /// Returns the missing shard's piece, computed from the sources' pieces at the same offset, in
    /// the order of `sources`. Returns `None` unless there are k pieces of equal length.
    pub fn rebuild(&self, pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let length = pieces.first()?.len();
        if pieces.len() != self.sources || pieces.iter().any(|piece| piece.len() != length) {
            return None;
        }
        let mut rebuilt = vec![0; length];
        for (start, output) in (0..).step_by(CHUNK_BYTES).zip(rebuilt.chunks_mut(CHUNK_BYTES)) {
            let inputs: Vec<&[u8]> = pieces.iter().map(|piece| &piece[start..start + output.len()]).collect();
            self.combiner.apply(&inputs, &mut [output]);
        }
        Some(rebuilt)
    }
}
