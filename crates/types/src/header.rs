//! The messages that members sign: the header of a batch, and the renewal of a rollup's coverage.

use alloc::vec::Vec;

use alloy_primitives::{Address, B256, keccak256};
use thiserror::Error;

use crate::geometry::{Geometry, GeometryError, check_payload_length};
use crate::ids::{BatchDigest, RenewalDigest};
use crate::signing_domain::{BATCH_HEADER_TYPE, COVERAGE_RENEWAL_TYPE, Domain, StructHash};

/// How `batchHash` commits to the payload, which decides what a signer must have held. See
/// section 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum HashKind {
    /// Any collision-resistant hash. Signers held a shard; the validity proof is bound to the
    /// payload by the payload's fingerprint.
    Opaque = 0,
    /// keccak256 of the payload. Signers held the payload and recomputed the hash.
    Keccak256 = 1,
    /// SHA-256 of the payload. Signers held the payload and recomputed the hash.
    Sha256 = 2,
}

/// A hash kind that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("hashKind is 0 (OPAQUE), 1 (KECCAK256) or 2 (SHA256), got {0}")]
pub struct UnknownHashKind(pub u64);

impl HashKind {
    /// Returns whether signers must have held the whole payload.
    pub const fn is_checked(self) -> bool {
        !matches!(self, HashKind::Opaque)
    }

    /// Returns the name that the API and command lines use.
    pub const fn name(self) -> &'static str {
        match self {
            HashKind::Opaque => "OPAQUE",
            HashKind::Keccak256 => "KECCAK256",
            HashKind::Sha256 => "SHA256",
        }
    }
}

impl TryFrom<u64> for HashKind {
    type Error = UnknownHashKind;

    fn try_from(value: u64) -> Result<Self, UnknownHashKind> {
        match value {
            0 => Ok(HashKind::Opaque),
            1 => Ok(HashKind::Keccak256),
            2 => Ok(HashKind::Sha256),
            other => Err(UnknownHashKind(other)),
        }
    }
}

/// The reasons why a header does not fit an epoch with a given geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// The payload length is out of bounds.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The payload's fingerprint does not have t values of 16 bytes.
    #[error("payloadFingerprint must have {expected} bytes for this committee, got {got}")]
    FingerprintLength {
        /// The length that it must have in bytes: 16t.
        expected: usize,
        /// The length that was received, in bytes.
        got: usize,
    },
}

/// The header of a batch. Its digest is the batch's identity. See section 6.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BatchHeader {
    /// The rollup's settlement contract.
    pub rollup: Address,
    /// The rollup's number of this batch.
    pub batch_number: u64,
    /// The epoch of the committee that signs the batch.
    pub epoch: u64,
    /// The last Unix second until which members serve the batch.
    pub expires_at: u64,
    /// The length L of the payload in bytes.
    pub payload_length: u64,
    /// How `batch_hash` commits to the payload.
    pub hash_kind: HashKind,
    /// The rollup's commitment to the payload.
    pub batch_hash: B256,
    /// The Merkle root over the n shard hashes.
    pub shard_root: B256,
    /// The hash over the fingerprints of the k rows of the padded payload.
    pub fingerprints_hash: B256,
    /// The fingerprint of the whole payload at every point: 16t bytes.
    pub payload_fingerprint: Vec<u8>,
}

impl BatchHeader {
    /// Returns the EIP-712 digest of the header.
    pub fn digest(&self, domain: &Domain) -> BatchDigest {
        BatchDigest(
            domain.digest(
                StructHash::new(BATCH_HEADER_TYPE)
                    .address(self.rollup)
                    .number(self.batch_number)
                    .number(self.epoch)
                    .number(self.expires_at)
                    .number(self.payload_length)
                    .number(self.hash_kind as u64)
                    .word(self.batch_hash)
                    .word(self.shard_root)
                    .word(self.fingerprints_hash)
                    .word(keccak256(&self.payload_fingerprint))
                    .finish(),
            ),
        )
    }

    /// Checks that the lengths fit a committee of this geometry.
    pub fn check_shape(&self, geometry: Geometry) -> Result<(), HeaderError> {
        check_payload_length(self.payload_length)?;
        let expected = geometry.fingerprint_bytes();
        let got = self.payload_fingerprint.len();
        if got == expected { Ok(()) } else { Err(HeaderError::FingerprintLength { expected, got }) }
    }
}

/// A member's promise: "I hold and have checked my shard of every settled batch of this rollup up
/// to `last_batch`, and I serve them until `expires_at`." See section 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CoverageRenewal {
    /// The rollup's settlement contract.
    pub rollup: Address,
    /// The number of the last settled batch that is covered.
    pub last_batch: u64,
    /// The last Unix second until which all of them are served.
    pub expires_at: u64,
    /// The epoch of the committee that signs the renewal.
    pub epoch: u64,
}

impl CoverageRenewal {
    /// Returns the EIP-712 digest of the renewal.
    pub fn digest(&self, domain: &Domain) -> RenewalDigest {
        RenewalDigest(
            domain.digest(
                StructHash::new(COVERAGE_RENEWAL_TYPE)
                    .address(self.rollup)
                    .number(self.last_batch)
                    .number(self.expires_at)
                    .number(self.epoch)
                    .finish(),
            ),
        )
    }
}
