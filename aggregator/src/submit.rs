//! Whether a submission is taken: pure verdicts, the cheap ones first, each refusal with its
//! reason.
//!
//! The steps are apart because the store is asked between them: [`identify`] knows which batch this
//! is, so that a repeated submission is answered at once; [`authorise`] weighs rollup, times and
//! signature; [`crate::batch::may_take_number`] weighs what holds the number, early and again in
//! the transaction that decides.

use std::fmt;
use std::time::Duration;

use dac_chain::RegistryView;
use dac_proto::proof;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::wire::{self, WireError};
use dac_types::limits::PAYLOAD_MAX_BYTES;
use dac_types::{
    Address, B256, BatchSubmission, Domain, EcdsaSignatureError, HashKind, PostingMode, SignedSubmission,
    TimesError,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::batch::{NumberTaken, SubmissionDigest};
use crate::quota::Spent;

/// Why a submission is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The message does not parse.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The first message must be `open`, later ones pieces.
    #[error("{0}")]
    Stream(&'static str),
    /// Meant for another chain.
    #[error("this aggregator serves chain {expected}, the request is for {got}")]
    ChainId {
        /// This aggregator's chain id.
        expected: u64,
        /// The request's.
        got: u64,
    },
    /// Meant for another committee.
    #[error("this aggregator serves the registry {expected}, the request is for {got}")]
    Registry {
        /// This aggregator's registry.
        expected: Address,
        /// The request's.
        got: Address,
    },
    /// The registry does not admit the rollup.
    #[error("the registry does not admit rollup {rollup}")]
    UnknownRollup {
        /// The submission's.
        rollup: Address,
    },
    /// Another aggregator's order.
    #[error("the submission names the disperser {got}, this aggregator is {expected}")]
    WrongDisperser {
        /// This aggregator's address.
        expected: Address,
        /// The submission's.
        got: Address,
    },
    /// Nothing, or too much.
    #[error("a payload has 1 to {PAYLOAD_MAX_BYTES} bytes, {got} were announced")]
    PayloadLength {
        /// The announced length, in bytes.
        got: u64,
    },
    /// A time of the order is out of bounds.
    #[error(transparent)]
    Times(#[from] TimesError),
    /// The rollup may not submit that much in a day, so no member will ever take it.
    #[error("the rollup may submit {limit} bytes a day, {got} were announced")]
    OverDailyBytes {
        /// The announced length, in bytes.
        got: u64,
        /// What the rollup's terms grant a day, in bytes.
        limit: u64,
    },
    /// The rollup has spent its day, so members will refuse the payload until the next one.
    #[error(
        "the rollup has spent {} of {} bytes of this UTC day, {} more are asked for; the next day begins in {} s",
        .0.spent, .0.limit, .0.asked, .0.next_day_in
    )]
    QuotaSpent(Spent),
    /// No public key recovers from the submission's signature.
    #[error("the submission's signature: {0}")]
    Signature(EcdsaSignatureError),
    /// Another key signed the submission.
    #[error(
        "the submission was signed by {got}, the rollup's poster is {expected}; a field that differs from what was signed \
         looks like this, too: {signed}"
    )]
    WrongPoster {
        /// The batch poster that the registry lists for the rollup.
        expected: Address,
        /// The address that was recovered from the signature.
        got: Address,
        /// What the signature was taken for.
        signed: Box<Understood>,
    },
    /// The registry is paused.
    #[error("the registry is paused: no new batches")]
    Paused,
    /// No epoch is active, so no member would sign.
    #[error("no epoch is active: nobody would sign")]
    NoActiveCommittee,
    /// Another batch of the rollup has this number.
    #[error(transparent)]
    NumberTaken(#[from] NumberTaken),
    /// The payload has more or fewer bytes than the client announced.
    #[error("{expected} bytes were announced, {got} received")]
    Length {
        /// The announced length, in bytes.
        expected: u64,
        /// Received, or at least.
        got: u64,
    },
    /// A piece that is empty or too long.
    #[error("a piece has 1 to {limit} bytes, got {got}")]
    Piece {
        /// Received.
        got: usize,
        /// The largest allowed length, in bytes.
        limit: usize,
    },
    /// Not the payload that was committed to.
    #[error("the payload's {kind} is {got}, the submission says {expected}", kind = .kind.name())]
    BatchHash {
        /// Which hash.
        kind: HashKind,
        /// The submission's.
        expected: B256,
        /// Of what was received.
        got: B256,
    },
}

