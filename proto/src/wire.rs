//! Conversion between wire and domain types. A message becomes a domain value only here, and only
//! if every field has its exact length.

use bytes::Bytes;
use dac_types::{
    AbsentSeats, AbsentSeatsError, Address, AggregateAttestation, Attestation, B256, BatchDigest,
    BatchHeader, BatchSubmission, Certificate, CoverageRenewal, EcdsaSignature, EcdsaSignatureError,
    Geometry, HashKind, PUBLIC_KEY_BYTES, PublicKeyBytes, Record, RecordShapeError, RowFingerprints,
    SIGNATURE_BYTES, Seat, SignatureBytes, SignedSubmission, limits,
};
use thiserror::Error;

use crate::reason::Reason;
use crate::v1;

/// A field of a message that is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A required field is missing.
    #[error("{field} is missing")]
    Missing {
        /// The name of the field.
        field: &'static str,
    },
    /// The field has the wrong number of bytes.
    #[error("{field} must have {expected} bytes, got {got}")]
    Length {
        /// The name of the field.
        field: &'static str,
        /// The number of bytes that it must have.
        expected: usize,
        /// The number of bytes that were received.
        got: usize,
    },
    /// The bytes are not a whole number of hashes, or there are too many hashes.
    #[error("{field} must be at most {max} hashes of 32 bytes, got {got} bytes")]
    Hashes {
        /// The name of the field.
        field: &'static str,
        /// The largest number of hashes.
        max: usize,
        /// The number of bytes that were received.
        got: usize,
    },
    /// The enum value is unspecified or not known to this version.
    #[error("{field} has the unknown value {got}")]
    UnknownEnum {
        /// The name of the field.
        field: &'static str,
        /// The value that was received.
        got: i32,
    },
    /// The seat is above 255.
    #[error("{field} must be 0 to 255, got {got}")]
    Seat {
        /// The name of the field.
        field: &'static str,
        /// The value that was received.
        got: u32,
    },
    /// The validity proof is empty or too long.
    #[error("a validity proof has 1 to {max} bytes, got {got}")]
    ProofLength {
        /// The length that was received, in bytes.
        got: usize,
        /// The largest length, in bytes.
        max: usize,
    },
    /// The bytes are not an acceptable secp256k1 signature.
    #[error("{field}: {source}")]
    Ecdsa {
        /// The name of the field.
        field: &'static str,
        /// The reason why they are not.
        source: EcdsaSignatureError,
    },
    /// The bytes are not a valid list of absent seats.
    #[error(transparent)]
    AbsentSeats(#[from] AbsentSeatsError),
    /// Lengths in the record do not fit the committee.
    #[error(transparent)]
    RecordShape(#[from] RecordShapeError),
    /// A text is too long or has the wrong form.
    #[error("{field}: {problem}")]
    Text {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with the text.
        problem: &'static str,
    },
}

impl WireError {
    /// Returns the reason for a status with this error.
    pub fn reason(&self) -> Reason {
        match self {
            WireError::Ecdsa { field: "disperser_signature", .. } => Reason::BadDisperserSignature,
            WireError::Ecdsa { field: "proof.signature", .. } => Reason::BadProofSignature,
            WireError::ProofLength { .. } => Reason::ProofLength,
            WireError::Ecdsa { .. } => Reason::BadSubmissionSignature,
            WireError::AbsentSeats(_) => Reason::BadCertificate,
            WireError::RecordShape(_) => Reason::BadRecord,
            _ => Reason::MalformedRequest,
        }
    }
}

impl From<WireError> for tonic::Status {
    fn from(error: WireError) -> Self {
        error.reason().status(error.to_string())
    }
}

/// Returns the value of a required field.
pub fn required<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}

/// Converts bytes of which there must be exactly N.
pub fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], WireError> {
    bytes.try_into().map_err(|_| WireError::Length { field, expected: N, got: bytes.len() })
}

/// Converts an address of 20 bytes.
pub fn address(field: &'static str, bytes: &[u8]) -> Result<Address, WireError> {
    fixed::<20>(field, bytes).map(Address::from)
}

