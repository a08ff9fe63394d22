//! Proofs of single chunks: what an auditor checks without having the shard.

use alloc::vec::Vec;

use dac_types::limits::MERKLE_PATH_MAX_NODES;
use dac_types::{B256, BatchHeader, Geometry, GeometryError, Seat};
use thiserror::Error;

use crate::merkle::{MerkleError, ShardTree, leaf_hash, root_of_path, shard_path, verify_path};

/// Why bytes are not a chunk of a committed shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// The header's payload length is impossible.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// No such seat in the committee.
    #[error("seat {seat} does not exist in a committee of {n}")]
    Seat {
        /// Seat asked for.
        seat: Seat,
        /// Seats of the committee.
        n: u16,
    },
    /// No such chunk in a shard of this batch.
    #[error("a shard of this batch has {count} chunks, there is none at {index}")]
    Index {
        /// Chunk asked for.
        index: usize,
        /// Chunks of a shard.
        count: usize,
    },
    /// The chunk at this place has another length.
    #[error("chunk {index} has {expected} bytes, got {got}")]
    Length {
        /// The chunk.
        index: usize,
        /// Its length.
        expected: usize,
        /// Bytes received.
        got: usize,
    },
    /// The path in the shard's tree is of no use.
    #[error("path in the shard: {0}")]
    ChunkPath(#[source] MerkleError),
    /// The path in the top tree is of no use, or one of both holds a wrong node, or the chunk is wrong.
    #[error("path in the top tree: {0}")]
    ShardPath(#[source] MerkleError),
}

/// The path of a chunk in its shard's tree and that of the shard in the top tree, each from the leaf upwards.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ChunkProof {
    /// In the shard's tree.
    pub chunk_path: Vec<B256>,
    /// In the tree over the shard hashes.
    pub shard_path: Vec<B256>,
}

/// A chunk that is proved to stand where it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckedChunk<'a> {
    /// Whose shard.
    pub seat: Seat,
    /// Which chunk of it.
    pub index: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// The shard's hash, as it follows from the chunk.
    pub shard_hash: B256,
}

impl ChunkProof {
    /// Most nodes of either path: longer ones need not be read from a wire.
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

    /// The chunk stands at `index` in the shard of `seat` under the header's shard root. Positions, counts and lengths
    /// follow from header and geometry; nothing of them is taken from the prover.
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
