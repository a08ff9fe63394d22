//! The member's check of its shard: Merkle hash, fingerprint, length and zero padding. Section 4.

use alloc::sync::Arc;
use alloc::vec::Vec;

#[cfg(feature = "reed-solomon")]
use bytes::Bytes;
use dac_types::limits::CHUNK_BYTES;
use dac_types::{B256, Seat};
use thiserror::Error;

use crate::fingerprint::{Fingerprint, Fingerprinter};
use crate::merkle::ShardTree;
use crate::record::CheckedRecord;

/// Why bytes are not a seat's shard. Only [`ShardError::Fingerprint`] and [`ShardError::Padding`] accuse the disperser:
/// those bytes are what it committed to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShardError {
    /// No such seat in the committee.
    #[error("seat {seat} does not exist in a committee of {n}")]
    Seat {
        /// Seat asked for.
        seat: Seat,
        /// Seats of the committee.
        n: u16,
    },
    /// More bytes than a shard has; refused before the rest is read.
    #[error("a shard of this batch has {expected} bytes, got at least {got}")]
    TooLong {
        /// Bytes of a shard.
        expected: usize,
        /// Bytes received so far.
        got: usize,
    },
    /// Fewer bytes than a shard has.
    #[error("a shard of this batch has {expected} bytes, got {got}")]
    TooShort {
        /// Bytes of a shard.
        expected: usize,
        /// Bytes received.
        got: usize,
    },
    /// Not the bytes that the record commits to for this seat.
    #[error("seat {seat}: the shard hashes to {got}, the record says {expected}")]
    Hash {
        /// The seat.
        seat: Seat,
        /// In the record.
        expected: B256,
        /// Of the bytes received.
        got: B256,
    },
    /// The committed bytes are not the code's: no codeword with these row fingerprints has them here.
    #[error("seat {seat}: the shard's fingerprint is {got}, the row fingerprints ask for {expected}")]
    Fingerprint {
        /// The seat.
        seat: Seat,
        /// Encoded from z.
        expected: Fingerprint,
        /// Of the bytes received.
        got: Fingerprint,
    },
    /// The committed bytes beyond the payload's length are not zero.
    #[error("seat {seat}: the byte at offset {offset} lies beyond the payload and is not zero")]
    Padding {
        /// The seat.
        seat: Seat,
        /// First such byte, counted in the shard.
        offset: usize,
    },
}

/// What is known of a shard that passed the member's check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedShardSummary {
    seat: Seat,
    length: usize,
    tree: ShardTree,
}

impl CheckedShardSummary {
    /// Whose shard.
    pub const fn seat(&self) -> Seat {
        self.seat
    }

    /// Its bytes.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The tree over its chunks.
    pub const fn tree(&self) -> &ShardTree {
        &self.tree
    }

    /// Hashes of its chunks.
    pub fn leaf_hashes(&self) -> &[B256] {
        self.tree.leaf_hashes()
    }

    /// The tree, taken out.
    pub fn into_tree(self) -> ShardTree {
        self.tree
    }
}

/// The member's check, piece by piece: holds a chunk, never the shard.
#[derive(Debug)]
pub struct ShardChecker {
    record: Arc<CheckedRecord>,
    check: RunningCheck,
}

impl ShardChecker {
    /// Of the shard that the record commits to for `seat`.
    pub fn new(record: Arc<CheckedRecord>, seat: Seat) -> Result<Self, ShardError> {
        let check = RunningCheck::new(&record, seat)?;
        Ok(Self { record, check })
    }

    /// The next bytes, in pieces of any sizes. Too many are refused at once.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), ShardError> {
        self.check.update(piece)
    }

    /// Bytes received.
    pub const fn received(&self) -> usize {
        self.check.received
    }

    /// Bytes still missing.
    pub const fn missing(&self) -> usize {
        self.check.expected - self.check.received
    }

    /// The verdict.
    pub fn finish(self) -> Result<CheckedShardSummary, ShardError> {
        self.check.finish(&self.record)
    }
}

/// Chunks that are hashed and fingerprinted at once.
const CHECK_CHUNKS: usize = 16;

/// The check's state, without the record that it is made against.
#[derive(Debug)]
struct RunningCheck {
    seat: Seat,
    expected: usize,
    received: usize,
    /// Where the payload ends in this shard: bytes from here on must be zero. The shard's length for parity seats.
    payload_end: usize,
    first_dirty: Option<usize>,
    /// Less than a chunk that waits for more.
    pending: Vec<u8>,
    tree: ShardTree,
    fingerprinter: Fingerprinter,
}

