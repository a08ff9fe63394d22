//! The committee of one epoch, as the registry on L1 records it.

use alloc::string::String;
use alloc::vec::Vec;

use alloy_primitives::Address;
use thiserror::Error;

use crate::certificate::PublicKeyBytes;
use crate::geometry::{GeometryError, Quorum};
use crate::ids::Seat;

/// The reasons why the registry's answer is not a valid committee.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitteeError {
    /// The numbers n, k and q do not fit together.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The number of members differs from n.
    #[error("epoch {epoch} has {n} seats but {got} members were given")]
    MemberCount {
        /// The epoch that the registry was asked for.
        epoch: u64,
        /// The number n of seats.
        n: u16,
        /// The number of members that the registry returned.
        got: usize,
    },
    /// Two seats have the same operator or the same key.
    #[error("epoch {epoch}: seats {first} and {second} share an operator or a key")]
    Duplicate {
        /// The epoch that the registry was asked for.
        epoch: u64,
        /// The lower of the two seats.
        first: Seat,
        /// The higher of the two seats.
        second: Seat,
    },
}

/// The member that sits in a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The L1 address of the operator.
    pub operator: Address,
    /// The member's BLS public key, compressed.
    pub public_key: PublicKeyBytes,
    /// The URL to which aggregators deliver shards.
    pub dispersal_url: String,
    /// The URL from which anyone retrieves shards and records.
    pub retrieval_url: String,
}

/// The members of one epoch in seat order, with the times in which they may sign and post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    epoch: u64,
    quorum: Quorum,
    members: Vec<Member>,
    active_from: u64,
    active_until: u64,
    postable_until: u64,
}

impl Committee {
    /// Makes a committee and checks that it has n members, of which no two share an operator or a
    /// key.
    ///
    /// All times are Unix seconds. `active_until` is exclusive (`u64::MAX` while no later epoch is
    /// known); `postable_until` is inclusive and contains the grace period.
    pub fn new(
        epoch: u64,
        quorum: Quorum,
        members: Vec<Member>,
        active_from: u64,
        active_until: u64,
        postable_until: u64,
    ) -> Result<Self, CommitteeError> {
        let n = quorum.geometry().n();
        if members.len() != usize::from(n) {
            return Err(CommitteeError::MemberCount { epoch, n, got: members.len() });
        }
        for second in Seat::all(n) {
            for first in Seat::all(n).take_while(|first| *first < second) {
                let (a, b) = (&members[first.index()], &members[second.index()]);
                if a.operator == b.operator || a.public_key == b.public_key {
                    return Err(CommitteeError::Duplicate { epoch, first, second });
                }
            }
        }
        Ok(Self { epoch, quorum, members, active_from, active_until, postable_until })
    }

    /// Returns the number of the epoch. The first epoch is 1.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns n, k and q.
    pub const fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// Returns all members in seat order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Iterates over all members with their seats, in seat order.
    pub fn seats(&self) -> impl Iterator<Item = (Seat, &Member)> {
        Seat::all(self.quorum.geometry().n()).zip(&self.members)
    }

    /// Returns the member that sits in `seat`, or `None` if there is no such seat.
    pub fn member(&self, seat: Seat) -> Option<&Member> {
        self.members.get(seat.index())
    }

    /// Returns the seat of the member with this BLS key.
    pub fn seat_of(&self, public_key: &PublicKeyBytes) -> Option<Seat> {
        self.seats().find(|(_, member)| member.public_key == *public_key).map(|(seat, _)| seat)
    }

    /// Returns the leading committees of `epochs` that have the n and k of the first one. `epochs`
    /// must ascend without a gap. Within such a lineage a seat keeps its shards when its operator
    /// changes; see section 9.
    pub fn lineage<'a>(epochs: impl IntoIterator<Item = &'a Self>) -> impl Iterator<Item = &'a Self> {
        let mut geometry = None;
        epochs.into_iter().take_while(move |committee| {
            let own = committee.quorum.geometry();
            *geometry.get_or_insert(own) == own
        })
    }

    /// Returns the Unix second from which members sign.
    pub const fn active_from(&self) -> u64 {
        self.active_from
    }

    /// Returns the Unix second until which members sign, exclusive.
    pub const fn active_until(&self) -> u64 {
        self.active_until
    }

    /// Returns the last Unix second in which certificates of this epoch may be posted.
    pub const fn postable_until(&self) -> u64 {
        self.postable_until
    }

    /// Returns whether members of this epoch sign new batches at `now` (Unix seconds).
    pub const fn is_active(&self, now: u64) -> bool {
        self.active_from <= now && now < self.active_until
    }

    /// Returns whether L1 accepts certificates of this epoch at `now` (Unix seconds): while the
    /// epoch is active, and during the grace period after it.
    pub const fn is_postable(&self, now: u64) -> bool {
        self.active_from <= now && now <= self.postable_until
    }
}
