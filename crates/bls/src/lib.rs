#![doc = include_str!("../README.md")]

mod committee;
mod eip2537;
mod error;
mod public_key;
mod secret_key;
mod signature;

pub use committee::{
    AggregateError, CertificateError, CheckedBundle, CheckedCertificate, CheckedRenewal, CommitteeKeys,
    SeatKeyError, TimeError,
};
pub use error::{BadSignature, PointError, SecretKeyError};
pub use public_key::{G2_EIP2537_BYTES, PublicKey, aggregate_keys};
pub use secret_key::{SECRET_KEY_BYTES, SecretKey};
pub use signature::{G1_EIP2537_BYTES, Signature, aggregate_signatures};
