//! Why a contract refused: every custom error of both contracts, by name and with its values.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{Panic, Revert as RevertString, SolError, SolInterface};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::bindings::CertificateLog::CertificateLogErrors;
use crate::bindings::CommitteeRegistry::CommitteeRegistryErrors;

/// Text of a revert that is repeated, and bytes of one that is not understood.
const UNEXPLAINED_MAX_BYTES: usize = 256;

/// The rule that a call to one of the contracts broke.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum Revert {
    /// An absent seat does not exist.
    #[error("absent seat {seat} does not exist in a committee of {n}")]
    AbsentSeatOutOfRange {
        /// `seat` as the contract gives it.
        seat: U256,
        /// `n` as the contract gives it.
        n: U256,
    },
    /// Absent seats are unsorted or named twice.
    #[error("absent seats must ascend strictly: {seat} after {previous}")]
    AbsentSeatsNotAscending {
        /// `seat` as the contract gives it.
        seat: U256,
        /// `previous` as the contract gives it.
        previous: U256,
    },
    /// The log has this digest already.
    #[error("{digest} is recorded already")]
    AlreadyRecorded {
        /// `digest` as the contract gives it.
        digest: B256,
    },
    /// The call is not the canonical encoding of a certificate.
    #[error("the call has {got} bytes, its canonical encoding {expected}")]
    CalldataLength {
        /// `got` as the contract gives it.
        got: U256,
        /// `expected` as the contract gives it.
        expected: U256,
    },
    /// The epoch was replaced and its grace is over.
    #[error("certificates of epoch {epoch} were accepted until {postable_until}")]
    EpochNoLongerPostable {
        /// `epoch` as the contract gives it.
        epoch: u64,
        /// `postable_until` as the contract gives it.
        postable_until: u64,
    },
    /// The epoch has not begun.
    #[error("epoch {epoch} becomes active at {active_from}")]
    EpochNotYetActive {
        /// `epoch` as the contract gives it.
        epoch: u64,
        /// `active_from` as the contract gives it.
        active_from: u64,
    },
    /// The batch's expiry does not lie ahead.
    #[error("the batch expires at {expires_at}, it is {timestamp} on L1")]
    Expired {
        /// `expires_at` as the contract gives it.
        expires_at: u64,
        /// `timestamp` as the contract gives it.
        timestamp: U256,
    },
    /// The signature is not a canonically encoded point of the subgroup.
    #[error("the signature is no point of the group")]
    InvalidSignaturePoint,
    /// The fingerprint's length does not fit the committee.
    #[error("payloadFingerprint has {got} bytes, {expected} are due in this committee")]
    PayloadFingerprintLength {
        /// `got` as the contract gives it.
        got: U256,
        /// `expected` as the contract gives it.
        expected: U256,
    },
    /// The payload's length is out of bounds.
    #[error("a payload has 1 to {limit} bytes, the header says {got}")]
    PayloadLength {
        /// `got` as the contract gives it.
        got: u64,
        /// `limit` as the contract gives it.
        limit: u64,
    },
    /// A precompiled contract failed.
    #[error("precompile {precompile} failed: does this chain have EIP-2537?")]
    PrecompileFailed {
        /// `precompile` as the contract gives it.
        precompile: U256,
    },
    /// The registry's owner has paused the committee.
    #[error("recording is paused by the registry's owner")]
    RecordingPaused,
    /// The point at infinity signs nothing.
    #[error("the signature is the point at infinity")]
    SignatureIsInfinity,
    /// The signature has another length.
    #[error("a signature has {expected} bytes, got {got}")]
    SignatureLength {
        /// `got` as the contract gives it.
        got: U256,
        /// `expected` as the contract gives it.
        expected: U256,
    },
    /// The pairing check failed.
    #[error("the signers' keys did not make this signature over {digest}")]
    SignatureMismatch {
        /// `digest` as the contract gives it.
        digest: B256,
    },
    /// The signers' keys cancel out.
    #[error("the signers' keys add up to infinity")]
    SignersKeyIsInfinity,
    /// Fewer signers than the quorum.
    #[error("{got} members signed, the quorum is {quorum}")]
    TooFewSigners {
        /// `got` as the contract gives it.
        got: U256,
        /// `quorum` as the contract gives it.
        quorum: U256,
    },
    /// The hash kind is unknown.
    #[error("hashKind {got} is unknown")]
    UnknownHashKind {
        /// `got` as the contract gives it.
        got: u8,
    },
    /// A delay or grace given at deployment is too long.
    #[error("a delay has at most {limit} seconds, got {got}")]
    DelayTooLong {
        /// `got` as the contract gives it.
        got: u64,
        /// `limit` as the contract gives it.
        limit: u64,
    },
    /// One key in two seats.
    #[error("the key of operator {operator} (seat {seat}) sits in an earlier seat too")]
    DuplicateKey {
        /// `operator` as the contract gives it.
        operator: Address,
        /// `seat` as the contract gives it.
        seat: U256,
    },
    /// One operator in two seats.
    #[error("operator {operator} (seat {seat}) sits in an earlier seat too")]
    DuplicateOperator {
        /// `operator` as the contract gives it.
        operator: Address,
        /// `seat` as the contract gives it.
        seat: U256,
    },
    /// Already paused.
    #[error("the committee is paused")]
    EnforcedPause,
    /// The epoch opened last has not become active yet.
    #[error("epoch {epoch} was opened and becomes active at {active_from}: no other can be opened before")]
    EpochPending {
        /// `epoch` as the contract gives it.
        epoch: u64,
        /// `active_from` as the contract gives it.
        active_from: u64,
    },
    /// Not paused.
    #[error("the committee is not paused")]
    ExpectedPause,
    /// n, k and q make no committee.
    #[error("a committee needs 2 ≤ n ≤ 256, 1 ≤ k < n and k ≤ q ≤ n, got n = {n}, k = {k}, q = {q}")]
    Geometry {
        /// `n` as the contract gives it.
        n: U256,
        /// `k` as the contract gives it.
        k: U256,
        /// `q` as the contract gives it.
        q: U256,
    },
    /// A rollup's terms are incomplete.
    #[error("a rollup's address, poster, retention and daily bytes must not be zero")]
    IncompleteRollup,
    /// Key or proof is not a canonically encoded point of its subgroup.
    #[error("key or proof of possession is no point of its group")]
    InvalidPoint,
    /// The key is the point at infinity.
    #[error("the point at infinity is nobody's key")]
    KeyIsInfinity,
    /// The key has another length.
    #[error("a key has {expected} bytes, got {got}")]
    KeyLength {
        /// `got` as the contract gives it.
        got: U256,
        /// `expected` as the contract gives it.
        expected: U256,
    },
    /// An impossible owner.
    #[error("{owner} cannot own the registry")]
    OwnableInvalidOwner {
        /// `owner` as the contract gives it.
        owner: Address,
    },
    /// The sender is not the owner.
    #[error("{account} does not own the registry")]
    OwnableUnauthorizedAccount {
        /// `account` as the contract gives it.
        account: Address,
    },
    /// The proof of possession is the point at infinity.
    #[error("the point at infinity proves nothing")]
    PossessionIsInfinity,
    /// The proof of possession has another length.
    #[error("a proof of possession has {expected} bytes, got {got}")]
    PossessionLength {
        /// `got` as the contract gives it.
        got: U256,
        /// `expected` as the contract gives it.
        expected: U256,
    },
    /// The proof of possession is wrong.
    #[error("the proof of possession was not made by this key for this operator, registry and chain")]
    PossessionMismatch,
    /// Too many seats change hands.
    #[error("{got} seats change hands, at most {limit} may while n and k stay")]
    TooManySeatsReplaced {
        /// `got` as the contract gives it.
        got: U256,
        /// `limit` as the contract gives it.
        limit: U256,
    },
    /// No such epoch.
    #[error("epoch {epoch} does not exist, the newest is {epoch_count}")]
    UnknownEpoch {
        /// `epoch` as the contract gives it.
        epoch: u64,
        /// `epoch_count` as the contract gives it.
        epoch_count: u64,
    },
    /// No such operator.
    #[error("operator {operator} is not registered")]
    UnknownOperator {
        /// `operator` as the contract gives it.
        operator: Address,
    },
    /// No such rollup.
    #[error("rollup {rollup} is not admitted")]
    UnknownRollup {
        /// `rollup` as the contract gives it.
        rollup: Address,
    },
    /// An endpoint's URL is empty or too long.
    #[error("a URL has 1 to {limit} bytes, got {got}")]
    UrlLength {
        /// `got` as the contract gives it.
        got: U256,
        /// `limit` as the contract gives it.
        limit: U256,
    },
    /// Data is too long for a data contract.
    #[error("{got} bytes are too long for contract code, the limit is {limit}")]
    TooLong {
        /// `got` as the contract gives it.
        got: U256,
        /// `limit` as the contract gives it.
        limit: U256,
    },
    /// Writing a data contract failed.
    #[error("data could not be written as contract code")]
    WriteFailed,
    /// `revert("text")` or `require(condition, "text")`.
    #[error("the contract says: {text}")]
    Text {
        /// What it says, shortened.
        text: String,
    },
    /// A failed assertion, an overflow or the like: a fault in the contract.
    #[error("the contract panicked with code {code}")]
    Panic {
        /// Solidity's panic code.
        code: U256,
    },
    /// Nothing these contracts say: no such contract there, out of gas, or an invalid opcode.
    #[error("the call failed without a reason that is understood ({data})")]
    Unexplained {
        /// What came back, shortened.
        data: Bytes,
    },
}

