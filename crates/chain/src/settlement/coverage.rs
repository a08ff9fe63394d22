//! Until when a rollup's settled batches are kept, by its contract's word, and what follows from
//! it.

use dac_types::Address;

use super::reader::SettlementReader;
use crate::contracts::{FreezeReason, Settlement};
use crate::error::ChainError;
use crate::rpc::{At, BlockRef};

/// `coverageUntil` before the first batch: nothing needs to be covered.
const NOTHING_TO_COVER: u64 = (1 << 40) - 1;

/// A rollup's coverage at one block. Times are in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoverageState {
    /// The block.
    pub block: BlockRef,
    /// The committee that covers it.
    pub registry: Address,
    /// Batches settled.
    pub batch_count: u64,
    /// Time of the last settlement, or of deployment.
    pub last_settled_at: u64,
    /// Until when all settled batches are kept; none before the first one.
    pub until: Option<u64>,
    /// The least last batch with which a renewal is of use.
    pub mark: u64,
    /// In seconds.
    pub freeze_delay: u64,
    /// In seconds.
    pub exit_window: u64,
    /// Why it is frozen, if it is.
    pub frozen_for: Option<FreezeReason>,
    /// Why anyone may freeze it, if anyone may.
    pub freezable_for: Option<FreezeReason>,
}

impl CoverageState {
    /// After this time nothing settles for want of coverage. Section 7: coverage ≥ now +
    /// freezeDelay + exitWindow.
    pub const fn settles_until(&self) -> Option<u64> {
        match self.until {
            Some(until) => Some(until.saturating_sub(self.freeze_delay.saturating_add(self.exit_window))),
            None => None,
        }
    }

    /// After this time anyone may freeze for want of coverage. Section 13: below now +
    /// freezeDelay/2 + exitWindow.
    pub const fn freezable_after(&self) -> Option<u64> {
        match self.until {
            Some(until) => {
                Some(until.saturating_sub((self.freeze_delay / 2).saturating_add(self.exit_window)))
            }
            None => None,
        }
    }

    /// After this time anyone may freeze because nothing settled.
    pub const fn idle_after(&self) -> u64 {
        self.last_settled_at.saturating_add(self.freeze_delay)
    }
}

impl SettlementReader {
    /// The rollup's coverage as of the newest block.
    pub async fn coverage(&self) -> Result<CoverageState, ChainError> {
        self.coverage_at(0).await
    }

    /// The same as of the newest block that has `confirmations` blocks on top.
    pub async fn coverage_at(&self, confirmations: u64) -> Result<CoverageState, ChainError> {
        let block = self.endpoints.confirmed(confirmations).await?;
        let at = At::Hash(block.hash);
        let until = self.view(Settlement::coverageUntilCall {}, at).await?;
        Ok(CoverageState {
            block,
            registry: self.view(Settlement::registryCall {}, at).await?,
            batch_count: self.view(Settlement::batchCountCall {}, at).await?,
            last_settled_at: self.view(Settlement::lastSettledAtCall {}, at).await?,
            until: (until < NOTHING_TO_COVER).then_some(until),
            mark: self.view(Settlement::coverageMarkCall {}, at).await?,
            freeze_delay: self.view(Settlement::freezeDelayCall {}, at).await?,
            exit_window: self.view(Settlement::exitWindowCall {}, at).await?,
            frozen_for: FreezeReason::of(self.view(Settlement::frozenForCall {}, at).await?),
            freezable_for: FreezeReason::of(self.view(Settlement::freezeReasonCall {}, at).await?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::B256;

    #[test]
    fn what_follows_from_coverage_is_the_protocols() {
        let state = CoverageState {
            block: BlockRef { number: 1, hash: B256::ZERO, timestamp: 1 },
            registry: Address::ZERO,
            batch_count: 1,
            last_settled_at: 1_000,
            until: Some(100_000),
            mark: 1,
            freeze_delay: 1_001,
            exit_window: 2_000,
            frozen_for: None,
            freezable_for: None,
        };
        assert_eq!(state.settles_until(), Some(96_999));
        // Half of an odd delay is rounded down, as in the contract.
        assert_eq!(state.freezable_after(), Some(97_500));
        assert_eq!(state.idle_after(), 2_001);
        let before = CoverageState { until: None, ..state };
        assert_eq!((before.settles_until(), before.freezable_after()), (None, None));
    }
}
