//! Decides whether a submission is taken. The functions are pure, check what is cheap first, and
//! give a reason with each refusal.
//!
//! The checks are separate functions because the store is asked between them. [`identify`] computes
//! which batch a submission is for, so that a repeated submission is answered at once.
//! [`authorise`] checks rollup, times and signature. [`crate::batch::may_take_number`] checks
//! whether another batch holds the number: once early, and again in the transaction that creates
//! the batch.

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
    /// The stream's messages are out of order: the first one must be `open`, all later ones pieces.
    #[error("{0}")]
    Stream(&'static str),
    /// The request is meant for another chain.
    #[error("this aggregator serves chain {expected}, the request is for {got}")]
    ChainId {
        /// The id of this aggregator's chain.
        expected: u64,
        /// The chain id in the request.
        got: u64,
    },
    /// The request is meant for another registry, and so for another committee.
    #[error("this aggregator serves the registry {expected}, the request is for {got}")]
    Registry {
        /// The registry that this aggregator serves.
        expected: Address,
        /// The registry in the request.
        got: Address,
    },
    /// The registry does not admit the rollup.
    #[error("the registry does not admit rollup {rollup}")]
    UnknownRollup {
        /// The rollup that the submission names.
        rollup: Address,
    },
    /// The submission is addressed to another aggregator.
    #[error("the submission names the disperser {got}, this aggregator is {expected}")]
    WrongDisperser {
        /// This aggregator's address.
        expected: Address,
        /// The disperser that the submission names.
        got: Address,
    },
    /// The announced payload is empty or too large.
    #[error("a payload has 1 to {PAYLOAD_MAX_BYTES} bytes, {got} were announced")]
    PayloadLength {
        /// The announced length, in bytes.
        got: u64,
    },
    /// One of the submission's times is out of bounds.
    #[error(transparent)]
    Times(#[from] TimesError),
    /// The payload is larger than all that the rollup may submit in a day, so no member will ever
    /// take it.
    #[error("the rollup may submit {limit} bytes a day, {got} were announced")]
    OverDailyBytes {
        /// The announced length, in bytes.
        got: u64,
        /// The rollup's daily quota in the registry, in bytes.
        limit: u64,
    },
    /// The rollup has spent too much of today's quota, so members will refuse the payload until the
    /// next UTC day.
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
        /// The submission that the signature was checked against.
        signed: Box<Understood>,
    },
    /// The registry is paused.
    #[error("the registry is paused: no new batches")]
    Paused,
    /// No epoch is active, so no member would sign.
    #[error("no epoch is active, so no member would sign")]
    NoActiveCommittee,
    /// Another batch of the rollup has this number.
    #[error(transparent)]
    NumberTaken(#[from] NumberTaken),
    /// The payload has more or fewer bytes than the submission announced.
    #[error("{expected} bytes were announced, {got} received")]
    Length {
        /// The announced length, in bytes.
        expected: u64,
        /// The number of bytes received; after the first surplus byte, the count so far.
        got: u64,
    },
    /// A piece of the payload is empty or too long.
    #[error("a piece has 1 to {limit} bytes, got {got}")]
    Piece {
        /// The length of the piece, in bytes.
        got: usize,
        /// The largest allowed length, in bytes.
        limit: usize,
    },
    /// The payload's hash is not the one that the submission commits to.
    #[error("the payload's {kind} is {got}, the submission says {expected}", kind = .kind.name())]
    BatchHash {
        /// The kind of hash.
        kind: HashKind,
        /// The hash in the submission.
        expected: B256,
        /// The hash of the bytes that were received.
        got: B256,
    },
}

impl Refusal {
    /// Returns the machine-readable reason that the client is given.
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

    /// Returns the pause after which the same submission may be taken; none if waiting does not
    /// help.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Refusal::QuotaSpent(spent) => Some(Duration::from_secs(spent.next_day_in)),
            _ => None,
        }
    }
}

/// A submission as this aggregator understood it, and the resulting digest. An error prints both,
/// so that an integrator can compare them field by field with what was signed.
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
    /// The chain and the registry.
    pub domain: Domain,
    /// The aggregator's address.
    pub disperser: Address,
}

/// A submission for this aggregator's chain and registry. Nothing else about it is checked yet.
#[derive(Clone, Debug)]
pub struct Identified {
    /// The digest of the submission, which identifies its batch.
    pub id: SubmissionDigest,
    /// The submission as it was received.
    pub submission: SignedSubmission,
    /// The way in which the batch is to be posted to L1.
    pub posting: PostingMode,
}

/// Parses an `open` message and computes which batch it is about.
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

/// Checks that the rollup, the times and the signature allow a new batch. `now` is in Unix seconds.
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

/// Returns whether the batch poster that the registry lists for the rollup signed this submission.
/// Only then does a refusal count against the rollup.
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
    /// Makes the check of the payload that a submission announces.
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

    /// Adds the next piece. Fails as soon as there are more bytes than announced.
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

    /// Ends the check: verifies that all bytes have arrived, and, unless the hash kind is opaque,
    /// that their hash is the one that the rollup signed.
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
