//! Homomorphic fingerprints: values of a row, read as a polynomial over K, at points that are
//! derived from the batch. See section 4.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use dac_types::limits::BLOCK_BYTES;
use dac_types::signing_domain::{FINGERPRINTS_LABEL, POINT_LABEL, POINTS_LABEL};
use dac_types::{B256, Geometry, PublicClaim, Seat};
use sha2::{Digest, Sha256};

use crate::code::Interpolation;
use crate::field::{Element, gf8};
use crate::kernels::evaluate::Evaluator;
use crate::kernels::lanes::{GROUP_BYTES, Group, Lanes};

/// Returns the seed from which a batch's points are derived.
pub fn points_seed(shard_root: B256, batch_hash: B256, payload_length: u64, geometry: Geometry) -> B256 {
    let hash = Sha256::new()
        .chain_update(POINTS_LABEL)
        .chain_update(shard_root)
        .chain_update(batch_hash)
        .chain_update(payload_length.to_be_bytes())
        .chain_update(geometry.n().to_be_bytes())
        .chain_update(geometry.k().to_be_bytes());
    B256::new(hash.finalize().into())
}

/// The points α_0, …, α_{t−1} of a batch. Cloning is cheap.
#[derive(Clone)]
pub struct Points {
    points: Arc<[Point]>,
}

struct Point {
    alpha: Element,
    evaluator: Evaluator,
}

impl Point {
    fn new(alpha: Element) -> Self {
        Self { alpha, evaluator: Evaluator::new(alpha) }
    }
}

impl Points {
    /// Derives the points of the batch with this root, hash, length and geometry.
    pub fn from_record(shard_root: B256, batch_hash: B256, payload_length: u64, geometry: Geometry) -> Self {
        let seed = points_seed(shard_root, batch_hash, payload_length, geometry);
        let points = (0_u8..).take(geometry.points()).map(|j| {
            let hash: [u8; 32] = Sha256::new()
                .chain_update(POINT_LABEL)
                .chain_update(seed)
                .chain_update([j])
                .finalize()
                .into();
            let (alpha, _) = hash.split_first_chunk().expect("a hash is longer than an element");
            Point::new(Element::from_bytes(*alpha))
        });
        Self { points: points.collect() }
    }

    /// Takes the points that a public claim names; their number was checked. A caller that has the
    /// record must itself check that they are the record's points.
    pub fn from_claim(claim: &PublicClaim) -> Self {
        let (points, _) = claim.fields().points.as_chunks();
        Self { points: points.iter().map(|alpha| Point::new(Element::from_bytes(*alpha))).collect() }
    }

    /// Returns the number t of points.
    pub fn count(&self) -> usize {
        self.points.len()
    }

    /// Iterates over the points.
    pub fn elements(&self) -> impl Iterator<Item = Element> + '_ {
        self.points.iter().map(|point| point.alpha)
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.elements()).finish()
    }
}

/// The values of a polynomial at all points of a batch: 16t bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(Box<[u8]>);

impl Fingerprint {
    pub(crate) fn from_elements(elements: impl IntoIterator<Item = Element>) -> Self {
        Self(elements.into_iter().flat_map(Element::to_bytes).collect())
    }

    /// Returns the bytes: value at α_0 ‖ value at α_1 ‖ …
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Computes a fingerprint from consecutive pieces of any sizes.
#[derive(Clone)]
pub struct Fingerprinter {
    points: Points,
    lanes: Vec<Lanes>,
    /// The number of groups of blocks that the lanes have absorbed.
    groups: u64,
    /// Bytes that do not fill a group yet.
    pending: Vec<u8>,
    /// The lowest block, which is the value at the point zero.
    lowest_block: Option<Element>,
}

impl Fingerprinter {
    /// Starts a fingerprint at these points.
    pub fn new(points: &Points) -> Self {
        let lanes = (0..points.count()).map(|_| Lanes::new()).collect();
        Self { points: points.clone(), lanes, groups: 0, pending: Vec::new(), lowest_block: None }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, mut piece: &[u8]) {
        if !self.pending.is_empty() {
            let (head, rest) = piece.split_at(piece.len().min(GROUP_BYTES - self.pending.len()));
            self.pending.extend_from_slice(head);
            piece = rest;
            if self.pending.len() < GROUP_BYTES {
                return;
            }
            let pending = core::mem::take(&mut self.pending);
            self.absorb(pending.as_chunks().0);
        }
        let (groups, rest) = piece.as_chunks();
        self.absorb(groups);
        self.pending.extend_from_slice(rest);
    }

