//! The bounds of the protocol and of its services. Each name ends in the unit.
//!
//! A bound that concerns only one process (how much memory it may use, how many clients it serves)
//! belongs to that process's configuration. A bound on which two parties must agree, or which
//! protects a decoder, belongs here.

/// The largest payload of one batch: 64 MiB.
pub const PAYLOAD_MAX_BYTES: u64 = 64 << 20;
/// A block is one element of the field K; a shard's length is a whole number of blocks.
pub const BLOCK_BYTES: usize = 16;
/// A chunk is the unit of sampling and of Merkle proofs.
pub const CHUNK_BYTES: usize = 4096;
/// The smallest number of seats of a committee.
pub const COMMITTEE_MIN_SEATS: u16 = 2;
/// The largest number of seats of a committee. The field of the erasure code has 256 elements.
pub const COMMITTEE_MAX_SEATS: u16 = 256;
/// The smallest number of points at which shards are fingerprinted.
pub const FINGERPRINT_MIN_POINTS: usize = 2;
/// The largest number of points at which shards are fingerprinted (from n = 191 on).
pub const FINGERPRINT_MAX_POINTS: usize = 4;
/// The longest Merkle path in one tree: 64 MiB / 4 KiB = 2^14 chunks in a shard, 2^8 seats in the
/// top tree.
pub const MERKLE_PATH_MAX_NODES: usize = 14;
/// The largest piece of a payload or shard in one message of a stream.
pub const STREAM_PIECE_MAX_BYTES: usize = 256 << 10;
/// The largest protobuf message on the wire. It holds a piece or a whole record (256 hashes and 256
/// fingerprints), and its framing.
pub const MESSAGE_MAX_BYTES: usize = STREAM_PIECE_MAX_BYTES + (128 << 10);
/// The largest validity proof. The bound leaves room for proof systems with proofs of many
/// kilobytes.
pub const PROOF_MAX_BYTES: usize = 64 << 10;
/// The largest number of chunks in one GetChunks call.
pub const CHUNKS_PER_CALL_MAX: usize = 64;
/// The largest number of batches in a bundle: their digests, 64 KiB, fit into a transaction that
/// L1's nodes relay (128 KiB).
pub const BUNDLE_MAX_BATCHES: usize = 2048;
/// The largest number of entries on one page of a listing.
pub const PAGE_MAX_ENTRIES: u32 = 500;
/// How far ahead of the present `submitBefore` may lie: one day.
pub const SUBMIT_AHEAD_MAX_SECONDS: u64 = 24 * 60 * 60;
/// The period of a rollup's quota: it counts the payload bytes of one UTC day.
pub const QUOTA_DAY_SECONDS: u64 = 24 * 60 * 60;
/// The length of a row in which a database stores a part of a shard or payload: 64 chunks.
pub const STORED_ROW_BYTES: usize = 64 * CHUNK_BYTES;
/// The longest URL of a member in the registry.
pub const ENDPOINT_URL_MAX_BYTES: usize = 256;
/// The longest text from a peer that is repeated in an error or stored as a reason.
pub const REASON_MAX_BYTES: usize = 256;
