//! The committee of one epoch as the registry on L1 records it.

use alloc::string::String;
use alloc::vec::Vec;

use alloy_primitives::Address;
use thiserror::Error;

use crate::certificate::PublicKeyBytes;
use crate::geometry::{GeometryError, Quorum};
use crate::ids::Seat;

/// Why the registry's answer is not a committee.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitteeError {
    /// n, k or q impossible.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Fewer or more members than n.
    #[error("epoch {epoch} has {n} seats but {got} members were given")]
    MemberCount {
        /// The epoch.
        epoch: u64,
        /// Seats.
        n: u16,
        /// Members given.
        got: usize,
    },
    /// One operator or key sits twice.
    #[error("epoch {epoch}: seats {first} and {second} share an operator or a key")]
    Duplicate {
        /// The epoch.
        epoch: u64,
        /// One seat.
        first: Seat,
        /// The other.
        second: Seat,
    },
}

/// Who sits in a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// L1 address of the operator.
    pub operator: Address,
    /// BLS key, compressed.
    pub public_key: PublicKeyBytes,
    /// Where aggregators deliver shards.
    pub dispersal_url: String,
    /// Where anyone retrieves.
    pub retrieval_url: String,
}

/// The members of one epoch in seat order, and when they may sign and post.
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
    /// `active_until` is exclusive (`u64::MAX` while no later epoch is known), `postable_until` includes the grace.
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

    /// The epoch's number, from 1.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// n, k and q.
    pub const fn quorum(&self) -> Quorum {
        self.quorum
    }

    /// All members in seat order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// All members with their seats.
    pub fn seats(&self) -> impl Iterator<Item = (Seat, &Member)> {
        Seat::all(self.quorum.geometry().n()).zip(&self.members)
    }

    /// Who sits in `seat`.
    pub fn member(&self, seat: Seat) -> Option<&Member> {
        self.members.get(seat.index())
    }

    /// The seat of a BLS key.
    pub fn seat_of(&self, public_key: &PublicKeyBytes) -> Option<Seat> {
        self.seats().find(|(_, member)| member.public_key == *public_key).map(|(seat, _)| seat)
    }

    /// The first of these committees, which ascend by epoch without a gap, and those that follow it with the same n and k: among them
    /// seats outlive operators. Section 9.
    pub fn lineage<'a>(epochs: impl IntoIterator<Item = &'a Self>) -> impl Iterator<Item = &'a Self> {
        let mut geometry = None;
        epochs.into_iter().take_while(move |committee| {
            let own = committee.quorum.geometry();
            *geometry.get_or_insert(own) == own
        })
    }

    /// From when members sign.
    pub const fn active_from(&self) -> u64 {
        self.active_from
    }

    /// Until when members sign, exclusive.
    pub const fn active_until(&self) -> u64 {
        self.active_until
    }

    /// Until when certificates of this epoch may be posted.
    pub const fn postable_until(&self) -> u64 {
        self.postable_until
    }

    /// Whether members of this epoch sign new batches at `now`.
    pub const fn is_active(&self, now: u64) -> bool {
        self.active_from <= now && now < self.active_until
    }

    /// Whether L1 takes certificates of this epoch at `now`: while active, and within the grace after.
    pub const fn is_postable(&self, now: u64) -> bool {
        self.active_from <= now && now <= self.postable_until
    }
}
