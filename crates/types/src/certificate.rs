//! Attestations and certificates in the form in which they travel. This crate checks their shapes;
//! `dac-bls` checks their signatures.

use alloc::vec::Vec;
use core::fmt;

use alloy_primitives::keccak256;
use thiserror::Error;

use crate::geometry::Quorum;
use crate::header::{BatchHeader, CoverageRenewal};
use crate::ids::{BatchDigest, Seat};

/// The length of a BLS signature in bytes: one compressed G1 point.
pub const SIGNATURE_BYTES: usize = 48;
/// The length of a BLS public key in bytes: one compressed G2 point.
pub const PUBLIC_KEY_BYTES: usize = 96;

macro_rules! point_bytes {
    ($(#[$doc:meta])* $name:ident, $length:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Returns the bytes. Only their number has been checked.
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
    /// Bytes that may be a BLS signature: 48 bytes, a G1 point in compressed form if they are
    /// valid.
    SignatureBytes,
    SIGNATURE_BYTES
);
point_bytes!(
    /// Bytes that may be a BLS public key: 96 bytes, a G2 point in compressed form if they are
    /// valid.
    PublicKeyBytes,
    PUBLIC_KEY_BYTES
);

/// One member's signature over a batch's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attestation {
    /// The digest of the batch that the member signed.
    pub digest: BatchDigest,
    /// The seat of the member that signed.
    pub seat: Seat,
    /// The signature over the 32 bytes of the digest. It is not verified yet.
    pub signature: SignatureBytes,
}

/// The reasons why bytes are not a valid list of absent seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AbsentSeatsError {
    /// A seat is not above the one before it: the list is unsorted or names a seat twice.
    #[error("absent seats must ascend strictly: seat {seat} at position {position}")]
    NotAscending {
        /// The seat that is not above its predecessor.
        seat: u8,
        /// The index of that seat in the list, from 0.
        position: usize,
    },
    /// The list names a seat that the committee does not have.
    #[error("absent seat {seat} does not exist in a committee of {n}")]
    OutOfRange {
        /// The named seat, which is n or more.
        seat: u8,
        /// The number n of seats of the committee.
        n: u16,
    },
    /// So many seats are absent that fewer than q signatures are left.
    #[error("{signers} of {n} signed, the quorum is {q}")]
    TooFewSigners {
        /// The number of seats that signed.
        signers: u16,
        /// The number n of seats of the committee.
        n: u16,
        /// The number q of signatures that a certificate needs.
        q: u16,
    },
}

/// The seats that did not sign, one byte each, in strictly ascending order.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct AbsentSeats(Vec<u8>);

impl AbsentSeats {
    /// Makes the list from the seats that signed, which may come in any order, in a committee of
    /// `n`.
    pub fn from_signers(n: u16, signers: &[Seat]) -> Self {
        Self(Seat::all(n).filter(|seat| !signers.contains(seat)).map(|seat| seat.0).collect())
    }

    /// Returns the list in the encoding that a certificate carries: one byte for each absent seat.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Iterates over the absent seats in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Seat> + '_ {
        self.0.iter().map(|&seat| Seat(seat))
    }

    /// Returns the first 24 bytes of keccak256 of the list, which L1 keeps beside the time of a
    /// record. With the list they tell later who signed.
    pub fn short_hash(&self) -> [u8; 24] {
        let mut short = [0; 24];
        short.copy_from_slice(&keccak256(&self.0)[..24]);
        short
    }

    /// Returns the number of absent seats, which is at most 256.
    pub fn count(&self) -> u16 {
        u16::try_from(self.0.len()).expect("strictly ascending bytes are at most 256")
    }

    /// Returns whether `seat` is absent.
    pub fn contains(&self, seat: Seat) -> bool {
        self.0.binary_search(&seat.0).is_ok()
    }

    /// Iterates over the seats of a committee of `n` that signed, in ascending order.
    pub fn signers(&self, n: u16) -> impl Iterator<Item = Seat> + '_ {
        Seat::all(n).filter(|seat| !self.contains(*seat))
    }

    /// Checks that every named seat exists in the committee and that at least q seats signed.
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

/// The sum of a quorum's signatures, with the seats that are missing from it. It is not verified
/// yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AggregateAttestation {
    /// The seats whose signature is not in the sum.
    pub absent: AbsentSeats,
    /// The sum of the signatures of all other seats.
    pub signature: SignatureBytes,
}

/// A statement by a quorum that it stored and checked a batch and serves it. It proves nothing
/// until `dac-bls` has verified it against a committee.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The header of the batch, whose digest the members signed.
    pub header: BatchHeader,
    /// The signatures, and the seats that did not sign.
    pub aggregate: AggregateAttestation,
}

/// A statement by a quorum that it holds all settled batches of a rollup and serves them for
/// longer. It is unverified, like [`Certificate`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RenewalCertificate {
    /// The promise that the members signed.
    pub renewal: CoverageRenewal,
    /// The signatures, and the seats that did not sign.
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
