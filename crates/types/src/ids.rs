//! Identifiers: a seat in a committee, and the digests of what members sign.

use core::fmt;

use alloy_primitives::B256;

/// A seat of a committee: 0 ≤ seat < n ≤ 256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(pub u8);

impl Seat {
    /// Returns the seat as an index into lists in seat order.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Iterates over all seats of a committee of `n`, in ascending order.
    pub fn all(n: u16) -> impl DoubleEndedIterator<Item = Seat> + Clone {
        (0..n).map(|seat| Seat(u8::try_from(seat).expect("n is at most 256, so a seat fits one byte")))
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seat({})", self.0)
    }
}

/// A message that a member's BLS key signs: 32 bytes, the EIP-712 digest of exactly one structure.
pub trait SignedDigest {
    /// Returns the 32 bytes that are signed.
    fn message(&self) -> &[u8; 32];
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub B256);

        impl $name {
            /// Returns the 32 bytes that members sign.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0.0
            }
        }

        impl SignedDigest for $name {
            fn message(&self) -> &[u8; 32] {
                self.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl core::str::FromStr for $name {
            type Err = alloy_primitives::hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map($name)
            }
        }
    };
}

digest!(
    /// The EIP-712 digest of a batch's header. It identifies the batch everywhere, and members sign
    /// it.
    BatchDigest
);
digest!(
    /// The EIP-712 digest of a bundle of batches. Members sign it.
    BundleDigest
);
digest!(
    /// The EIP-712 digest of a coverage renewal. Members sign it.
    RenewalDigest
);