impl Revert {
    /// Reads the data of a revert; never fails, since anything may come back.
    pub fn decode(data: &[u8]) -> Self {
        if let Ok(error) = CertificateLogErrors::abi_decode(data) {
            return error.into();
        }
        if let Ok(error) = CommitteeRegistryErrors::abi_decode(data) {
            return error.into();
        }
        if let Ok(RevertString { reason }) = RevertString::abi_decode(data) {
            return Self::Text {
                text: reason.chars().filter(|c| !c.is_control()).take(UNEXPLAINED_MAX_BYTES).collect(),
            };
        }
        if let Ok(Panic { code }) = Panic::abi_decode(data) {
            return Self::Panic { code };
        }
        Self::Unexplained { data: Bytes::copy_from_slice(&data[..data.len().min(UNEXPLAINED_MAX_BYTES)]) }
    }

    /// Whether a rule of the contract was broken that no passing of time mends: only then is a certificate given up.
    pub fn is_final(&self) -> bool {
        let unclear = matches!(
            self,
            Self::PrecompileFailed { .. } | Self::Text { .. } | Self::Panic { .. } | Self::Unexplained { .. }
        );
        !unclear && !self.may_pass()
    }

    /// Whether the same call may succeed later, without anybody changing it.
    ///
    /// An endpoint that lags behind may not know an epoch yet, or find its first second not reached.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::RecordingPaused
                | Self::EpochNotYetActive { .. }
                | Self::UnknownEpoch { .. }
                | Self::EpochPending { .. }
        )
    }
}

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
