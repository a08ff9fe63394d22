//! Hashing with SHA instructions. A round waits for the one before, so two messages are processed
//! alternately.
#![allow(unsafe_code)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_blend_epi16, _mm_loadu_si128, _mm_set_epi64x,
    _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128,
};

use super::sha256::{BLOCK_BYTES, INITIAL_STATE, Message, ROUND_CONSTANTS};

/// Number of messages that are hashed at once.
pub(super) const LANES: usize = 2;

/// The kernel. It can exist only on processors that have the SHA instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel(());

impl Kernel {
    pub(super) fn new() -> Option<Self> {
        let has_all = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        has_all.then_some(Self(()))
    }

    /// Returns the hashes of two messages, which must have the same length.
    pub(super) fn hash(self, messages: &[Message<'_>; LANES]) -> [[u8; 32]; LANES] {
        // SAFETY: a kernel exists only where `new` found these features.
        unsafe { hash(messages) }
    }
}

/// The state in the order of the instructions: words (a, b, e, f) and (c, d, g, h), highest first.
type State = [__m128i; 2];

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn hash(messages: &[Message<'_>; LANES]) -> [[u8; 32]; LANES] {
    let (halves, _) = INITIAL_STATE.as_chunks::<4>();
    let initial = pack(load_words(&halves[0]), load_words(&halves[1]));
    let mut states = [initial; LANES];
    let [first, second] = messages;
    for index in 0..first.blocks() {
        compress(&mut states, [first.block(index), second.block(index)]);
    }
    let mut hashes = [[0; 32]; LANES];
    for (hash, state) in hashes.iter_mut().zip(states) {
        let (halves, _) = hash.as_chunks_mut::<16>();
        for (half, words) in halves.iter_mut().zip(unpack(state)) {
            store(_mm_shuffle_epi8(words, byte_swap()), half);
        }
    }
    hashes
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn compress(states: &mut [State; LANES], blocks: [&[u8; BLOCK_BYTES]; LANES]) {
    let before = *states;
    // These are loops and not closures, because closures are compiled without the processor's
    // features unless they happen to be inlined.
    let mut schedules = [[_mm_setzero_si128(); 4]; LANES];
    for (schedule, block) in schedules.iter_mut().zip(blocks) {
        for (words, quarter) in schedule.iter_mut().zip(block.as_chunks().0) {
            *words = _mm_shuffle_epi8(load(quarter), byte_swap());
        }
    }
    let (constants, _) = ROUND_CONSTANTS.as_chunks::<4>();
    for (four, constants) in constants.iter().enumerate() {
        let constants = load_words(constants);
        for (state, schedule) in states.iter_mut().zip(&mut schedules) {
            let [w0, w1, w2, w3] = *schedule;
            let keyed = _mm_add_epi32(w0, constants);
            state[1] = _mm_sha256rnds2_epu32(state[1], state[0], keyed);
            state[0] = _mm_sha256rnds2_epu32(state[0], state[1], _mm_shuffle_epi32::<0x0E>(keyed));
            if four < 12 {
                let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
                *schedule = [w1, w2, w3, _mm_sha256msg2_epu32(sum, w3)];
            } else {
                *schedule = [w1, w2, w3, w0];
            }
        }
    }
    for (state, before) in states.iter_mut().zip(before) {
        state[0] = _mm_add_epi32(state[0], before[0]);
        state[1] = _mm_add_epi32(state[1], before[1]);
    }
}

/// Makes the state of (a, b, c, d) and (e, f, g, h), lowest first.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn pack(abcd: __m128i, efgh: __m128i) -> State {
    let cdab = _mm_shuffle_epi32::<0xB1>(abcd);
    let efgh = _mm_shuffle_epi32::<0x1B>(efgh);
    [_mm_alignr_epi8::<8>(cdab, efgh), _mm_blend_epi16::<0xF0>(efgh, cdab)]
}

/// Returns (a, b, c, d) and (e, f, g, h), lowest first.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn unpack([abef, cdgh]: State) -> [__m128i; 2] {
    let feba = _mm_shuffle_epi32::<0x1B>(abef);
    let dchg = _mm_shuffle_epi32::<0xB1>(cdgh);
    [_mm_blend_epi16::<0xF0>(feba, dchg), _mm_alignr_epi8::<8>(dchg, feba)]
}

/// Returns a shuffle that reverses the bytes of each word.
#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn byte_swap() -> __m128i {
    _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203)
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: reads 16 bytes from an array of 16; this load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn load_words(words: &[u32; 4]) -> __m128i {
    // SAFETY: reads 16 bytes from an array of 16; this load needs no alignment.
    unsafe { _mm_loadu_si128(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
fn store(register: __m128i, bytes: &mut [u8; 16]) {
    // SAFETY: writes 16 bytes to an array of 16; this store needs no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), register) }
}
