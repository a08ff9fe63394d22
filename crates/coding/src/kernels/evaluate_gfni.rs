//! The evaluation with GFNI. A register holds one coefficient of x of 64 lanes.
//!
//! Multiplication of all lanes by γ is then a 16 × 16 matrix over GF(2^8) that is the same for
//! every lane, and a product by a constant byte is one instruction. K is not a field of bit
//! polynomials, so carry-less multiplication would need every block in another basis; that change
//! of basis is itself a matrix as large as that of γ.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m512i, _mm512_bsrli_epi128, _mm512_cvtsi512_si32, _mm512_gf2p8affine_epi64_epi8, _mm512_loadu_si512,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi8,
    _mm512_unpacklo_epi8, _mm512_xor_si512,
};

use dac_types::limits::BLOCK_BYTES;

use super::lanes::{Group, LANES, Lanes};
use crate::field::{Element, gf8};

/// Length of a register in bytes.
const WIDTH: usize = 64;
/// Number of coefficients of the product whose sums are in registers at once.
const TILE: usize = 8;

/// Lanes in transposed order: register i holds coefficient i of all lanes.
type Transposed = [[u8; WIDTH]; BLOCK_BYTES];
type Registers = [__m512i; BLOCK_BYTES];

/// Multiplication by a fixed factor. For each tile of output coefficients and each input
/// coefficient, it has one constant byte for each output of the tile, as a bit matrix.
struct Matrix([[[u64; TILE]; BLOCK_BYTES]; BLOCK_BYTES / TILE]);

impl Matrix {
    fn new(factor: Element) -> Self {
        let mut tiles = [[[0; TILE]; BLOCK_BYTES]; BLOCK_BYTES / TILE];
        let mut column = factor;
        for input in 0..BLOCK_BYTES {
            let factors = column.to_bytes().map(|byte| gf8::BIT_MATRICES[usize::from(byte)]);
            for (tile, factors) in tiles.iter_mut().zip(factors.as_chunks().0) {
                tile[input] = *factors;
            }
            column = column.times_x();
        }
        Self(tiles)
    }

    /// Multiplies every lane by the factor and adds it to the sum at the same position.
    #[inline]
    #[target_feature(enable = "gfni,avx512f,avx512bw")]
    fn add_product(&self, sums: &mut Registers, lanes: &Registers) {
        let (tiles, _) = sums.as_chunks_mut::<TILE>();
        for (sums, factors) in tiles.iter_mut().zip(&self.0) {
            for (coefficient, factors) in lanes.iter().zip(factors) {
                for (sum, factor) in sums.iter_mut().zip(factors) {
                    let factor = _mm512_set1_epi64(factor.cast_signed());
                    let product = _mm512_gf2p8affine_epi64_epi8::<0>(*coefficient, factor);
                    *sum = _mm512_xor_si512(*sum, product);
                }
            }
        }
    }
}

/// Evaluation at one point. It can exist only on processors that have GFNI and AVX-512.
pub(super) struct Kernel(Box<Matrices>);

struct Matrices {
    gamma: Matrix,
    /// Multiplication by α^1, α^2, α^4, …, α^32, with which the lanes are added up.
    folds: [Matrix; LANES.ilog2() as usize],
}

impl Kernel {
    pub(super) fn new(alpha: Element, gamma: Element) -> Option<Self> {
        let has_all = is_x86_feature_detected!("gfni")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw");
        has_all.then(|| {
            let mut power = alpha;
            let folds = core::array::from_fn(|_| {
                let matrix = Matrix::new(power);
                power = power.square();
                matrix
            });
            Self(Box::new(Matrices { gamma: Matrix::new(gamma), folds }))
        })
    }

    pub(super) fn absorb(&self, lanes: &mut Lanes, groups: &[Group]) {
        let (registers, _) = lanes.0.as_chunks_mut::<WIDTH>();
        let lanes: &mut Transposed = registers.try_into().expect("64 lanes of 16 bytes");
        // SAFETY: a kernel exists only where `new` found these features.
        unsafe { self.steps(lanes, groups) }
    }

    #[target_feature(enable = "gfni,avx512f,avx512bw")]
    fn steps(&self, lanes: &mut Transposed, groups: &[Group]) {
        let mut registers = read(lanes);
        for group in groups {
            let before = registers;
            registers = transpose(group);
            self.0.gamma.add_product(&mut registers, &before);
        }
        for (register, bytes) in registers.into_iter().zip(lanes) {
            store(register, bytes);
        }
    }

    /// Returns Σ_l α^l · lane_l.
    pub(super) fn sum(&self, lanes: &Lanes) -> Element {
        let (registers, _) = lanes.0.as_chunks::<WIDTH>();
        let lanes: &Transposed = registers.try_into().expect("64 lanes of 16 bytes");
        // SAFETY: a kernel exists only where `new` found these features.
        unsafe { self.fold(lanes) }
    }

    /// Adds up the lanes. In each step, one half of the remaining lanes is multiplied by the power
    /// of α that lies between the halves and added to the other half, until one lane is left. Lane
    /// 4r + q is in quarter q at place r; see [`transpose`].
    #[target_feature(enable = "gfni,avx512f,avx512bw")]
    fn fold(&self, lanes: &Transposed) -> Element {
        let [one, two, four, eight, sixteen, thirty_two] = &self.0.folds;
        let mut sums = read(lanes);
        let half = shifted::<8>(&sums);
        thirty_two.add_product(&mut sums, &half);
        let half = shifted::<4>(&sums);
        sixteen.add_product(&mut sums, &half);
        let half = shifted::<2>(&sums);
        eight.add_product(&mut sums, &half);
        let half = shifted::<1>(&sums);
        four.add_product(&mut sums, &half);
        let half = quarters::<0b11_10_11_10>(&sums);
        two.add_product(&mut sums, &half);
        let half = quarters::<0b01_01_01_01>(&sums);
        one.add_product(&mut sums, &half);
        let mut lowest = [0; BLOCK_BYTES];
        for (byte, register) in lowest.iter_mut().zip(sums) {
            *byte = _mm512_cvtsi512_si32(register).to_le_bytes()[0];
        }
        Element::from_bytes(lowest)
    }
}

/// Returns the bytes that are `PLACES` further on in each quarter.
///
/// These are loops and not closures, because closures are compiled without the processor's features
/// unless they happen to be inlined.
#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn shifted<const PLACES: i32>(registers: &Registers) -> Registers {
    let mut shifted = *registers;
    for register in &mut shifted {
        *register = _mm512_bsrli_epi128::<PLACES>(*register);
    }
    shifted
}

/// Returns the registers with their quarters in the order `ORDER`.
#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn quarters<const ORDER: i32>(registers: &Registers) -> Registers {
    let mut moved = *registers;
    for register in &mut moved {
        *register = _mm512_shuffle_i32x4::<ORDER>(*register, *register);
    }
    moved
}

#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn read(lanes: &Transposed) -> Registers {
    let mut registers = [_mm512_setzero_si512(); BLOCK_BYTES];
    for (register, bytes) in registers.iter_mut().zip(lanes) {
        *register = load(bytes);
    }
    registers
}

/// Transposes a group. Four perfect shuffles of 16 registers rotate the eight bits of a byte's
/// address (register, column) by four, which exchanges register and column. This happens in all
/// quarters of the registers at once. Block 4r + q is quarter q of register r, and stays in its
/// quarter, at place r.
#[inline]
#[target_feature(enable = "gfni,avx512f,avx512bw")]
fn transpose(group: &Group) -> Registers {
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
