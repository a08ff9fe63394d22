//! The combination with AVX2. For 64 bytes of four outputs, the sums over all inputs stay in
//! registers, so that an input byte is split once for four products and no sum is stored in memory.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_loadu_si256,
    _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_si256, _mm256_xor_si256,
};

use crate::field::gf8;

/// Length of a register in bytes.
const WIDTH: usize = 32;
/// Number of bytes of every row that are processed at once.
const COLUMNS: usize = 2 * WIDTH;
/// Number of outputs that are processed at once.
const TILE: usize = 4;

/// Multiples of a coefficient by the low half bytes and then by the high ones.
type Multiples = [[u8; 16]; 2];

/// The matrix as multiples of its coefficients. It can exist only on processors that have AVX2.
#[derive(Debug)]
pub(super) struct Kernel {
    /// For each tile of outputs and each input, the multiples for the outputs of the tile. A last
    /// tile that is not full is filled up with zeros.
    tiles: Vec<Vec<[Multiples; TILE]>>,
}

impl Kernel {
    pub(super) fn new(coefficients: &[Vec<u8>]) -> Option<Self> {
        if !is_x86_feature_detected!("avx2") {
            return None;
        }
        let multiples = |rows: &[Vec<u8>], input: usize| {
            let mut tile = [[[0; 16]; 2]; TILE];
            for (multiples, row) in tile.iter_mut().zip(rows) {
                let (halves, _) = gf8::NIBBLE_MULTIPLES[usize::from(row[input])].as_chunks::<16>();
                multiples.copy_from_slice(halves);
            }
            tile
        };
        let tiles = coefficients
            .chunks(TILE)
            .map(|rows| (0..rows[0].len()).map(|input| multiples(rows, input)).collect())
            .collect();
        Some(Self { tiles })
    }

    /// Combines all whole columns of 64 bytes. Returns the number of bytes done in each row.
    pub(super) fn apply(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> usize {
        let mut done = 0;
        for (outputs, multiples) in outputs.chunks_mut(TILE).zip(&self.tiles) {
            // SAFETY: a kernel exists only where `new` found AVX2.
            done = unsafe {
                match outputs {
                    [a, b, c, d] => combine_tile([a, b, c, d], inputs, multiples),
                    [a, b, c] => combine_tile([a, b, c], inputs, multiples),
                    [a, b] => combine_tile([a, b], inputs, multiples),
                    [a] => combine_tile([a], inputs, multiples),
                    _ => 0,
                }
            };
        }
        done
    }
}

#[target_feature(enable = "avx2")]
fn combine_tile<const OUTPUTS: usize>(
    outputs: [&mut [u8]; OUTPUTS],
    inputs: &[&[u8]],
    multiples: &[[Multiples; TILE]],
) -> usize {
    let low_nibbles = _mm256_set1_epi8(0x0F);
    let mut outputs = outputs.map(|output| output.as_chunks_mut::<COLUMNS>().0);
    let columns = outputs.iter().map(|output| output.len()).min().unwrap_or(0);
    for column in 0..columns {
        let mut sums = [[_mm256_set1_epi8(0); 2]; OUTPUTS];
        for (input, multiples) in inputs.iter().zip(multiples) {
            let (input, _) = input.as_chunks::<COLUMNS>();
            let bytes = load_pair(&input[column]);
            let low = bytes.map(|bytes| _mm256_and_si256(bytes, low_nibbles));
            let high = bytes.map(|bytes| _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_nibbles));
            for (sums, [low_multiples, high_multiples]) in sums.iter_mut().zip(multiples) {
                let (low_multiples, high_multiples) = (broadcast(low_multiples), broadcast(high_multiples));
                for half in 0..2 {
                    let product_of_low = _mm256_shuffle_epi8(low_multiples, low[half]);
                    let product_of_high = _mm256_shuffle_epi8(high_multiples, high[half]);
                    sums[half] =
                        _mm256_xor_si256(sums[half], _mm256_xor_si256(product_of_low, product_of_high));
                }
            }
        }
        for (output, sums) in outputs.iter_mut().zip(sums) {
            store_pair(sums, &mut output[column]);
        }
    }
    columns * COLUMNS
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_pair(bytes: &[u8; COLUMNS]) -> [__m256i; 2] {
    let pointer: *const __m256i = bytes.as_ptr().cast();
    // SAFETY: reads twice 32 bytes from an array of 64; these loads need no alignment.
    unsafe { [_mm256_loadu_si256(pointer), _mm256_loadu_si256(pointer.add(1))] }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store_pair(registers: [__m256i; 2], bytes: &mut [u8; COLUMNS]) {
    let pointer: *mut __m256i = bytes.as_mut_ptr().cast();
    // SAFETY: writes twice 32 bytes to an array of 64; these stores need no alignment.
    unsafe {
        _mm256_storeu_si256(pointer, registers[0]);
        _mm256_storeu_si256(pointer.add(1), registers[1]);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: reads 16 bytes from an array of 16; this load needs no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}
