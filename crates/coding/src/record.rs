//! The check of a batch's record: its shard hashes and z must match its header.
//!
//! Signatures, the submission's agreement with the header, expiry and certificate are checked
//! elsewhere.

use alloc::string::String;
use alloc::string::ToString;

use dac_types::{AggregateAttestation, B256, BatchHeader, Geometry, Record, RecordShapeError, Seat};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::code::Interpolation;
use crate::fingerprint::{
    Fingerprint, Points, encode_fingerprint, fingerprints_hash, payload_fingerprint_of_rows, points_seed,
};
use crate::merkle::shard_root;

/// The reasons why a record does not match its header.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A length does not fit the committee.
    #[error(transparent)]
    Shape(#[from] RecordShapeError),
    /// The shard hashes have a different root.
    #[error("the shard hashes have root {got}, the header says {expected}")]
    ShardRoot {
        /// The root in the header.
        expected: B256,
        /// The root of the shard hashes that were received.
        got: B256,
    },
    /// The row fingerprints have a different hash, for example because the disperser sent this
    /// member other ones than the rest.
    #[error("the row fingerprints hash to {got}, the header says {expected}")]
    FingerprintsHash {
        /// The hash in the header.
        expected: B256,
        /// The hash of the fingerprints that were received.
        got: B256,
    },
    /// The payload fingerprint that follows from the row fingerprints is not the one in the header.
    #[error("the row fingerprints add up to {got}, the header says {expected}")]
    PayloadFingerprint {
        /// The payload fingerprint in the header, in hexadecimal.
        expected: String,
        /// The payload fingerprint of the received row fingerprints, in hexadecimal.
        got: String,
    },
}

/// A record whose shard hashes and row fingerprints are those to which its header commits.
#[derive(Clone, Debug)]
pub struct CheckedRecord {
    record: Record,
    geometry: Geometry,
    shard_length: usize,
    points: Points,
    rows: Interpolation,
    #[cfg_attr(not(feature = "reed-solomon"), allow(dead_code, reason = "for whole shards"))]
    identity: B256,
}

impl CheckedRecord {
    /// Checks everything that follows from header and geometry alone. This takes O(n + k·t) time.
    pub fn check(record: Record, geometry: Geometry) -> Result<Self, RecordError> {
        record.check_shape(geometry)?;
        let header = &record.header;
        let shard_length = geometry.shard_length(header.payload_length).map_err(|error| {
            RecordError::Shape(RecordShapeError::Header(dac_types::HeaderError::Geometry(error)))
        })?;
        let expected = header.shard_root;
        let got = shard_root(&record.shard_hashes);
        if got != expected {
            return Err(RecordError::ShardRoot { expected, got });
        }
        let row_fingerprints = record.row_fingerprints.as_bytes();
        let expected = header.fingerprints_hash;
        let got = fingerprints_hash(row_fingerprints);
        if got != expected {
            return Err(RecordError::FingerprintsHash { expected, got });
        }
        let points =
            Points::from_record(header.shard_root, header.batch_hash, header.payload_length, geometry);
        let got = payload_fingerprint_of_rows(&points, shard_length, row_fingerprints);
        if got.as_bytes() != header.payload_fingerprint {
            let expected = Hexadecimal(&header.payload_fingerprint).to_string();
            return Err(RecordError::PayloadFingerprint { expected, got: got.to_string() });
        }
        let identity = identity(header, geometry);
        Ok(Self {
            rows: Interpolation::from_rows(geometry),
            record,
            geometry,
            shard_length,
            points,
            identity,
        })
    }

    /// Returns the record.
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// Returns the header of the record.
    pub const fn header(&self) -> &BatchHeader {
        &self.record.header
    }

    /// Returns n and k of the committee.
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Returns the length of each shard in bytes.
    pub const fn shard_length(&self) -> usize {
        self.shard_length
    }

    /// Returns the points of the batch.
    pub const fn points(&self) -> &Points {
        &self.points
    }

    /// Returns the committed hash of a seat's shard, or `None` if there is no such seat.
    pub fn shard_hash(&self, seat: Seat) -> Option<B256> {
        self.record.shard_hashes.get(seat.index()).copied()
    }

    /// Returns the fingerprint that the shard of a seat must have, encode(z)\[seat\], or `None` if
    /// there is no such seat.
    pub fn expected_fingerprint(&self, seat: Seat) -> Option<Fingerprint> {
        let exists = seat.index() < usize::from(self.geometry.n());
        exists.then(|| {
            encode_fingerprint(&self.rows, self.points.count(), self.record.row_fingerprints.as_bytes(), seat)
        })
    }

    /// Returns the same record with its certificate, which is not checked here.
    #[must_use]
    pub fn with_certificate(mut self, certificate: AggregateAttestation) -> Self {
        self.record.certificate = Some(certificate);
        self
    }

    /// Returns the record as an unchecked value.
    pub fn into_record(self) -> Record {
        self.record
    }

    /// Returns a hash of all values against which a shard is checked. It keeps a shard from being
    /// taken for one of another batch.
    #[cfg_attr(not(feature = "reed-solomon"), allow(dead_code, reason = "for whole shards"))]
    pub(crate) const fn identity(&self) -> B256 {
        self.identity
    }
}

/// Hashes the root, batch hash, length, n, k and z, on which the member's check of a shard depends.
fn identity(header: &BatchHeader, geometry: Geometry) -> B256 {
    let seed = points_seed(header.shard_root, header.batch_hash, header.payload_length, geometry);
    B256::new(Sha256::new().chain_update(seed).chain_update(header.fingerprints_hash).finalize().into())
}

struct Hexadecimal<'a>(&'a [u8]);

impl core::fmt::Display for Hexadecimal<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
