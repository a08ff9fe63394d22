//! Decides whether this member takes a batch. The verdicts are pure functions, the cheapest come
//! first, and each refusal has its reason.
//!
//! The steps are separate because the caller asks the store and checks certificates between them:
//! [`locate`] finds the seat and the batch's digest, so that a repeated delivery is answered at
//! once; [`check_l1`] checks pause, epoch, terms and times; [`Signed::recover`] finds the signers
//! before anything expensive is done; [`authorise`] checks that they may order the batch;
//! [`check_facts`] checks what the store knows of the submission.

use std::sync::Arc;

use dac_chain::RegistryView;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::wire::{self, WireError};
use dac_types::limits::QUOTA_DAY_SECONDS;
use dac_types::{
    Address, B256, BatchDigest, Committee, Disagreement, Domain, EcdsaSignatureError, PublicKeyBytes, Record,
    Seat, TimesError,
};
use thiserror::Error;

use crate::store::{Authority, QuotaDay, SubmissionFacts};

/// The member's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The domain in which its signatures are valid.
    pub domain: Domain,
    /// Its BLS public key.
    pub public_key: PublicKeyBytes,
}

/// Why this member does not take a batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The message does not parse.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The request is for another chain.
    #[error("this member serves chain {expected}, the request is for {got}")]
    ChainId {
        /// This member's chain id.
        expected: u64,
        /// The request's chain id.
        got: u64,
    },
    /// The request is for the committees of another registry.
    #[error("this member serves the registry {expected}, the request is for {got}")]
    Registry {
        /// This member's registry.
        expected: Address,
        /// The request's registry.
        got: Address,
    },
    /// L1 knows no such epoch.
    #[error("the registry has no epoch {epoch}")]
    UnknownEpoch {
        /// The header's epoch.
        epoch: u64,
    },
    /// This member does not hold the seat.
    #[error("this member does not hold seat {seat} of epoch {epoch}")]
    WrongSeat {
        /// The header's epoch.
        epoch: u64,
        /// The seat that the request names.
        seat: Seat,
    },
    /// The registry is paused.
    #[error("the registry is paused: no new batches")]
    Paused,
    /// The epoch has not begun or is over, and no certificate came with the batch.
    #[error("epoch {epoch} signs from {from} to before {until}, it is {now}")]
    EpochNotActive {
        /// The header's epoch.
        epoch: u64,
        /// The Unix time in seconds at which the epoch begins.
        from: u64,
        /// The Unix time in seconds at which it is over.
        until: u64,
        /// The Unix time in seconds by this member's clock.
        now: u64,
    },
    /// The registry does not admit the rollup.
    #[error("the registry does not admit rollup {rollup}")]
    UnknownRollup {
        /// The header's rollup.
        rollup: Address,
    },
    /// A time of the order is out of bounds.
    #[error(transparent)]
    Times(#[from] TimesError),
    /// The header contradicts the order.
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    /// No address can be recovered from the submission's signature.
    #[error("the submission's signature: {0}")]
    SubmissionSignature(EcdsaSignatureError),
    /// The submission was not signed by the rollup's poster.
    #[error("the submission was signed by {got}, the rollup's poster is {expected}")]
    WrongPoster {
        /// The poster that the registry admits.
        expected: Address,
        /// The address that signed.
        got: Address,
    },
    /// No address can be recovered from the header's signature.
    #[error("the disperser's signature: {0}")]
    DisperserSignature(EcdsaSignatureError),
    /// The header was not signed by the disperser that the submission names.
    #[error("the header was signed by {got}, the submission names the disperser {expected}")]
    WrongDisperser {
        /// The disperser that the submission names.
        expected: Address,
        /// The address that signed.
        got: Address,
    },
    /// Another header is stored for this submission in this epoch; there is one for each.
    #[error("batch {existing} was stored for this submission in this epoch")]
    ConflictingHeader {
        /// The batch of the header that was stored before.
        existing: BatchDigest,
    },
    /// The rollup has spent its bytes of the day.
    #[error("the rollup has spent {spent} of {limit} bytes of this day, {asked} more are asked for")]
    QuotaExceeded {
        /// The number of payload bytes charged so far.
        spent: u64,
        /// The number of payload bytes that it may spend in a day.
        limit: u64,
        /// The number of bytes of this payload.
        asked: u64,
    },
}

impl Refusal {
    /// Returns the reason that is sent to the caller.
    pub fn reason(&self) -> Reason {
        match self {
            Refusal::Wire(error) => error.reason(),
            Refusal::ChainId { .. } | Refusal::Registry { .. } => Reason::WrongDomain,
            Refusal::UnknownEpoch { .. } => Reason::UnknownEpoch,
            Refusal::WrongSeat { .. } => Reason::WrongSeat,
            Refusal::Paused => Reason::Paused,
            Refusal::EpochNotActive { .. } => Reason::EpochNotActive,
            Refusal::UnknownRollup { .. } => Reason::UnknownRollup,
            Refusal::Times(error) => (*error).into(),
            Refusal::Disagreement(_) => Reason::SubmissionMismatch,
            Refusal::SubmissionSignature(_) => Reason::BadSubmissionSignature,
            Refusal::WrongPoster { .. } => Reason::WrongPoster,
            Refusal::DisperserSignature(_) => Reason::BadDisperserSignature,
            Refusal::WrongDisperser { .. } => Reason::WrongDisperser,
            Refusal::ConflictingHeader { .. } => Reason::ConflictingHeader,
            Refusal::QuotaExceeded { .. } => Reason::QuotaExceeded,
        }
    }
}

