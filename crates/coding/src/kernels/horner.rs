//! Evaluation of a whole polynomial over K at once, highest coefficient first. It is for zkVM
//! guests, in which every instruction is proved, nothing runs in parallel, and touched memory has a
//! cost too.
//!
//! It works on machine words, and each table look-up is at a fixed offset from an address that one
//! digit gives, which a small RISC processor does in one load. The 128-bit integers of [`Element`]
//! cost twice as much there.

use alloc::boxed::Box;
use alloc::vec;

use dac_types::limits::BLOCK_BYTES;

use crate::field::Element;

const WORD_BYTES: usize = size_of::<usize>();
const WORDS: usize = BLOCK_BYTES / WORD_BYTES;

/// An element as machine words, lowest first.
type Words = [usize; WORDS];

/// Largest length for which the small table is cheaper. The large one takes more instructions to
/// fill and touches more memory.
const SMALL_BYTES: usize = 8192;

/// Evaluates the same bytes at one point after another.
pub(crate) struct Horner<'a> {
    blocks: &'a [[u8; BLOCK_BYTES]],
    /// The bytes after the last whole block, zero-padded.
    highest: Words,
    table: Table,
}

/// The table of multiples. It is allocated once and filled again for each point, because a guest's
/// allocator frees nothing.
enum Table {
    /// The table by half bytes: 8 KiB.
    Small(Multiples<16, { 2 * BLOCK_BYTES }>),
    /// The table by bytes: 64 KiB, but half the look-ups.
    Large(Multiples<256, BLOCK_BYTES>),
}

impl<'a> Horner<'a> {
    /// Prepares the evaluation of these bytes, zero-padded to whole blocks.
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

    /// Returns the value at a point.
    pub(crate) fn at(&mut self, alpha: Element) -> Element {
        match &mut self.table {
            Table::Small(table) => table.evaluate(self.blocks, self.highest, alpha),
            Table::Large(table) => table.evaluate(self.blocks, self.highest, alpha),
        }
    }
}

/// The multiples of a factor by each digit of an element. The indices are the digit's value and
/// then its position.
struct Multiples<const VALUES: usize, const DIGITS: usize>(Box<[[Words; DIGITS]; VALUES]>);

impl<const VALUES: usize, const DIGITS: usize> Multiples<VALUES, DIGITS> {
    const DIGIT_BITS: usize = VALUES.ilog2() as usize;
    const DIGITS_OF_A_WORD: usize = DIGITS / WORDS;

    /// Makes the table of the multiples of zero.
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

    /// Fills the table with the multiples of `factor`.
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

    /// Returns the element times the factor, plus the addend.
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
