//! AES-128 in counter mode over one key, and hexadecimal fields.

use std::fmt;

use aes::cipher::{KeyIvInit, StreamCipher};
use alloy_primitives::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::error::KeystoreError;
use crate::kdf::DERIVED_BYTES;

/// The one cipher of both formats.
pub(crate) const CIPHER: &str = "aes-128-ctr";
/// Bytes of a secret key of either kind.
pub(crate) const SECRET_BYTES: usize = 32;

/// Encrypts or decrypts: the same in counter mode.
pub(crate) fn apply(
    derived: &[u8; DERIVED_BYTES],
    iv: &HexBytes,
    bytes: &[u8],
) -> Result<Zeroizing<[u8; SECRET_BYTES]>, KeystoreError> {
    let iv: &[u8; 16] =
        iv.0.as_slice()
            .try_into()
            .map_err(|_| KeystoreError::Parameter { name: "iv", problem: "must have 16 bytes" })?;
    let key: &[u8; 16] = derived.first_chunk().expect("the derived key has 32 bytes");
    let mut output = Zeroizing::new([0; SECRET_BYTES]);
    if bytes.len() != SECRET_BYTES {
        return Err(KeystoreError::NotAKey);
    }
    output.copy_from_slice(bytes);
    ctr::Ctr128BE::<aes::Aes128>::new(key.into(), iv.into()).apply_keystream(output.as_mut());
    Ok(output)
}

/// A fresh initialisation vector.
pub(crate) fn random_iv() -> HexBytes {
    HexBytes(rand::random::<[u8; 16]>().to_vec())
}

/// The half of a derived key that goes into the checksum.
pub(crate) fn checksum_half(derived: &[u8; DERIVED_BYTES]) -> &[u8] {
    &derived[16..]
}

/// Bytes in hexadecimal, with or without 0x when read, without when written.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HexBytes(pub(crate) Vec<u8>);

impl fmt::Debug for HexBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl Serialize for HexBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Self).map_err(|_| de::Error::custom("not hexadecimal"))
    }
}