    fn absorb(&mut self, groups: &[Group]) {
        if self.lowest_block.is_none() {
            let block = groups.first().and_then(|group| group.first_chunk());
            self.lowest_block = block.map(|block| Element::from_bytes(*block));
        }
        self.groups += groups.len() as u64;
        // A few groups are absorbed at all points in turn, so that they are still in the L1 cache
        // at the last point.
        for groups in groups.chunks(4) {
            for (point, lanes) in self.points.points.iter().zip(&mut self.lanes) {
                point.evaluator.absorb(lanes, groups);
            }
        }
    }

    /// Returns the fingerprint of all pieces together, zero-padded to whole blocks.
    pub fn finish(mut self) -> Fingerprint {
        let mut rest = core::mem::take(&mut self.pending);
        if !rest.is_empty() {
            // Zeros above the highest block do not change the value.
            rest.resize(GROUP_BYTES, 0);
            self.absorb(rest.as_chunks().0);
        }
        let lowest_block = self.lowest_block.unwrap_or(Element::ZERO);
        Fingerprint::from_elements(self.points.points.iter().zip(&self.lanes).map(|(point, lanes)| {
            // A hash yields this point once in 2^128 batches. The evaluator cannot be used because
            // it divides by it.
            if point.alpha == Element::ZERO {
                lowest_block
            } else {
                point.evaluator.finish(lanes, point.evaluator.power(self.groups))
            }
        }))
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprinter").finish_non_exhaustive()
    }
}

/// Returns the fingerprint of a row, shard or payload, zero-padded to whole blocks.
pub fn fingerprint(points: &Points, bytes: &[u8]) -> Fingerprint {
    let mut fingerprinter = Fingerprinter::new(points);
    fingerprinter.update(bytes);
    fingerprinter.finish()
}

/// Returns the concatenated fingerprints of rows of one length, each as [`fingerprint`] computes
/// it. Work that all rows share is done once.
#[cfg(feature = "reed-solomon")]
pub(crate) fn fingerprints_of_rows<'a>(
    points: &Points,
    row_bytes: usize,
    rows: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) -> Vec<u8> {
    let groups = row_bytes.div_ceil(GROUP_BYTES) as u64;
    let mut fingerprints = vec![0; rows.len() * points.count() * BLOCK_BYTES];
    let mut lanes = Lanes::new();
    for (j, Point { alpha, evaluator }) in points.points.iter().enumerate() {
        let power = evaluator.power(groups);
        let places = fingerprints.as_chunks_mut::<BLOCK_BYTES>().0.iter_mut().skip(j).step_by(points.count());
        for (place, row) in places.zip(rows.clone()) {
            debug_assert_eq!(row.len(), row_bytes);
            // A hash yields this point once in 2^128 batches. The evaluator cannot be used because
            // it divides by it.
            if *alpha == Element::ZERO {
                place.copy_from_slice(&row[..BLOCK_BYTES]);
                continue;
            }
            lanes.clear();
            let (whole, rest) = row.as_chunks();
            evaluator.absorb(&mut lanes, whole);
            if !rest.is_empty() {
                // Zeros above the highest block do not change the value.
                let mut last = [0; GROUP_BYTES];
                last[..rest.len()].copy_from_slice(rest);
                evaluator.absorb(&mut lanes, &[last]);
            }
            *place = evaluator.finish(&lanes, power).to_bytes();
        }
    }
    fingerprints
}

/// Returns payloadFingerprint, computed from the payload itself. A validity proof proves this
/// value.
pub fn payload_fingerprint(points: &Points, payload: &[u8]) -> Fingerprint {
    fingerprint(points, payload)
}

/// Returns payloadFingerprint, computed from the concatenated fingerprints z of the k rows of
/// `shard_length` bytes.
pub fn payload_fingerprint_of_rows(
    points: &Points,
    shard_length: usize,
    row_fingerprints: &[u8],
) -> Fingerprint {
    let row_blocks = (shard_length / BLOCK_BYTES) as u64;
    let (values, _) = row_fingerprints.as_chunks::<BLOCK_BYTES>();
    Fingerprint::from_elements(points.elements().enumerate().map(|(j, alpha)| {
        let alpha_to_the_row = alpha.pow(row_blocks);
        let values_at_alpha = values.iter().skip(j).step_by(points.count());
        values_at_alpha
            .rev()
            .fold(Element::ZERO, |sum, value| sum * alpha_to_the_row + Element::from_bytes(*value))
    }))
}

/// Returns fingerprintsHash, the hash over the fingerprints z of the k rows.
pub fn fingerprints_hash(row_fingerprints: &[u8]) -> B256 {
    B256::new(Sha256::new().chain_update(FINGERPRINTS_LABEL).chain_update(row_fingerprints).finalize().into())
}

