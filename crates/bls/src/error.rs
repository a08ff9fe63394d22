//! Why bytes are not a key or a point, and why a signature is refused.

use blst::BLST_ERROR;
use thiserror::Error;

/// Why bytes are not a point that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PointError {
    /// Flag bits that contradict each other or the bytes, padding that is not zero, or a coordinate beyond the field's modulus.
    #[error("not a canonical encoding of a point")]
    Encoding,
    /// The coordinates satisfy no curve equation.
    #[error("the point is not on the curve")]
    NotOnCurve,
    /// On the curve, outside the prime-order subgroup.
    #[error("the point is not in the prime-order subgroup")]
    NotInSubgroup,
    /// The neutral element, which would make a pairing check say yes to everything.
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

/// Why bytes are not a secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SecretKeyError {
    /// Zero, or not below the order of the group.
    #[error("a secret key is above 0 and below the order of the group")]
    OutOfRange,
    /// A wrong number of bytes.
    #[error("a secret key has 32 bytes, got {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
}

/// The signature is a good point but not this key's over this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the signature is not this key's over this message")]
pub struct BadSignature;
