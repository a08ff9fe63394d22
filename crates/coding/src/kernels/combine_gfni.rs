//! The combination with GFNI. A product by a constant byte is one instruction, and the sums of
//! eight outputs over all inputs stay in registers.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m512i, __mmask64, _mm512_gf2p8affine_epi64_epi8, _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_xor_si512,
};

use crate::field::gf8;

/// Length of a register in bytes.
const WIDTH: usize = 64;
/// Number of registers of every row that are processed at once.
const REGISTERS: usize = 2;
/// Number of bytes of every row that are processed at once.
const COLUMNS: usize = REGISTERS * WIDTH;
/// Number of outputs that are processed at once.
const TILE: usize = 8;

/// The matrix, with each coefficient as a bit matrix. It can exist only on processors that have
/// GFNI and AVX-512.
#[derive(Debug)]
pub(super) struct Kernel {
    /// For each tile of outputs and each input, the coefficients of the tile's outputs. A last tile
    /// that is not full is filled up with zeros.
    tiles: Vec<Vec<[u64; TILE]>>,
}

impl Kernel {
    pub(super) fn new(coefficients: &[Vec<u8>]) -> Option<Self> {
        let has_all = is_x86_feature_detected!("gfni")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw");
        has_all.then(|| {
            let tile = |rows: &[Vec<u8>], input: usize| {
                core::array::from_fn(|i| {
                    rows.get(i).map_or(0, |row| gf8::BIT_MATRICES[usize::from(row[input])])
                })
            };
            let tiles = coefficients.chunks(TILE);
            Self { tiles: tiles.map(|rows| (0..rows[0].len()).map(|i| tile(rows, i)).collect()).collect() }
        })
    }

    /// Combines rows of any length.
    pub(super) fn apply(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) {
        for (outputs, coefficients) in outputs.chunks_mut(TILE).zip(&self.tiles) {
            // SAFETY: a kernel exists only where `new` found these features.
            unsafe {
                match outputs {
                    [a, b, c, d, e, f, g, h] => combine([a, b, c, d, e, f, g, h], inputs, coefficients),
                    [a, b, c, d, e, f, g] => combine([a, b, c, d, e, f, g], inputs, coefficients),
                    [a, b, c, d, e, f] => combine([a, b, c, d, e, f], inputs, coefficients),
                    [a, b, c, d, e] => combine([a, b, c, d, e], inputs, coefficients),
                    [a, b, c, d] => combine([a, b, c, d], inputs, coefficients),
                    [a, b, c] => combine([a, b, c], inputs, coefficients),
                    [a, b] => combine([a, b], inputs, coefficients),
                    [a] => combine([a], inputs, coefficients),
                    _ => {}
                }
            }
        }
    }
}

/// Combines whole columns, and the rest with masks.
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn combine<const OUTPUTS: usize>(
    mut outputs: [&mut [u8]; OUTPUTS],
    inputs: &[&[u8]],
    coefficients: &[[u64; TILE]],
) {
    let length = outputs.iter().map(|output| output.len()).min().unwrap_or(0);
    for start in (0..length).step_by(COLUMNS) {
        let range = start..(start + COLUMNS).min(length);
        let mut sums = [[_mm512_setzero_si512(); REGISTERS]; OUTPUTS];
        for (input, coefficients) in inputs.iter().zip(coefficients) {
            let bytes = load(&input[range.clone()]);
            for (sums, coefficient) in sums.iter_mut().zip(coefficients) {
                let coefficient = _mm512_set1_epi64(coefficient.cast_signed());
                for (sum, bytes) in sums.iter_mut().zip(bytes) {
                    *sum = _mm512_xor_si512(*sum, _mm512_gf2p8affine_epi64_epi8::<0>(bytes, coefficient));
                }
            }
        }
        for (output, sums) in outputs.iter_mut().zip(sums) {
            store(sums, &mut output[range.clone()]);
        }
    }
}

/// Returns a mask of the first `length` bytes of a register.
#[inline]
fn first(length: usize) -> __mmask64 {
    if length >= WIDTH { !0 } else { (1 << length) - 1 }
}

#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn load(bytes: &[u8]) -> [__m512i; REGISTERS] {
    let (low, high) = bytes.split_at(bytes.len().min(WIDTH));
    // SAFETY: bytes outside the masks are not read, and the masks cover only the slices.
    unsafe {
        [
            _mm512_maskz_loadu_epi8(first(low.len()), low.as_ptr().cast()),
            _mm512_maskz_loadu_epi8(first(high.len()), high.as_ptr().cast()),
        ]
    }
}

#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn store(registers: [__m512i; REGISTERS], bytes: &mut [u8]) {
    let (low, high) = bytes.split_at_mut(bytes.len().min(WIDTH));
    for (register, part) in registers.into_iter().zip([low, high]) {
        // SAFETY: bytes outside the mask are not written, and the mask covers only the slice.
        unsafe { _mm512_mask_storeu_epi8(part.as_mut_ptr().cast(), first(part.len()), register) }
    }
}
