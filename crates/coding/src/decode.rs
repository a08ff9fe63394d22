//! The retriever: checked shards to payload, with a verdict that is the same whichever shards were used; and repair.

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

/// The disperser committed to something that is no payload. Everybody who decodes this batch, from whichever shards that
/// pass the member's check, comes to this verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Bytes beyond the payload's length are not zero.
    #[error("the decoded byte at {offset} lies beyond the payload's {length} bytes and is not zero")]
    Padding {
        /// First such byte, counted in the padded payload.
        offset: usize,
        /// The payload's length.
        length: usize,
    },
    /// The payload is not the one that the batch hash names (checked kinds only).
    #[error("the decoded payload hashes to {got}, the header says {expected}")]
    BatchHash {
        /// In the header.
        expected: B256,
        /// Of the decoded payload.
        got: B256,
    },
}

/// Why there is no payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Fewer than k distinct shards.
    #[error("{needed} shards rebuild this batch, got {got}")]
    TooFewShards {
        /// k.
        needed: usize,
        /// Shards given.
        got: usize,
    },
    /// Two shards of one seat.
    #[error("two shards of seat {seat}")]
    DuplicateSeat {
        /// The seat.
        seat: Seat,
    },
    /// A shard that was checked against another batch.
    #[error("the shard of seat {seat} was checked against another batch")]
    OtherBatch {
        /// The seat.
        seat: Seat,
    },
    /// The verdict on the batch itself.
    #[error("MALFORMED: {0}")]
    Malformed(#[from] Malformed),
    /// Decoded row and fingerprint differ although every shard passed: impossible but by a fault of this machine.
    #[error("row {row} was decoded wrongly: a fault of this machine")]
    Computation {
        /// The row.
        row: Seat,
    },
}

/// Why a shard cannot be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RebuildError {
    /// The shards to start from will not do.
    #[error(transparent)]
    Sources(DecodeError),
    /// No such seat.
    #[error("seat {seat} does not exist in a committee of {n}")]
    Seat {
        /// Seat asked for.
        seat: Seat,
        /// Seats of the committee.
        n: u16,
    },
    /// The verdict BAD: the disperser committed something else to this seat, and nobody can ever have its shard.
    #[error("BAD: the shard of seat {seat} is rebuilt as {got}, the record commits to {expected}")]
    BadSeat {
        /// The seat.
        seat: Seat,
        /// In the record.
        expected: B256,
        /// Of the rebuilt shard.
        got: B256,
    },
    /// The verdict MALFORMED: the rebuilt shard is the committed one and holds non-zero padding.
    #[error("MALFORMED: {0}")]
    Malformed(#[from] Malformed),
    /// The rebuilt shard fails for a reason that the code excludes: a fault of this machine.
    #[error("the shard was rebuilt wrongly, a fault of this machine: {0}")]
    Computation(ShardError),
}

/// k of the shards, in seat order, which prefers data rows.
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

/// Chunk by chunk, so that the sources stay in the cache while every output takes its part of them.
fn combine(combiner: &Combiner, sources: &[&CheckedShard], outputs: &mut [&mut [u8]], length: usize) {
    for start in (0..length).step_by(CHUNK_BYTES) {
        let range = start..(start + CHUNK_BYTES).min(length);
        let inputs: Vec<&[u8]> = sources.iter().map(|shard| &shard.bytes()[range.clone()]).collect();
        let mut stripe: Vec<&mut [u8]> =
            outputs.iter_mut().map(|output| &mut output[range.clone()]).collect();
        combiner.apply(&inputs, &mut stripe);
    }
}

/// The payload, from any k checked shards (more may be given), after the retriever's check of what was decoded.
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
    // Rows that were given passed this check already.
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

/// The shard of one seat, from any k checked shards of others. Encodes that one row and nothing else.
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

/// What it means that a rebuilt shard fails the member's check.
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

/// Rebuilds a shard piece by piece, for a member that holds none of the sources whole: pieces of k checked shards at one
/// offset give the piece of the missing shard there. Feed them to a [`crate::ShardChecker`], and its error, if there is
/// one, to [`rebuild_verdict`].
#[derive(Debug)]
pub struct Rebuilder {
    combiner: Combiner,
    sources: usize,
}

impl Rebuilder {
    /// From these k distinct seats to `target`.
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

    /// The missing shard's piece, from the sources' pieces at the same offset in the order of `sources`; `None` unless
    /// there are k of them, of one length.
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
