//! Evaluation of a whole polynomial over K at once, highest coefficient first: for zkVM guests, where every instruction is
//! proved, nothing runs beside anything else, and memory that was touched has to be paid for too.

use alloc::boxed::Box;
use alloc::vec;

use dac_types::limits::BLOCK_BYTES;

use super::multiples::{Multiples, fill};
use crate::field::Element;

/// Up to so many bytes the large table would cost more than it saves.
const SMALL_BYTES: usize = 2048;

/// Evaluates the same bytes at one point after the other.
pub(crate) struct Horner<'a> {
    blocks: &'a [[u8; BLOCK_BYTES]],
    /// What is left above the blocks, zero-padded.
    highest: Element,
    /// Used again for each point: a guest's allocator frees nothing.
    table: Option<ByteMultiples>,
}

impl<'a> Horner<'a> {
    /// Of these bytes, zero-padded to whole blocks.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let (blocks, rest) = bytes.as_chunks();
        let mut highest = [0; BLOCK_BYTES];
        highest[..rest.len()].copy_from_slice(rest);
        let table = (bytes.len() > SMALL_BYTES).then(ByteMultiples::zero);
        Self { blocks, highest: Element::from_bytes(highest), table }
    }

    /// The value at a point.
    pub(crate) fn at(&mut self, alpha: Element) -> Element {
        let blocks = self.blocks.iter().rev().map(|block| Element::from_bytes(*block));
        match &mut self.table {
            Some(table) => {
                table.set(alpha);
                blocks.fold(self.highest, |sum, block| table.times(sum) + block)
            }
            None => {
                let table = Multiples::new(alpha);
                blocks.fold(self.highest, |sum, block| table.times(sum) + block)
            }
        }
    }
}

/// All multiples of a factor that a byte at any position can ask for: 64 KiB, half the look-ups of [`Multiples`].
struct ByteMultiples(Box<[[u128; 256]; BLOCK_BYTES]>);

impl ByteMultiples {
    /// The multiples of zero.
    fn zero() -> Self {
        let table = vec![[0; 256]; BLOCK_BYTES].into_boxed_slice();
        Self(table.try_into().expect("the vector has this length"))
    }

    /// The multiples of another factor.
    fn set(&mut self, factor: Element) {
        let mut shifted = factor;
        for multiples in self.0.iter_mut() {
            fill(multiples, shifted);
            shifted = shifted.times_x();
        }
    }

    /// The element times the factor.
    #[inline(always)]
    fn times(&self, element: Element) -> Element {
        let bytes = element.to_bytes();
        let mut product = 0;
        for (multiples, byte) in self.0.iter().zip(bytes) {
            product ^= multiples[usize::from(byte)];
        }
        Element::from_bits(product)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn by_products(alpha: Element, bytes: &[u8]) -> Element {
        bytes.chunks(BLOCK_BYTES).rev().fold(Element::ZERO, |sum, chunk| {
            let mut block = [0; BLOCK_BYTES];
            block[..chunk.len()].copy_from_slice(chunk);
            sum * alpha + Element::from_bytes(block)
        })
    }

    #[test]
    fn sizes_around_every_boundary() {
        let bytes: Vec<u8> = (0..2 * SMALL_BYTES).map(|i| (i * i / 7).to_le_bytes()[0]).collect();
        let alpha = Element::from_bytes([0xA7; 16]);
        for boundary in [0, BLOCK_BYTES, 4 * BLOCK_BYTES, SMALL_BYTES, SMALL_BYTES + BLOCK_BYTES] {
            for length in boundary.saturating_sub(17)..=boundary + 17 {
                let bytes = &bytes[..length];
                assert_eq!(Horner::new(bytes).at(alpha), by_products(alpha, bytes), "{length} bytes");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        #[test]
        fn both_tables_evaluate_at_point_after_point(
            bytes in proptest::collection::vec(any::<u8>(), 0..2 * SMALL_BYTES),
            alphas in proptest::collection::vec(any::<[u8; 16]>(), 1..4),
        ) {
            let mut horner = Horner::new(&bytes);
            let with_large_table = Some(ByteMultiples::zero());
            let mut with_large_table = Horner { table: with_large_table, ..Horner::new(&bytes) };
            for alpha in alphas.into_iter().map(Element::from_bytes).chain([Element::ZERO, Element::ONE]) {
                let expected = by_products(alpha, &bytes);
                prop_assert_eq!(horner.at(alpha), expected);
                prop_assert_eq!(with_large_table.at(alpha), expected);
            }
        }
    }
}
