//! A renewal of coverage on its way to its rollup's settlement contract, and what a refusal of it means.

use alloy::primitives::{Address, Bytes};
use dac_bls::CheckedRenewal;
use dac_types::RenewalDigest;

use crate::contracts::{Effect, Refusal, Settlement, calls};

/// A renewal on its way to L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewOrder {
    /// What the quorum signed.
    pub digest: RenewalDigest,
    /// The contract: the renewal's rollup.
    pub settlement: Address,
    /// Batches 1 to this one are kept.
    pub last_batch: u64,
    /// Unix seconds until which they are; after that the renewal is of no use.
    pub expires_at: u64,
    /// The call.
    pub calldata: Bytes,
}

impl RenewOrder {
    /// The call `renewCoverage`.
    pub fn new(checked: &CheckedRenewal) -> Self {
        let renewal = checked.certificate().renewal;
        Self {
            digest: checked.digest(),
            settlement: renewal.rollup,
            last_batch: renewal.last_batch,
            expires_at: renewal.expires_at,
            calldata: calls::renew_coverage(checked),
        }
    }
}

/// What follows from the revert of a simulated renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RenewalRefusal {
    /// Everything it speaks of is covered for as long: it, or one as good, was there before.
    Covered,
    /// The same call may succeed later: batches must settle (again, after a reorganisation), or an epoch begin.
    NotYet,
    /// It will never be taken. Another one, of other batches or by another epoch, may be.
    Never,
}

impl RenewalRefusal {
    /// What follows for a renewal.
    pub fn of(refusal: &Refusal) -> Self {
        match refusal.effect() {
            Effect::Done if refusal.is::<Settlement::NothingRenewed>() => Self::Covered,
            Effect::MayPass => Self::NotYet,
            Effect::Unclear if refusal.is_of_chain() => Self::NotYet,
            // A renewal is collected anew at little cost, so what is not understood does not wait for as long as it lasts.
            Effect::Done | Effect::Unclear | Effect::Final => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, U256};

    use super::*;
    use crate::contracts::{CertificateLog, CommitteeRegistry};

    #[test]
    fn each_revert_has_its_consequence() {
        let address = Address::ZERO;
        for (revert, expected) in [
            (Refusal::of(&Settlement::NothingRenewed { coverageUntil: 9 }), RenewalRefusal::Covered),
            (Refusal::of(&Settlement::RenewalAhead { lastBatch: 3, batchCount: 2 }), RenewalRefusal::NotYet),
            (
                Refusal::of(&CommitteeRegistry::UnknownEpoch { epoch: 3, epochCount: 2 }),
                RenewalRefusal::NotYet,
            ),
            (Refusal::NoCode { address }, RenewalRefusal::NotYet),
            (Refusal::of(&Settlement::RenewalTooOld { lastBatch: 3, mark: 4 }), RenewalRefusal::Never),
            (
                Refusal::of(&Settlement::WrongRollup { got: address, expected: address }),
                RenewalRefusal::Never,
            ),
            (
                Refusal::of(&CertificateLog::Expired { expiresAt: 1, timestamp: U256::from(2) }),
                RenewalRefusal::Never,
            ),
            (
                Refusal::of(&CertificateLog::EpochNoLongerPostable { epoch: 1, postableUntil: 4 }),
                RenewalRefusal::Never,
            ),
            (Refusal::of(&CertificateLog::SignatureMismatch { digest: B256::ZERO }), RenewalRefusal::Never),
            (Refusal::Unexplained { data: Bytes::new() }, RenewalRefusal::Never),
        ] {
            assert_eq!(RenewalRefusal::of(&revert), expected, "{revert}");
        }
    }
}
