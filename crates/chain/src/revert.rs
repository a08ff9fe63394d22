//! Why a contract refused: every custom error of registry, log, settlement and verifier, by name and with its values.

mod found;
mod named;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{Panic, Revert as RevertString, SolError, SolInterface};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub(crate) use self::found::find_data;
use crate::contracts::CertificateLog::CertificateLogErrors;
use crate::contracts::CommitteeRegistry::CommitteeRegistryErrors;

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
    #[error("the contract is paused")]
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
    #[error("the contract is not paused")]
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
    /// A settlement of another rollup's batch.
    #[error("the batch is rollup {got}'s, the contract is {expected}")]
    WrongRollup {
        /// `got` as the contract gives it.
        got: Address,
        /// `expected` as the contract gives it.
        expected: Address,
    },
    /// A batch of this number is final already.
    #[error("batch {got} is settled already: {batch_count} are")]
    BatchAlreadySettled {
        /// `got` as the contract gives it.
        got: u64,
        /// `batch_count` as the contract gives it.
        batch_count: u64,
    },
    /// Former batches must settle first.
    #[error("batch {got} waits: batch {expected} is the next to settle")]
    BatchNumberSkipped {
        /// `got` as the contract gives it.
        got: u64,
        /// `expected` as the contract gives it.
        expected: u64,
    },
    /// The log does not have the digest.
    #[error("the certificate log has no record of {digest}")]
    NotRecorded {
        /// `digest` as the contract gives it.
        digest: B256,
    },
    /// Too little time is left for users to leave with this batch.
    #[error("the batch is kept until {expires_at}, to settle it must be until {needed}")]
    LifetimeTooShort {
        /// `expires_at` as the contract gives it.
        expires_at: u64,
        /// `needed` as the contract gives it.
        needed: u64,
    },
    /// Members must renew the coverage of former batches first.
    #[error(
        "former batches are kept until {coverage_until}, to settle it must be until {needed}: members have to renew"
    )]
    CoverageTooShort {
        /// `coverage_until` as the contract gives it.
        coverage_until: u64,
        /// `needed` as the contract gives it.
        needed: u64,
    },
    /// Consumed inputs are never given back.
    #[error("the batch consumes {got} inputs in all, {consumed} are consumed already")]
    InputsGoBack {
        /// `got` as the contract gives it.
        got: u64,
        /// `consumed` as the contract gives it.
        consumed: u64,
    },
    /// There are not so many L1 inputs.
    #[error("the batch consumes {got} inputs in all, L1 has {limit}")]
    InputsNotThere {
        /// `got` as the contract gives it.
        got: u64,
        /// `limit` as the contract gives it.
        limit: u64,
    },
    /// Nothing settles there any more.
    #[error("the rollup is frozen: {}", freeze_reason(*reason))]
    IsFrozen {
        /// `reason` as the contract gives it.
        reason: u8,
    },
    /// A renewal of batches that did not settle.
    #[error("the renewal speaks of {last_batch} batches, {batch_count} are settled")]
    RenewalAhead {
        /// `last_batch` as the contract gives it.
        last_batch: u64,
        /// `batch_count` as the contract gives it.
        batch_count: u64,
    },
    /// A renewal that leaves out batches which are no longer told apart.
    #[error("the renewal speaks of {last_batch} batches, those up to {mark} are renewed together")]
    RenewalTooOld {
        /// `last_batch` as the contract gives it.
        last_batch: u64,
        /// `mark` as the contract gives it.
        mark: u64,
    },
    /// Everything is covered for as long already.
    #[error(
        "nothing is renewed: all is covered until {coverage_until} and what the renewal speaks of for as long as it says"
    )]
    NothingRenewed {
        /// `coverage_until` as the contract gives it.
        coverage_until: u64,
    },
    /// The verifier's adapter does not allow this kind of batch hash.
    #[error("the rollup's verifier does not allow hash kind {got}")]
    HashKindNotAllowed {
        /// `got` as the contract gives it.
        got: u8,
    },
    /// The verifier has no key for committees of this size.
    #[error("the rollup's verifier has no key for {t} points")]
    PointsNotSupported {
        /// `t` as the contract gives it.
        t: U256,
    },
    /// Points and fingerprint do not fit one another.
    #[error("the claim has {points} bytes of points and {fingerprint} of fingerprint")]
    ClaimLengths {
        /// `points` as the contract gives it.
        points: U256,
        /// `fingerprint` as the contract gives it.
        fingerprint: U256,
    },
    /// The claim's payload length has no room in the public inputs.
    #[error("a payload of {got} bytes has no room in the public inputs")]
    PayloadLengthNotPacked {
        /// `got` as the contract gives it.
        got: u64,
    },
    /// A proof of another system.
    #[error("a proof has {expected} bytes, got {got}")]
    ProofLength {
        /// `got` as the contract gives it.
        got: U256,
        /// `expected` as the contract gives it.
        expected: U256,
    },
    /// A public input is not below the field's order.
    #[error("public input {index} is not below the field's order: {value}")]
    InputNotInField {
        /// `index` as the contract gives it.
        index: U256,
        /// `value` as the contract gives it.
        value: U256,
    },
    /// The proof does not verify.
    #[error("the proof does not show that the batch leads from the present state to the new one")]
    InvalidProof,
    /// Nothing is deployed there.
    #[error("there is no contract at {address}")]
    NoCode {
        /// Where.
        address: Address,
    },
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
    /// The call stopped without reverting: out of gas, an invalid instruction, or longer than the node runs calls.
    #[error("the call did not finish: {reason}")]
    Halted {
        /// As the node puts it, shortened.
        reason: String,
    },
    /// Nothing these contracts say: no such contract there, or a failure without any words.
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
        if let Some(revert) = named::of_settlement(data) {
            return revert;
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
        !self.is_unclear() && !self.may_pass()
    }

    /// Whether it names no rule of the contract: what it refused, and for how long, is not known.
    pub const fn is_unclear(&self) -> bool {
        matches!(
            self,
            Self::PrecompileFailed { .. }
                | Self::NoCode { .. }
                | Self::Text { .. }
                | Self::Panic { .. }
                | Self::Halted { .. }
                | Self::Unexplained { .. }
        )
    }

    /// Whether both name the same rule, though its values may differ: an expiry names the block's
    /// time, and nodes have their own words.
    pub(crate) fn is_same_rule(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unexplained { data }, Self::Unexplained { data: other }) => {
                data.get(..4) == other.get(..4)
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
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

/// `FreezeReason` of the contract, in words.
const fn freeze_reason(reason: u8) -> &'static str {
    match reason {
        1 => "nothing settled for too long",
        2 => "an input stayed unserved",
        3 => "coverage is too short",
        _ => "for a reason unknown here",
    }
}
