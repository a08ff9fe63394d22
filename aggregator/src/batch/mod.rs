//! A batch's life (section 8 of `docs/protocol.md`) as a pure state machine: what it is, without
//! clock or I/O.
//!
//! [`Batch::apply`] takes an event and gives the actions that follow from it. The actor around it
//! (`service::actor`) persists the new state before it acts; recovery applies [`Event::Resumed`] to
//! what was persisted and goes the same way.

mod failure;
mod proof;
mod settling;
mod transitions;
mod waiting;

#[cfg(test)]
mod settling_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod waiting_tests;

use std::fmt;
use std::sync::Arc;

use dac_types::limits::QUOTA_DAY_SECONDS;
use dac_types::{
    AggregateAttestation, B256, BatchDigest, Certificate, PostingMode, Quorum, Record, Seat, SignatureBytes,
    SignedSubmission,
};

pub use self::failure::{Failure, FailureReason};
pub use self::proof::{Proof, ProofRefusal, ProofState, ProofVerdict};
pub use self::waiting::{Obstruction, Waiting};

/// After `submitBefore` no member signs what is not certified yet; so much longer the aggregator
/// waits for answers that are under way before it gives the batch up.
pub const SUBMIT_BEFORE_SLACK_SECONDS: u64 = 30;

/// A batch by the EIP-712 digest of its submission: its identity here from the first moment on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubmissionDigest(pub B256);

impl fmt::Display for SubmissionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Debug for SubmissionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubmissionDigest({:#x})", self.0)
    }
}

/// Where a batch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The payload is on durable storage.
    Received,
    /// Encoded, the header signed; on its way to the members.
    Dispersing,
    /// A quorum signed, and the certificate is on durable storage.
    Certified,
    /// Certified, and a proof is there that may settle it.
    Proved,
    /// Recorded on L1; or, where it is to be settled, settled in a block that is not deep enough
    /// yet.
    Posted,
    /// Its rollup settled it, as deep as was asked for.
    Settled,
    /// Given up; its number is free.
    Failed(Failure),
    /// `expiresAt` passed before it was posted; its number is free.
    Expired,
}

impl Phase {
    /// Whether another payload for the same batch number is refused.
    pub const fn holds_number(&self) -> bool {
        !matches!(self, Phase::Failed(_) | Phase::Expired)
    }

    /// All that [`Self::name`] says.
    pub const NAMES: [&'static str; 8] =
        ["received", "dispersing", "certified", "proved", "settled", "posted", "failed", "expired"];

    /// Short name, for logs, metrics and the store.
    pub const fn name(&self) -> &'static str {
        match self {
            Phase::Received => "received",
            Phase::Dispersing => "dispersing",
            Phase::Certified => "certified",
            Phase::Proved => "proved",
            Phase::Settled => "settled",
            Phase::Posted => "posted",
            Phase::Failed(_) => "failed",
            Phase::Expired => "expired",
        }
    }
}

/// How far one seat's delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Not tried to an end yet.
    Pending,
    /// Answered with what may be a signature; not verified yet.
    Claimed(SignatureBytes),
    /// Stored and signed: the signature verifies, alone or within the certificate's sum.
    Attested(SignatureBytes),
    /// Failed for now.
    Retrying,
    /// Refused for good.
    Refused,
    /// Gave a signature that is not its own over this digest.
    Lied,
}

/// What is known of one seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberOutcome {
    /// How far it is.
    pub delivery: Delivery,
    /// Calls that ended until it signed, and those that failed since: 1 for a member that signed at
    /// once.
    pub attempts: u32,
    /// Of the last failure, machine-readable; empty where there was none.
    pub reason: String,
    /// Of the last failure, for people.
    pub detail: String,
    /// When it answered; 0 before.
    pub attested_at_ms: u64,
    /// Its signature is part of the certificate.
    pub in_certificate: bool,
    /// It was given the certificate, to serve it, or does not take it.
    pub certificate_done: bool,
}

impl MemberOutcome {
    /// Nothing is known yet.
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

/// One header of a batch, made for one epoch, and what its members say to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispersal {
    /// The identity of the batch in this epoch.
    pub digest: BatchDigest,
    /// n, k, q of the epoch.
    pub quorum: Quorum,
    /// Header, hashes, fingerprints, both signatures; without certificate.
    pub record: Arc<Record>,
    /// In seat order.
    pub members: Vec<MemberOutcome>,
}

impl Dispersal {
    /// Nothing sent yet.
    pub fn new(digest: BatchDigest, quorum: Quorum, record: Arc<Record>) -> Self {
        let members = vec![MemberOutcome::NEW; usize::from(quorum.geometry().n())];
        Self { digest, quorum, record, members }
    }

    /// The epoch whose members this header is for.
    pub fn epoch(&self) -> u64 {
        self.record.header.epoch
    }

    fn seats(&self) -> impl Iterator<Item = (Seat, &MemberOutcome)> {
        Seat::all(self.quorum.geometry().n()).zip(&self.members)
    }

