//! The arithmetic of a committee: seats n, rebuilding threshold k, quorum q, points t, and the
//! lengths of shards and chunks.

use thiserror::Error;

use crate::limits::{BLOCK_BYTES, CHUNK_BYTES, COMMITTEE_MAX_SEATS, COMMITTEE_MIN_SEATS, PAYLOAD_MAX_BYTES};

/// The reasons why numbers do not make a committee, or a length not a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GeometryError {
    /// n is not between 2 and 256.
    #[error("a committee has {COMMITTEE_MIN_SEATS} to {COMMITTEE_MAX_SEATS} seats, got n = {n}")]
    Seats {
        /// The number of seats that was asked for.
        n: u16,
    },
    /// k is not between 1 and n − 1.
    #[error("the rebuilding threshold must satisfy 1 ≤ k < n, got k = {k}, n = {n}")]
    Threshold {
        /// The threshold that was asked for.
        k: u16,
        /// The number of seats.
        n: u16,
    },
    /// q is not between k and n.
    #[error("the quorum must satisfy k ≤ q ≤ n, got q = {q}, k = {k}, n = {n}")]
    Quorum {
        /// The quorum that was asked for.
        q: u16,
        /// The rebuilding threshold.
        k: u16,
        /// The number of seats.
        n: u16,
    },
    /// The payload is empty or longer than 64 MiB.
    #[error("a payload has 1 to {PAYLOAD_MAX_BYTES} bytes, got {got}")]
    PayloadLength {
        /// The length that was asked for, in bytes.
        got: u64,
    },
}

/// How a payload is spread: any `k` of `n` shards rebuild it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Geometry {
    n: u16,
    k: u16,
}

impl Geometry {
    /// Makes a geometry. It must satisfy 2 ≤ n ≤ 256 and 1 ≤ k < n.
    pub const fn new(n: u16, k: u16) -> Result<Self, GeometryError> {
        if n < COMMITTEE_MIN_SEATS || n > COMMITTEE_MAX_SEATS {
            return Err(GeometryError::Seats { n });
        }
        if k == 0 || k >= n {
            return Err(GeometryError::Threshold { k, n });
        }
        Ok(Self { n, k })
    }

    /// Returns the number of seats.
    pub const fn n(self) -> u16 {
        self.n
    }

    /// Returns the number of shards that rebuild a batch.
    pub const fn k(self) -> u16 {
        self.k
    }

    /// Returns the number t of fingerprint points: ⌈(128 + n) / 106⌉, which is 2, 3 or 4.
    pub const fn points(self) -> usize {
        (128 + self.n as usize).div_ceil(106)
    }

    /// Returns the length of one fingerprint in bytes: 16t.
    pub const fn fingerprint_bytes(self) -> usize {
        self.points() * BLOCK_BYTES
    }

    /// Returns the length m of every shard of a payload of `payload_length` bytes: 16·⌈L / 16k⌉
    /// bytes.
    pub fn shard_length(self, payload_length: u64) -> Result<usize, GeometryError> {
        check_payload_length(payload_length)?;
        let row_blocks = payload_length.div_ceil(BLOCK_BYTES as u64 * u64::from(self.k));
        Ok(usize::try_from(row_blocks).expect("at most 2^22 blocks") * BLOCK_BYTES)
    }

    /// Returns the number of chunks of a shard of `shard_length` bytes.
    pub const fn chunk_count(shard_length: usize) -> usize {
        shard_length.div_ceil(CHUNK_BYTES)
    }

    /// Returns the length in bytes of chunk `index` of a shard of `shard_length` bytes, or `None`
    /// if there is no such chunk.
    pub fn chunk_length(shard_length: usize, index: usize) -> Option<usize> {
        let start = index.checked_mul(CHUNK_BYTES)?;
        (start < shard_length).then(|| (shard_length - start).min(CHUNK_BYTES))
    }
}

/// Checks that a payload length L is in bounds: 1 ≤ L ≤ 64 MiB.
pub(crate) const fn check_payload_length(payload_length: u64) -> Result<(), GeometryError> {
    if payload_length == 0 || payload_length > PAYLOAD_MAX_BYTES {
        return Err(GeometryError::PayloadLength { got: payload_length });
    }
    Ok(())
}

/// A geometry and the number q of signatures that make a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quorum {
    geometry: Geometry,
    q: u16,
}

