//! The errors of keys, points and signatures.

use blst::BLST_ERROR;
use thiserror::Error;

/// The reasons why bytes are not a point that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PointError {
    /// The flag bits contradict each other or the bytes, the padding is not zero, or a coordinate
    /// is not below the field's modulus.
    #[error("not a canonical encoding of a point")]
    Encoding,
    /// The coordinates do not satisfy the curve equation.
    #[error("the point is not on the curve")]
    NotOnCurve,
    /// The point is on the curve but not in the subgroup of prime order.
    #[error("the point is not in the prime-order subgroup")]
    NotInSubgroup,
    /// The point is the neutral element. A pairing check with it would accept everything.
    #[error("the point at infinity is refused")]
    Infinity,
}

impl PointError {
    pub(crate) fn from_blst(error: BLST_ERROR) -> Self {
        match error {
            BLST_ERROR::BLST_POINT_NOT_ON_CURVE => PointError::NotOnCurve,
            BLST_ERROR::BLST_POINT_NOT_IN_GROUP => PointError::NotInSubgroup,
            BLST_ERROR::BLST_PK_IS_INFINITY => PointError::Infinity,
            _ => PointError::Encoding,
        }
    }
}

/// The reasons why bytes are not a secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SecretKeyError {
    /// The number is zero or not below the order of the group.
    #[error("a secret key is above 0 and below the order of the group")]
    OutOfRange,
    /// The key does not have 32 bytes.
    #[error("a secret key has 32 bytes, got {got}")]
    Length {
        /// The number of bytes that were given.
        got: usize,
    },
}

/// The signature is a valid point, but this key did not make it over this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the signature is not this key's over this message")]
pub struct BadSignature;