    /// Signatures that may count, unverified ones among them.
    fn signatures(&self) -> Vec<(Seat, SignatureBytes)> {
        self.seats()
            .filter_map(|(seat, member)| match member.delivery {
                Delivery::Claimed(signature) | Delivery::Attested(signature) => Some((seat, signature)),
                _ => None,
            })
            .collect()
    }

    fn count(&self, wanted: impl Fn(Delivery) -> bool) -> u16 {
        let count = self.members.iter().filter(|member| wanted(member.delivery)).count();
        u16::try_from(count).expect("at most 256 members")
    }
}

/// The sum of a quorum's signatures, verified, and when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Who signed.
    pub aggregate: AggregateAttestation,
    /// Unix milliseconds.
    pub at_ms: u64,
}

/// Where L1 recorded the certificate, or settled the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Record {
    /// The transaction; none where it was somebody else's and is not known.
    pub transaction: Option<B256>,
    /// The block.
    pub block: u64,
    /// Gas that the transaction used; 0 where it is not ours.
    pub gas_used: u64,
    /// Whether it was our transaction.
    pub by_us: bool,
}

/// A batch as it is persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its identity here.
    pub id: SubmissionDigest,
    /// The rollup's order.
    pub submission: SignedSubmission,
    /// Unix milliseconds.
    pub received_at_ms: u64,
    /// Where it stands.
    pub phase: Phase,
    /// The header of the newest epoch it was dispersed in.
    pub dispersal: Option<Dispersal>,
    /// Once a quorum signed.
    pub certificate: Option<Certified>,
    /// How it comes to L1.
    pub posting: PostingMode,
    /// Once one was handed in.
    pub proof: Option<Proof>,
    /// Once recorded in the certificate log.
    pub l1: Option<L1Record>,
    /// Once settled, or seen in a block.
    pub settlement: Option<L1Record>,
    /// Why posting waits, or what it last met; empty when all is well.
    pub l1_problem: String,
    /// The UTC day, in days since 1970, of whose quota the rollup spends this payload; 0 where it
    /// spends none. A batch without a certificate counts towards the day on which it would get one.
    pub quota_day: u64,
    /// Nobody needs the stored payload any more: it goes from the store with the change that says
    /// so.
    pub payload_dropped: bool,
    /// Nothing is left to do: no delivery, no posting.
    pub finished: bool,
    /// Not persisted: how far the collection of signatures is.
    collection: Collection,
    /// Not persisted: what it waits for on its way to the certificate.
    waiting: Option<Waiting>,
}

/// How far the collection of a quorum's signatures is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Collection {
    /// Too few.
    #[default]
    Open,
    /// A quorum answered; a little longer others may.
    Grace,
    /// A sum is being made.
    Aggregating,
}

/// The day of quotas, counted from 1970, in which this Unix second lies.
const fn quota_day(now: u64) -> u64 {
    now / QUOTA_DAY_SECONDS
}

impl Batch {
    /// A batch whose payload was stored just now.
    pub const fn received(id: SubmissionDigest, submission: SignedSubmission, received_at_ms: u64) -> Self {
        Self {
            id,
            submission,
            received_at_ms,
            phase: Phase::Received,
            dispersal: None,
            certificate: None,
            posting: PostingMode::Record,
            proof: None,
            l1: None,
            settlement: None,
            l1_problem: String::new(),
            quota_day: quota_day(received_at_ms / 1000),
            payload_dropped: false,
            finished: false,
            collection: Collection::Open,
            waiting: None,
        }
    }

    /// The same, to come to L1 in another way.
    #[must_use]
    pub fn posted_by(self, posting: PostingMode) -> Self {
        Self { posting, ..self }
    }

    /// The digest of its header, once encoded.
    pub fn digest(&self) -> Option<BatchDigest> {
        self.dispersal.as_ref().map(|dispersal| dispersal.digest)
    }

    /// Whether nothing has changed since `saved` but what members said to the header that is saved.
    /// It need not be stored at once: a member that is asked again says the same again, for it
    /// signs what it has stored. A process that ends before it is stored loses the time of these
    /// calls; what follows from them (certificate, failure, the payload's end) is no such change.
    pub fn may_wait(&self, saved: &Self) -> bool {
        let (Some(now), Some(before)) = (&self.dispersal, &saved.dispersal) else {
            return self.is_stored_as(saved);
        };
        if now.digest != before.digest {
            return false;
        }
        let said = Dispersal { members: now.members.clone(), ..before.clone() };
        self.is_stored_as(&Self { dispersal: Some(said), ..saved.clone() })
    }

    /// Whether the store would hold the same of both: what is not persisted may differ.
    pub fn is_stored_as(&self, saved: &Self) -> bool {
        *self == Self { collection: self.collection, waiting: self.waiting.clone(), ..saved.clone() }
    }

