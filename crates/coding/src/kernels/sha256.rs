//! What the kernels for SHA-256 share: a message as padded blocks, and the constants of FIPS 180-4.

/// Length of a block of SHA-256 in bytes.
pub(super) const BLOCK_BYTES: usize = 64;
/// Number of bytes of the message in the first block, after the prefix.
const FIRST_BYTES: usize = BLOCK_BYTES - 1;
/// Smallest number of padding bytes: a byte with one bit set, and the length.
const PADDING_MIN_BYTES: usize = 9;

/// A message as the blocks that SHA-256 processes: the first block with the prefix, blocks that
/// lie in the message unchanged, and one or two blocks with the end and the padding.
pub(super) struct Message<'a> {
    first: Option<[u8; BLOCK_BYTES]>,
    body: &'a [[u8; BLOCK_BYTES]],
    last: [[u8; BLOCK_BYTES]; 2],
    blocks: usize,
}

impl<'a> Message<'a> {
    pub(super) fn new(prefix: u8, message: &'a [u8]) -> Self {
        let bits = 8 * (1 + message.len() as u64);
        let mut last = [[0; BLOCK_BYTES]; 2];
        let flat = last.as_flattened_mut();
        let (first, body, end) = match message.split_first_chunk::<FIRST_BYTES>() {
            Some((head, rest)) => {
                let mut first = [prefix; BLOCK_BYTES];
                first[1..].copy_from_slice(head);
                let (body, tail) = rest.as_chunks();
                flat[..tail.len()].copy_from_slice(tail);
                (Some(first), body, tail.len())
            }
            None => {
                flat[0] = prefix;
                flat[1..=message.len()].copy_from_slice(message);
                (None, &[][..], 1 + message.len())
            }
        };
        flat[end] = 0x80;
        let last_blocks = (end + PADDING_MIN_BYTES).div_ceil(BLOCK_BYTES);
        if let Some(length) = flat[..last_blocks * BLOCK_BYTES].last_chunk_mut() {
            *length = bits.to_be_bytes();
        }
        let blocks = usize::from(first.is_some()) + body.len() + last_blocks;
        Self { first, body, last, blocks }
    }

    /// Returns the number of blocks, which is the same for all messages of one length.
    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }

    /// Returns the block at `index`, which must be below [`Self::blocks`].
    #[inline(always)]
    pub(super) fn block(&self, index: usize) -> &[u8; BLOCK_BYTES] {
        let index = match &self.first {
            Some(first) if index == 0 => return first,
            Some(_) => index - 1,
            None => index,
        };
        self.body.get(index).unwrap_or_else(|| &self.last[index - self.body.len()])
    }
}

/// The initial hash value of FIPS 180-4, section 5.3.3.
#[rustfmt::skip]
pub(super) const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
];

/// The constants of FIPS 180-4, section 4.2.2.
#[rustfmt::skip]
pub(super) const ROUND_CONSTANTS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];
