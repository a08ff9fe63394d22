//! RFC 9162 Merkle trees: over the chunks of a shard, and over the shard hashes of a batch. See
//! section 3.
//!
//! Levels are built from pairs, and an odd last node goes to the next level unchanged. This gives
//! the same tree as splitting at the largest power of two below the count, without recursion.

use alloc::vec::Vec;

use dac_types::B256;
use dac_types::limits::CHUNK_BYTES;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::kernels::hash::{hash_each, hash_one};

/// The reasons why a path does not lead from a leaf to a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MerkleError {
    /// The tree has no such leaf.
    #[error("leaf {index} of a tree of {count}")]
    Index {
        /// The index of the leaf that was asked for, from 0.
        index: usize,
        /// The number of leaves of the tree.
        count: usize,
    },
    /// The path has the wrong number of nodes for this leaf.
    #[error("the path of leaf {index} of {count} has {expected} nodes, got {got}")]
    PathLength {
        /// The index of the leaf.
        index: usize,
        /// The number of leaves of the tree.
        count: usize,
        /// The number of nodes that the path must have.
        expected: usize,
        /// The number of nodes that were received.
        got: usize,
    },
    /// The path leads to a different root.
    #[error("the path leads to {got}, the root is {expected}")]
    Root {
        /// The root that was committed to.
        expected: B256,
        /// The root to which the path leads.
        got: B256,
    },
}

/// The byte before the data of a leaf.
const LEAF_PREFIX: u8 = 0x00;
/// The byte before the two children of a node.
const NODE_PREFIX: u8 = 0x01;

/// Returns H(0x00 ‖ data).
pub fn leaf_hash(data: &[u8]) -> B256 {
    hash_one(LEAF_PREFIX, data)
}

/// Returns H(0x01 ‖ left ‖ right).
pub fn node_hash(left: &B256, right: &B256) -> B256 {
    hash_one(NODE_PREFIX, left.concat_const::<32, 64>(*right).as_slice())
}

/// Returns the level above. An odd last node is taken over unchanged.
fn parents(level: &[B256]) -> Vec<B256> {
    let mut parents = Vec::with_capacity(level.len().div_ceil(2));
    let (pairs, odd) = level.as_chunks::<2>();
    let pairs: Vec<[u8; 64]> = pairs.iter().map(|[left, right]| left.concat_const(*right).0).collect();
    hash_each(NODE_PREFIX, pairs.iter().map(<[u8; 64]>::as_slice), |hash| parents.push(hash));
    parents.extend_from_slice(odd);
    parents
}

/// Returns the root over leaves with these hashes. A tree without leaves has the hash of the empty
/// string, as in the RFC.
pub fn root_of_leaf_hashes(leaf_hashes: &[B256]) -> B256 {
    match leaf_hashes {
        [] => B256::new(Sha256::digest([]).into()),
        [only] => *only,
        leaves => {
            let mut level = parents(leaves);
            while level.len() > 1 {
                level = parents(&level);
            }
            level[0]
        }
    }
}

/// Returns the path of a leaf, from the leaf upwards. It is empty for a single leaf.
pub fn path(leaf_hashes: &[B256], index: usize) -> Result<Vec<B256>, MerkleError> {
    let count = leaf_hashes.len();
    if index >= count {
        return Err(MerkleError::Index { index, count });
    }
    let mut path = Vec::new();
    let (mut level, mut position) = (leaf_hashes.to_vec(), index);
    while level.len() > 1 {
        path.extend(level.get(position ^ 1));
        level = parents(&level);
        position /= 2;
    }
    Ok(path)
}

/// Returns the side of the sibling on each level. Levels on which the node has no sibling are left
/// out.
fn sides(index: usize, count: usize) -> impl Iterator<Item = Side> {
    let (mut position, mut width) = (index, count);
    core::iter::from_fn(move || {
        while width > 1 {
            let (here, last) = (position, width - 1);
            position /= 2;
            width = width.div_ceil(2);
            if here % 2 == 1 {
                return Some(Side::Left);
            }
            if here < last {
                return Some(Side::Right);
            }
        }
        None
    })
}

enum Side {
    Left,
    Right,
}