/// Returns the fingerprint that the shard of `seat` must have. It is encoded from z, because
/// encoding commutes with fingerprinting.
pub(crate) fn encode_fingerprint(
    rows: &Interpolation,
    points: usize,
    row_fingerprints: &[u8],
    seat: Seat,
) -> Fingerprint {
    let mut fingerprint = vec![0; points * BLOCK_BYTES];
    for (coefficient, row) in
        rows.coefficients(seat).into_iter().zip(row_fingerprints.chunks_exact(fingerprint.len()))
    {
        for (to, from) in fingerprint.iter_mut().zip(row) {
            *to ^= gf8::mul(coefficient, *from);
        }
    }
    Fingerprint(fingerprint.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(n: u16) -> Points {
        Points::from_record(B256::repeat_byte(1), B256::repeat_byte(2), 3, Geometry::new(n, 1).unwrap())
    }

    #[test]
    fn at_zero_only_the_lowest_block_counts() {
        let points = Points { points: [Point::new(Element::ZERO)].into() };
        for length in [0, 1, 16, GROUP_BYTES + 1, 3 * GROUP_BYTES] {
            let bytes: Vec<u8> = (0..length).map(|i| i.to_le_bytes()[0] | 1).collect();
            assert_eq!(fingerprint(&points, &bytes), direct(&points, &bytes), "{length} bytes");
        }
    }

    fn direct(points: &Points, bytes: &[u8]) -> Fingerprint {
        Fingerprint::from_elements(points.elements().map(|alpha| {
            bytes.chunks(BLOCK_BYTES).rev().fold(Element::ZERO, |sum, chunk| {
                let mut block = [0; BLOCK_BYTES];
                block[..chunk.len()].copy_from_slice(chunk);
                sum * alpha + Element::from_bytes(block)
            })
        }))
    }

    #[test]
    fn sizes_around_every_boundary() {
        let points = points(191);
        let bytes: Vec<u8> = (0..9 * GROUP_BYTES).map(|i| (i * i / 7).to_le_bytes()[0]).collect();
        for boundary in [0, BLOCK_BYTES, 4 * BLOCK_BYTES, GROUP_BYTES, 4 * GROUP_BYTES, 5 * GROUP_BYTES] {
            for length in boundary.saturating_sub(17)..=boundary + 17 {
                assert_eq!(
                    fingerprint(&points, &bytes[..length]),
                    direct(&points, &bytes[..length]),
                    "{length} bytes"
                );
            }
        }
    }

    #[test]
    fn the_points_depend_on_everything_in_the_seed() {
        let geometry = |n, k| Geometry::new(n, k).unwrap();
        let base = points_seed(B256::ZERO, B256::ZERO, 1, geometry(7, 3));
        for other in [
            points_seed(B256::repeat_byte(1), B256::ZERO, 1, geometry(7, 3)),
            points_seed(B256::ZERO, B256::repeat_byte(1), 1, geometry(7, 3)),
            points_seed(B256::ZERO, B256::ZERO, 2, geometry(7, 3)),
            points_seed(B256::ZERO, B256::ZERO, 1, geometry(8, 3)),
            points_seed(B256::ZERO, B256::ZERO, 1, geometry(7, 4)),
        ] {
            assert_ne!(base, other);
        }
    }

    #[cfg(feature = "reed-solomon")]
    #[test]
    fn rows_together_have_the_fingerprints_of_each() {
        let drawn = points(191);
        let with_zero = Points { points: [Point::new(Element::ZERO), Point::new(Element::ONE)].into() };
        for (row_bytes, points) in [16, 1008, GROUP_BYTES, 5 * GROUP_BYTES + 48]
            .into_iter()
            .flat_map(|row_bytes| [(row_bytes, &drawn), (row_bytes, &with_zero)])
        {
            let bytes: Vec<u8> = (0..3 * row_bytes).map(|i| (i * i / 7).to_le_bytes()[0]).collect();
            let rows = bytes.chunks_exact(row_bytes);
            let each = rows.clone().flat_map(|row| fingerprint(points, row).as_bytes().to_vec());
            assert_eq!(fingerprints_of_rows(points, row_bytes, rows.clone()), each.collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn pieces_of_any_sizes_give_the_same(
            bytes in proptest::collection::vec(any::<u8>(), 0..9 * GROUP_BYTES),
            sizes in proptest::collection::vec(1_usize..6000, 1..20),
        ) {
            let points = points(7);
            let mut fingerprinter = Fingerprinter::new(&points);
            let mut rest = &bytes[..];
            for size in sizes.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at(size.min(rest.len()));
                fingerprinter.update(piece);
                rest = after;
            }
            let got = fingerprinter.finish();
            prop_assert_eq!(&got, &direct(&points, &bytes));
            prop_assert_eq!(got.as_bytes().len(), 32);
        }
    }
}
