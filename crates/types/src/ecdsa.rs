//! secp256k1 signatures in the form that this protocol accepts: 65 bytes r‖s‖v, low s, v 27 or 28.

use core::fmt;

#[cfg(feature = "std")]
use alloy_primitives::Address;
use alloy_primitives::B256;
#[cfg(feature = "std")]
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
#[cfg(feature = "std")]
use secp256k1::{Message, SECP256K1};
use thiserror::Error;

/// Half the order of secp256k1, big-endian: the largest s for which a signature is not malleable.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d,
    0x57, 0x6e, 0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// The reasons why bytes are not an acceptable signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EcdsaSignatureError {
    /// The signature does not have 65 bytes.
    #[error("a secp256k1 signature has 65 bytes (r, s, v), got {got}")]
    Length {
        /// The length that was received, in bytes.
        got: usize,
    },
    /// The last byte, v, is neither 27 nor 28.
    #[error("v must be 27 or 28, got {got}")]
    RecoveryId {
        /// The value of v that was received.
        got: u8,
    },
    /// s is above half the order. Every signature has such a malleable twin, and only one of the
    /// two is accepted.
    #[error("s lies above half the group order: a malleable signature")]
    HighS,
    /// r or s is zero or not below the order, or no public key recovers from them.
    #[error("no public key recovers from this signature")]
    Unrecoverable,
}

/// A well-formed, non-malleable signature. [`EcdsaSignature::recover`] finds the signer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EcdsaSignature([u8; 65]);

impl EcdsaSignature {
    /// Returns the 65 bytes r‖s‖v.
    pub const fn as_bytes(&self) -> &[u8; 65] {
        &self.0
    }

    /// Returns the address whose key signed `digest`. This uses libsecp256k1 because it is fast:
    /// members recover two signatures for each batch.
    #[cfg(feature = "std")]
    pub fn recover(&self, digest: B256) -> Result<Address, EcdsaSignatureError> {
        let id = if self.0[64] == 28 { RecoveryId::One } else { RecoveryId::Zero };
        let key = RecoverableSignature::from_compact(&self.0[..64], id)
            .and_then(|signature| SECP256K1.recover_ecdsa(Message::from_digest(digest.0), &signature))
            .map_err(|_| EcdsaSignatureError::Unrecoverable)?;
        Ok(Address::from_raw_public_key(&key.serialize_uncompressed()[1..]))
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

#[cfg(test)]
mod tests {
    use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
    use proptest::prelude::*;

    use super::*;
    use crate::EcdsaKey;

    /// Recovers the address with another implementation.
    fn recovered(bytes: &[u8; 65], digest: B256) -> Option<Address> {
        let signature = Signature::from_slice(&bytes[..64]).ok()?;
        let id = RecoveryId::new(bytes[64] == 28, false);
        let key = VerifyingKey::recover_from_prehash(digest.as_slice(), &signature, id).ok()?;
        Some(Address::from_raw_public_key(&key.to_encoded_point(false).as_bytes()[1..]))
    }

    proptest! {
        #[test]
        fn the_signer_is_recovered(key in any::<[u8; 32]>(), digest in any::<[u8; 32]>(), bit in 0_usize..520) {
            let digest = B256::from(digest);
            let Ok(signer) = EcdsaKey::from_slice(&key) else { return Ok(()) };
            let signature = signer.sign(digest);
            let mut bytes = *signature.as_bytes();
            prop_assert_eq!(EcdsaSignature::try_from(&bytes[..]), Ok(signature));
            prop_assert_eq!(recovered(&bytes, digest), Some(signer.address()));
            prop_assert_eq!(signature.recover(digest), Ok(signer.address()));
            bytes[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = EcdsaSignature::try_from(&bytes[..]) {
                prop_assert_eq!(other.recover(digest).ok(), recovered(&bytes, digest));
                prop_assert_ne!(other.recover(digest), Ok(signer.address()));
            }
        }

        #[test]
        fn any_bytes_mean_the_same_to_both(mut bytes in any::<[[u8; 13]; 5]>(), digest in any::<[u8; 32]>(), v in 27_u8..=28) {
            let bytes: &mut [u8; 65] = bytes.as_flattened_mut().try_into().unwrap();
            bytes[32] &= 0x7f;
            bytes[64] = v;
            if let Ok(signature) = EcdsaSignature::try_from(&bytes[..]) {
                prop_assert_eq!(signature.recover(B256::from(digest)).ok(), recovered(bytes, B256::from(digest)));
            }
        }
    }

    #[test]
    fn r_beyond_the_order_is_nobodys() {
        let mut bytes = [0xff; 65];
        (bytes[32], bytes[64]) = (0x01, 27);
        let signature = EcdsaSignature::try_from(&bytes[..]).unwrap();
        assert_eq!(signature.recover(B256::ZERO), Err(EcdsaSignatureError::Unrecoverable));
        assert_eq!(recovered(&bytes, B256::ZERO), None);
    }
}
