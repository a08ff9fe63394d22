//! Multiplication in K by a fixed factor, with a table of its multiples.

use alloc::boxed::Box;
use alloc::vec;

use dac_types::limits::BLOCK_BYTES;

use crate::field::Element;

/// Number of half bytes of an element.
const NIBBLES: usize = 2 * BLOCK_BYTES;

/// All multiples of a factor by a half byte at each position: 8 KiB, which stays in the L1 cache.
pub(super) struct Multiples(Box<[[u128; 16]; NIBBLES]>);

impl Multiples {
    pub(super) fn new(factor: Element) -> Self {
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
                    multiple = multiple.doubled();
                }
            }
            shifted = shifted.times_x();
        }
        Self(table)
    }

    /// Returns the element times the factor.
    #[inline(always)]
    pub(super) fn times(&self, element: Element) -> Element {
        let (low, high) = halves(element.bits());
        let mut product = 0;
        for position in 0..NIBBLES / 2 {
            product ^= self.0[position][(low >> (4 * position) & 15) as usize]
                ^ self.0[position + NIBBLES / 2][(high >> (4 * position) & 15) as usize];
        }
        Element::from_bits(product)
    }
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation)] // These are the halves of 128 bits.
const fn halves(element: u128) -> (u64, u64) {
    (element as u64, (element >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tables_multiply(factor: [u8; 16], element: [u8; 16]) {
            let (factor, element) = (Element::from_bytes(factor), Element::from_bytes(element));
            prop_assert_eq!(Multiples::new(factor).times(element), factor * element);
        }
    }
}
