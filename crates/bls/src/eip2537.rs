//! Field elements in the encoding of EIP-2537: 16 zero bytes, then 48 bytes big-endian below the
//! modulus.

use crate::error::PointError;

/// The length of a field element with its padding, in bytes.
pub(crate) const PADDED_BYTES: usize = 64;
/// The length of a field element without padding, in bytes.
pub(crate) const FIELD_BYTES: usize = 48;

/// The modulus of the base field, big-endian.
const MODULUS: [u8; FIELD_BYTES] = [
    0x1a, 0x01, 0x11, 0xea, 0x39, 0x7f, 0xe6, 0x9a, 0x4b, 0x1b, 0xa7, 0xb6, 0x43, 0x4b, 0xac, 0xd7, 0x64,
    0x77, 0x4b, 0x84, 0xf3, 0x85, 0x12, 0xbf, 0x67, 0x30, 0xd2, 0xa0, 0xf6, 0xb0, 0xf6, 0x24, 0x1e, 0xab,
    0xff, 0xfe, 0xb1, 0x53, 0xff, 0xff, 0xb9, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xaa, 0xab,
];

/// Removes the padding of `COUNT` elements and writes them in a different order: output position i
/// gets element `order[i]`.
///
/// An error means that padding is not zero or an element not below the modulus. blst serialises c1
/// before c0 where EIP-2537 has c0 first; decoding and encoding use the same `order` to swap them.
pub(crate) fn unpad<const COUNT: usize, const OUT: usize>(
    padded: &[u8],
    order: [usize; COUNT],
) -> Result<[u8; OUT], PointError> {
    debug_assert_eq!((padded.len(), OUT), (COUNT * PADDED_BYTES, COUNT * FIELD_BYTES));
    let mut out = [0; OUT];
    for (to, from) in order.into_iter().enumerate() {
        let (padding, element) =
            padded[from * PADDED_BYTES..][..PADDED_BYTES].split_at(PADDED_BYTES - FIELD_BYTES);
        if padding.iter().any(|&byte| byte != 0) || element >= &MODULUS[..] {
            return Err(PointError::Encoding);
        }
        out[to * FIELD_BYTES..][..FIELD_BYTES].copy_from_slice(element);
    }
    Ok(out)
}

/// Adds the padding of `COUNT` elements and reverses the order of [`unpad`].
pub(crate) fn pad<const COUNT: usize, const OUT: usize>(bare: &[u8], order: [usize; COUNT]) -> [u8; OUT] {
    debug_assert_eq!((bare.len(), OUT), (COUNT * FIELD_BYTES, COUNT * PADDED_BYTES));
    let mut out = [0; OUT];
    for (from, to) in order.into_iter().enumerate() {
        out[to * PADDED_BYTES + PADDED_BYTES - FIELD_BYTES..][..FIELD_BYTES]
            .copy_from_slice(&bare[from * FIELD_BYTES..][..FIELD_BYTES]);
    }
    out
}
