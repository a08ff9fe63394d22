#![doc = include_str!("../README.md")]
//!
//! ## Modules
//!
//! | module | contents |
//! |---|---|
//! | [`field`] | GF(2^8), and K, the field of fingerprints |
//! | [`merkle`] | RFC 9162 trees over a shard's chunks and over the shards |
//! | [`fingerprint`](mod@fingerprint) | points and fingerprints, whole or piece by piece |
//! | [`code`] | the Reed–Solomon code: which combination of shards gives which shard |
//! | [`binding`] | the prover's check that a payload is the one of a public claim |
//! | [`record`] | a batch's record, checked against its header |
//! | [`shard`] | the member's check of its shard, whole or piece by piece |
//! | [`chunk`] | proofs of single chunks, for auditors |
//! | [`encode`](mod@encode) | encoding for dispersers; the check of whole payloads |
//! | [`decode`](mod@decode) | decoding for retrievers; repair of one shard |
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod binding;
pub mod chunk;
pub mod code;
#[cfg(feature = "reed-solomon")]
pub mod decode;
#[cfg(feature = "reed-solomon")]
pub mod encode;
pub mod field;
pub mod fingerprint;
mod kernels;
pub mod merkle;
pub mod record;
pub mod shard;
#[cfg(all(feature = "reed-solomon", any(test, feature = "testing")))]
pub mod testing;
#[cfg(all(test, feature = "reed-solomon"))]
mod tests;

pub use binding::{BindingError, check_binding, payload_hash};
pub use chunk::{CheckedChunk, ChunkError, ChunkProof};
#[cfg(feature = "reed-solomon")]
pub use decode::{DecodeError, Malformed, RebuildError, decode, rebuild_shard};
#[cfg(feature = "reed-solomon")]
pub use encode::{
    CodingError, Commitment, EncodedBatch, PayloadError, check_payload, check_payload_for_seat, encode,
    encode_on,
};
pub use fingerprint::{Fingerprint, Fingerprinter, Points, fingerprint, payload_fingerprint};
pub use merkle::{MerkleError, ShardTree, shard_root};
pub use record::{CheckedRecord, RecordError};
#[cfg(feature = "reed-solomon")]
pub use shard::CheckedShard;
pub use shard::{CheckedShardSummary, ShardChecker, ShardError};
