#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod bundle;
mod certificate;
mod claim;
mod committee;
mod ecdsa;
#[cfg(feature = "std")]
mod ecdsa_key;
mod geometry;
mod header;
mod ids;
pub mod limits;
mod posting;
mod proof;
mod record;
mod rollup;
pub mod signing_domain;
mod submission;

pub use alloy_primitives::{Address, B256, Keccak256, keccak256};
pub use bundle::{BatchBundle, BundleCertificate, BundleDigests, BundleError, BundleProofError};
pub use certificate::{
    AbsentSeats, AbsentSeatsError, AggregateAttestation, Attestation, Certificate, PUBLIC_KEY_BYTES,
    PublicKeyBytes, RenewalCertificate, SIGNATURE_BYTES, SignatureBytes,
};
pub use claim::{BN254_ORDER, ClaimError, ClaimFields, InputNotInField, PublicClaim};
pub use committee::{Committee, CommitteeError, Member};
pub use ecdsa::{EcdsaSignature, EcdsaSignatureError};
#[cfg(feature = "std")]
pub use ecdsa_key::{EcdsaKey, EcdsaKeyError};
pub use geometry::{Geometry, GeometryError, Quorum, Safety};
pub use header::{BatchHeader, CoverageRenewal, HashKind, HeaderError, UnknownHashKind};
pub use ids::{BatchDigest, BundleDigest, RenewalDigest, Seat, SignedDigest};
pub use posting::PostingMode;
pub use proof::{Transition, ValidityProof};
pub use record::{Record, RecordShapeError, RowFingerprints};
pub use rollup::{AdmittedRollup, TimesError};
pub use signing_domain::Domain;
pub use submission::{BatchSubmission, Disagreement, SignedSubmission};