/// Converts an address of 20 bytes, or returns `None` if there are no bytes.
pub fn optional_address(field: &'static str, bytes: &[u8]) -> Result<Option<Address>, WireError> {
    if bytes.is_empty() { Ok(None) } else { address(field, bytes).map(Some) }
}

/// Converts a hash of 32 bytes.
pub fn hash(field: &'static str, bytes: &[u8]) -> Result<B256, WireError> {
    fixed::<32>(field, bytes).map(B256::from)
}

/// Converts a batch's digest of 32 bytes.
pub fn digest(field: &'static str, bytes: &[u8]) -> Result<BatchDigest, WireError> {
    hash(field, bytes).map(BatchDigest)
}

/// Converts a seat, 0 to 255.
pub fn seat(field: &'static str, value: u32) -> Result<Seat, WireError> {
    u8::try_from(value).map(Seat).map_err(|_| WireError::Seat { field, got: value })
}

/// Converts concatenated hashes, of which there may be at most `max`.
pub fn hashes(field: &'static str, bytes: &[u8], max: usize) -> Result<Vec<B256>, WireError> {
    if !bytes.len().is_multiple_of(32) || bytes.len() / 32 > max {
        return Err(WireError::Hashes { field, max, got: bytes.len() });
    }
    Ok(bytes.chunks_exact(32).map(B256::from_slice).collect())
}

