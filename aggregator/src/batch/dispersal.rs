//! The dispersal of a batch to the members of one epoch.

use std::sync::Arc;

use dac_types::{BatchDigest, Quorum, Record, Seat, SignatureBytes};

/// How far the delivery to one seat is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// No call to the member has ended yet.
    Pending,
    /// The member answered with a signature that is not verified yet.
    Claimed(SignatureBytes),
    /// The member stored its shard and signed. The signature verifies, alone or within the
    /// certificate's sum.
    Attested(SignatureBytes),
    /// The last call failed, and is repeated.
    Retrying,
    /// The member refused for good.
    Refused,
    /// The member gave a signature that is not its own over this digest.
    Lied,
}

/// What is known of one seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberOutcome {
    /// How far the delivery is.
    pub delivery: Delivery,
    /// The number of calls that ended until the member signed, and of those that failed since. It
    /// is 1 for a member that signed at once.
    pub attempts: u32,
    /// The reason of the last failure, machine-readable; empty if no call failed.
    pub reason: String,
    /// The last failure in words, for people.
    pub detail: String,
    /// The time of the member's answer, in Unix milliseconds; 0 before it.
    pub attested_at_ms: u64,
    /// Whether the member's signature is part of the certificate.
    pub in_certificate: bool,
    /// Whether the member was given the certificate, to serve it, or does not take it.
    pub certificate_done: bool,
}

impl MemberOutcome {
    /// The outcome before anything is known.
    pub(crate) const NEW: Self = Self {
        delivery: Delivery::Pending,
        attempts: 0,
        reason: String::new(),
        detail: String::new(),
        attested_at_ms: 0,
        in_certificate: false,
        certificate_done: false,
    };
}

/// One header of a batch, made for one epoch, and the answers of that epoch's members to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispersal {
    /// The digest of the header, which identifies the batch in this epoch.
    pub digest: BatchDigest,
    /// The numbers n, k and q of the epoch's committee.
    pub quorum: Quorum,
    /// The header, hashes, fingerprints and both signatures, without a certificate.
    pub record: Arc<Record>,
    /// The outcome of each member, in seat order.
    pub members: Vec<MemberOutcome>,
}

impl Dispersal {
    /// Makes a dispersal of which nothing is sent yet.
    pub fn new(digest: BatchDigest, quorum: Quorum, record: Arc<Record>) -> Self {
        let members = vec![MemberOutcome::NEW; usize::from(quorum.geometry().n())];
        Self { digest, quorum, record, members }
    }

    /// Returns the epoch whose members the header is for.
    pub fn epoch(&self) -> u64 {
        self.record.header.epoch
    }

    /// Returns each seat with the outcome of its member.
    pub(super) fn seats(&self) -> impl Iterator<Item = (Seat, &MemberOutcome)> {
        Seat::all(self.quorum.geometry().n()).zip(&self.members)
    }

    /// Returns the signatures that may count, with those that are not verified.
    pub(super) fn signatures(&self) -> Vec<(Seat, SignatureBytes)> {
        self.seats()
            .filter_map(|(seat, member)| match member.delivery {
                Delivery::Claimed(signature) | Delivery::Attested(signature) => Some((seat, signature)),
                _ => None,
            })
            .collect()
    }

    /// Counts the members whose delivery `wanted` accepts.
    pub(super) fn count(&self, wanted: impl Fn(Delivery) -> bool) -> u16 {
        let count = self.members.iter().filter(|member| wanted(member.delivery)).count();
        u16::try_from(count).expect("at most 256 members")
    }
}
