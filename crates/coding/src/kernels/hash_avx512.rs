//! Hashing with AVX-512: sixteen messages at once, each in one 32-bit column of the registers.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_loadu_si512, _mm512_ror_epi32, _mm512_set_epi8, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};

use super::sha256::{BLOCK_BYTES, INITIAL_STATE, Message, ROUND_CONSTANTS};

/// Number of messages that are hashed at once.
pub(super) const LANES: usize = 16;

/// Truth tables of operations with three operands: a ^ b ^ c, (a & b) ^ (!a & c), majority.
const XOR3: i32 = 0x96;
const CHOOSE: i32 = 0xCA;
const MAJORITY: i32 = 0xE8;

/// The kernel. It can exist only on processors that have AVX-512 with its byte instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel(());

impl Kernel {
    pub(super) fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(Self(()))
    }

    /// Returns the hashes of sixteen messages, which must have the same length.
    pub(super) fn hash(self, messages: &[Message<'_>; LANES]) -> [[u8; 32]; LANES] {
        // SAFETY: a kernel exists only where `new` found these features.
        unsafe { hash(messages) }
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn hash(messages: &[Message<'_>; LANES]) -> [[u8; 32]; LANES] {
    // These are loops and not closures, because closures are compiled without the processor's
    // features unless they happen to be inlined.
    let mut state = [_mm512_setzero_si512(); 8];
    for (state, word) in state.iter_mut().zip(INITIAL_STATE) {
        *state = _mm512_set1_epi32(word.cast_signed());
    }
    for index in 0..messages[0].blocks() {
        let mut blocks = [_mm512_setzero_si512(); LANES];
        for (block, message) in blocks.iter_mut().zip(messages) {
            *block = load(message.block(index));
        }
        compress(&mut state, columns(blocks));
    }
    let mut words = [[0_u32; LANES]; 8];
    for (words, state) in words.iter_mut().zip(state) {
        store(state, words);
    }
    core::array::from_fn(|lane| {
        let mut hash = [0; 32];
        for (bytes, words) in hash.as_chunks_mut().0.iter_mut().zip(&words) {
            *bytes = words[lane].to_be_bytes();
        }
        hash
    })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn compress(state: &mut [__m512i; 8], mut schedule: [__m512i; 16]) {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (sixteen, constants) in ROUND_CONSTANTS.as_chunks::<16>().0.iter().enumerate() {
        for (i, constant) in constants.iter().enumerate() {
            if sixteen > 0 {
                let (w1, w14) = (schedule[(i + 1) % 16], schedule[(i + 14) % 16]);
                let s0 = xor3(ror::<7>(w1), ror::<18>(w1), _mm512_srli_epi32::<3>(w1));
                let s1 = xor3(ror::<17>(w14), ror::<19>(w14), _mm512_srli_epi32::<10>(w14));
                schedule[i] = add(add(schedule[i], s0), add(schedule[(i + 9) % 16], s1));
            }
            let constant = _mm512_set1_epi32(constant.cast_signed());
            let sum1 = xor3(ror::<6>(e), ror::<11>(e), ror::<25>(e));
            let choice = _mm512_ternarylogic_epi32::<CHOOSE>(e, f, g);
            let t1 = add(add(add(h, constant), schedule[i]), add(sum1, choice));
            let sum0 = xor3(ror::<2>(a), ror::<13>(a), ror::<22>(a));
            let t2 = add(sum0, _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c));
            (h, g, f, e, d, c, b, a) = (g, f, e, add(d, t1), c, b, a, add(t1, t2));
        }
    }
    for (to, from) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *to = add(*to, from);
    }
}

/// Takes one block in each register, and returns one word of all blocks in each register, in this
/// machine's byte order.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn columns(blocks: [__m512i; LANES]) -> [__m512i; 16] {
    // First, four words of four blocks are transposed,
    let mut quads = blocks;
    for i in (0..LANES).step_by(4) {
        let [a, b, c, d] = [blocks[i], blocks[i + 1], blocks[i + 2], blocks[i + 3]];
        let (low_ab, high_ab) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let (low_cd, high_cd) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
        quads[i] = _mm512_unpacklo_epi64(low_ab, low_cd);
        quads[i + 1] = _mm512_unpackhi_epi64(low_ab, low_cd);
        quads[i + 2] = _mm512_unpacklo_epi64(high_ab, high_cd);
        quads[i + 3] = _mm512_unpackhi_epi64(high_ab, high_cd);
    }
    // and then those fours. Register i of each four holds words i, 4 + i, 8 + i, 12 + i.
    let mut words = blocks;
    for i in 0..4 {
        let [a, b, c, d] = [quads[i], quads[4 + i], quads[8 + i], quads[12 + i]];
        let (low_ab, high_ab) =
            (_mm512_shuffle_i32x4::<0b01_00_01_00>(a, b), _mm512_shuffle_i32x4::<0b11_10_11_10>(a, b));
        let (low_cd, high_cd) =
            (_mm512_shuffle_i32x4::<0b01_00_01_00>(c, d), _mm512_shuffle_i32x4::<0b11_10_11_10>(c, d));
        words[i] = _mm512_shuffle_i32x4::<0b10_00_10_00>(low_ab, low_cd);
        words[4 + i] = _mm512_shuffle_i32x4::<0b11_01_11_01>(low_ab, low_cd);
        words[8 + i] = _mm512_shuffle_i32x4::<0b10_00_10_00>(high_ab, high_cd);
        words[12 + i] = _mm512_shuffle_i32x4::<0b11_01_11_01>(high_ab, high_cd);
    }
    let swap = byte_swap();
    for word in &mut words {
        *word = _mm512_shuffle_epi8(*word, swap);
    }
    words
}

/// Returns a shuffle that reverses the bytes of each word.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
#[rustfmt::skip]
fn byte_swap() -> __m512i {
    _mm512_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    )
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn add(a: __m512i, b: __m512i) -> __m512i {
    _mm512_add_epi32(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR3>(a, b, c)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn ror<const BITS: i32>(word: __m512i) -> __m512i {
    _mm512_ror_epi32::<BITS>(word)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load(block: &[u8; BLOCK_BYTES]) -> __m512i {
    // SAFETY: reads 64 bytes from an array of 64; this load needs no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store(register: __m512i, words: &mut [u32; LANES]) {
    // SAFETY: writes 64 bytes to an array of 64; this store needs no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), register) }
}
