//! A batch's record: what every member stores and serves whole beside its shard.

use alloc::vec::Vec;

use alloy_primitives::B256;
use thiserror::Error;

use crate::certificate::AggregateAttestation;
use crate::ecdsa::EcdsaSignature;
use crate::geometry::Geometry;
use crate::header::{BatchHeader, HeaderError};
use crate::submission::SignedSubmission;

/// Why a record cannot belong to a committee of a given geometry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordShapeError {
    /// The header's own lengths.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// Not n shard hashes.
    #[error("a record of this committee has {expected} shard hashes, got {got}")]
    ShardHashCount {
        /// n.
        expected: usize,
        /// Number received.
        got: usize,
    },
    /// Not k fingerprints of 16t bytes.
    #[error("a record of this committee has {expected} bytes of row fingerprints (k × 16t), got {got}")]
    FingerprintBytes {
        /// k × 16t.
        expected: usize,
        /// Length received.
        got: usize,
    },
}

/// z: the fingerprints of the k rows, each t field elements of 16 bytes, one after the other.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RowFingerprints(Vec<u8>);

impl RowFingerprints {
    /// k × 16t bytes for the given geometry.
    pub fn new(geometry: Geometry, bytes: Vec<u8>) -> Result<Self, RecordShapeError> {
        let expected = usize::from(geometry.k()) * geometry.fingerprint_bytes();
        let got = bytes.len();
        if got == expected {
            Ok(Self(bytes))
        } else {
            Err(RecordShapeError::FingerprintBytes { expected, got })
        }
    }

    /// All bytes z_0 ‖ … ‖ z_{k−1}.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A record as received: its lengths fit its committee, nothing else is known. `dac-coding` makes a checked one of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What members sign.
    pub header: BatchHeader,
    /// Hashes of all n shards in seat order.
    pub shard_hashes: Vec<B256>,
    /// z.
    pub row_fingerprints: RowFingerprints,
    /// The rollup's order.
    pub submission: SignedSubmission,
    /// The disperser's signature over the header's digest.
    pub disperser_signature: EcdsaSignature,
    /// Once there is one.
    pub certificate: Option<AggregateAttestation>,
}

impl Record {
    /// All lengths fit a committee of this geometry.
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
