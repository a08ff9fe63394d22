//! AES-128 in counter mode, as both keystore formats use it.

use aes::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

use crate::error::KeystoreError;
use crate::hexadecimal::HexBytes;
use crate::kdf::DERIVED_BYTES;

/// The name of the only cipher that both formats allow.
pub(crate) const CIPHER: &str = "aes-128-ctr";
/// The length of a secret key of either kind, in bytes.
pub(crate) const SECRET_BYTES: usize = 32;

/// The length of an initialisation vector, in bytes.
const IV_BYTES: usize = 16;
const BAD_IV: KeystoreError = KeystoreError::Parameter { name: "iv", problem: "must have 16 bytes" };
/// The shortest initialisation vector that is read, in bytes. Old tools wrote the vector as a
/// number and so dropped its leading zero bytes: one byte in one of 256 files, two in one of
/// 65,536.
const IV_MIN_BYTES: usize = 14;

/// Encrypts or decrypts a whole key. In counter mode both are the same operation.
pub(crate) fn apply(
    derived: &[u8; DERIVED_BYTES],
    iv: &HexBytes,
    bytes: &[u8],
) -> Result<Zeroizing<[u8; SECRET_BYTES]>, KeystoreError> {
    match (iv.0.len(), bytes.len()) {
        (IV_BYTES, SECRET_BYTES) => apply_padded(derived, iv, bytes),
        (IV_BYTES, _) => Err(KeystoreError::NotAKey),
        _ => Err(BAD_IV),
    }
}

/// Decrypts a key of which the writer dropped the leading zero bytes because it treated the key as
/// a number. Such a key, or initialisation vector, is too short in the file.
pub(crate) fn apply_padded(
    derived: &[u8; DERIVED_BYTES],
    iv: &HexBytes,
    bytes: &[u8],
) -> Result<Zeroizing<[u8; SECRET_BYTES]>, KeystoreError> {
    let missing = IV_BYTES.checked_sub(iv.0.len()).filter(|_| iv.0.len() >= IV_MIN_BYTES).ok_or(BAD_IV)?;
    let mut whole = [0; IV_BYTES];
    whole[missing..].copy_from_slice(&iv.0);
    let zeros = SECRET_BYTES.checked_sub(bytes.len()).filter(|_| !bytes.is_empty());
    let zeros = zeros.ok_or(KeystoreError::NotAKey)?;
    let key: &[u8; 16] = derived.first_chunk().expect("the derived key has 32 bytes");
    let mut output = Zeroizing::new([0; SECRET_BYTES]);
    output[zeros..].copy_from_slice(bytes);
    ctr::Ctr128BE::<aes::Aes128>::new(key.into(), &whole.into()).apply_keystream(&mut output[zeros..]);
    Ok(output)
}

/// Returns a random initialisation vector.
pub(crate) fn random_iv() -> HexBytes {
    HexBytes(rand::random::<[u8; 16]>().to_vec())
}

/// Returns the half of a derived key that is hashed into the checksum.
pub(crate) fn checksum_half(derived: &[u8; DERIVED_BYTES]) -> &[u8] {
    &derived[16..]
}
