//! The consequences of a refused settlement: for the proof, for the batch, or only for now.

use crate::contracts::{Effect, Refusal, Settlement, Verifier};

/// What follows from the refusal of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SettlementRefusal {
    /// This proof does not prove the claim; another proof of the same batch may.
    Proof,
    /// The same call may succeed later: earlier batches, a renewal or an unpausing must come first.
    NotYet,
    /// A batch of this number is already final, possibly this very one.
    NumberUsed,
    /// The rollup is frozen, so nothing settles there any more.
    Frozen,
    /// This batch can never settle, with any proof.
    Batch,
}

impl SettlementRefusal {
    /// Tells what a contract's refusal means for a settlement.
    pub fn of(refusal: &Refusal) -> Self {
        let is_of_proof = refusal.is::<Settlement::InputsGoBack>()
            || refusal.is::<Settlement::InputsNotThere>()
            || refusal.is::<Verifier::ProofLength>()
            || refusal.is::<Verifier::InputNotInField>()
            || refusal.is::<Verifier::InvalidProof>();
        match refusal.effect() {
            Effect::Done if refusal.is::<Settlement::BatchAlreadySettled>() => Self::NumberUsed,
            Effect::MayPass => Self::NotYet,
            Effect::Unclear if refusal.is_of_chain() => Self::NotYet,
            // Verifiers behind an adapter have errors of their own, and a malformed proof may fail
            // without any. All rules of certificate and settlement are in the table, so an error
            // that is not in it comes from the verifier.
            Effect::Unclear => Self::Proof,
            Effect::Final if is_of_proof => Self::Proof,
            Effect::Final if refusal.is::<Settlement::IsFrozen>() => Self::Frozen,
            // These are the rules on the certificate, the lifetime, the hash kind and the
            // committee's size.
            Effect::Final | Effect::Done => Self::Batch,
        }
    }

    /// Whether waiting cannot help.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Proof | Self::Frozen | Self::Batch)
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256, U256};

    use super::*;
    use crate::contracts::{CertificateLog, CommitteeRegistry};

    #[test]
    fn each_refusal_has_its_consequence() {
        let time = U256::from(1);
        for (refusal, expected) in [
            (Refusal::of(&Verifier::InvalidProof {}), SettlementRefusal::Proof),
            (Refusal::of(&Verifier::ProofLength { got: time, expected: time }), SettlementRefusal::Proof),
            (Refusal::of(&Verifier::InputNotInField { index: time, value: time }), SettlementRefusal::Proof),
            (Refusal::of(&Settlement::InputsGoBack { got: 1, consumed: 2 }), SettlementRefusal::Proof),
            (Refusal::Unexplained { data: vec![1, 2, 3, 4].into() }, SettlementRefusal::Proof),
            (Refusal::Text { text: "no".into() }, SettlementRefusal::Proof),
            (Refusal::Halted { reason: "out of gas".into() }, SettlementRefusal::Proof),
            (Refusal::of(&Settlement::BatchNumberSkipped { got: 3, expected: 1 }), SettlementRefusal::NotYet),
            (
                Refusal::of(&Settlement::CoverageTooShort { coverageUntil: 3, needed: 9 }),
                SettlementRefusal::NotYet,
            ),
            (Refusal::of(&CommitteeRegistry::EnforcedPause {}), SettlementRefusal::NotYet),
            (Refusal::NoCode { address: Address::ZERO }, SettlementRefusal::NotYet),
            (
                Refusal::of(&Settlement::BatchAlreadySettled { got: 1, batchCount: 3 }),
                SettlementRefusal::NumberUsed,
            ),
            (Refusal::of(&Settlement::IsFrozen { reason: 2 }), SettlementRefusal::Frozen),
            (
                Refusal::of(&Settlement::LifetimeTooShort { expiresAt: 1, needed: 2 }),
                SettlementRefusal::Batch,
            ),
            (
                Refusal::of(&CertificateLog::Expired { expiresAt: 1, timestamp: time }),
                SettlementRefusal::Batch,
            ),
            (Refusal::of(&Verifier::HashKindNotAllowed { got: 1 }), SettlementRefusal::Batch),
            (Refusal::of(&Verifier::PointsNotSupported { t: time }), SettlementRefusal::Batch),
            (
                Refusal::of(&CertificateLog::SignatureMismatch { digest: B256::ZERO }),
                SettlementRefusal::Batch,
            ),
            (
                Refusal::of(&Settlement::WrongRollup { got: Address::ZERO, expected: Address::ZERO }),
                SettlementRefusal::Batch,
            ),
        ] {
            assert_eq!(SettlementRefusal::of(&refusal), expected, "{refusal}");
        }
    }
}
