//! The member's check of its shard: Merkle hash, fingerprint, length and zero padding. See
//! section 4.

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

/// The reasons why bytes are not a seat's shard. Only [`ShardError::Fingerprint`] and
/// [`ShardError::Padding`] accuse the disperser, because those bytes have the hash to which it
/// committed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShardError {
    /// The committee has no such seat.
    #[error("seat {seat} does not exist in a committee of {n}")]
    Seat {
        /// The seat that was asked for.
        seat: Seat,
        /// The number of seats of the committee.
        n: u16,
    },
    /// There are more bytes than a shard has. They are refused before the rest is read.
    #[error("a shard of this batch has {expected} bytes, got at least {got}")]
    TooLong {
        /// The length of a shard of this batch, in bytes.
        expected: usize,
        /// The number of bytes received so far.
        got: usize,
    },
    /// There are fewer bytes than a shard has.
    #[error("a shard of this batch has {expected} bytes, got {got}")]
    TooShort {
        /// The length of a shard of this batch, in bytes.
        expected: usize,
        /// The number of bytes received.
        got: usize,
    },
    /// The bytes are not those to which the record commits for this seat.
    #[error("seat {seat}: the shard hashes to {got}, the record says {expected}")]
    Hash {
        /// The seat whose shard was checked.
        seat: Seat,
        /// The shard hash in the record.
        expected: B256,
        /// The hash of the bytes that were received.
        got: B256,
    },
    /// The committed bytes are not part of a codeword with these row fingerprints.
    #[error("seat {seat}: the shard's fingerprint is {got}, the row fingerprints ask for {expected}")]
    Fingerprint {
        /// The seat whose shard was checked.
        seat: Seat,
        /// The fingerprint that is encoded from z.
        expected: Fingerprint,
        /// The fingerprint of the bytes that were received.
        got: Fingerprint,
    },
    /// The committed bytes beyond the payload's length are not zero.
    #[error("seat {seat}: the byte at offset {offset} lies beyond the payload and is not zero")]
    Padding {
        /// The seat whose shard was checked.
        seat: Seat,
        /// The offset in the shard of the first byte that is not zero.
        offset: usize,
    },
}

/// The results of the member's check of a shard that passed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedShardSummary {
    seat: Seat,
    length: usize,
    tree: ShardTree,
}

impl CheckedShardSummary {
    /// Returns the seat of the shard.
    pub const fn seat(&self) -> Seat {
        self.seat
    }

    /// Returns the length of the shard in bytes.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Returns the tree over the chunks of the shard.
    pub const fn tree(&self) -> &ShardTree {
        &self.tree
    }

    /// Returns the hashes of the chunks in order.
    pub fn leaf_hashes(&self) -> &[B256] {
        self.tree.leaf_hashes()
    }

    /// Returns the tree over the chunks as an owned value.
    pub fn into_tree(self) -> ShardTree {
        self.tree
    }
}

/// Runs the member's check piece by piece. It holds at most a chunk of the shard.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
///
/// use bytes::Bytes;
/// use dac_coding::{CheckedRecord, ShardChecker, encode};
/// use dac_types::{B256, Geometry, Seat};
///
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/record.rs")); }
/// # use support::record_of;
/// let geometry = Geometry::new(7, 3)?;
/// let payload = Bytes::from(vec![1; 30_000]);
/// let batch = encode(geometry, payload.clone(), B256::repeat_byte(7))?;
/// let record = Arc::new(CheckedRecord::check(record_of(&batch, payload.len() as u64), geometry)?);
///
/// let mut checker = ShardChecker::new(record, Seat(5))?;
/// for piece in batch.shard(Seat(5)).chunks(1_000) {
///     checker.update(piece)?;
/// }
/// assert_eq!(checker.finish()?.seat(), Seat(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ShardChecker {
    record: Arc<CheckedRecord>,
    check: RunningCheck,
}

impl ShardChecker {
    /// Starts the check of the shard to which the record commits for `seat`.
    pub fn new(record: Arc<CheckedRecord>, seat: Seat) -> Result<Self, ShardError> {
        let check = RunningCheck::new(&record, seat)?;
        Ok(Self { record, check })
    }

    /// Checks the next bytes, in pieces of any sizes. More bytes than a shard has are refused at
    /// once.
    pub fn update(&mut self, piece: &[u8]) -> Result<(), ShardError> {
        self.check.update(piece)
    }

    /// Returns the number of bytes received.
    pub const fn received(&self) -> usize {
        self.check.received
    }

    /// Returns the number of bytes that are still missing.
    pub const fn missing(&self) -> usize {
        self.check.expected - self.check.received
    }

    /// Returns the result of the check, after all bytes were received.
    pub fn finish(self) -> Result<CheckedShardSummary, ShardError> {
        self.check.finish(&self.record)
    }
}

/// The number of chunks that are hashed and fingerprinted at once.
const CHECK_CHUNKS: usize = 16;

/// The state of the check, without the record that it is made against.
#[derive(Debug)]
struct RunningCheck {
    seat: Seat,
    expected: usize,
    received: usize,
    /// The offset in this shard where the payload ends; bytes from here on must be zero. For parity
    /// seats it is the shard's length.
    payload_end: usize,
    first_dirty: Option<usize>,
    /// Bytes that do not fill a chunk yet.
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
        // These are enough chunks to hash in parallel, and few enough that fingerprinting finds
        // them in the cache.
        for chunks in whole.chunks(CHECK_CHUNKS * CHUNK_BYTES) {
            self.absorb(chunks);
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Hashes and fingerprints the chunks while they are in the cache.
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

/// A whole shard that passed the member's check against one record. Only such shards can be
/// decoded.
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
    /// Runs the member's check of a whole shard.
    pub fn check(record: &CheckedRecord, seat: Seat, bytes: Bytes) -> Result<Self, ShardError> {
        let mut check = RunningCheck::new(record, seat)?;
        check.update(&bytes)?;
        let summary = check.finish(record)?;
        Ok(Self { seat, bytes, tree: summary.tree, record_identity: record.identity() })
    }

    /// Returns the seat of the shard.
    pub const fn seat(&self) -> Seat {
        self.seat
    }

    /// Returns the bytes of the shard.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the bytes of the shard as an owned value.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Returns the tree over the chunks of the shard.
    pub const fn tree(&self) -> &ShardTree {
        &self.tree
    }

    /// Returns whether the shard was checked against this record, or against the same record with a
    /// different certificate.
    pub fn belongs_to(&self, record: &CheckedRecord) -> bool {
        self.record_identity == record.identity()
    }
}
