//! Evaluation of a whole polynomial over K at once, highest coefficient first: for zkVM guests, where every instruction is
//! proved, nothing runs beside anything else, and memory that was touched has to be paid for too.
//!
//! Everything is in words of the target and, where a table is asked, at a fixed distance from an address that one digit
//! gives: what a small RISC processor does in a load. The integers of 128 bits of [`Element`] cost it twice as much.

use alloc::boxed::Box;
use alloc::vec;

use dac_types::limits::BLOCK_BYTES;

use crate::field::Element;

const WORD_BYTES: usize = size_of::<usize>();
const WORDS: usize = BLOCK_BYTES / WORD_BYTES;

/// An element, lowest word first.
type Words = [usize; WORDS];

/// Up to so many bytes the large table costs more than it saves: instructions to fill it, and memory touched.
const SMALL_BYTES: usize = 8192;

/// Evaluates the same bytes at one point after the other.
pub(crate) struct Horner<'a> {
    blocks: &'a [[u8; BLOCK_BYTES]],
    /// What is left above the blocks, zero-padded.
    highest: Words,
    table: Table,
}

/// Made once and filled for each point again, as a guest's allocator frees nothing.
enum Table {
    /// Half bytes: 8 KiB.
    Small(Multiples<16, { 2 * BLOCK_BYTES }>),
    /// Bytes: 64 KiB, and half the look-ups.
    Large(Multiples<256, BLOCK_BYTES>),
}

impl<'a> Horner<'a> {
    /// Of these bytes, zero-padded to whole blocks.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        if bytes.len() <= SMALL_BYTES {
            Self::with_table(bytes, Table::Small(Multiples::zero()))
        } else {
            Self::with_table(bytes, Table::Large(Multiples::zero()))
        }
    }

    fn with_table(bytes: &'a [u8], table: Table) -> Self {
        let (blocks, rest) = bytes.as_chunks();
        let mut highest = [0; BLOCK_BYTES];
        highest[..rest.len()].copy_from_slice(rest);
        Self { blocks, highest: words(&highest), table }
    }

    /// The value at a point.
    pub(crate) fn at(&mut self, alpha: Element) -> Element {
        match &mut self.table {
            Table::Small(table) => table.evaluate(self.blocks, self.highest, alpha),
            Table::Large(table) => table.evaluate(self.blocks, self.highest, alpha),
        }
    }
}

/// The multiples of a factor that each of an element's digits can ask for: by value, then by the digit's position.
struct Multiples<const VALUES: usize, const DIGITS: usize>(Box<[[Words; DIGITS]; VALUES]>);

impl<const VALUES: usize, const DIGITS: usize> Multiples<VALUES, DIGITS> {
    const DIGIT_BITS: usize = VALUES.ilog2() as usize;
    const DIGITS_OF_A_WORD: usize = DIGITS / WORDS;

    /// The multiples of zero.
    fn zero() -> Self {
        let table = vec![[[0; WORDS]; DIGITS]; VALUES].into_boxed_slice();
        Self(table.try_into().expect("the vector has this length"))
    }

    fn evaluate(&mut self, blocks: &[[u8; BLOCK_BYTES]], highest: Words, alpha: Element) -> Element {
        self.set(alpha);
        let value = blocks.iter().rev().fold(highest, |sum, block| self.times_plus(sum, words(block)));
        let mut bytes = [0; BLOCK_BYTES];
        for (bytes, word) in bytes.chunks_exact_mut(WORD_BYTES).zip(value) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Element::from_bytes(bytes)
    }

    /// The multiples of another factor.
    fn set(&mut self, factor: Element) {
        let mut shifted = factor;
        let mut multiple = factor;
        for digit in 0..DIGITS {
            if (digit * Self::DIGIT_BITS).is_multiple_of(8) {
                multiple = shifted;
                shifted = shifted.times_x();
            }
            let mut filled = 1;
            while filled < VALUES {
                let addend = words(&multiple.to_bytes());
                let (done, rest) = self.0.split_at_mut(filled);
                for (to, from) in rest.iter_mut().zip(done) {
                    to[digit] = from[digit];
                    add(&mut to[digit], &addend);
                }
                multiple = multiple.doubled();
                filled *= 2;
            }
        }
    }

    /// The element times the factor, plus the addend.
    #[inline(always)]
    fn times_plus(&self, element: Words, addend: Words) -> Words {
        let mut sum = addend;
        for (i, word) in element.into_iter().enumerate() {
            for digit in 0..Self::DIGITS_OF_A_WORD {
                let value = (word >> (Self::DIGIT_BITS * digit)) % VALUES;
                add(&mut sum, &self.0[value][Self::DIGITS_OF_A_WORD * i + digit]);
            }
        }
        sum
    }
}

#[inline(always)]
fn words(bytes: &[u8; BLOCK_BYTES]) -> Words {
    let (words, _) = bytes.as_chunks();
    core::array::from_fn(|i| usize::from_le_bytes(words[i]))
}

#[inline(always)]
fn add(sum: &mut Words, addend: &Words) {
    for (sum, addend) in sum.iter_mut().zip(addend) {
        *sum ^= addend;
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
            bytes in proptest::collection::vec(any::<u8>(), 0..4096),
            alphas in proptest::collection::vec(any::<[u8; 16]>(), 1..4),
        ) {
            let mut horner = Horner::new(&bytes);
            let mut with_large_table = Horner::with_table(&bytes, Table::Large(Multiples::zero()));
            for alpha in alphas.into_iter().map(Element::from_bytes).chain([Element::ZERO, Element::ONE]) {
                let expected = by_products(alpha, &bytes);
                prop_assert_eq!(horner.at(alpha), expected);
                prop_assert_eq!(with_large_table.at(alpha), expected);
            }
        }
    }
}
