//! Settling a batch on its rollup's contract.

use alloy::primitives::Address;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::error::PosterError;
use super::super::key::PostingDigest;
use super::super::sight::Sight;
use super::super::verdict::Verdict;
use super::kind::{Judgement, Kind, Place, check_shared_room};
use dac_chain::ChainError;
use dac_chain::{SettledBatch, SettlementRefusal};
use dac_contracts::Refusal;

/// The largest number of settlements of one contract that are waiting or under way. It is bounded
/// because a batch's call may have 130 KiB.
const PER_CONTRACT_MAX: usize = 256;

/// The task to settle a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The rollup's contract.
    pub settlement: Address,
    /// The batch's number: it settles after the one before it.
    pub batch_number: u64,
    /// The Unix time after which the batch cannot settle.
    pub expires_at: u64,
}

#[async_trait]
impl Kind for Settle {
    fn name(&self) -> &'static str {
        "settle"
    }

    fn place(&self) -> Option<Place> {
        Some(Place { contract: self.settlement, number: self.batch_number })
    }

    fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at)
    }

    fn is_in_order(&self) -> bool {
        true
    }

    /// The same batch may settle with different proofs, and a call with another proof is another
    /// posting.
    fn is_bound_to_call(&self) -> bool {
        true
    }

    /// Each rollup has its own limit, so that one rollup's batches do not keep out another's. The
    /// batch for which all others of its rollup wait has twice that limit, so that they cannot keep
    /// it out.
    fn check_room(&self, line: &[u64], queued: usize, queue_max: usize) -> Result<(), PosterError> {
        check_shared_room(queued, queue_max)?;
        let limit = match line.iter().all(|number| self.batch_number < *number) {
            true => 2 * PER_CONTRACT_MAX,
            false => PER_CONTRACT_MAX,
        };
        if line.len() < limit {
            return Ok(());
        }
        Err(PosterError::SettlementsQueued { settlement: self.settlement, limit })
    }

    fn judge(&self, refusal: &Refusal) -> Judgement {
        match SettlementRefusal::of(refusal) {
            SettlementRefusal::NumberUsed => Judgement::Done,
            SettlementRefusal::NotYet => Judgement::Waits,
            SettlementRefusal::Proof | SettlementRefusal::Frozen | SettlementRefusal::Batch => {
                Judgement::Never
            }
        }
    }

    /// Only the event shows which batch took the number. Later numbers do not wait for the event to
    /// be found.
    async fn find(
        &self,
        sight: &Sight<'_>,
        refusal: Refusal,
    ) -> Result<(Verdict, Option<String>), ChainError> {
        let number = self.batch_number;
        let mut searched = sight.recall();
        let found = sight.l1.find_settled(self.settlement, number, sight.head.number, &mut searched).await;
        sight.remember(searched);
        let problem = match found {
            Ok(Some(SettledBatch { digest: by, block, tx, .. })) => {
                let confirmed = block <= sight.confirmed.number;
                let verdict = match PostingDigest::from(by) == sight.digest {
                    true => Verdict::Done { confirmed, found: Some((block, tx)) },
                    false => Verdict::NumberUsed { by, confirmed },
                };
                return Ok((verdict, None));
            }
            Ok(None) if searched.is_over() => {
                format!("batch {number} is settled, but its event was not found")
            }
            Ok(None) => format!("batch {number} is settled, its event is looked for"),
            Err(error) => format!("batch {number} is settled, but its event was not found: {error}"),
        };
        Ok((Verdict::Refused { refusal, confirmed: false }, Some(problem)))
    }
}
