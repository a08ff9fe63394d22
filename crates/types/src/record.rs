//! The record of a batch, which every member stores and serves whole, beside its shard.

use alloc::vec::Vec;

use alloy_primitives::B256;
use thiserror::Error;

use crate::certificate::AggregateAttestation;
use crate::ecdsa::EcdsaSignature;
use crate::geometry::Geometry;
use crate::header::{BatchHeader, HeaderError};
use crate::submission::SignedSubmission;

/// The reasons why a record does not fit a committee of a given geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordShapeError {
    /// A length in the header does not fit.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The number of shard hashes differs from n.
    #[error("a record of this committee has {expected} shard hashes, got {got}")]
    ShardHashCount {
        /// The number n of seats.
        expected: usize,
        /// The number that was received.
        got: usize,
    },
    /// The row fingerprints are not k times 16t bytes long.
    #[error("a record of this committee has {expected} bytes of row fingerprints (k × 16t), got {got}")]
    FingerprintBytes {
        /// The length that they must have in bytes: k × 16t.
        expected: usize,
        /// The length that was received, in bytes.
        got: usize,
    },
}

/// z: the concatenated fingerprints of the k rows. Each has t field elements of 16 bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RowFingerprints(Vec<u8>);

impl RowFingerprints {
    /// Checks that there are k × 16t bytes, as the geometry demands.
    pub fn new(geometry: Geometry, bytes: Vec<u8>) -> Result<Self, RecordShapeError> {
        let expected = usize::from(geometry.k()) * geometry.fingerprint_bytes();
        let got = bytes.len();
        if got == expected {
            Ok(Self(bytes))
        } else {
            Err(RecordShapeError::FingerprintBytes { expected, got })
        }
    }

    /// Returns all bytes z_0 ‖ … ‖ z_{k−1}.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A record as it was received. Only its lengths have been checked against its committee;
/// `dac-coding` checks the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The header, whose digest members sign.
    pub header: BatchHeader,
    /// The hashes of all n shards, in seat order.
    pub shard_hashes: Vec<B256>,
    /// z, the fingerprints of the k rows.
    pub row_fingerprints: RowFingerprints,
    /// The rollup's signed order to disperse the batch.
    pub submission: SignedSubmission,
    /// The disperser's signature over the header's digest.
    pub disperser_signature: EcdsaSignature,
    /// The quorum's signatures, once the batch is certified.
    pub certificate: Option<AggregateAttestation>,
}

impl Record {
    /// Checks that all lengths fit a committee of this geometry.
    pub fn check_shape(&self, geometry: Geometry) -> Result<(), RecordShapeError> {
        self.header.check_shape(geometry)?;
        let expected = usize::from(geometry.n());
        let got = self.shard_hashes.len();
        if got != expected {
            return Err(RecordShapeError::ShardHashCount { expected, got });
        }
        let expected = usize::from(geometry.k()) * geometry.fingerprint_bytes();
        let got = self.row_fingerprints.as_bytes().len();
        if got != expected {
            return Err(RecordShapeError::FingerprintBytes { expected, got });
        }
        Ok(())
    }
}
