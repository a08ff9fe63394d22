//! A renewal of coverage on its way to its rollup's settlement contract, and what a refusal of it means.

use alloy::primitives::{Address, Bytes};
use dac_bls::CheckedRenewal;
use dac_types::RenewalDigest;

use crate::contracts::calls;
use crate::revert::Revert;

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
    /// Of a revert.
    pub const fn of(revert: &Revert) -> Self {
        match revert {
            Revert::NothingRenewed { .. } => Self::Covered,
            Revert::RenewalAhead { .. }
            | Revert::EnforcedPause
            | Revert::RecordingPaused
            | Revert::EpochNotYetActive { .. }
            | Revert::EpochPending { .. }
            | Revert::UnknownEpoch { .. }
            | Revert::PrecompileFailed { .. }
            | Revert::NoCode { .. } => Self::NotYet,
            // A renewal is collected anew at little cost, so what is not understood does not wait for as long as it lasts.
            _ => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, U256};
    use alloy::sol_types::SolError;

    use super::*;
    use crate::contracts::Settlement;

    #[test]
    fn each_revert_has_its_consequence() {
        let address = Address::ZERO;
        for (revert, expected) in [
            (Revert::NothingRenewed { coverage_until: 9 }, RenewalRefusal::Covered),
            (Revert::RenewalAhead { last_batch: 3, batch_count: 2 }, RenewalRefusal::NotYet),
            (Revert::UnknownEpoch { epoch: 3, epoch_count: 2 }, RenewalRefusal::NotYet),
            (Revert::NoCode { address }, RenewalRefusal::NotYet),
            (Revert::RenewalTooOld { last_batch: 3, mark: 4 }, RenewalRefusal::Never),
            (Revert::WrongRollup { got: address, expected: address }, RenewalRefusal::Never),
            (Revert::Expired { expires_at: 1, timestamp: U256::from(2) }, RenewalRefusal::Never),
            (Revert::EpochNoLongerPostable { epoch: 1, postable_until: 4 }, RenewalRefusal::Never),
            (Revert::SignatureMismatch { digest: B256::ZERO }, RenewalRefusal::Never),
            (Revert::Unexplained { data: Bytes::new() }, RenewalRefusal::Never),
        ] {
            assert_eq!(RenewalRefusal::of(&revert), expected, "{revert}");
        }
    }

    #[test]
    fn errors_are_told_by_name_and_value() {
        let data = Settlement::RenewalAhead { lastBatch: 9, batchCount: 7 }.abi_encode();
        assert_eq!(Revert::decode(&data), Revert::RenewalAhead { last_batch: 9, batch_count: 7 });
        let data = Settlement::RenewalTooOld { lastBatch: 9, mark: 10 }.abi_encode();
        assert_eq!(Revert::decode(&data), Revert::RenewalTooOld { last_batch: 9, mark: 10 });
        let data = Settlement::NothingRenewed { coverageUntil: 5 }.abi_encode();
        assert_eq!(Revert::decode(&data), Revert::NothingRenewed { coverage_until: 5 });
    }
}
