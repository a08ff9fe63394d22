//! What a refused settlement means: for the proof, for the batch, or for now.

use crate::revert::Revert;

/// What follows from the revert of a simulated settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettlementRefusal {
    /// This proof does not show what it should; another one of the same batch may.
    Proof,
    /// The same call may succeed later: former batches, a renewal, an unpausing must come first.
    NotYet,
    /// A batch of this number is final already: perhaps this very one.
    NumberUsed,
    /// The rollup is frozen: nothing settles there any more.
    Frozen,
    /// This batch will never settle, whatever its proof.
    Batch,
}

impl SettlementRefusal {
    /// Of a revert.
    pub const fn of(revert: &Revert) -> Self {
        match revert {
            Revert::BatchAlreadySettled { .. } => Self::NumberUsed,
            Revert::IsFrozen { .. } => Self::Frozen,
            Revert::BatchNumberSkipped { .. }
            | Revert::CoverageTooShort { .. }
            | Revert::EnforcedPause
            | Revert::RecordingPaused
            | Revert::NotRecorded { .. }
            | Revert::EpochNotYetActive { .. }
            | Revert::EpochPending { .. }
            | Revert::UnknownEpoch { .. }
            | Revert::PrecompileFailed { .. }
            | Revert::NoCode { .. } => Self::NotYet,
            Revert::InputsGoBack { .. }
            | Revert::InputsNotThere { .. }
            | Revert::ProofLength { .. }
            | Revert::InputNotInField { .. }
            | Revert::InvalidProof
            // Verifiers behind an adapter have errors of their own, and malformed proofs may fail without any. The certificate's
            // and the settlement's rules are all known by name, so what is not comes from the verifier.
            | Revert::Text { .. }
            | Revert::Panic { .. }
            | Revert::Halted { .. }
            | Revert::Unexplained { .. } => Self::Proof,
            // The certificate's rules, the lifetime, the kind of hash, the size of the committee.
            _ => Self::Batch,
        }
    }

    /// Whether waiting does not help.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Proof | Self::Frozen | Self::Batch)
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, U256};
    use alloy::sol_types::SolError;

    use super::*;
    use crate::contracts::Settlement;

    #[test]
    fn each_revert_has_its_consequence() {
        let time = U256::from(1);
        for (revert, expected) in [
            (Revert::InvalidProof, SettlementRefusal::Proof),
            (Revert::ProofLength { got: time, expected: time }, SettlementRefusal::Proof),
            (Revert::InputNotInField { index: time, value: time }, SettlementRefusal::Proof),
            (Revert::InputsGoBack { got: 1, consumed: 2 }, SettlementRefusal::Proof),
            (Revert::Unexplained { data: vec![1, 2, 3, 4].into() }, SettlementRefusal::Proof),
            (Revert::Text { text: "no".into() }, SettlementRefusal::Proof),
            (Revert::Halted { reason: "out of gas".into() }, SettlementRefusal::Proof),
            (Revert::BatchNumberSkipped { got: 3, expected: 1 }, SettlementRefusal::NotYet),
            (Revert::CoverageTooShort { coverage_until: 3, needed: 9 }, SettlementRefusal::NotYet),
            (Revert::EnforcedPause, SettlementRefusal::NotYet),
            (Revert::NoCode { address: Address::ZERO }, SettlementRefusal::NotYet),
            (Revert::BatchAlreadySettled { got: 1, batch_count: 3 }, SettlementRefusal::NumberUsed),
            (Revert::IsFrozen { reason: 2 }, SettlementRefusal::Frozen),
            (Revert::LifetimeTooShort { expires_at: 1, needed: 2 }, SettlementRefusal::Batch),
            (Revert::Expired { expires_at: 1, timestamp: time }, SettlementRefusal::Batch),
            (Revert::HashKindNotAllowed { got: 1 }, SettlementRefusal::Batch),
            (Revert::PointsNotSupported { t: time }, SettlementRefusal::Batch),
            (Revert::SignatureMismatch { digest: B256::ZERO }, SettlementRefusal::Batch),
            (Revert::WrongRollup { got: Address::ZERO, expected: Address::ZERO }, SettlementRefusal::Batch),
        ] {
            assert_eq!(SettlementRefusal::of(&revert), expected, "{revert}");
        }
    }

    #[test]
    fn errors_are_told_by_name_and_value() {
        let data = Settlement::BatchNumberSkipped { got: 9, expected: 7 }.abi_encode();
        assert_eq!(Revert::decode(&data), Revert::BatchNumberSkipped { got: 9, expected: 7 });
        let data = Settlement::IsFrozen { reason: 3 }.abi_encode();
        assert_eq!(Revert::decode(&data).to_string(), "the rollup is frozen: coverage is too short");
    }
}
