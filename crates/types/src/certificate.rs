//! Attestations and certificates as they travel: shapes are checked here, signatures in `dac-bls`.

use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::geometry::Quorum;
use crate::header::{BatchHeader, CoverageRenewal};
use crate::ids::{BatchDigest, Seat};

/// A compressed G1 point.
pub const SIGNATURE_BYTES: usize = 48;
/// A compressed G2 point.
pub const PUBLIC_KEY_BYTES: usize = 96;

macro_rules! point_bytes {
    ($(#[$doc:meta])* $name:ident, $length:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// The bytes; nothing is known of them but their number.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "0x{}", alloy_primitives::hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "(0x{})"), alloy_primitives::hex::encode(self.0))
            }
        }
    };
}

point_bytes!(
    /// What claims to be a BLS signature: 48 bytes, compressed G1, not yet known to be a point.
    SignatureBytes,
    SIGNATURE_BYTES
);
point_bytes!(
    /// What claims to be a BLS public key: 96 bytes, compressed G2, not yet known to be a point.
    PublicKeyBytes,
    PUBLIC_KEY_BYTES
);

/// One member's signature over a batch's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attestation {
    /// The batch.
    pub digest: BatchDigest,
    /// Who signed.
    pub seat: Seat,
    /// Over the 32 bytes of the digest; unverified.
    pub signature: SignatureBytes,
}

/// Why bytes are not a list of absent seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AbsentSeatsError {
    /// A seat is not above the one before it: unsorted or named twice.
    #[error("absent seats must ascend strictly: seat {seat} at position {position}")]
    NotAscending {
        /// The offending seat.
        seat: u8,
        /// Its position in the list.
        position: usize,
    },
    /// No such seat in the committee.
    #[error("absent seat {seat} does not exist in a committee of {n}")]
    OutOfRange {
        /// The offending seat.
        seat: u8,
        /// Seats of the committee.
        n: u16,
    },
    /// Fewer signers than the quorum.
    #[error("{signers} of {n} signed, the quorum is {q}")]
    TooFewSigners {
        /// Seats that signed.
        signers: u16,
        /// Seats of the committee.
        n: u16,
        /// Signatures needed.
        q: u16,
    },
}

/// Seats that did not sign: strictly ascending, one byte each.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct AbsentSeats(Vec<u8>);

impl AbsentSeats {
    /// The absent seats among `n`, given those that signed (in any order).
    pub fn from_signers(n: u16, signers: &[Seat]) -> Self {
        Self(Seat::all(n).filter(|seat| !signers.contains(seat)).map(|seat| seat.0).collect())
    }

    /// The bytes as they stand in a certificate.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Absent seats in order.
    pub fn iter(&self) -> impl Iterator<Item = Seat> + '_ {
        self.0.iter().map(|&seat| Seat(seat))
    }

    /// How many are absent: at most 256.
    pub fn count(&self) -> u16 {
        u16::try_from(self.0.len()).expect("strictly ascending bytes are at most 256")
    }

    /// Whether `seat` is among them.
    pub fn contains(&self, seat: Seat) -> bool {
        self.0.binary_search(&seat.0).is_ok()
    }

    /// Seats of a committee of `n` that are not absent, in order.
    pub fn signers(&self, n: u16) -> impl Iterator<Item = Seat> + '_ {
        Seat::all(n).filter(|seat| !self.contains(*seat))
    }

    /// All named seats exist, and enough are left to make a certificate.
    pub fn check_quorum(&self, quorum: Quorum) -> Result<(), AbsentSeatsError> {
        let n = quorum.geometry().n();
        if let Some(&seat) = self.0.last()
            && u16::from(seat) >= n
        {
            return Err(AbsentSeatsError::OutOfRange { seat, n });
        }
        let signers = n - self.count();
        if signers < quorum.q() {
            return Err(AbsentSeatsError::TooFewSigners { signers, n, q: quorum.q() });
        }
        Ok(())
    }
}

impl TryFrom<&[u8]> for AbsentSeats {
    type Error = AbsentSeatsError;

    fn try_from(bytes: &[u8]) -> Result<Self, AbsentSeatsError> {
        for (position, pair) in bytes.windows(2).enumerate() {
            if pair[1] <= pair[0] {
                return Err(AbsentSeatsError::NotAscending { seat: pair[1], position: position + 1 });
            }
        }
        Ok(Self(bytes.to_vec()))
    }
}

impl fmt::Debug for AbsentSeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

/// The sum of a quorum's signatures and who is missing from it; unverified.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AggregateAttestation {
    /// Seats whose signature is not in the sum.
    pub absent: AbsentSeats,
    /// The sum.
    pub signature: SignatureBytes,
}

/// Proof that a quorum stored, checked and serves a batch; unverified until `dac-bls` checked it against a committee.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The batch.
    pub header: BatchHeader,
    /// Who signed it.
    pub aggregate: AggregateAttestation,
}

/// Proof that a quorum holds all settled batches of a rollup and serves them for longer; unverified like [`Certificate`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RenewalCertificate {
    /// What was promised.
    pub renewal: CoverageRenewal,
    /// Who signed it.
    pub aggregate: AggregateAttestation,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_seats_must_ascend_strictly() {
        assert!(AbsentSeats::try_from(&[][..]).is_ok());
        assert!(AbsentSeats::try_from(&[0, 1, 255][..]).is_ok());
        for bad in [&[1, 1][..], &[2, 1], &[0, 5, 3]] {
            assert!(matches!(AbsentSeats::try_from(bad), Err(AbsentSeatsError::NotAscending { .. })));
        }
    }

    #[test]
    fn quorum_is_checked_against_the_committee() {
        let quorum = Quorum::new(7, 3, 5).unwrap();
        let absent = |bytes: &[u8]| AbsentSeats::try_from(bytes).unwrap();
        assert_eq!(absent(&[0, 6]).check_quorum(quorum), Ok(()));
        assert_eq!(absent(&[0, 7]).check_quorum(quorum), Err(AbsentSeatsError::OutOfRange { seat: 7, n: 7 }));
        assert_eq!(
            absent(&[0, 1, 2]).check_quorum(quorum),
            Err(AbsentSeatsError::TooFewSigners { signers: 4, n: 7, q: 5 })
        );
    }

    #[test]
    fn signers_and_absent_seats_are_complements() {
        let absent = AbsentSeats::from_signers(5, &[Seat(4), Seat(0), Seat(2)]);
        assert_eq!(absent.as_bytes(), [1, 3]);
        assert_eq!(absent.signers(5).collect::<Vec<_>>(), [Seat(0), Seat(2), Seat(4)]);
        assert_eq!(AbsentSeats::from_signers(256, &[]).count(), 256);
    }
}
