//! The vocabulary of the committee: what is signed, who sits where, and the arithmetic of n, k and q.
//!
//! Nothing here does I/O. Every other crate speaks in these types; values that come from a wire become one of them
//! only after their shape was checked. Section numbers refer to `docs/protocol.md`.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod certificate;
mod claim;
mod committee;
mod ecdsa;
mod geometry;
mod header;
mod ids;
pub mod limits;
mod proof;
mod record;
mod rollup;
pub mod signing_domain;
mod submission;

pub use alloy_primitives::{Address, B256, Keccak256, keccak256};
pub use certificate::{
    AbsentSeats, AbsentSeatsError, AggregateAttestation, Attestation, Certificate, PUBLIC_KEY_BYTES,
    PublicKeyBytes, RenewalCertificate, SIGNATURE_BYTES, SignatureBytes,
};
pub use claim::{BN254_ORDER, ClaimError, ClaimFields, InputNotInField, PublicClaim};
pub use committee::{Committee, CommitteeError, Member};
pub use ecdsa::{EcdsaSignature, EcdsaSignatureError};
pub use geometry::{Geometry, GeometryError, Quorum, Safety};
pub use header::{BatchHeader, CoverageRenewal, HashKind, HeaderError, UnknownHashKind};
pub use ids::{BatchDigest, RenewalDigest, Seat, SignedDigest};
pub use proof::{PostingMode, Transition, ValidityProof};
pub use record::{Record, RecordShapeError, RowFingerprints};
pub use rollup::{AdmittedRollup, TimesError};
pub use signing_domain::Domain;
pub use submission::{BatchSubmission, Disagreement, SignedSubmission};
