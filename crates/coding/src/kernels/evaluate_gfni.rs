//! The GFNI twin of the evaluation: 64 lanes to a register, one register for each coefficient of x.
//!
//! Multiplying all lanes by γ is then a 16 × 16 matrix over GF(2^8) that is the same for every lane, and a product by a
//! constant byte is one instruction. K is no field of bit polynomials, so carry-less multiplication would want every
//! block in another basis first; that change of basis is itself as large a matrix as γ.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m512i, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_unpackhi_epi8, _mm512_unpacklo_epi8, _mm512_xor_si512,
};

use dac_types::limits::BLOCK_BYTES;

use super::evaluate::{Group, Lanes};
use crate::field::{Element, gf8};

/// Bytes of a register.
const WIDTH: usize = 64;
/// Coefficients of the product that are summed up in registers at once.
const TILE: usize = 8;

/// Lanes turned round: register i holds coefficient i of all lanes.
type Transposed = [[u8; WIDTH]; BLOCK_BYTES];

/// Multiplication by γ. Exists only on processors that have what it takes.
pub(super) struct Kernel {
    /// One for each tile of output coefficients; in it for each input coefficient a factor for each of the tile's.
    tiles: Box<[[[u64; TILE]; BLOCK_BYTES]; BLOCK_BYTES / TILE]>,
}

impl Kernel {
    pub(super) fn new(gamma: Element) -> Option<Self> {
        let has_all = is_x86_feature_detected!("gfni")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw");
        if !has_all {
            return None;
        }
        let mut tiles = Box::new([[[0; TILE]; BLOCK_BYTES]; BLOCK_BYTES / TILE]);
        let mut column = gamma;
        for i in 0..BLOCK_BYTES {
            for (j, factor) in column.to_bytes().into_iter().enumerate() {
                tiles[j / TILE][i][j % TILE] = gf8::BIT_MATRICES[usize::from(factor)];
            }
            column = column.times_x();
        }
        Some(Self { tiles })
    }

    pub(super) fn absorb(&self, lanes: &mut Lanes, groups: &[Group]) {
        let (registers, _) = lanes.0.as_chunks_mut::<WIDTH>();
        let lanes: &mut Transposed = registers.try_into().expect("64 lanes of 16 bytes");
        // SAFETY: a kernel exists only where `new` found these features.
        unsafe { self.steps(lanes, groups) }
    }

    #[target_feature(enable = "gfni,avx512f,avx512bw")]
    fn steps(&self, lanes: &mut Transposed, groups: &[Group]) {
        let mut registers = [_mm512_setzero_si512(); BLOCK_BYTES];
        for (register, bytes) in registers.iter_mut().zip(lanes.iter()) {
            *register = load(bytes);
        }
        for group in groups {
            let before = registers;
            registers = transpose(group);
            let (tiles, _) = registers.as_chunks_mut::<TILE>();
            for (sums, factors) in tiles.iter_mut().zip(self.tiles.iter()) {
                for (coefficient, factors) in before.iter().zip(factors) {
                    for (sum, factor) in sums.iter_mut().zip(factors) {
                        let factor = _mm512_set1_epi64(factor.cast_signed());
                        let product = _mm512_gf2p8affine_epi64_epi8::<0>(*coefficient, factor);
                        *sum = _mm512_xor_si512(*sum, product);
                    }
                }
            }
        }
        for (register, bytes) in registers.into_iter().zip(lanes) {
            store(register, bytes);
        }
    }
}

/// Where [`transpose`] puts block `lane` of a group, byte by byte.
pub(super) fn lane(lanes: &Lanes, lane: usize) -> [u8; BLOCK_BYTES] {
    // Block 4r + q is quarter q of register r, and stays in its quarter, in place r.
    let (quarter, within) = (lane % 4, lane / 4);
    core::array::from_fn(|i| lanes.0[i * WIDTH + quarter * BLOCK_BYTES + within])
}

/// Turns a group round. Four perfect shuffles of 16 registers rotate the eight bits of a byte's address (register,
/// column) by four, which exchanges register and column; it happens in all quarters of the registers at once.
#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn transpose(group: &Group) -> [__m512i; BLOCK_BYTES] {
    let (fours, _) = group.as_chunks::<WIDTH>();
    let mut registers = [_mm512_setzero_si512(); BLOCK_BYTES];
    for (register, four) in registers.iter_mut().zip(fours) {
        *register = load(four);
    }
    for _ in 0..4 {
        let before = registers;
        for i in 0..BLOCK_BYTES / 2 {
            registers[2 * i] = _mm512_unpacklo_epi8(before[i], before[i + BLOCK_BYTES / 2]);
            registers[2 * i + 1] = _mm512_unpackhi_epi8(before[i], before[i + BLOCK_BYTES / 2]);
        }
    }
    registers
}

#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn load(bytes: &[u8; WIDTH]) -> __m512i {
    // SAFETY: reads 64 bytes from an array of 64; this load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn store(register: __m512i, bytes: &mut [u8; WIDTH]) {
    // SAFETY: writes 64 bytes to an array of 64; this store needs no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), register) }
}
