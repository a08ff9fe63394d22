//! The events that happen to a batch, and the actions that follow.

use dac_types::{AggregateAttestation, B256, BatchDigest, Seat, SignatureBytes};

use super::dispersal::Dispersal;
use super::failure::Failure;
use super::obstruction::Obstruction;
use super::proof::Proof;
use super::state::L1Record;

/// What happened to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Work on the batch begins, for the first time or after a restart.
    Resumed,
    /// The payload was encoded for the committee of an epoch, and the header signed.
    Encoded(Box<Dispersal>),
    /// A member answered with a well-formed signature over our digest, unverified.
    Answered {
        /// The header that was sent.
        digest: BatchDigest,
        /// The member's seat.
        seat: Seat,
        /// The signature, unverified.
        signature: SignatureBytes,
        /// The time of the answer, in Unix milliseconds.
        at_ms: u64,
        /// Whether the call carried the certificate.
        with_certificate: bool,
    },
    /// A call to a member failed.
    DeliveryFailed {
        /// The header that was sent.
        digest: BatchDigest,
        /// The member's seat.
        seat: Seat,
        /// What follows from the failure.
        kind: DeliveryFailure,
        /// The machine-readable reason.
        reason: String,
        /// The failure in words, for people.
        detail: String,
    },
    /// A member that holds its shard has the certificate too.
    CertificateDelivered {
        /// The certificate's header.
        digest: BatchDigest,
        /// The member's seat.
        seat: Seat,
    },
    /// The grace after a quorum's answers, in which other members could answer, is over.
    GraceEnded {
        /// The header that was sent.
        digest: BatchDigest,
    },
    /// A quorum's signatures were summed, and the certificate verified.
    Aggregated {
        /// The header that they signed.
        digest: BatchDigest,
        /// The sum, verified.
        aggregate: AggregateAttestation,
        /// The time, in Unix milliseconds.
        at_ms: u64,
    },
    /// The sum did not verify because of these seats.
    LiarsFound {
        /// The header that was sent.
        digest: BatchDigest,
        /// The seats whose signatures are bad.
        seats: Vec<Seat>,
    },
    /// A single late signature was verified.
    SignatureChecked {
        /// The header that was sent.
        digest: BatchDigest,
        /// The member's seat.
        seat: Seat,
        /// Whether it is this member's signature over this digest.
        good: bool,
    },
    /// The payload cannot be encoded yet.
    EncodingWaits(Obstruction),
    /// The epoch of the header is over: its members sign nothing new any more.
    EpochOver {
        /// The epoch.
        epoch: u64,
    },
    /// L1 recorded the certificate.
    Recorded(L1Record),
    /// The rollup handed in a proof, and the signature shows that it is the rollup's.
    ProofOffered {
        /// The header that the proof is for.
        digest: BatchDigest,
        /// The proof.
        proof: Box<Proof>,
    },
    /// L1 would settle the batch with the proof of this hash; it has not done so yet.
    ProofAccepted {
        /// The proof's hash.
        hash: B256,
    },
    /// L1 refuses the proof of this hash for good.
    ProofRejected {
        /// The proof's hash.
        hash: B256,
        /// The refusal in words, for people.
        reason: String,
    },
    /// L1 does not settle the batch for now. If a block had settled it, that block is gone.
    SettlementWaits {
        /// The proof's hash.
        hash: B256,
    },
    /// A block settled the batch by our transaction.
    SettlementIncluded {
        /// The proof's hash.
        hash: B256,
        /// The transaction and its block.
        record: L1Record,
    },
    /// The rollup settled the batch, and the configured number of blocks confirms it. Any sender
    /// may have sent the transaction.
    Settled(L1Record),
    /// The rollup will never settle the batch.
    SettlingFailed(Failure),
    /// Posting met a problem; an empty text means that the problem is over.
    PostingProblem(String),
    /// The stored payload does not pass its check.
    PayloadCorrupt {
        /// What is wrong with the payload.
        detail: String,
    },
    /// The batch cannot go on.
    Failed(Failure),
    /// Time has passed; sent at every tick.
    TimePassed {
        /// The time, in Unix seconds.
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
    /// The member's answer is no attestation of its own over this digest.
    Lied,
}

/// An action to take once the new state is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Encode the payload for the active committee and sign the header; answer with
    /// [`Event::Encoded`].
    Encode,
    /// Deliver to a seat until it has its shard or refuses for good.
    Deliver {
        /// The member's seat.
        seat: Seat,
    },
    /// Give the certificate to a seat that holds its shard.
    DeliverCertificate {
        /// The member's seat.
        seat: Seat,
    },
    /// Answer with [`Event::GraceEnded`] after the grace.
    StartGrace,
    /// Sum the signatures up and verify the sum; answer with [`Event::Aggregated`] or
    /// [`Event::LiarsFound`].
    Aggregate {
        /// The signatures of at least a quorum.
        signatures: Vec<(Seat, SignatureBytes)>,
    },
    /// Verify one signature; answer with [`Event::SignatureChecked`].
    CheckSignature {
        /// The member's seat.
        seat: Seat,
        /// The signature, unverified.
        signature: SignatureBytes,
    },
    /// Have the certificate recorded on L1; answer with [`Event::Recorded`].
    Post,
    /// Have the rollup settle the batch; answer with [`Event::Settled`], [`Event::ProofRejected`]
    /// or [`Event::SettlingFailed`], and meanwhile with what is seen on L1.
    Settle,
    /// Look whether another sender settles the batch; answer with [`Event::Settled`] or
    /// [`Event::SettlingFailed`].
    WatchSettlement,
    /// Make no more calls to members for the present header.
    StopDelivery,
}
