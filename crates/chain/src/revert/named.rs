//! The errors of registry and log, as their ABI has them.

use super::Revert;
use crate::bindings::CertificateLog::CertificateLogErrors;
use crate::bindings::CommitteeRegistry::CommitteeRegistryErrors;

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
