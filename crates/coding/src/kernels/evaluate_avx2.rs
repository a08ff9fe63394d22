//! The evaluation with AVX2. A register holds one coefficient of x of 32 lanes.
//!
//! Multiplication of all lanes by γ is then a 16 × 16 matrix over GF(2^8) that is the same for
//! every lane. A product by a constant byte takes two shuffles, which look up the multiples of the
//! constant by the low and by the high half bytes.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_loadu_si256,
    _mm256_set1_epi8, _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_si256, _mm256_unpackhi_epi8,
    _mm256_unpacklo_epi8, _mm256_xor_si256,
};

use dac_types::limits::BLOCK_BYTES;

use super::lanes::{Group, Lanes};
use crate::field::{Element, gf8};

/// Length of a register in bytes.
const WIDTH: usize = 32;
/// Number of registers that hold one coefficient of all 64 lanes.
const HALVES: usize = 2;
/// Number of coefficients of the product whose sums are in registers at once.
const TILE: usize = 4;

/// Lanes or blocks in transposed order: register `HALVES * i + h` holds coefficient i of half h.
type Transposed = [[u8; WIDTH]; HALVES * BLOCK_BYTES];

/// For each input coefficient, the multiples of a tile's bytes of the matrix by the low and by the
/// high half bytes.
type MatrixTile = [[[[u8; 16]; 2]; TILE]; BLOCK_BYTES];

/// Multiplication by γ. It can exist only on processors that have AVX2.
pub(super) struct Kernel {
    /// One tile for every four output coefficients.
    multiples: Box<[MatrixTile; BLOCK_BYTES / TILE]>,
}

impl Kernel {
    pub(super) fn new(gamma: Element) -> Option<Self> {
        if !is_x86_feature_detected!("avx2") {
            return None;
        }
        let mut multiples = Box::new([[[[[0; 16]; 2]; TILE]; BLOCK_BYTES]; BLOCK_BYTES / TILE]);
        let mut column = gamma;
        for i in 0..BLOCK_BYTES {
            for (j, factor) in column.to_bytes().into_iter().enumerate() {
                let (halves, _) = gf8::NIBBLE_MULTIPLES[usize::from(factor)].as_chunks::<16>();
                multiples[j / TILE][i][j % TILE].copy_from_slice(halves);
            }
            column = column.times_x();
        }
        Some(Self { multiples })
    }

    pub(super) fn absorb(&self, lanes: &mut Lanes, groups: &[Group]) {
        let (registers, _) = lanes.0.as_chunks_mut::<WIDTH>();
        let lanes: &mut Transposed = registers.try_into().expect("64 lanes of 16 bytes");
        for group in groups {
            // SAFETY: a kernel exists only where `new` found AVX2.
            unsafe { self.step(lanes, group) }
        }
    }

    #[target_feature(enable = "avx2")]
    fn step(&self, lanes: &mut Transposed, group: &Group) {
        let low_nibbles = _mm256_set1_epi8(0x0F);
        let mut nibbles = [[[_mm256_set1_epi8(0); 2]; HALVES]; BLOCK_BYTES];
        for (nibbles, registers) in nibbles.iter_mut().flatten().zip(lanes.iter()) {
            let bytes = load(registers);
            *nibbles = [
                _mm256_and_si256(bytes, low_nibbles),
                _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), low_nibbles),
            ];
        }
        transpose(group, lanes);
        let (tiles, _) = lanes.as_chunks_mut::<{ HALVES * TILE }>();
        for (tile, multiples) in tiles.iter_mut().zip(self.multiples.iter()) {
            let mut sums = [[_mm256_set1_epi8(0); HALVES]; TILE];
            for (sum, block) in sums.iter_mut().flatten().zip(tile.iter()) {
                *sum = load(block);
            }
            for (multiples, nibbles) in multiples.iter().zip(&nibbles) {
                for (sums, [low, high]) in sums.iter_mut().zip(multiples) {
                    let (low, high) = (broadcast(low), broadcast(high));
                    for (sum, nibbles) in sums.iter_mut().zip(nibbles) {
                        *sum = _mm256_xor_si256(*sum, _mm256_shuffle_epi8(low, nibbles[0]));
                        *sum = _mm256_xor_si256(*sum, _mm256_shuffle_epi8(high, nibbles[1]));
                    }
                }
            }
            for (sum, lane) in sums.iter().flatten().zip(tile) {
                store(*sum, lane);
            }
        }
    }
}

/// Returns lane `lane`, which is at the place where [`transpose`] puts block `lane` of a group.
pub(super) fn lane(lanes: &Lanes, lane: usize) -> [u8; BLOCK_BYTES] {
    let (half, within) = (lane / WIDTH, lane % WIDTH);
    // Even blocks are in the lower half of a register, odd ones in the upper half.
    let position = within / 2 + within % 2 * (WIDTH / 2);
    core::array::from_fn(|i| lanes.0[(HALVES * i + half) * WIDTH + position])
}

/// Transposes a group. Four perfect shuffles of 16 registers rotate the eight bits of a byte's
/// address (register, column) by four, which exchanges register and column. This happens in both
/// halves of the registers at once.
#[target_feature(enable = "avx2")]
fn transpose(group: &Group, transposed: &mut Transposed) {
    let (pairs, _) = group.as_chunks::<WIDTH>();
    for (half, pairs) in pairs.chunks_exact(BLOCK_BYTES).enumerate() {
        let mut registers = [_mm256_set1_epi8(0); BLOCK_BYTES];
        for (register, pair) in registers.iter_mut().zip(pairs) {
            *register = load(pair);
        }
        for _ in 0..4 {
            let before = registers;
            for i in 0..BLOCK_BYTES / 2 {
                registers[2 * i] = _mm256_unpacklo_epi8(before[i], before[i + BLOCK_BYTES / 2]);
                registers[2 * i + 1] = _mm256_unpackhi_epi8(before[i], before[i + BLOCK_BYTES / 2]);
            }
        }
        for (i, register) in registers.into_iter().enumerate() {
            store(register, &mut transposed[HALVES * i + half]);
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; WIDTH]) -> __m256i {
    // SAFETY: reads 32 bytes from an array of 32; this load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(register: __m256i, bytes: &mut [u8; WIDTH]) {
    // SAFETY: writes 32 bytes to an array of 32; this store needs no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), register) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: reads 16 bytes from an array of 16; this load needs no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}
