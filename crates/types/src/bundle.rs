//! Bundles: many batches of one epoch under one signature of a quorum. See section 14.

use alloc::vec::Vec;

use alloy_primitives::{B256, keccak256};
use thiserror::Error;

use crate::certificate::AggregateAttestation;
use crate::ids::{BatchDigest, BundleDigest};
use crate::limits::BUNDLE_MAX_BATCHES;
use crate::signing_domain::{BATCH_BUNDLE_TYPE, Domain, StructHash};

/// The reasons why a list of digests is no bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BundleError {
    /// The list is empty.
    #[error("a bundle has at least one batch")]
    Empty,
    /// The list is longer than [`BUNDLE_MAX_BATCHES`].
    #[error("a bundle has at most {BUNDLE_MAX_BATCHES} batches, got {got}")]
    TooManyBatches {
        /// Length of the list.
        got: usize,
    },
    /// A digest is below the one before it.
    #[error("digests must ascend: {digest} at {index} is below the one before it")]
    NotAscending {
        /// Index of the digest, from 0.
        index: usize,
        /// The digest.
        digest: BatchDigest,
    },
    /// A digest equals the one before it.
    #[error("{digest} at {index} is also the digest before it")]
    Duplicate {
        /// Index of the digest, from 0.
        index: usize,
        /// The digest.
        digest: BatchDigest,
    },
}

/// The reasons why a proof does not show that batches are in a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BundleProofError {
    /// There is no batch to prove.
    #[error("a proof is of at least one batch")]
    Empty,
    /// The bundle has no batch with this index.
    #[error("a bundle of {count} batches has none at index {index}")]
    IndexOutOfRange {
        /// The index, from 0.
        index: usize,
        /// Number of batches in the bundle.
        count: u32,
    },
    /// The indices of several batches do not ascend strictly.
    #[error("indices must ascend strictly: {index} after {previous}")]
    IndicesNotAscending {
        /// The index that is not above the one before it.
        index: usize,
        /// The index before it.
        previous: usize,
    },
    /// The proof has too many or too few hashes.
    #[error("the proof has {got} hashes, {expected} are due")]
    Length {
        /// Number of hashes that the proof has.
        got: usize,
        /// Number that it must have; if it has too few, a number that it must reach.
        expected: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to root {got}, the bundle's is {expected}")]
    Root {
        /// Root to which the proof leads.
        got: B256,
        /// Root of the bundle.
        expected: B256,
    },
}

/// The digests of a bundle's batches: 1 to [`BUNDLE_MAX_BATCHES`], strictly ascending.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BundleDigests(Vec<BatchDigest>);

impl TryFrom<Vec<BatchDigest>> for BundleDigests {
    type Error = BundleError;

    fn try_from(digests: Vec<BatchDigest>) -> Result<Self, BundleError> {
        if digests.is_empty() {
            return Err(BundleError::Empty);
        }
        if digests.len() > BUNDLE_MAX_BATCHES {
            return Err(BundleError::TooManyBatches { got: digests.len() });
        }
        for (before, pair) in digests.windows(2).enumerate() {
            let (index, digest) = (before + 1, pair[1]);
            if digest == pair[0] {
                return Err(BundleError::Duplicate { index, digest });
            }
            if digest < pair[0] {
                return Err(BundleError::NotAscending { index, digest });
            }
        }
        Ok(Self(digests))
    }
}

impl BundleDigests {
    /// Sorts digests, which may come in any order, and removes those that come twice.
    pub fn from_unordered(mut digests: Vec<BatchDigest>) -> Result<Self, BundleError> {
        digests.sort_unstable();
        digests.dedup();
        digests.try_into()
    }

    /// Returns the digests in ascending order.
    pub fn as_slice(&self) -> &[BatchDigest] {
        &self.0
    }

    /// Returns the digests in ascending order.
    pub fn into_vec(self) -> Vec<BatchDigest> {
        self.0
    }

    /// Returns the number of batches, which is at least 1.
    pub fn count(&self) -> u32 {
        u32::try_from(self.0.len()).expect("at most BUNDLE_MAX_BATCHES")
    }

    /// Returns the index of a digest, or `None` if the bundle does not have it.
    pub fn index_of(&self, digest: BatchDigest) -> Option<usize> {
        self.0.binary_search(&digest).ok()
    }

    /// Returns the message that members of `epoch` sign for these batches.
    pub fn bundle(&self, epoch: u64) -> BatchBundle {
        BatchBundle { epoch, count: self.count(), root: self.root() }
    }

    /// Returns the root of the tree over the digests.
    pub fn root(&self) -> B256 {
        self.levels(|_, _| ())
    }

    /// Returns the path of the digest at `index`, from the leaf upwards, or `None` if the bundle
    /// has no such index.
    pub fn path(&self, index: usize) -> Option<Vec<B256>> {
        if index >= self.0.len() {
            return None;
        }
        let mut path = Vec::new();
        self.levels(|level, nodes| path.extend(nodes.get((index >> level) ^ 1)));
        Some(path)
    }

