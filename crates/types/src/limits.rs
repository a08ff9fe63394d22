//! Every bound of the protocol and of its services, by name, units last.
//!
//! A bound that only one process knows (how much memory it may use, how many clients it serves) belongs to that
//! process's configuration; what two parties must agree on, or what protects a decoder, stands here.

/// Largest payload of one batch.
pub const PAYLOAD_MAX_BYTES: u64 = 64 << 20;
/// A block: one element of the field K, the unit in which a shard's length is counted.
pub const BLOCK_BYTES: usize = 16;
/// A chunk: the unit of sampling and of Merkle proof.
pub const CHUNK_BYTES: usize = 4096;
/// Seats of a committee, at least.
pub const COMMITTEE_MIN_SEATS: u16 = 2;
/// Seats of a committee, at most: the code's field has 256 elements.
pub const COMMITTEE_MAX_SEATS: u16 = 256;
/// Points at which shards are fingerprinted, at least.
pub const FINGERPRINT_MIN_POINTS: usize = 2;
/// Points at which shards are fingerprinted, at most (n = 256).
pub const FINGERPRINT_MAX_POINTS: usize = 4;
/// Nodes on a Merkle path in one tree, at most: 64 MiB / 4 KiB = 2^14 chunks, 2^8 seats.
pub const MERKLE_PATH_MAX_NODES: usize = 14;
/// Piece of a payload or shard in one stream message.
pub const STREAM_PIECE_MAX_BYTES: usize = 256 << 10;
/// One protobuf message on the wire, of any kind: a piece or a whole record (256 hashes and 256 fingerprints) and its frame.
pub const MESSAGE_MAX_BYTES: usize = STREAM_PIECE_MAX_BYTES + (128 << 10);
/// A validity proof: room for proof systems whose proofs are not a few points.
pub const PROOF_MAX_BYTES: usize = 64 << 10;
/// Chunks asked for in one GetChunks call.
pub const CHUNKS_PER_CALL_MAX: usize = 64;
/// Entries of one page of a listing.
pub const PAGE_MAX_ENTRIES: u32 = 500;
/// How far ahead `submitBefore` may lie.
pub const SUBMIT_AHEAD_MAX_SECONDS: u64 = 24 * 60 * 60;
/// The quota of a rollup counts payload bytes of one UTC day.
pub const QUOTA_DAY_SECONDS: u64 = 24 * 60 * 60;
/// A row of a stored shard or payload: 64 chunks.
pub const STORED_ROW_BYTES: usize = 64 * CHUNK_BYTES;
/// Bytes of a member's URL in the registry.
pub const ENDPOINT_URL_MAX_BYTES: usize = 256;
/// Text that came from a peer and is repeated in an error or stored as a reason.
pub const REASON_MAX_BYTES: usize = 256;
