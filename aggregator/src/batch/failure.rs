//! Why batches fail.

use std::fmt;

/// Why a batch failed for good. The text is stable: machines may compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The stored payload does not pass its check any more, and was not dispersed.
    CorruptPayload,
    /// So many members refuse for good, or lied, that no quorum is left.
    QuorumImpossible,
    /// `submitBefore` passed before a quorum had signed, and no member signs the batch any more.
    SubmitBeforePassed,
    /// A later submission took the batch's number.
    Replaced,
    /// The rollup settled another batch under the batch's number.
    NumberUsed,
    /// The rollup is frozen and settles no batch any more.
    RollupFrozen,
    /// The rollup's contract will never settle this batch, with any proof.
    SettlementRefused,
    /// This program has a fault.
    Internal,
}

impl FailureReason {
    /// All reasons.
    pub const ALL: [FailureReason; 8] = [
        FailureReason::CorruptPayload,
        FailureReason::QuorumImpossible,
        FailureReason::SubmitBeforePassed,
        FailureReason::Replaced,
        FailureReason::NumberUsed,
        FailureReason::RollupFrozen,
        FailureReason::SettlementRefused,
        FailureReason::Internal,
    ];

    /// Returns the stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            FailureReason::CorruptPayload => "CORRUPT_PAYLOAD",
            FailureReason::QuorumImpossible => "QUORUM_IMPOSSIBLE",
            FailureReason::SubmitBeforePassed => "SUBMIT_BEFORE_PASSED",
            FailureReason::Replaced => "REPLACED",
            FailureReason::NumberUsed => "BATCH_NUMBER_USED",
            FailureReason::RollupFrozen => "ROLLUP_FROZEN",
            FailureReason::SettlementRefused => "SETTLEMENT_REFUSED",
            FailureReason::Internal => "INTERNAL",
        }
    }
}

/// Why a batch failed, for machines and for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The stable reason, for machines.
    pub reason: FailureReason,
    /// The failure in words, for people.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}