/// Returns the root to which the path of a leaf leads. Positions depend only on `index` and
/// `count`, and the path must have the exact number of nodes.
pub fn root_of_path(leaf_hash: B256, index: usize, count: usize, path: &[B256]) -> Result<B256, MerkleError> {
    if index >= count {
        return Err(MerkleError::Index { index, count });
    }
    let (expected, got) = (sides(index, count).count(), path.len());
    if got != expected {
        return Err(MerkleError::PathLength { index, count, expected, got });
    }
    Ok(sides(index, count).zip(path).fold(leaf_hash, |node, (side, sibling)| match side {
        Side::Left => node_hash(sibling, &node),
        Side::Right => node_hash(&node, sibling),
    }))
}

/// Checks that the leaf is at `index` among `count` leaves under `root`.
pub fn verify_path(
    leaf_hash: B256,
    index: usize,
    count: usize,
    path: &[B256],
    root: B256,
) -> Result<(), MerkleError> {
    let got = root_of_path(leaf_hash, index, count, path)?;
    if got == root { Ok(()) } else { Err(MerkleError::Root { expected: root, got }) }
}

/// Returns the leaf hashes of the top tree, whose leaf data are the shard hashes.
fn top_leaves(shard_hashes: &[B256]) -> Vec<B256> {
    let mut leaves = Vec::with_capacity(shard_hashes.len());
    hash_each(LEAF_PREFIX, shard_hashes.iter().map(B256::as_slice), |hash| leaves.push(hash));
    leaves
}

/// Returns the root over all shard hashes in seat order.
pub fn shard_root(shard_hashes: &[B256]) -> B256 {
    root_of_leaf_hashes(&top_leaves(shard_hashes))
}

/// Returns the path of one shard hash in the top tree, from the leaf upwards.
pub fn shard_path(shard_hashes: &[B256], seat: usize) -> Result<Vec<B256>, MerkleError> {
    path(&top_leaves(shard_hashes), seat)
}

/// The tree over the chunks of one shard. A member keeps it beside the shard to prove single
/// chunks.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ShardTree {
    leaf_hashes: Vec<B256>,
}

impl ShardTree {
    /// Makes a tree without chunks.
    pub const fn new() -> Self {
        Self { leaf_hashes: Vec::new() }
    }

    /// Makes a tree without chunks, with capacity for the chunks of a shard of `shard_length`
    /// bytes.
    pub fn with_shard_length(shard_length: usize) -> Self {
        Self { leaf_hashes: Vec::with_capacity(shard_length.div_ceil(CHUNK_BYTES)) }
    }

    /// Makes a tree from leaf hashes that were computed earlier, for example those stored beside a
    /// shard.
    pub const fn from_leaf_hashes(leaf_hashes: Vec<B256>) -> Self {
        Self { leaf_hashes }
    }

    /// Makes the tree of a whole shard.
    pub fn of_shard(shard: &[u8]) -> Self {
        let mut tree = Self::with_shard_length(shard.len());
        tree.push_chunks(shard);
        tree
    }

    /// Adds the next chunks. All must be whole, except the shard's last one.
    pub fn push_chunks(&mut self, chunks: &[u8]) {
        hash_each(LEAF_PREFIX, chunks.chunks(CHUNK_BYTES), |hash| self.leaf_hashes.push(hash));
    }

    /// Adds the next chunks of several shards, of equal length. Chunks at the same position are
    /// hashed in parallel.
    #[cfg(feature = "reed-solomon")]
    pub(crate) fn push_stripe(trees: &mut [Self], stripe: &[&[u8]]) {
        debug_assert_eq!(trees.len(), stripe.len());
        let length = stripe.first().map_or(0, |shard| shard.len());
        let chunks = (0..length).step_by(CHUNK_BYTES).flat_map(|start| {
            let range = start..(start + CHUNK_BYTES).min(length);
            stripe.iter().map(move |shard| &shard[range.clone()])
        });
        let mut seats = (0..trees.len()).cycle();
        hash_each(LEAF_PREFIX, chunks, |hash| {
            let seat = seats.next().expect("a hash comes of a tree's chunk");
            trees[seat].leaf_hashes.push(hash);
        });
    }

    /// Appends the chunks of another tree, which continues the same shard.
    #[cfg(feature = "reed-solomon")]
    pub(crate) fn append(&mut self, mut later: Self) {
        self.leaf_hashes.append(&mut later.leaf_hashes);
    }