    /// The certificate, once there is one.
    pub fn certificate(&self) -> Option<Certificate> {
        let dispersal = self.dispersal.as_ref()?;
        let certified = self.certificate.as_ref()?;
        Some(Certificate { header: dispersal.record.header.clone(), aggregate: certified.aggregate.clone() })
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Work on the batch begins, for the first time or after a restart.
    Resumed,
    /// The payload was encoded for the committee of an epoch, and the header signed.
    Encoded(Box<Dispersal>),
    /// A member answered with a well-formed signature over our digest, unverified.
    Answered {
        /// Of the header that was sent.
        digest: BatchDigest,
        /// Who.
        seat: Seat,
        /// Unverified.
        signature: SignatureBytes,
        /// Unix milliseconds.
        at_ms: u64,
        /// The call carried the certificate.
        with_certificate: bool,
    },
    /// A call to a member failed.
    DeliveryFailed {
        /// Of the header that was sent.
        digest: BatchDigest,
        /// Who.
        seat: Seat,
        /// What follows from it.
        kind: DeliveryFailure,
        /// Machine-readable.
        reason: String,
        /// For people.
        detail: String,
    },
    /// A member that holds its shard has the certificate too.
    CertificateDelivered {
        /// Of the header.
        digest: BatchDigest,
        /// Who.
        seat: Seat,
    },
    /// The time for more than a quorum is over.
    GraceEnded {
        /// Of the header.
        digest: BatchDigest,
    },
    /// A quorum's signatures were summed, and the certificate verified.
    Aggregated {
        /// Of the header.
        digest: BatchDigest,
        /// Verified.
        aggregate: AggregateAttestation,
        /// Unix milliseconds.
        at_ms: u64,
    },
    /// The sum did not verify because of these seats.
    LiarsFound {
        /// Of the header.
        digest: BatchDigest,
        /// Who.
        seats: Vec<Seat>,
    },
    /// A single late signature was verified.
    SignatureChecked {
        /// Of the header.
        digest: BatchDigest,
        /// Who.
        seat: Seat,
        /// It is this member's over this digest.
        good: bool,
    },
    /// The payload cannot be encoded yet.
    EncodingWaits(Obstruction),
    /// The epoch of the header is over: its members sign nothing new any more.
    EpochOver {
        /// Which.
        epoch: u64,
    },
    /// L1 recorded the certificate.
    Recorded(L1Record),
    /// The rollup handed in a proof that is its own.
    ProofOffered {
        /// The header that it is for.
        digest: BatchDigest,
        /// The proof.
        proof: Box<Proof>,
    },
    /// L1 would settle the batch with the proof of this hash; it has not done so yet.
    ProofAccepted {
        /// Of the proof.
        hash: B256,
    },
    /// L1 refuses the proof of this hash for good.
    ProofRejected {
        /// Of the proof.
        hash: B256,
        /// Why, for people.
        reason: String,
    },
    /// L1 does not settle the batch for now; if a block had, it is gone.
    SettlementWaits {
        /// Of the proof.
        hash: B256,
    },
    /// A block settled the batch by our transaction.
    SettlementIncluded {
        /// Of the proof.
        hash: B256,
        /// Where.
        record: L1Record,
    },
    /// The rollup settled the batch, by whomever, as deep as was asked for.
    Settled(L1Record),
    /// The rollup will never settle the batch.
    SettlingFailed(Failure),
    /// Posting met a problem, or is over one (empty).
    PostingProblem(String),
    /// The stored payload does not pass its check.
    PayloadCorrupt {
        /// What was found.
        detail: String,
    },
    /// The batch cannot go on.
    Failed(Failure),
    /// It is `now`, in Unix seconds.
    TimePassed {
        /// Unix seconds.
        now: u64,
    },
}

/// What follows from a failed call to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// The same call may succeed later, and is repeated.
    Retryable,
    /// The member refuses this batch for good.
    Refused,
    /// The member answered with what is no attestation of its own over this digest.
    Lied,
}

/// What is to be done, once the state is persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Encode the payload for the active committee, sign the header; answer with
    /// [`Event::Encoded`].
    Encode,
    /// Deliver to a seat until it has its shard or refuses for good.
    Deliver {
        /// Which.
        seat: Seat,
    },
    /// Give the certificate to a seat that holds its shard.
    DeliverCertificate {
        /// Which.
        seat: Seat,
    },
    /// Answer with [`Event::GraceEnded`] after the grace.
    StartGrace,
    /// Sum these up and verify; answer with [`Event::Aggregated`] or [`Event::LiarsFound`].
    Aggregate {
        /// At least a quorum.
        signatures: Vec<(Seat, SignatureBytes)>,
    },
    /// Verify one signature; answer with [`Event::SignatureChecked`].
    CheckSignature {
        /// Whose.
        seat: Seat,
        /// Unverified.
        signature: SignatureBytes,
    },
    /// Have the certificate recorded on L1; answer with [`Event::Recorded`].
    Post,
    /// Have the rollup settle the batch; answer with [`Event::Settled`], [`Event::ProofRejected`]
    /// or [`Event::SettlingFailed`], and meanwhile with what is seen.
    Settle,
    /// Look whether somebody else settles it; answer with [`Event::Settled`] or
    /// [`Event::SettlingFailed`].
    WatchSettlement,
    /// No more calls to members for the header so far.
    StopDelivery,
}
