//! secp256k1 private keys: of rollups' batch signers, dispersers and L1 accounts.

use std::fmt;
use std::str::FromStr;

use alloy_primitives::{Address, B256, hex};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::ecdsa::EcdsaSignature;

/// The length of a secp256k1 private key in bytes.
const KEY_BYTES: usize = 32;

/// The error that bytes are no secp256k1 private key. It does not hold the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a secp256k1 private key is a number of 32 bytes, above zero and below the group order")]
pub struct EcdsaKeyError;

/// A secp256k1 private key and its address. Its bytes are overwritten when it is dropped, and
/// `Debug` shows the address alone.
///
/// # Example
///
/// ```
/// use dac_types::{B256, EcdsaKey};
///
/// let key = EcdsaKey::random();
/// let digest = B256::repeat_byte(1);
/// assert_eq!(key.sign(digest).recover(digest), Ok(key.address()));
/// ```
#[derive(Clone)]
pub struct EcdsaKey {
    secret: Zeroizing<[u8; KEY_BYTES]>,
    address: Address,
}

impl EcdsaKey {
    /// Decodes 32 bytes as a big-endian number.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, EcdsaKeyError> {
        let secret: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(bytes.try_into().map_err(|_| EcdsaKeyError)?);
        let address = with_key(&secret, |key| {
            let public = PublicKey::from_secret_key(SECP256K1, key);
            Address::from_raw_public_key(&public.serialize_uncompressed()[1..])
        })?;
        Ok(Self { secret, address })
    }

    /// Draws a key from the thread's cryptographic random generator.
    pub fn random() -> Self {
        let mut material = Zeroizing::new([0; KEY_BYTES]);
        loop {
            rand::fill(material.as_mut_slice());
            // One draw in 2^128 is zero or not below the group order.
            if let Ok(key) = Self::from_slice(material.as_slice()) {
                return key;
            }
        }
    }

    /// Returns the address of the account that this key controls.
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Returns the key's 32 bytes, for writing a keystore.
    pub const fn to_bytes(&self) -> &Zeroizing<[u8; KEY_BYTES]> {
        &self.secret
    }

    /// Signs a digest with the nonce of RFC 6979, so that the same digest gets the same signature.
    pub fn sign(&self, digest: B256) -> EcdsaSignature {
        let message = Message::from_digest(digest.0);
        let signature = with_key(&self.secret, |key| SECP256K1.sign_ecdsa_recoverable(message, key))
            .expect("the bytes were checked when this key was made");
        let (id, compact) = signature.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        bytes[64] = if i32::from(id) == 1 { 28 } else { 27 };
        // The library gives the lower s, whose recovery needs no r beyond the order: that has a
        // chance of one in 2^127.
        EcdsaSignature::try_from(&bytes[..]).expect("the library makes low signatures")
    }
}

/// Runs `use_key` with the library's form of a key, and overwrites that form afterwards.
fn with_key<T>(secret: &[u8; KEY_BYTES], use_key: impl FnOnce(&SecretKey) -> T) -> Result<T, EcdsaKeyError> {
    let mut key = SecretKey::from_byte_array(*secret).map_err(|_| EcdsaKeyError)?;
    let result = use_key(&key);
    key.non_secure_erase();
    Ok(result)
}

/// Reads the key from 64 hexadecimal digits, with or without 0x.
impl FromStr for EcdsaKey {
    type Err = EcdsaKeyError;

    fn from_str(text: &str) -> Result<Self, EcdsaKeyError> {
        let bytes = Zeroizing::new(hex::decode(text).map_err(|_| EcdsaKeyError)?);
        Self::from_slice(&bytes)
    }
}

impl fmt::Debug for EcdsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcdsaKey({})", self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: [u8; 32] =
        alloy_primitives::hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");

    #[test]
    fn a_known_key_has_its_address() {
        // The first account of anvil and other development chains.
        let text = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
        let key: EcdsaKey = text.parse().unwrap();
        assert_eq!(key.address().to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(hex::encode(key.to_bytes().as_slice()), text);
        assert_eq!(format!("0x{text}").parse::<EcdsaKey>().unwrap().address(), key.address());
    }

    #[test]
    fn debug_shows_the_address_alone() {
        let key = EcdsaKey::from_slice(&[7; 32]).unwrap();
        assert_eq!(format!("{key:?}"), format!("EcdsaKey({})", key.address()));
    }

    #[test]
    fn numbers_outside_the_group_are_refused() {
        let mut largest = ORDER;
        largest[31] -= 1;
        assert!(EcdsaKey::from_slice(&largest).is_ok());
        for bytes in [&ORDER[..], &[0; 32], &[1; 31], &[1; 33], &[0xff; 32]] {
            assert_eq!(EcdsaKey::from_slice(bytes).map(|key| key.address()), Err(EcdsaKeyError));
        }
        assert!("no hex".parse::<EcdsaKey>().is_err());
    }

    #[test]
    fn a_digest_has_one_signature() {
        let key = EcdsaKey::from_slice(&[7; 32]).unwrap();
        let digest = B256::repeat_byte(3);
        assert_eq!(key.sign(digest), key.sign(digest));
    }
}
