//! Whether this member takes a batch: pure verdicts, the cheap ones first, each refusal with its
//! reason.
//!
//! The steps are apart because store and certificates are asked between them: [`locate`] finds the
//! seat and the batch's digest, so that a repeated delivery is answered at once; [`check_l1`]
//! weighs times; [`Signed::recover`] finds out who signed, before anything dear is done;
//! [`authorise`] weighs who may; [`check_facts`] weighs what the store knows of the submission.

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

/// Who this member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Where its signatures are valid.
    pub domain: Domain,
    /// Its BLS key.
    pub public_key: PublicKeyBytes,
}

/// Why a batch is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// A message that is none.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Meant for another chain.
    #[error("this member serves chain {expected}, the request is for {got}")]
    ChainId {
        /// Ours.
        expected: u64,
        /// The request's.
        got: u64,
    },
    /// Meant for another committee.
    #[error("this member serves the registry {expected}, the request is for {got}")]
    Registry {
        /// Ours.
        expected: Address,
        /// The request's.
        got: Address,
    },
    /// L1 knows no such epoch.
    #[error("the registry has no epoch {epoch}")]
    UnknownEpoch {
        /// The header's.
        epoch: u64,
    },
    /// Another member sits there, or nobody.
    #[error("this member does not hold seat {seat} of epoch {epoch}")]
    WrongSeat {
        /// The epoch.
        epoch: u64,
        /// The seat.
        seat: Seat,
    },
    /// The registry is paused.
    #[error("the registry is paused: no new batches")]
    Paused,
    /// The epoch has not begun or is over, and no certificate vouches for the batch.
    #[error("epoch {epoch} signs from {from} to before {until}, it is {now}")]
    EpochNotActive {
        /// The epoch.
        epoch: u64,
        /// Its first second.
        from: u64,
        /// The first second after it.
        until: u64,
        /// Our clock.
        now: u64,
    },
    /// The registry does not admit the rollup.
    #[error("the registry does not admit rollup {rollup}")]
    UnknownRollup {
        /// The header's.
        rollup: Address,
    },
    /// A time of the order is out of bounds.
    #[error(transparent)]
    Times(#[from] TimesError),
    /// Header and order differ.
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    /// The submission's signature recovers to nobody.
    #[error("the submission's signature: {0}")]
    SubmissionSignature(EcdsaSignatureError),
    /// Signed by somebody else.
    #[error("the submission was signed by {got}, the rollup's poster is {expected}")]
    WrongPoster {
        /// Admitted.
        expected: Address,
        /// Recovered.
        got: Address,
    },
    /// The header's signature recovers to nobody.
    #[error("the disperser's signature: {0}")]
    DisperserSignature(EcdsaSignatureError),
    /// The header was signed by somebody else than the submission names.
    #[error("the header was signed by {got}, the submission names the disperser {expected}")]
    WrongDisperser {
        /// Named.
        expected: Address,
        /// Recovered.
        got: Address,
    },
    /// One header per submission and epoch.
    #[error("batch {existing} was stored for this submission in this epoch")]
    ConflictingHeader {
        /// The header stored before.
        existing: BatchDigest,
    },
    /// The rollup has spent its day.
    #[error("the rollup has spent {spent} of {limit} bytes of this day, {asked} more are asked for")]
    QuotaExceeded {
        /// Bytes charged.
        spent: u64,
        /// Bytes granted.
        limit: u64,
        /// This payload.
        asked: u64,
    },
}

impl Refusal {
    /// The reason that travels to the caller.
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

/// A request that is meant for this committee; its record has not been looked at.
#[derive(Clone, Debug)]
pub struct Addressed {
    seat: Seat,
    record: v1::Record,
}

/// The sender computes digests under our domain, and names a seat and a record.
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
    /// The epoch's committee.
    pub committee: Arc<Committee>,
    /// Our seat.
    pub seat: Seat,
    /// The record; its lengths fit the committee.
    pub record: Record,
    /// The batch.
    pub digest: BatchDigest,
}

/// Finds the epoch and checks that this member holds the seat.
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

/// Weighs what L1 says of a batch that is not stored yet and comes without a certificate: the
/// pause, the epoch, the rollup's terms and the times of the order. A quorum made these checks of a
/// batch with a certificate, and what has changed since must not keep a straggler from storing its
/// shard.
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

/// Who signed a record. The header fits the order, and the disperser is the one that the order
/// names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// EIP-712 digest of the order.
    pub submission: B256,
    /// Who signed the order; whether that is the rollup's poster is another matter.
    pub poster: Address,
    /// Who signed the header, as the order wants it.
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

    /// Whether the registry admits the rollup, and the order is its poster's.
    pub fn is_of_the_poster(&self, rollup: Address, view: &RegistryView) -> bool {
        view.rollup(rollup).is_some_and(|terms| terms.poster == self.poster)
    }
}

/// On whose authority the batch is stored: a certificate that was verified, or the signature of the
/// rollup's poster.
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

/// An early answer from what the store knows; the commit decides again, for uploads that run side
/// by side.
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