/// A request that is for this committee. Its record has not been checked yet.
#[derive(Clone, Debug)]
pub struct Addressed {
    seat: Seat,
    record: v1::Record,
}

/// Checks that the sender computes digests in this member's domain and names a seat and a record.
pub fn check_domain(open: v1::StoreShardOpen, domain: &Domain) -> Result<Addressed, Refusal> {
    let registry = wire::address("registry", &open.registry)?;
    let seat = wire::seat("seat", open.seat)?;
    let record = wire::required("record", open.record)?;
    if open.chain_id != domain.chain_id {
        return Err(Refusal::ChainId { expected: domain.chain_id, got: open.chain_id });
    }
    if registry != domain.registry {
        return Err(Refusal::Registry { expected: domain.registry, got: registry });
    }
    Ok(Addressed { seat, record })
}

/// A record of a known epoch, for a seat that this member holds in it.
#[derive(Clone, Debug)]
pub struct Located {
    /// The committee of the epoch.
    pub committee: Arc<Committee>,
    /// The seat of this member.
    pub seat: Seat,
    /// The record. Its lengths fit the committee.
    pub record: Record,
    /// The digest of the batch.
    pub digest: BatchDigest,
}

/// Finds the committee of the epoch and checks that this member holds the seat.
pub fn locate(addressed: Addressed, view: &RegistryView, identity: &Identity) -> Result<Located, Refusal> {
    let Addressed { seat, record } = addressed;
    let epoch = wire::epoch_of(&record)?;
    let committee = view.committee(epoch).ok_or(Refusal::UnknownEpoch { epoch })?;
    let ours = committee.member(seat).is_some_and(|member| member.public_key == identity.public_key);
    if !ours {
        return Err(Refusal::WrongSeat { epoch, seat });
    }
    let record = wire::record(record, committee.quorum().geometry())?;
    let digest = record.header.digest(&identity.domain);
    Ok(Located { committee: Arc::clone(committee), seat, record, digest })
}

/// Checks what L1 says of a batch that is not stored yet and comes without a certificate: the
/// pause, the epoch, the rollup's terms and the times of the order. For a batch with a certificate
/// a quorum made these checks, and what has changed since must not keep a straggler from storing
/// its shard.
pub fn check_l1(located: &Located, view: &RegistryView, now: u64) -> Result<(), Refusal> {
    let Located { committee, record, .. } = located;
    let header = &record.header;
    if view.paused {
        return Err(Refusal::Paused);
    }
    if !committee.is_active(now) {
        let (from, until) = (committee.active_from(), committee.active_until());
        return Err(Refusal::EpochNotActive { epoch: header.epoch, from, until, now });
    }
    let terms = view.rollup(header.rollup).ok_or(Refusal::UnknownRollup { rollup: header.rollup })?;
    terms.check_times(&record.submission.submission, now)?;
    Ok(())
}

/// The signers of a record whose header fits the order and whose disperser is the one that the
/// order names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The EIP-712 digest of the order.
    pub submission: B256,
    /// The address that signed the order. Whether it is the rollup's poster is checked elsewhere.
    pub poster: Address,
    /// The address that signed the header. The order names it.
    pub disperser: Address,
}

impl Signed {
    /// Recovers both signers.
    pub fn recover(located: &Located, domain: &Domain) -> Result<Self, Refusal> {
        let record = &located.record;
        let order = &record.submission.submission;
        order.check_agrees(&record.header)?;
        let submission = order.digest(domain);
        let poster = record.submission.signature.recover(submission).map_err(Refusal::SubmissionSignature)?;
        let disperser =
            record.disperser_signature.recover(located.digest.0).map_err(Refusal::DisperserSignature)?;
        if disperser != order.disperser {
            return Err(Refusal::WrongDisperser { expected: order.disperser, got: disperser });
        }
        Ok(Self { submission, poster, disperser })
    }

    /// Returns whether the registry admits the rollup and its poster signed the order.
    pub fn is_of_the_poster(&self, rollup: Address, view: &RegistryView) -> bool {
        view.rollup(rollup).is_some_and(|terms| terms.poster == self.poster)
    }
}

/// Returns the authority on which the batch is stored: a verified certificate, or the signature of
/// the rollup's poster.
pub fn authorise(
    located: &Located,
    signed: &Signed,
    view: &RegistryView,
    certified: bool,
    now: u64,
) -> Result<Authority, Refusal> {
    let (rollup, submission) = (located.record.header.rollup, signed.submission);
    if certified {
        return Ok(Authority::Certificate { submission });
    }
    let terms = view.rollup(rollup).ok_or(Refusal::UnknownRollup { rollup })?;
    if signed.poster != terms.poster {
        return Err(Refusal::WrongPoster { expected: terms.poster, got: signed.poster });
    }
    Ok(Authority::Submission {
        submission,
        quota: QuotaDay { rollup, day: now / QUOTA_DAY_SECONDS },
        daily_payload_bytes: terms.daily_payload_bytes,
    })
}

/// Gives an early answer from what the store knows. The commit decides again, because other uploads
/// may run at the same time.
pub fn check_facts(
    facts: &SubmissionFacts,
    digest: BatchDigest,
    payload_length: u64,
    daily_payload_bytes: u64,
) -> Result<(), Refusal> {
    if let Some(existing) = facts.header.filter(|existing| *existing != digest) {
        return Err(Refusal::ConflictingHeader { existing });
    }
    let (spent, limit) = (facts.spent_bytes, daily_payload_bytes);
    if !facts.charged && spent.saturating_add(payload_length) > limit {
        return Err(Refusal::QuotaExceeded { spent, limit, asked: payload_length });
    }
    Ok(())
}