impl Refusal {
    /// The reason that travels to the caller.
    pub fn reason(&self) -> Reason {
        match self {
            Refusal::Wire(error) => error.reason(),
            Refusal::Stream(_) | Refusal::Piece { .. } => Reason::MalformedRequest,
            Refusal::ChainId { .. } | Refusal::Registry { .. } => Reason::WrongDomain,
            Refusal::UnknownRollup { .. } => Reason::UnknownRollup,
            Refusal::WrongDisperser { .. } => Reason::WrongDisperser,
            Refusal::PayloadLength { .. } | Refusal::BatchHash { .. } => Reason::BadPayload,
            Refusal::Times(error) => (*error).into(),
            Refusal::OverDailyBytes { .. } | Refusal::QuotaSpent(_) => Reason::QuotaExceeded,
            Refusal::Signature(_) => Reason::BadSubmissionSignature,
            Refusal::WrongPoster { .. } => Reason::WrongPoster,
            Refusal::Paused => Reason::Paused,
            Refusal::NoActiveCommittee => Reason::NoActiveCommittee,
            Refusal::NumberTaken(NumberTaken::Conflict { .. }) => Reason::ConflictingBatch,
            Refusal::NumberTaken(_) => Reason::ReplacesMismatch,
            Refusal::Length { .. } => Reason::LengthMismatch,
        }
    }

    /// When the same submission may be taken.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::QuotaSpent(spent) => Some(Duration::from_secs(spent.next_day_in)),
            _ => None,
        }
    }
}

/// A submission as it was understood, and the digest that follows from that: for an integrator to
/// compare field by field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Understood {
    domain: Domain,
    digest: B256,
    order: BatchSubmission,
}

impl fmt::Display for Understood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain: Domain { chain_id, registry }, digest, order } = self;
        let (kind, short) = (order.hash_kind.name(), |hash: &B256| hash.to_string()[..10].to_owned());
        write!(
            f,
            "digest {digest} of chain {chain_id}, registry {registry}, hash kind {kind}, batch hash {}…, batch {}, {} bytes, \
             expires {}, submit before {}, replaces {}…",
            short(&order.batch_hash),
            order.batch_number,
            order.payload_length,
            order.expires_at,
            order.submit_before,
            short(&order.replaces),
        )
    }
}

/// The chain, registry and address for which this aggregator takes submissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Chain and registry.
    pub domain: Domain,
    /// The aggregator's address.
    pub disperser: Address,
}

/// A submission made for our chain and registry; nothing else is known of it.
#[derive(Clone, Debug)]
pub struct Identified {
    /// The batch it makes.
    pub id: SubmissionDigest,
    /// The submission as it was received.
    pub submission: SignedSubmission,
    /// How it shall come to L1.
    pub posting: PostingMode,
}

/// Which batch an `open` is about.
pub fn identify(open: v1::SubmitBatchOpen, identity: &Identity) -> Result<Identified, Refusal> {
    let registry = wire::address("registry", &open.registry)?;
    let Domain { chain_id, registry: ours } = identity.domain;
    if open.chain_id != chain_id {
        return Err(Refusal::ChainId { expected: chain_id, got: open.chain_id });
    }
    if registry != ours {
        return Err(Refusal::Registry { expected: ours, got: registry });
    }
    let posting = proof::posting_mode("posting", open.posting)?;
    let submission: SignedSubmission = wire::required("submission", open.submission)?.try_into()?;
    let id = SubmissionDigest(submission.submission.digest(&identity.domain));
    Ok(Identified { id, submission, posting })
}

