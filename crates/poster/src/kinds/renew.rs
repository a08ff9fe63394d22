//! Renewing the coverage of a rollup's batches.

use alloy::primitives::Address;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::error::PosterError;
use super::super::sight::Sight;
use super::super::verdict::Verdict;
use super::kind::{Judgement, Kind, Place};
use dac_chain::ChainError;
use dac_contracts::{Effect, Refusal, Settlement};

/// The largest number of renewals of one contract that are waiting or under way. They do not count
/// towards the queue's limit, so a full queue does not hold up renewals.
const PER_CONTRACT_MAX: usize = 4;

/// The task to renew a rollup's coverage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// The rollup's contract.
    pub settlement: Address,
    /// Batches 1 to this one are covered.
    pub last_batch: u64,
    /// The promised end of retention, in Unix seconds. After it the renewal is of no use.
    pub expires_at: u64,
}

#[async_trait]
impl Kind for Renew {
    fn name(&self) -> &'static str {
        "renew"
    }

    fn place(&self) -> Option<Place> {
        Some(Place { contract: self.settlement, number: self.last_batch })
    }

    fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at)
    }

    /// A rollup stops if its coverage runs short.
    fn is_urgent(&self) -> bool {
        true
    }

    fn check_room(&self, line: &[u64], _queued: usize, _queue_max: usize) -> Result<(), PosterError> {
        if line.len() < PER_CONTRACT_MAX {
            return Ok(());
        }
        Err(PosterError::RenewalsQueued { settlement: self.settlement, limit: PER_CONTRACT_MAX })
    }

    /// A renewal waits until batches settle (again, after a reorganisation), or an epoch begins. A
    /// new one can be collected at little cost, so a renewal with an unknown refusal does not wait
    /// until it expires.
    fn judge(&self, refusal: &Refusal) -> Judgement {
        match refusal.effect() {
            Effect::Done if refusal.is::<Settlement::NothingRenewed>() => Judgement::Done,
            Effect::MayPass => Judgement::Waits,
            Effect::Unclear if refusal.is_of_chain() => Judgement::Waits,
            Effect::Done | Effect::Unclear | Effect::Final => Judgement::Never,
        }
    }

    /// The other transaction that covers as much is not looked for, because no caller needs it.
    async fn find(
        &self,
        sight: &Sight<'_>,
        refusal: Refusal,
    ) -> Result<(Verdict, Option<String>), ChainError> {
        let confirmed = sight.is_refused_when_confirmed(&refusal).await?;
        Ok((Verdict::Done { confirmed, found: None }, None))
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, Bytes, U256};

    use super::*;
    use dac_contracts::{CertificateLog, CommitteeRegistry};

    #[test]
    fn a_renewal_is_judged_by_what_refuses_it() {
        let address = Address::ZERO;
        let renew = Renew { settlement: address, last_batch: 3, expires_at: 9 };
        for (revert, expected) in [
            (Refusal::of(&Settlement::NothingRenewed { coverageUntil: 9 }), Judgement::Done),
            (Refusal::of(&Settlement::RenewalAhead { lastBatch: 3, batchCount: 2 }), Judgement::Waits),
            (Refusal::of(&CommitteeRegistry::UnknownEpoch { epoch: 3, epochCount: 2 }), Judgement::Waits),
            (Refusal::NoCode { address }, Judgement::Waits),
            (Refusal::of(&Settlement::RenewalTooOld { lastBatch: 3, mark: 4 }), Judgement::Never),
            (Refusal::of(&Settlement::WrongRollup { got: address, expected: address }), Judgement::Never),
            (
                Refusal::of(&CertificateLog::Expired { expiresAt: 1, timestamp: U256::from(2) }),
                Judgement::Never,
            ),
            (
                Refusal::of(&CertificateLog::EpochNoLongerPostable { epoch: 1, postableUntil: 4 }),
                Judgement::Never,
            ),
            (Refusal::of(&CertificateLog::SignatureMismatch { digest: B256::ZERO }), Judgement::Never),
            (Refusal::Unexplained { data: Bytes::new() }, Judgement::Never),
        ] {
            assert_eq!(renew.judge(&revert), expected, "{revert}");
        }
    }
}
