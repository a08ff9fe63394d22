//! Until when a rollup's settled batches are kept, as its contract says, and what follows from
//! that.

use dac_types::Address;

use super::reader::SettlementReader;
use crate::contracts::{FreezeReason, Settlement};
use crate::error::ChainError;
use crate::rpc::{At, BlockRef};

/// The contract's `coverageUntil` before the first batch, when nothing needs coverage.
const NOTHING_TO_COVER: u64 = (1 << 40) - 1;

/// A rollup's coverage at one block. Times are in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoverageState {
    /// The block at which all of this was read.
    pub block: BlockRef,
    /// The registry of the committee that covers it.
    pub registry: Address,
    /// The number of settled batches.
    pub batch_count: u64,
    /// The time of the last settlement, or of deployment.
    pub last_settled_at: u64,
    /// The time until which all settled batches are kept; `None` before the first batch.
    pub until: Option<u64>,
    /// The least last batch that a renewal must have to be of use.
    pub mark: u64,
    /// The freeze delay in seconds.
    pub freeze_delay: u64,
    /// The exit window in seconds.
    pub exit_window: u64,
    /// The reason of the freeze; `None` if the rollup is not frozen.
    pub frozen_for: Option<FreezeReason>,
    /// The reason for which anyone may freeze it now; `None` if there is none.
    pub freezable_for: Option<FreezeReason>,
}

impl CoverageState {
    /// The time after which nothing settles for want of coverage. Section 7: coverage ≥ now +
    /// freezeDelay + exitWindow.
    pub const fn settles_until(&self) -> Option<u64> {
        match self.until {
            Some(until) => Some(until.saturating_sub(self.freeze_delay.saturating_add(self.exit_window))),
            None => None,
        }
    }

    /// The time after which anyone may freeze the rollup for want of coverage. Section 13: coverage
    /// below now + freezeDelay/2 + exitWindow.
    pub const fn freezable_after(&self) -> Option<u64> {
        match self.until {
            Some(until) => {
                Some(until.saturating_sub((self.freeze_delay / 2).saturating_add(self.exit_window)))
            }
            None => None,
        }
    }

    /// The time after which anyone may freeze the rollup because nothing settled.
    pub const fn idle_after(&self) -> u64 {
        self.last_settled_at.saturating_add(self.freeze_delay)
    }
}

impl SettlementReader {
    /// Reads the rollup's coverage as of the newest block.
    pub async fn coverage(&self) -> Result<CoverageState, ChainError> {
        self.coverage_at(0).await
    }

    /// Reads it as of the newest block that has `confirmations` blocks on top.
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
