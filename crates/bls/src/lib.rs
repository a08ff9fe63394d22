//! BLS12-381 with signatures in G1 and keys in G2. This is the only crate that calls blst. See
//! sections 6 and 7 of `docs/protocol.md`.
//!
//! [`PublicKey`] and [`Signature`] are always valid points: canonically encoded, on the curve, in
//! the subgroup of prime order and not at infinity. Bytes that have not been checked are
//! `PublicKeyBytes` and `SignatureBytes` of `dac-types`.

mod committee;
mod eip2537;
mod error;
mod public_key;
mod secret_key;
mod signature;

pub use committee::{
    AggregateError, CertificateError, CheckedCertificate, CheckedRenewal, CommitteeKeys, SeatKeyError,
    TimeError,
};
pub use error::{BadSignature, PointError, SecretKeyError};
pub use public_key::{G2_EIP2537_BYTES, PublicKey, aggregate_keys};
pub use secret_key::{SECRET_KEY_BYTES, SecretKey};
pub use signature::{G1_EIP2537_BYTES, Signature, aggregate_signatures};
