//! The Reed–Solomon code of section 2, computed by interpolation.
//!
//! A column of k data bytes is the values of a polynomial of degree below k at the points 0, …,
//! k − 1 of GF(2^8), and shard i is its value at i. That is exactly G = V·(top of V)^−1: the
//! inverse turns values into coefficients, V turns coefficients into values. So the coefficients
//! with which any k shards give any other shard are Lagrange's, and no matrix has to be inverted.

use alloc::vec::Vec;

use dac_types::{Geometry, Seat};

use crate::field::gf8;

/// Any k distinct shards, from which every shard of the batch can be computed.
#[derive(Clone, Debug)]
pub struct Interpolation {
    sources: Vec<Seat>,
    /// For each source s, the logarithm of ∏_{s' ≠ s} (s − s').
    denominator_logs: Vec<usize>,
}

impl Interpolation {
    /// Prepares to compute other shards from those of `sources`, which must be k distinct seats.
    pub(crate) fn from_sources(sources: Vec<Seat>) -> Self {
        let denominator_logs = sources
            .iter()
            .map(|s| sources.iter().filter(|other| *other != s).map(|other| gf8::log(s.0 ^ other.0)).sum())
            .collect();
        Self { sources, denominator_logs }
    }

    /// Prepares to compute other shards from the k data rows.
    pub fn from_rows(geometry: Geometry) -> Self {
        Self::from_sources(Seat::all(geometry.k()).collect())
    }

    /// Returns the seats of the shards from which others are computed.
    pub fn sources(&self) -> &[Seat] {
        &self.sources
    }

    /// Returns the coefficients of a shard: shard(target) = Σ coefficient_s · shard(s) over the
    /// sources s, in their order.
    pub fn coefficients(&self, target: Seat) -> Vec<u8> {
        if self.sources.contains(&target) {
            return self.sources.iter().map(|s| u8::from(*s == target)).collect();
        }
        let numerator_log: usize = self.sources.iter().map(|s| gf8::log(target.0 ^ s.0)).sum();
        self.sources
            .iter()
            .zip(&self.denominator_logs)
            .map(|(s, denominator_log)| {
                let numerator_log = numerator_log - gf8::log(target.0 ^ s.0);
                gf8::exp(numerator_log % gf8::ORDER + gf8::ORDER - denominator_log % gf8::ORDER)
            })
            .collect()
    }
}

#[cfg(all(test, feature = "reed-solomon"))]
mod tests {
    use proptest::prelude::*;
    use reed_solomon_erasure::galois_8::ReedSolomon;

    use super::*;

    /// Encodes column `column` of the generator matrix with the reference implementation.
    fn reference_column(code: &ReedSolomon, k: usize, n: usize, column: usize) -> Vec<u8> {
        let mut shards: Vec<[u8; 1]> = (0..n).map(|row| [u8::from(row == column)]).collect();
        assert!(column < k);
        code.encode(&mut shards).unwrap();
        shards.concat()
    }

    #[test]
    fn the_generator_is_that_of_the_reference_implementation() {
        for (n, k) in [(2, 1), (3, 2), (7, 3), (16, 6), (64, 22), (255, 127), (256, 86), (256, 255), (256, 1)]
        {
            let geometry = Geometry::new(n, k).unwrap();
            let code = ReedSolomon::new(usize::from(k), usize::from(n - k)).unwrap();
            let interpolation = Interpolation::from_rows(geometry);
            let rows: Vec<_> = Seat::all(n).map(|seat| interpolation.coefficients(seat)).collect();
            for column in [0, usize::from(k) / 2, usize::from(k) - 1] {
                let expected = reference_column(&code, usize::from(k), usize::from(n), column);
                let got: Vec<u8> = rows.iter().map(|row| row[column]).collect();
                assert_eq!(got, expected, "n = {n}, k = {k}, column {column}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_k_shards_give_every_shard(
            (n, k, order, data) in (2_u16..40).prop_flat_map(|n| (Just(n), 1..n)).prop_flat_map(|(n, k)| (
                Just(n),
                Just(k),
                Just(Seat::all(n).collect::<Vec<_>>()).prop_shuffle(),
                proptest::collection::vec(any::<u8>(), usize::from(k)),
            )),
        ) {
            let dot = |coefficients: Vec<u8>, values: &[u8]| {
                coefficients.into_iter().zip(values).fold(0, |sum, (c, v)| sum ^ gf8::mul(c, *v))
            };
            let rows = Interpolation::from_rows(Geometry::new(n, k).unwrap());
            let shards: Vec<u8> = Seat::all(n).map(|seat| dot(rows.coefficients(seat), &data)).collect();
            let sources = order[..usize::from(k)].to_vec();
            let values: Vec<u8> = sources.iter().map(|seat| shards[seat.index()]).collect();
            let interpolation = Interpolation::from_sources(sources);
            for seat in Seat::all(n) {
                prop_assert_eq!(dot(interpolation.coefficients(seat), &values), shards[seat.index()]);
            }
        }
    }
}