    /// Returns the common proof of the digests at `indices`, which must ascend strictly: the hashes
    /// that their leaves do not give, by level from the leaves upwards, then by position.
    ///
    /// # Panics
    ///
    /// Panics if the bundle has no such index.
    pub fn proof(&self, indices: &[usize]) -> Vec<B256> {
        assert!(indices.iter().all(|index| *index < self.0.len()), "an index of the bundle");
        let mut proof = Vec::new();
        self.levels(|level, nodes| {
            let mut known: Vec<usize> = indices.iter().map(|index| index >> level).collect();
            known.dedup();
            let siblings = known.iter().map(|position| position ^ 1);
            let unknown = siblings.filter(|sibling| known.binary_search(sibling).is_err());
            proof.extend(unknown.filter_map(|sibling| nodes.get(sibling)));
        });
        proof
    }

    /// Computes the tree level by level from the leaves, shows each level below the root to `see`,
    /// and returns the root.
    fn levels(&self, mut see: impl FnMut(usize, &[B256])) -> B256 {
        let mut nodes: Vec<B256> = self.0.iter().map(|digest| leaf(*digest)).collect();
        let mut level = 0;
        while nodes.len() > 1 {
            see(level, &nodes);
            // A last node without a sibling moves up unchanged.
            nodes = nodes
                .chunks(2)
                .map(|pair| if let [left, right] = pair { node(*left, *right) } else { pair[0] })
                .collect();
            level += 1;
        }
        nodes[0]
    }
}

/// A member's statement about many batches: "I attested each of them in this epoch, and I hold my
/// shard of each." It promises no more than the batches' own attestations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchBundle {
    /// The epoch of the committee that signs the bundle, and of all its batches.
    pub epoch: u64,
    /// Number of batches.
    pub count: u32,
    /// Root of the tree over their digests.
    pub root: B256,
}

impl BatchBundle {
    /// Returns the EIP-712 digest of the bundle.
    pub fn digest(&self, domain: &Domain) -> BundleDigest {
        BundleDigest(
            domain.digest(
                StructHash::new(BATCH_BUNDLE_TYPE)
                    .number(self.epoch)
                    .number(u64::from(self.count))
                    .word(self.root)
                    .finish(),
            ),
        )
    }

    /// Checks that the batch with this digest is in the bundle at `index`.
    pub fn check_path(
        &self,
        digest: BatchDigest,
        index: usize,
        path: &[B256],
    ) -> Result<(), BundleProofError> {
        self.check_proof(&[(index, digest)], path)
    }

    /// Checks that the batches with these indices and digests are in the bundle. The indices must
    /// ascend strictly.
    pub fn check_proof(
        &self,
        batches: &[(usize, BatchDigest)],
        proof: &[B256],
    ) -> Result<(), BundleProofError> {
        let mut previous = None;
        for &(index, _) in batches {
            if u64::try_from(index).is_ok_and(|index| index >= u64::from(self.count)) {
                return Err(BundleProofError::IndexOutOfRange { index, count: self.count });
            }
            if let Some(previous) = previous.replace(index)
                && index <= previous
            {
                return Err(BundleProofError::IndicesNotAscending { index, previous });
            }
        }
        if batches.is_empty() {
            return Err(BundleProofError::Empty);
        }
        let got = root_of(batches, self.count as usize, proof)?;
        if got == self.root { Ok(()) } else { Err(BundleProofError::Root { got, expected: self.root }) }
    }
}

/// Returns the root to which the batches and their proof lead. The indices ascend strictly and are
/// below `count`.
fn root_of(batches: &[(usize, BatchDigest)], count: usize, proof: &[B256]) -> Result<B256, BundleProofError> {
    let mut used = 0;
    let mut sibling = || {
        let hash = proof.get(used).copied();
        used += 1;
        hash.ok_or(BundleProofError::Length { got: proof.len(), expected: used })
    };
    let mut nodes: Vec<(usize, B256)> =
        batches.iter().map(|(index, digest)| (*index, leaf(*digest))).collect();
    let mut last = count - 1;
    while last > 0 {
        let mut above = Vec::with_capacity(nodes.len());
        let mut rest = nodes.into_iter().peekable();
        while let Some((index, hash)) = rest.next() {
            let hash = if index & 1 == 1 {
                node(sibling()?, hash)
            } else if let Some((_, right)) = rest.next_if(|(next, _)| *next == index + 1) {
                node(hash, right)
            } else if index < last {
                node(hash, sibling()?)
            } else {
                hash
            };
            above.push((index >> 1, hash));
        }
        nodes = above;
        last >>= 1;
    }
    if used == proof.len() {
        Ok(nodes[0].1)
    } else {
        Err(BundleProofError::Length { got: proof.len(), expected: used })
    }
}

fn leaf(digest: BatchDigest) -> B256 {
    let mut preimage = [0; 33];
    preimage[1..].copy_from_slice(digest.as_bytes());
    keccak256(preimage)
}