/// Concatenates hashes.
pub fn hashes_to_wire(hashes: &[B256]) -> Bytes {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Converts the bytes of a BLS signature, without checking that they are a point.
pub fn signature_bytes(field: &'static str, bytes: &[u8]) -> Result<SignatureBytes, WireError> {
    fixed::<SIGNATURE_BYTES>(field, bytes).map(SignatureBytes)
}

/// Converts the bytes of a BLS public key, without checking that they are a point.
pub fn public_key_bytes(field: &'static str, bytes: &[u8]) -> Result<PublicKeyBytes, WireError> {
    fixed::<PUBLIC_KEY_BYTES>(field, bytes).map(PublicKeyBytes)
}

/// Converts a secp256k1 signature, which must be well-formed and not malleable.
pub fn ecdsa_signature(field: &'static str, bytes: &[u8]) -> Result<EcdsaSignature, WireError> {
    EcdsaSignature::try_from(bytes).map_err(|source| WireError::Ecdsa { field, source })
}

/// Converts a hash kind. An unspecified or unknown value is an error that names the field.
pub fn hash_kind(field: &'static str, value: i32) -> Result<HashKind, WireError> {
    match v1::HashKind::try_from(value) {
        Ok(v1::HashKind::Opaque) => Ok(HashKind::Opaque),
        Ok(v1::HashKind::Keccak256) => Ok(HashKind::Keccak256),
        Ok(v1::HashKind::Sha256) => Ok(HashKind::Sha256),
        Ok(v1::HashKind::Unspecified) | Err(_) => Err(WireError::UnknownEnum { field, got: value }),
    }
}

fn hash_kind_to_wire(kind: HashKind) -> i32 {
    match kind {
        HashKind::Opaque => v1::HashKind::Opaque as i32,
        HashKind::Keccak256 => v1::HashKind::Keccak256 as i32,
        HashKind::Sha256 => v1::HashKind::Sha256 as i32,
    }
}

/// The largest length of a `payload_fingerprint`, for a check before the committee is known.
const PAYLOAD_FINGERPRINT_MAX_BYTES: usize = limits::FINGERPRINT_MAX_POINTS * limits::BLOCK_BYTES;

impl TryFrom<v1::BatchHeader> for BatchHeader {
    type Error = WireError;

    fn try_from(wire: v1::BatchHeader) -> Result<Self, WireError> {
        if wire.payload_fingerprint.len() > PAYLOAD_FINGERPRINT_MAX_BYTES {
            return Err(WireError::Length {
                field: "header.payload_fingerprint",
                expected: PAYLOAD_FINGERPRINT_MAX_BYTES,
                got: wire.payload_fingerprint.len(),
            });
        }
        Ok(Self {
            rollup: address("header.rollup", &wire.rollup)?,
            batch_number: wire.batch_number,
            epoch: wire.epoch,
            expires_at: wire.expires_at,
            payload_length: wire.payload_length,
            hash_kind: hash_kind("header.hash_kind", wire.hash_kind)?,
            batch_hash: hash("header.batch_hash", &wire.batch_hash)?,
            shard_root: hash("header.shard_root", &wire.shard_root)?,
            fingerprints_hash: hash("header.fingerprints_hash", &wire.fingerprints_hash)?,
            payload_fingerprint: wire.payload_fingerprint.to_vec(),
        })
    }
}

impl From<&BatchHeader> for v1::BatchHeader {
    fn from(header: &BatchHeader) -> Self {
        Self {
            rollup: Bytes::copy_from_slice(header.rollup.as_slice()),
            batch_number: header.batch_number,
            epoch: header.epoch,
            expires_at: header.expires_at,
            payload_length: header.payload_length,
            hash_kind: hash_kind_to_wire(header.hash_kind),
            batch_hash: Bytes::copy_from_slice(header.batch_hash.as_slice()),
            shard_root: Bytes::copy_from_slice(header.shard_root.as_slice()),
            fingerprints_hash: Bytes::copy_from_slice(header.fingerprints_hash.as_slice()),
            payload_fingerprint: Bytes::copy_from_slice(&header.payload_fingerprint),
        }
    }
}

impl TryFrom<v1::BatchSubmission> for BatchSubmission {
    type Error = WireError;

    fn try_from(wire: v1::BatchSubmission) -> Result<Self, WireError> {
        Ok(Self {
            rollup: address("submission.rollup", &wire.rollup)?,
            batch_number: wire.batch_number,
            payload_length: wire.payload_length,
            expires_at: wire.expires_at,
            hash_kind: hash_kind("submission.hash_kind", wire.hash_kind)?,
            batch_hash: hash("submission.batch_hash", &wire.batch_hash)?,
            replaces: hash("submission.replaces", &wire.replaces)?,
            disperser: address("submission.disperser", &wire.disperser)?,
            submit_before: wire.submit_before,
        })
    }
}

impl From<&BatchSubmission> for v1::BatchSubmission {
    fn from(submission: &BatchSubmission) -> Self {
        Self {
            rollup: Bytes::copy_from_slice(submission.rollup.as_slice()),
            batch_number: submission.batch_number,
            payload_length: submission.payload_length,
            expires_at: submission.expires_at,
            hash_kind: hash_kind_to_wire(submission.hash_kind),
            batch_hash: Bytes::copy_from_slice(submission.batch_hash.as_slice()),
            replaces: Bytes::copy_from_slice(submission.replaces.as_slice()),
            disperser: Bytes::copy_from_slice(submission.disperser.as_slice()),
            submit_before: submission.submit_before,
        }
    }
}

impl TryFrom<v1::SignedSubmission> for SignedSubmission {
    type Error = WireError;

    fn try_from(wire: v1::SignedSubmission) -> Result<Self, WireError> {
        Ok(Self {
            submission: required("submission", wire.submission)?.try_into()?,
            signature: ecdsa_signature("submission.signature", &wire.signature)?,
        })
    }
}

impl From<&SignedSubmission> for v1::SignedSubmission {
    fn from(signed: &SignedSubmission) -> Self {
        Self {
            submission: Some((&signed.submission).into()),
            signature: Bytes::copy_from_slice(signed.signature.as_bytes()),
        }
    }
}

impl TryFrom<v1::AggregateAttestation> for AggregateAttestation {
    type Error = WireError;

    fn try_from(wire: v1::AggregateAttestation) -> Result<Self, WireError> {
        Ok(Self {
            absent: AbsentSeats::try_from(wire.absent.as_ref())?,
            signature: signature_bytes("aggregate.signature", &wire.signature)?,
        })
    }
}

impl From<&AggregateAttestation> for v1::AggregateAttestation {
    fn from(aggregate: &AggregateAttestation) -> Self {
        Self {
            absent: Bytes::copy_from_slice(aggregate.absent.as_bytes()),
            signature: Bytes::copy_from_slice(aggregate.signature.as_bytes()),
        }
    }
}

impl TryFrom<v1::Certificate> for Certificate {
    type Error = WireError;

    fn try_from(wire: v1::Certificate) -> Result<Self, WireError> {
        Ok(Self {
            header: required("header", wire.header)?.try_into()?,
            aggregate: required("aggregate", wire.aggregate)?.try_into()?,
        })
    }
}

impl From<&Certificate> for v1::Certificate {
    fn from(certificate: &Certificate) -> Self {
        Self { header: Some((&certificate.header).into()), aggregate: Some((&certificate.aggregate).into()) }
    }
}

impl TryFrom<v1::Attestation> for Attestation {
    type Error = WireError;

    fn try_from(wire: v1::Attestation) -> Result<Self, WireError> {
        Ok(Self {
            digest: digest("attestation.digest", &wire.digest)?,
            seat: seat("attestation.seat", wire.seat)?,
            signature: signature_bytes("attestation.signature", &wire.signature)?,
        })
    }
}

impl From<&Attestation> for v1::Attestation {
    fn from(attestation: &Attestation) -> Self {
        Self {
            digest: Bytes::copy_from_slice(attestation.digest.as_bytes()),
            seat: attestation.seat.0.into(),
            signature: Bytes::copy_from_slice(attestation.signature.as_bytes()),
        }
    }
}

impl TryFrom<v1::CoverageRenewal> for CoverageRenewal {
    type Error = WireError;

    fn try_from(wire: v1::CoverageRenewal) -> Result<Self, WireError> {
        if wire.last_batch == 0 {
            return Err(WireError::Text {
                field: "renewal.last_batch",
                problem: "is zero: batches count from 1",
            });
        }
        Ok(Self {
            rollup: address("renewal.rollup", &wire.rollup)?,
            last_batch: wire.last_batch,
            expires_at: wire.expires_at,
            epoch: wire.epoch,
        })
    }
}

impl From<&CoverageRenewal> for v1::CoverageRenewal {
    fn from(renewal: &CoverageRenewal) -> Self {
        Self {
            rollup: Bytes::copy_from_slice(renewal.rollup.as_slice()),
            last_batch: renewal.last_batch,
            expires_at: renewal.expires_at,
            epoch: renewal.epoch,
        }
    }
}

/// Returns the epoch that a record's header names, so that its committee can be looked up before
/// the record is converted.
pub fn epoch_of(record: &v1::Record) -> Result<u64, WireError> {
    record.header.as_ref().map(|header| header.epoch).ok_or(WireError::Missing { field: "record.header" })
}

/// Converts a record for a committee of the given geometry.
pub fn record(wire: v1::Record, geometry: Geometry) -> Result<Record, WireError> {
    let record = Record {
        header: required("record.header", wire.header)?.try_into()?,
        shard_hashes: hashes(
            "record.shard_hashes",
            &wire.shard_hashes,
            usize::from(limits::COMMITTEE_MAX_SEATS),
        )?,
        row_fingerprints: RowFingerprints::new(geometry, wire.row_fingerprints.to_vec())?,
        submission: required("record.submission", wire.submission)?.try_into()?,
        disperser_signature: ecdsa_signature("disperser_signature", &wire.disperser_signature)?,
        certificate: wire.certificate.map(AggregateAttestation::try_from).transpose()?,
    };
    record.check_shape(geometry)?;
    Ok(record)
}

impl From<&Record> for v1::Record {
    fn from(record: &Record) -> Self {
        Self {
            header: Some((&record.header).into()),
            shard_hashes: hashes_to_wire(&record.shard_hashes),
            row_fingerprints: Bytes::copy_from_slice(record.row_fingerprints.as_bytes()),
            submission: Some((&record.submission).into()),
            disperser_signature: Bytes::copy_from_slice(record.disperser_signature.as_bytes()),
            certificate: record.certificate.as_ref().map(Into::into),
        }
    }
}
