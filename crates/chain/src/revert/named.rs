//! The errors of registry and log, as their ABI has them.

use alloy::sol_types::{SolError as _, SolInterface as _};

use super::Revert;
use crate::contracts::CertificateLog::CertificateLogErrors;
use crate::contracts::CommitteeRegistry::CommitteeRegistryErrors;
use crate::contracts::PayloadLengthNotPacked;
use crate::contracts::Settlement::ISettlementErrors;
use crate::contracts::Verifier::IValidityVerifierErrors;

impl From<CertificateLogErrors> for Revert {
    fn from(error: CertificateLogErrors) -> Self {
        use CertificateLogErrors as E;
        match error {
            E::AbsentSeatOutOfRange(e) => Self::AbsentSeatOutOfRange { seat: e.seat, n: e.n },
            E::AbsentSeatsNotAscending(e) => {
                Self::AbsentSeatsNotAscending { seat: e.seat, previous: e.previous }
            }
            E::AlreadyRecorded(e) => Self::AlreadyRecorded { digest: e.digest },
            E::CalldataLength(e) => Self::CalldataLength { got: e.got, expected: e.expected },
            E::EpochNoLongerPostable(e) => {
                Self::EpochNoLongerPostable { epoch: e.epoch, postable_until: e.postableUntil }
            }
            E::EpochNotYetActive(e) => Self::EpochNotYetActive { epoch: e.epoch, active_from: e.activeFrom },
            E::Expired(e) => Self::Expired { expires_at: e.expiresAt, timestamp: e.timestamp },
            E::InvalidSignaturePoint(_) => Self::InvalidSignaturePoint,
            E::PayloadFingerprintLength(e) => {
                Self::PayloadFingerprintLength { got: e.got, expected: e.expected }
            }
            E::PayloadLength(e) => Self::PayloadLength { got: e.got, limit: e.limit },
            E::PrecompileFailed(e) => Self::PrecompileFailed { precompile: e.precompile },
            E::RecordingPaused(_) => Self::RecordingPaused,
            E::SignatureIsInfinity(_) => Self::SignatureIsInfinity,
            E::SignatureLength(e) => Self::SignatureLength { got: e.got, expected: e.expected },
            E::SignatureMismatch(e) => Self::SignatureMismatch { digest: e.digest },
            E::SignersKeyIsInfinity(_) => Self::SignersKeyIsInfinity,
            E::TooFewSigners(e) => Self::TooFewSigners { got: e.got, quorum: e.quorum },
            E::UnknownHashKind(e) => Self::UnknownHashKind { got: e.got },
        }
    }
}

impl From<CommitteeRegistryErrors> for Revert {
    fn from(error: CommitteeRegistryErrors) -> Self {
        use CommitteeRegistryErrors as E;
        match error {
            E::PrecompileFailed(e) => Self::PrecompileFailed { precompile: e.precompile },
            E::DelayTooLong(e) => Self::DelayTooLong { got: e.got, limit: e.limit },
            E::DuplicateKey(e) => Self::DuplicateKey { operator: e.operator, seat: e.seat },
            E::DuplicateOperator(e) => Self::DuplicateOperator { operator: e.operator, seat: e.seat },
            E::EnforcedPause(_) => Self::EnforcedPause,
            E::EpochPending(e) => Self::EpochPending { epoch: e.epoch, active_from: e.activeFrom },
            E::ExpectedPause(_) => Self::ExpectedPause,
            E::Geometry(e) => Self::Geometry { n: e.n, k: e.k, q: e.q },
            E::IncompleteRollup(_) => Self::IncompleteRollup,
            E::InvalidPoint(_) => Self::InvalidPoint,
            E::KeyIsInfinity(_) => Self::KeyIsInfinity,
            E::KeyLength(e) => Self::KeyLength { got: e.got, expected: e.expected },
            E::OwnableInvalidOwner(e) => Self::OwnableInvalidOwner { owner: e.owner },
            E::OwnableUnauthorizedAccount(e) => Self::OwnableUnauthorizedAccount { account: e.account },
            E::PossessionIsInfinity(_) => Self::PossessionIsInfinity,
            E::PossessionLength(e) => Self::PossessionLength { got: e.got, expected: e.expected },
            E::PossessionMismatch(_) => Self::PossessionMismatch,
            E::TooManySeatsReplaced(e) => Self::TooManySeatsReplaced { got: e.got, limit: e.limit },
            E::UnknownEpoch(e) => Self::UnknownEpoch { epoch: e.epoch, epoch_count: e.epochCount },
            E::UnknownOperator(e) => Self::UnknownOperator { operator: e.operator },
            E::UnknownRollup(e) => Self::UnknownRollup { rollup: e.rollup },
            E::UrlLength(e) => Self::UrlLength { got: e.got, limit: e.limit },
            E::TooLong(e) => Self::TooLong { got: e.got, limit: e.limit },
            E::WriteFailed(_) => Self::WriteFailed,
        }
    }
}

/// The settlement's or its verifier's own error, if the data of a revert is one.
pub(super) fn of_settlement(data: &[u8]) -> Option<Revert> {
    if let Ok(error) = ISettlementErrors::abi_decode(data) {
        use ISettlementErrors as E;
        return Some(match error {
            E::WrongRollup(e) => Revert::WrongRollup { got: e.got, expected: e.expected },
            E::BatchAlreadySettled(e) => {
                Revert::BatchAlreadySettled { got: e.got, batch_count: e.batchCount }
            }
            E::BatchNumberSkipped(e) => Revert::BatchNumberSkipped { got: e.got, expected: e.expected },
            E::NotRecorded(e) => Revert::NotRecorded { digest: e.digest },
            E::LifetimeTooShort(e) => Revert::LifetimeTooShort { expires_at: e.expiresAt, needed: e.needed },
            E::CoverageTooShort(e) => {
                Revert::CoverageTooShort { coverage_until: e.coverageUntil, needed: e.needed }
            }
            E::InputsGoBack(e) => Revert::InputsGoBack { got: e.got, consumed: e.consumed },
            E::InputsNotThere(e) => Revert::InputsNotThere { got: e.got, limit: e.limit },
            E::IsFrozen(e) => Revert::IsFrozen { reason: e.reason },
            E::RenewalAhead(e) => Revert::RenewalAhead { last_batch: e.lastBatch, batch_count: e.batchCount },
            E::RenewalTooOld(e) => Revert::RenewalTooOld { last_batch: e.lastBatch, mark: e.mark },
            E::NothingRenewed(e) => Revert::NothingRenewed { coverage_until: e.coverageUntil },
            _ => return None,
        });
    }
    if let Ok(e) = PayloadLengthNotPacked::abi_decode(data) {
        return Some(Revert::PayloadLengthNotPacked { got: e.got });
    }
    let error = IValidityVerifierErrors::abi_decode(data).ok()?;
    use IValidityVerifierErrors as E;
    Some(match error {
        E::HashKindNotAllowed(e) => Revert::HashKindNotAllowed { got: e.got },
        E::PointsNotSupported(e) => Revert::PointsNotSupported { t: e.t },
        E::ClaimLengths(e) => Revert::ClaimLengths { points: e.points, fingerprint: e.fingerprint },
        E::ProofLength(e) => Revert::ProofLength { got: e.got, expected: e.expected },
        E::InputNotInField(e) => Revert::InputNotInField { index: e.index, value: e.value },
        E::InvalidProof(_) => Revert::InvalidProof,
    })
}