fn node(left: B256, right: B256) -> B256 {
    let mut preimage = [1; 65];
    preimage[1..33].copy_from_slice(left.as_slice());
    preimage[33..].copy_from_slice(right.as_slice());
    keccak256(preimage)
}

/// A statement by a quorum that it attested, and holds, every batch of a bundle. It is unverified,
/// like [`Certificate`](crate::Certificate).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BundleCertificate {
    /// The epoch of the bundle and of all its batches.
    pub epoch: u64,
    /// The digests of its batches.
    pub digests: BundleDigests,
    /// The signatures, and the seats that did not sign.
    pub aggregate: AggregateAttestation,
}

impl BundleCertificate {
    /// Returns the message that the members signed.
    pub fn bundle(&self) -> BatchBundle {
        self.digests.bundle(self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u8) -> BatchDigest {
        BatchDigest(B256::repeat_byte(number))
    }

    fn digests(count: u8) -> BundleDigests {
        (1..=count).map(digest).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn lists_that_are_no_bundle_are_refused_each_for_its_reason() {
        let bundle = |digests: &[BatchDigest]| BundleDigests::try_from(digests.to_vec());
        assert_eq!(bundle(&[]), Err(BundleError::Empty));
        assert_eq!(
            bundle(&[digest(1), digest(3), digest(2)]),
            Err(BundleError::NotAscending { index: 2, digest: digest(2) })
        );
        assert_eq!(
            bundle(&[digest(1), digest(2), digest(2)]),
            Err(BundleError::Duplicate { index: 2, digest: digest(2) })
        );
        let many = |count: usize| -> Vec<_> {
            (0..count).map(|number| BatchDigest(B256::left_padding_from(&number.to_be_bytes()))).collect()
        };
        assert!(bundle(&many(BUNDLE_MAX_BATCHES)).is_ok());
        assert_eq!(bundle(&many(2049)), Err(BundleError::TooManyBatches { got: 2049 }));
    }

    #[test]
    fn unordered_digests_are_sorted_and_named_once() {
        let sorted = BundleDigests::from_unordered([3, 1, 3, 2].map(digest).to_vec()).unwrap();
        assert_eq!(sorted, digests(3));
        assert_eq!(sorted.index_of(digest(2)), Some(1));
        assert_eq!(sorted.index_of(digest(4)), None);
    }

    #[test]
    fn every_subset_of_a_bundle_is_proved_and_nothing_else() {
        for count in 1..=9_u8 {
            let (digests, size) = (digests(count), usize::from(count));
            let bundle = digests.bundle(1);
            for subset in 1..1_usize << size {
                let indices: Vec<_> = (0..size).filter(|index| subset >> index & 1 == 1).collect();
                let proof = digests.proof(&indices);
                let mut batches: Vec<_> =
                    indices.iter().map(|index| (*index, digests.as_slice()[*index])).collect();
                assert_eq!(bundle.check_proof(&batches, &proof), Ok(()));
                if let [index] = indices[..] {
                    assert_eq!(digests.path(index), Some(proof.clone()), "a path is a proof of one");
                }
                let mut longer = proof.clone();
                longer.push(B256::ZERO);
                assert!(matches!(
                    bundle.check_proof(&batches, &longer),
                    Err(BundleProofError::Length { .. })
                ));
                if let Some((_, shorter)) = proof.split_last() {
                    assert!(matches!(
                        bundle.check_proof(&batches, shorter),
                        Err(BundleProofError::Length { .. })
                    ));
                }
                batches[indices.len() / 2].1 = digest(99);
                assert!(matches!(bundle.check_proof(&batches, &proof), Err(BundleProofError::Root { .. })));
            }
            assert_eq!(digests.path(size), None);
        }
    }

    #[test]
    fn proofs_of_another_place_are_refused() {
        let digests = digests(5);
        let bundle = digests.bundle(1);
        let path = digests.path(1).unwrap();
        let check = |bundle: BatchBundle, index| bundle.check_path(digest(2), index, &path);
        assert_eq!(check(bundle, 1), Ok(()));
        assert!(matches!(check(bundle, 0), Err(BundleProofError::Root { .. })));
        assert_eq!(check(bundle, 4), Err(BundleProofError::Length { got: 3, expected: 1 }));
        assert_eq!(check(bundle, 5), Err(BundleProofError::IndexOutOfRange { index: 5, count: 5 }));
        let empty = BatchBundle { count: 0, ..bundle };
        assert_eq!(check(empty, 0), Err(BundleProofError::IndexOutOfRange { index: 0, count: 0 }));
        let another = BatchBundle { root: B256::ZERO, ..bundle };
        assert!(matches!(check(another, 1), Err(BundleProofError::Root { .. })));
        assert_eq!(bundle.check_proof(&[], &[]), Err(BundleProofError::Empty));
        assert_eq!(
            bundle.check_proof(&[(2, digest(3)), (1, digest(2))], &path),
            Err(BundleProofError::IndicesNotAscending { index: 1, previous: 2 })
        );
    }
}