impl Quorum {
    /// Makes a quorum. It must satisfy k ≤ q ≤ n and the rules of [`Geometry::new`].
    pub const fn new(n: u16, k: u16, q: u16) -> Result<Self, GeometryError> {
        let geometry = match Geometry::new(n, k) {
            Ok(geometry) => geometry,
            Err(error) => return Err(error),
        };
        if q < k || q > n {
            return Err(GeometryError::Quorum { q, k, n });
        }
        Ok(Self { geometry, q })
    }

    /// Returns n and k.
    pub const fn geometry(self) -> Geometry {
        self.geometry
    }

    /// Returns the number of signatures that make a certificate.
    pub const fn q(self) -> u16 {
        self.q
    }

    /// Returns the largest number of seats that a certificate may name as absent: n − q.
    pub const fn absent_max(self) -> u16 {
        self.geometry.n - self.q
    }

    /// Returns how many faulty members these numbers tolerate.
    pub const fn safety(self) -> Safety {
        Safety {
            withholders_tolerated: self.q - self.geometry.k,
            silent_tolerated: self.geometry.n - self.q,
            withholders_tolerated_by_full_copies: self.q - 1,
        }
    }
}

/// The numbers of faulty members that a committee tolerates. See section 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Safety {
    /// The number of a certificate's signers that may withhold while the batch stays retrievable:
    /// q − k.
    pub withholders_tolerated: u16,
    /// The number of members that may be silent while certificates still form: n − q.
    pub silent_tolerated: u16,
    /// The number of signers that could withhold if every member stored a full copy: q − 1. The
    /// difference from the first figure is the price of erasure coding.
    pub withholders_tolerated_by_full_copies: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_follow_the_table_of_section_4() {
        for (n, t) in [(2, 2), (84, 2), (85, 3), (190, 3), (191, 4), (256, 4)] {
            assert_eq!(Geometry::new(n, 1).unwrap().points(), t, "n = {n}");
        }
    }

    #[test]
    fn geometry_refuses_what_section_1_refuses() {
        assert_eq!(Geometry::new(1, 1), Err(GeometryError::Seats { n: 1 }));
        assert_eq!(Geometry::new(257, 1), Err(GeometryError::Seats { n: 257 }));
        assert_eq!(Geometry::new(4, 0), Err(GeometryError::Threshold { k: 0, n: 4 }));
        assert_eq!(Geometry::new(4, 4), Err(GeometryError::Threshold { k: 4, n: 4 }));
        assert_eq!(Quorum::new(7, 3, 2), Err(GeometryError::Quorum { q: 2, k: 3, n: 7 }));
        assert_eq!(Quorum::new(7, 3, 8), Err(GeometryError::Quorum { q: 8, k: 3, n: 7 }));
        assert_eq!(Quorum::new(0, 0, 0), Err(GeometryError::Seats { n: 0 }));
    }

    #[test]
    fn shard_lengths_are_whole_blocks_that_hold_the_payload() {
        let cases =
            [(7, 3, 1, 16), (7, 3, 48, 16), (7, 3, 49, 32), (2, 1, 64 << 20, 64 << 20), (256, 255, 1, 16)];
        for (n, k, length, expected) in cases {
            assert_eq!(Geometry::new(n, k).unwrap().shard_length(length), Ok(expected));
        }
        let geometry = Geometry::new(4, 2).unwrap();
        assert_eq!(geometry.shard_length(0), Err(GeometryError::PayloadLength { got: 0 }));
        let over = PAYLOAD_MAX_BYTES + 1;
        assert_eq!(geometry.shard_length(over), Err(GeometryError::PayloadLength { got: over }));
    }

    #[test]
    fn chunks_cover_a_shard_exactly() {
        for length in [16, 4080, 4096, 4112, 8192, 12304] {
            let total: usize =
                (0..Geometry::chunk_count(length)).map(|i| Geometry::chunk_length(length, i).unwrap()).sum();
            assert_eq!(total, length);
            assert_eq!(Geometry::chunk_length(length, Geometry::chunk_count(length)), None);
        }
        assert_eq!(Geometry::chunk_length(16, usize::MAX), None);
    }

    #[test]
    fn safety_states_the_price_of_erasure_coding() {
        let safety = Quorum::new(7, 3, 5).unwrap().safety();
        assert_eq!(safety.withholders_tolerated, 2);
        assert_eq!(safety.silent_tolerated, 2);
        assert_eq!(safety.withholders_tolerated_by_full_copies, 4);
    }
}
