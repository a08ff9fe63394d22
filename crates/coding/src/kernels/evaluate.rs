//! Evaluation of a polynomial over K at a fixed point, by Horner's rule with tables of multiples of the point.

use alloc::boxed::Box;
use alloc::vec;

use dac_types::limits::BLOCK_BYTES;

use crate::field::Element;

/// Independent Horner chains that run beside each other, since one alone waits for its table lookups.
const LANES: usize = 4;
/// Half bytes of an element.
const NIBBLES: usize = 2 * BLOCK_BYTES;

/// All multiples of a factor that a half byte at any position can ask for: 8 KiB, so that it stays in the first cache.
struct MultiplesTable(Box<[[u128; 16]; NIBBLES]>);

impl MultiplesTable {
    fn new(factor: Element) -> Self {
        let mut table: Box<[[u128; 16]; NIBBLES]> =
            vec![[0; 16]; NIBBLES].into_boxed_slice().try_into().expect("the vector has this length");
        let mut shifted = factor;
        for pair in table.chunks_exact_mut(2) {
            let mut multiple = shifted;
            for multiples in pair {
                for bit in 0..4 {
                    for value in 0..1 << bit {
                        multiples[value | 1 << bit] = multiples[value] ^ multiple.bits();
                    }
                    multiple = multiple.scaled(2);
                }
            }
            shifted = shifted.times_x();
        }
        Self(table)
    }

    #[inline(always)]
    fn times(&self, element: u128) -> u128 {
        let (low, high) = halves(element);
        let mut product = 0;
        for position in 0..NIBBLES / 2 {
            product ^= self.0[position][(low >> (4 * position) & 15) as usize]
                ^ self.0[position + NIBBLES / 2][(high >> (4 * position) & 15) as usize];
        }
        product
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // The halves of 128 bits.
fn halves(element: u128) -> (u64, u64) {
    (element as u64, (element >> 64) as u64)
}

/// What evaluation at one point needs, precomputed.
pub(crate) struct Evaluator {
    times_point: MultiplesTable,
    times_point_to_the_lanes: MultiplesTable,
}

impl Evaluator {
    pub(crate) fn new(point: Element) -> Self {
        Self {
            times_point: MultiplesTable::new(point),
            times_point_to_the_lanes: MultiplesTable::new(point.pow(LANES as u64)),
        }
    }

    /// Σ_b block_b · point^b over whole blocks.
    pub(crate) fn evaluate(&self, blocks: &[u8]) -> Element {
        let (blocks, remainder) = blocks.as_chunks::<BLOCK_BYTES>();
        assert!(remainder.is_empty(), "only whole blocks are evaluated");
        let (groups, single) = blocks.as_chunks::<LANES>();
        let mut sum = 0;
        for block in single.iter().rev() {
            sum = self.times_point.times(sum) ^ u128::from_le_bytes(*block);
        }
        // The single blocks above the groups are one more coefficient of the lowest lane.
        let mut lanes = [0; LANES];
        lanes[0] = sum;
        for group in groups.iter().rev() {
            for (lane, block) in lanes.iter_mut().zip(group) {
                *lane = self.times_point_to_the_lanes.times(*lane) ^ u128::from_le_bytes(*block);
            }
        }
        let mut sum = 0;
        for lane in lanes.into_iter().rev() {
            sum = self.times_point.times(sum) ^ lane;
        }
        Element::from_bits(sum)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tables_multiply(factor: [u8; 16], element: [u8; 16]) {
            let (factor, element) = (Element::from_bytes(factor), Element::from_bytes(element));
            prop_assert_eq!(MultiplesTable::new(factor).times(element.bits()), (factor * element).bits());
        }

        #[test]
        fn evaluation_is_a_sum_of_powers(point: [u8; 16], blocks in proptest::collection::vec(any::<[u8; 16]>(), 0..70)) {
            let point = Element::from_bytes(point);
            let bytes: Vec<u8> = blocks.concat();
            let mut expected = Element::ZERO;
            for (b, block) in (0..).zip(&blocks) {
                expected += Element::from_bytes(*block) * point.pow(b);
            }
            prop_assert_eq!(Evaluator::new(point).evaluate(&bytes), expected);
        }
    }

    #[test]
    fn at_zero_only_the_lowest_block_counts() {
        let bytes: Vec<u8> = (0..160).collect();
        let lowest = Element::from_bytes(bytes[..16].try_into().unwrap());
        assert_eq!(Evaluator::new(Element::ZERO).evaluate(&bytes), lowest);
    }
}
