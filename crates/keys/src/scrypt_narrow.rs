//! scrypt for parameters that the library refuses.
//!
//! RFC 7914 demands n < 2^(128·r/8), and the library enforces it. The bound is an erratum of the
//! RFC; it should be 2^(128·r). eth-account wrote keystores with n = 2^18, r = 1, p = 8 for years,
//! and the test vector of the format itself has these parameters.

use hmac::Hmac;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The number of 32-bit words in a block of Salsa20.
const WORDS: usize = 16;
type Block = [u32; WORDS];

/// Derives a key. The caller must have bounded `n`, which must be a power of two, and `n`·`r`·`p`.
/// None of them may be zero.
pub(crate) fn scrypt(password: &[u8], salt: &[u8], n: u64, r: u32, p: u32, key: &mut [u8]) {
    let (n, r, p) = (as_index(n), as_index(u64::from(r)), as_index(u64::from(p)));
    let mut lanes = Zeroizing::new(vec![0; 128 * r * p]);
    stretch(password, salt, &mut lanes);
    for lane in lanes.chunks_exact_mut(128 * r) {
        let mut blocks: Vec<Block> = lane.chunks_exact(64).map(words).collect();
        mix(&mut blocks, n);
        for (bytes, block) in lane.chunks_exact_mut(64).zip(&blocks) {
            for (bytes, word) in bytes.chunks_exact_mut(4).zip(block) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
    stretch(password, &lanes, key);
}

fn as_index(number: u64) -> usize {
    usize::try_from(number).expect("bounded by the caller")
}

fn stretch(password: &[u8], salt: &[u8], output: &mut [u8]) {
    pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, 1, output).expect("HMAC takes keys of any length");
}

fn words(bytes: &[u8]) -> Block {
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|place| u32::from_le_bytes(words[place]))
}

/// ROMix, section 5 of the RFC.
fn mix(blocks: &mut Vec<Block>, n: usize) {
    let width = blocks.len();
    let mut memory = Vec::with_capacity(width * n);
    let mut mixed = blocks.clone();
    for _ in 0..n {
        memory.extend_from_slice(blocks);
        mix_blocks(blocks, &mut mixed);
        std::mem::swap(blocks, &mut mixed);
    }
    for _ in 0..n {
        // The mask takes the word modulo n, because n is a power of two.
        let place = (blocks[width - 1][0] as usize & (n - 1)) * width;
        for (block, remembered) in blocks.iter_mut().zip(&memory[place..place + width]) {
            xor(block, remembered);
        }
        mix_blocks(blocks, &mut mixed);
        std::mem::swap(blocks, &mut mixed);
    }
}

/// BlockMix, section 4 of the RFC.
fn mix_blocks(input: &[Block], output: &mut [Block]) {
    let half = input.len() / 2;
    let mut state = input[input.len() - 1];
    for (place, block) in input.iter().enumerate() {
        xor(&mut state, block);
        salsa20_8(&mut state);
        output[place / 2 + (place % 2) * half] = state;
    }
}

fn xor(block: &mut Block, other: &Block) {
    for (word, other) in block.iter_mut().zip(other) {
        *word ^= other;
    }
}

/// Salsa20 with 8 rounds, section 3 of the RFC.
fn salsa20_8(block: &mut Block) {
    const COLUMNS: [[usize; 4]; 4] = [[0, 4, 8, 12], [5, 9, 13, 1], [10, 14, 2, 6], [15, 3, 7, 11]];
    const ROWS: [[usize; 4]; 4] = [[0, 1, 2, 3], [5, 6, 7, 4], [10, 11, 8, 9], [15, 12, 13, 14]];
    let mut x = *block;
    for _ in 0..4 {
        for [a, b, c, d] in COLUMNS.into_iter().chain(ROWS) {
            x[b] ^= x[a].wrapping_add(x[d]).rotate_left(7);
            x[c] ^= x[b].wrapping_add(x[a]).rotate_left(9);
            x[d] ^= x[c].wrapping_add(x[b]).rotate_left(13);
            x[a] ^= x[d].wrapping_add(x[c]).rotate_left(18);
        }
    }
    for (word, mixed) in block.iter_mut().zip(x) {
        *word = word.wrapping_add(mixed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derive(password: &str, salt: &str, n: u64, r: u32, p: u32) -> String {
        let mut key = [0; 64];
        scrypt(password.as_bytes(), salt.as_bytes(), n, r, p, &mut key);
        hex::encode(key)
    }

    #[test]
    fn the_vectors_of_the_rfc() {
        assert_eq!(
            derive("", "", 16, 1, 1),
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442\
             fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906"
        );
        assert_eq!(
            derive("password", "NaCl", 1024, 8, 16),
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162\
             2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
        );
    }

    #[test]
    fn it_agrees_with_the_library() {
        for (log_n, r, p) in [(3, 1, 1), (5, 3, 2), (10, 8, 1), (15, 1, 1)] {
            let params = scrypt::Params::new(log_n, r, p, 32).unwrap();
            let (mut theirs, mut ours) = ([0; 32], [0; 32]);
            scrypt::scrypt(b"password", b"salt", &params, &mut theirs).unwrap();
            super::scrypt(b"password", b"salt", 1 << log_n, r, p, &mut ours);
            assert_eq!(ours, theirs, "{log_n} {r} {p}");
        }
    }
}