/// Whether the rollup, the times and the signature allow a new batch.
pub fn authorise(
    signed: &SignedSubmission,
    id: SubmissionDigest,
    view: &RegistryView,
    identity: &Identity,
    now: u64,
) -> Result<(), Refusal> {
    let order = &signed.submission;
    let admitted = view.rollup(order.rollup).ok_or(Refusal::UnknownRollup { rollup: order.rollup })?;
    if order.disperser != identity.disperser {
        return Err(Refusal::WrongDisperser { expected: identity.disperser, got: order.disperser });
    }
    let got = order.payload_length;
    if got == 0 || got > PAYLOAD_MAX_BYTES {
        return Err(Refusal::PayloadLength { got });
    }
    if got > admitted.daily_payload_bytes {
        return Err(Refusal::OverDailyBytes { got, limit: admitted.daily_payload_bytes });
    }
    admitted.check_times(order, now)?;
    if view.paused {
        return Err(Refusal::Paused);
    }
    if view.active_committee(now).is_none() {
        return Err(Refusal::NoActiveCommittee);
    }
    let signer = signed.signature.recover(id.0).map_err(Refusal::Signature)?;
    if signer != admitted.poster {
        let signed = Understood { domain: identity.domain, digest: id.0, order: order.clone() };
        return Err(Refusal::WrongPoster {
            expected: admitted.poster,
            got: signer,
            signed: Box::new(signed),
        });
    }
    Ok(())
}

/// Whether the rollup's poster signed this order, as the registry knows that poster: it answers for
/// a refusal then.
pub fn is_by_poster(signed: &SignedSubmission, id: SubmissionDigest, view: &RegistryView) -> bool {
    let poster = view.rollup(signed.submission.rollup).map(|admitted| admitted.poster);
    poster.is_some_and(|poster| signed.signature.recover(id.0).is_ok_and(|signer| signer == poster))
}

/// Counts and hashes the pieces of a payload as they arrive.
pub struct PayloadCheck {
    expected_length: u64,
    kind: HashKind,
    expected_hash: B256,
    length: u64,
    hasher: Hasher,
}

enum Hasher {
    Opaque,
    Keccak256(Box<dac_types::Keccak256>),
    Sha256(Sha256),
}

impl PayloadCheck {
    /// For the payload that a submission announces.
    pub fn new(signed: &SignedSubmission) -> Self {
        let order = &signed.submission;
        Self {
            expected_length: order.payload_length,
            kind: order.hash_kind,
            expected_hash: order.batch_hash,
            length: 0,
            hasher: match order.hash_kind {
                HashKind::Opaque => Hasher::Opaque,
                HashKind::Keccak256 => Hasher::Keccak256(Box::default()),
                HashKind::Sha256 => Hasher::Sha256(Sha256::new()),
            },
        }
    }

    /// The next piece. Refused as soon as there are too many bytes.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.length = self.length.saturating_add(piece.len() as u64);
        if self.length > self.expected_length {
            return Err(Refusal::Length { expected: self.expected_length, got: self.length });
        }
        match &mut self.hasher {
            Hasher::Opaque => {}
            Hasher::Keccak256(hasher) => hasher.update(piece),
            Hasher::Sha256(hasher) => hasher.update(piece),
        }
        Ok(())
    }

    /// The end of the stream: all bytes are there, and of a checked kind they hash to what the
    /// rollup signed.
    pub fn finish(self) -> Result<(), Refusal> {
        let (expected, got) = (self.expected_length, self.length);
        if got != expected {
            return Err(Refusal::Length { expected, got });
        }
        let got = match self.hasher {
            Hasher::Opaque => return Ok(()),
            Hasher::Keccak256(hasher) => hasher.finalize(),
            Hasher::Sha256(hasher) => B256::new(hasher.finalize().into()),
        };
        let (kind, expected) = (self.kind, self.expected_hash);
        if got == expected { Ok(()) } else { Err(Refusal::BatchHash { kind, expected, got }) }
    }
}
