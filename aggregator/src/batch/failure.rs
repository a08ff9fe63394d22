//! Why batches fail.

use std::fmt;

/// Why a batch failed for good. The text is stable: machines may compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The stored payload does not pass its check any more; it was not dispersed.
    CorruptPayload,
    /// So many members refuse for good, or lied, that no quorum is left.
    QuorumImpossible,
    /// `submitBefore` passed before a quorum had signed: nobody signs it any more.
    SubmitBeforePassed,
    /// A later submission took its number.
    Replaced,
    /// The rollup settled another batch under its number.
    NumberUsed,
    /// The rollup is frozen: nothing settles there any more.
    RollupFrozen,
    /// The rollup's contract will never settle this batch, whatever its proof.
    SettlementRefused,
    /// A fault of this program.
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

    /// The stable text.
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
    /// For machines.
    pub reason: FailureReason,
    /// For people.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}
