//! Proofs of single chunks, with which an auditor checks a chunk without having the shard.

use alloc::vec::Vec;

use dac_types::limits::MERKLE_PATH_MAX_NODES;
use dac_types::{B256, BatchHeader, Geometry, GeometryError, Seat};
use thiserror::Error;

use crate::merkle::{MerkleError, ShardTree, leaf_hash, root_of_path, shard_path, verify_path};

/// The reasons why bytes are not a chunk of a committed shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// The payload length in the header is out of bounds.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The committee has no such seat.
    #[error("seat {seat} does not exist in a committee of {n}")]
    Seat {
        /// The seat that was asked for.
        seat: Seat,
        /// The number of seats of the committee.
        n: u16,
    },
    /// A shard of this batch has no such chunk.
    #[error("a shard of this batch has {count} chunks, there is none at {index}")]
    Index {
        /// The index of the chunk that was asked for, from 0.
        index: usize,
        /// The number of chunks of a shard.
        count: usize,
    },
    /// The chunk at this index has another length.
    #[error("chunk {index} has {expected} bytes, got {got}")]
    Length {
        /// The index of the chunk.
        index: usize,
        /// The length that the chunk must have, in bytes.
        expected: usize,
        /// The length that was received, in bytes.
        got: usize,
    },
    /// The path in the shard's tree has the wrong number of nodes.
    #[error("path in the shard: {0}")]
    ChunkPath(#[source] MerkleError),
    /// The path in the top tree has the wrong number of nodes, or the chunk or a node of either
    /// path is wrong.
    #[error("path in the top tree: {0}")]
    ShardPath(#[source] MerkleError),
}

/// The path of a chunk in its shard's tree, and the path of the shard in the top tree. Each goes
/// from the leaf upwards.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use dac_coding::{ChunkProof, encode};
/// use dac_types::{B256, Geometry, Seat};
///
/// # mod support { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/support/record.rs")); }
/// # use support::record_of;
/// let geometry = Geometry::new(7, 3)?;
/// let payload = Bytes::from_iter((0..=250).cycle().take(30_000));
/// let batch = encode(geometry, payload.clone(), B256::repeat_byte(7))?;
/// let header = record_of(&batch, payload.len() as u64).header;
///
/// // A member proves chunk 1 of its shard; an auditor needs nothing but the header.
/// let (seat, shard) = (Seat(5), batch.shard(Seat(5)));
/// let proof = ChunkProof::new(&batch.commitment().shard_hashes, seat, batch.tree(seat), 1)?;
/// let chunk = &shard[4_096..8_192];
/// assert!(proof.check(&header, geometry, seat, 1, chunk).is_ok());
/// assert!(proof.check(&header, geometry, seat, 0, chunk).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ChunkProof {
    /// The path in the tree over the shard's chunks.
    pub chunk_path: Vec<B256>,
    /// The path in the tree over the shard hashes.
    pub shard_path: Vec<B256>,
}

/// A chunk with proof that it is at this index of this seat's shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedChunk<'a> {
    /// The seat whose shard contains the chunk.
    pub seat: Seat,
    /// The index of the chunk in the shard, from 0.
    pub index: usize,
    /// The bytes of the chunk.
    pub bytes: &'a [u8],
    /// The hash of the shard, computed from the chunk and its path.
    pub shard_hash: B256,
}

impl ChunkProof {
    /// The largest number of nodes of either path. A decoder can refuse longer paths unread.
    pub const MAX_NODES: usize = MERKLE_PATH_MAX_NODES;

    /// Proves chunk `index` of a shard with this tree, under the batch's shard hashes.
    pub fn new(
        shard_hashes: &[B256],
        seat: Seat,
        tree: &ShardTree,
        index: usize,
    ) -> Result<Self, MerkleError> {
        Ok(Self { chunk_path: tree.path(index)?, shard_path: shard_path(shard_hashes, seat.index())? })
    }

    /// Checks that the chunk is at `index` in the shard of `seat` under the header's shard root.
    /// Positions, counts and lengths follow from header and geometry; none of them is taken from
    /// the prover.
    pub fn check<'a>(
        &self,
        header: &BatchHeader,
        geometry: Geometry,
        seat: Seat,
        index: usize,
        chunk: &'a [u8],
    ) -> Result<CheckedChunk<'a>, ChunkError> {
        let n = geometry.n();
        if seat.index() >= usize::from(n) {
            return Err(ChunkError::Seat { seat, n });
        }
        let shard_length = geometry.shard_length(header.payload_length)?;
        let count = Geometry::chunk_count(shard_length);
        let expected =
            Geometry::chunk_length(shard_length, index).ok_or(ChunkError::Index { index, count })?;
        let got = chunk.len();
        if got != expected {
            return Err(ChunkError::Length { index, expected, got });
        }
        let shard_hash =
            root_of_path(leaf_hash(chunk), index, count, &self.chunk_path).map_err(ChunkError::ChunkPath)?;
        let top_leaf = leaf_hash(shard_hash.as_slice());
        verify_path(top_leaf, seat.index(), usize::from(n), &self.shard_path, header.shard_root)
            .map_err(ChunkError::ShardPath)?;
        Ok(CheckedChunk { seat, index, bytes: chunk, shard_hash })
    }
}