    /// Returns the hashes of the chunks in order.
    pub fn leaf_hashes(&self) -> &[B256] {
        &self.leaf_hashes
    }

    /// Returns the shard hash.
    pub fn root(&self) -> B256 {
        root_of_leaf_hashes(&self.leaf_hashes)
    }

    /// Returns the path of one chunk, from the leaf upwards.
    pub fn path(&self, index: usize) -> Result<Vec<B256>, MerkleError> {
        path(&self.leaf_hashes, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<B256> {
        (0..count).map(|i| leaf_hash(&i.to_le_bytes())).collect()
    }

    /// Computes MTH as the RFC defines it.
    fn recursive_root(leaves: &[B256]) -> B256 {
        if let [only] = leaves {
            return *only;
        }
        let split = leaves.len().next_power_of_two() / 2;
        node_hash(&recursive_root(&leaves[..split]), &recursive_root(&leaves[split..]))
    }

    #[test]
    fn roots_are_those_of_the_rfc() {
        for count in 1..=70 {
            assert_eq!(root_of_leaf_hashes(&leaves(count)), recursive_root(&leaves(count)), "{count} leaves");
        }
        let nothing =
            "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse::<B256>().unwrap();
        assert_eq!(root_of_leaf_hashes(&[]), nothing);
    }

    #[test]
    fn every_leaf_has_a_path_that_only_it_has() {
        for count in 1..=33 {
            let leaves = leaves(count);
            let root = root_of_leaf_hashes(&leaves);
            for index in 0..count {
                let path = path(&leaves, index).unwrap();
                assert_eq!(verify_path(leaves[index], index, count, &path, root), Ok(()));
                for other in (0..count).filter(|other| *other != index) {
                    assert!(
                        verify_path(leaves[index], other, count, &path, root).is_err(),
                        "{index} as {other}"
                    );
                }
            }
        }
    }

    #[test]
    fn paths_of_other_lengths_are_refused() {
        let leaves = leaves(5);
        let root = root_of_leaf_hashes(&leaves);
        let mut nodes = path(&leaves, 4).unwrap();
        assert_eq!(nodes.len(), 1, "the odd leaf rises");
        nodes.push(B256::ZERO);
        let error = MerkleError::PathLength { index: 4, count: 5, expected: 1, got: 2 };
        assert_eq!(verify_path(leaves[4], 4, 5, &nodes, root), Err(error));
        nodes.clear();
        assert!(matches!(verify_path(leaves[4], 4, 5, &nodes, root), Err(MerkleError::PathLength { .. })));
        assert_eq!(
            verify_path(leaves[4], 5, 5, &nodes, root),
            Err(MerkleError::Index { index: 5, count: 5 })
        );
        assert_eq!(
            verify_path(leaves[4], 0, 0, &nodes, root),
            Err(MerkleError::Index { index: 0, count: 0 })
        );
        assert_eq!(path(&leaves, 5), Err(MerkleError::Index { index: 5, count: 5 }));
        assert!(matches!(verify_path(root, 0, 1, &[], leaves[0]), Err(MerkleError::Root { .. })));
    }

    #[test]
    fn an_inner_node_is_no_leaf() {
        let leaves = leaves(4);
        let inner = node_hash(&leaves[0], &leaves[1]);
        let upper = node_hash(&leaves[2], &leaves[3]);
        // Positions are taken from the count. If they were not, a path that is shortened by one
        // level would make an inner node pass as a chunk.
        assert!(verify_path(inner, 0, 4, &[upper], root_of_leaf_hashes(&leaves)).is_err());
    }

    #[test]
    fn a_shard_tree_grows_chunk_by_chunk() {
        let shard: Vec<u8> = (0..3 * CHUNK_BYTES + 16).map(|i| i.to_le_bytes()[0]).collect();
        let mut tree = ShardTree::with_shard_length(shard.len());
        shard.chunks(2 * CHUNK_BYTES).for_each(|chunks| tree.push_chunks(chunks));
        assert_eq!(tree, ShardTree::of_shard(&shard));
        let path = tree.path(3).unwrap();
        assert_eq!(verify_path(leaf_hash(&shard[3 * CHUNK_BYTES..]), 3, 4, &path, tree.root()), Ok(()));
    }
}
