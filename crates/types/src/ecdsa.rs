//! secp256k1 signatures as this protocol accepts them: 65 bytes r‖s‖v, low s, v 27 or 28.

use core::fmt;

use alloy_primitives::B256;
#[cfg(feature = "std")]
use alloy_primitives::{Address, Signature};
use thiserror::Error;

/// Half the order of secp256k1, big-endian: the largest s that is not malleable.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d,
    0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// Why 65 bytes are not a signature, or not one of anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EcdsaSignatureError {
    /// Not 65 bytes.
    #[error("a secp256k1 signature has 65 bytes (r, s, v), got {got}")]
    Length {
        /// Length received.
        got: usize,
    },
    /// v is neither 27 nor 28.
    #[error("v must be 27 or 28, got {got}")]
    RecoveryId {
        /// v received.
        got: u8,
    },
    /// s above half the order: the malleable twin of a signature.
    #[error("s lies above half the group order: a malleable signature")]
    HighS,
    /// r or s is zero or not below the order, or no public key recovers.
    #[error("no public key recovers from this signature")]
    Unrecoverable,
}

/// A well-formed, non-malleable signature. Whose it is tells [`EcdsaSignature::recover`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EcdsaSignature([u8; 65]);

impl EcdsaSignature {
    /// The 65 bytes.
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    /// The address whose key signed `digest`.
    #[cfg(feature = "std")]
    pub fn recover(&self, digest: B256) -> Result<Address, EcdsaSignatureError> {
        let r = alloy_primitives::U256::from_be_slice(&self.0[..32]);
        let s = alloy_primitives::U256::from_be_slice(&self.0[32..64]);
        Signature::new(r, s, self.0[64] == 28)
            .recover_address_from_prehash(&digest)
            .map_err(|_| EcdsaSignatureError::Unrecoverable)
    }
}

impl TryFrom<&[u8]> for EcdsaSignature {
    type Error = EcdsaSignatureError;

    fn try_from(bytes: &[u8]) -> Result<Self, EcdsaSignatureError> {
        let bytes: [u8; 65] =
            bytes.try_into().map_err(|_| EcdsaSignatureError::Length { got: bytes.len() })?;
        if !matches!(bytes[64], 27 | 28) {
            return Err(EcdsaSignatureError::RecoveryId { got: bytes[64] });
        }
        if bytes[32..64] > HALF_ORDER[..] {
            return Err(EcdsaSignatureError::HighS);
        }
        if B256::from_slice(&bytes[..32]).is_zero() || B256::from_slice(&bytes[32..64]).is_zero() {
            return Err(EcdsaSignatureError::Unrecoverable);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for EcdsaSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EcdsaSignature({})", alloy_primitives::hex::encode(self.0))
    }
}