impl RunningCheck {
    fn new(record: &CheckedRecord, seat: Seat) -> Result<Self, ShardError> {
        let (n, k) = (record.geometry().n(), record.geometry().k());
        if seat.index() >= usize::from(n) {
            return Err(ShardError::Seat { seat, n });
        }
        let expected = record.shard_length();
        let payload_end = if seat.index() < usize::from(k) {
            let length = usize::try_from(record.header().payload_length).expect("at most 64 MiB");
            length.saturating_sub(seat.index() * expected).min(expected)
        } else {
            expected
        };
        Ok(Self {
            seat,
            expected,
            received: 0,
            payload_end,
            first_dirty: None,
            pending: Vec::new(),
            tree: ShardTree::with_shard_length(expected),
            fingerprinter: Fingerprinter::new(record.points()),
        })
    }

    fn update(&mut self, mut piece: &[u8]) -> Result<(), ShardError> {
        let got = self.received.saturating_add(piece.len());
        if got > self.expected {
            return Err(ShardError::TooLong { expected: self.expected, got });
        }
        self.look_for_dirt(piece);
        self.received = got;
        if !self.pending.is_empty() {
            let (head, rest) = piece.split_at(piece.len().min(CHUNK_BYTES - self.pending.len()));
            self.pending.extend_from_slice(head);
            piece = rest;
            if self.pending.len() < CHUNK_BYTES {
                return Ok(());
            }
            let chunk = core::mem::take(&mut self.pending);
            self.absorb(&chunk);
        }
        let (whole, rest) = piece.split_at(piece.len() - piece.len() % CHUNK_BYTES);
        // So many that hashes have company, so few that fingerprints find them in the cache.
        for chunks in whole.chunks(CHECK_CHUNKS * CHUNK_BYTES) {
            self.absorb(chunks);
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Hash and fingerprint while the chunks are warm.
    fn absorb(&mut self, chunks: &[u8]) {
        self.tree.push_chunks(chunks);
        self.fingerprinter.update(chunks);
    }

    fn look_for_dirt(&mut self, piece: &[u8]) {
        if self.first_dirty.is_none() {
            let skip = self.payload_end.saturating_sub(self.received).min(piece.len());
            let dirty = piece[skip..].iter().position(|byte| *byte != 0);
            self.first_dirty = dirty.map(|position| self.received + skip + position);
        }
    }

    fn finish(mut self, record: &CheckedRecord) -> Result<CheckedShardSummary, ShardError> {
        let (seat, length) = (self.seat, self.received);
        if length < self.expected {
            return Err(ShardError::TooShort { expected: self.expected, got: length });
        }
        let last = core::mem::take(&mut self.pending);
        if !last.is_empty() {
            self.absorb(&last);
        }
        let no_such_seat = || ShardError::Seat { seat, n: record.geometry().n() };
        let expected = record.shard_hash(seat).ok_or_else(no_such_seat)?;
        let got = self.tree.root();
        if got != expected {
            return Err(ShardError::Hash { seat, expected, got });
        }
        let expected = record.expected_fingerprint(seat).ok_or_else(no_such_seat)?;
        let got = self.fingerprinter.finish();
        if got != expected {
            return Err(ShardError::Fingerprint { seat, expected, got });
        }
        if let Some(offset) = self.first_dirty {
            return Err(ShardError::Padding { seat, offset });
        }
        Ok(CheckedShardSummary { seat, length, tree: self.tree })
    }
}

/// A whole shard that passed the member's check against one record. Only such shards are decoded.
#[cfg(feature = "reed-solomon")]
#[derive(Clone, Debug)]
pub struct CheckedShard {
    seat: Seat,
    bytes: Bytes,
    tree: ShardTree,
    record_identity: B256,
}

#[cfg(feature = "reed-solomon")]
impl CheckedShard {
    /// The member's check of a shard at hand.
    pub fn check(record: &CheckedRecord, seat: Seat, bytes: Bytes) -> Result<Self, ShardError> {
        let mut check = RunningCheck::new(record, seat)?;
        check.update(&bytes)?;
        let summary = check.finish(record)?;
        Ok(Self { seat, bytes, tree: summary.tree, record_identity: record.identity() })
    }

    /// Whose shard.
    pub const fn seat(&self) -> Seat {
        self.seat
    }

    /// The bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes, taken out.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The tree over its chunks.
    pub const fn tree(&self) -> &ShardTree {
        &self.tree
    }

    /// Whether it was checked against this record, or one with another certificate.
    pub fn belongs_to(&self, record: &CheckedRecord) -> bool {
        self.record_identity == record.identity()
    }
}
