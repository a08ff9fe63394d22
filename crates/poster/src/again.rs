//! Repeats a failed request once: an unreliable endpoint fails a few of the about eighty requests
//! of one look.

use std::sync::Arc;

use alloy::primitives::{Address, B256, U256};
use async_trait::async_trait;
use dac_types::BatchDigest;

use dac_chain::ChainError;
use dac_chain::RecordedCertificate;
use dac_chain::{BlockRef, Head, Receipt, SendAnswer};
use dac_chain::{Broadcast, ContractCall, L1};
use dac_chain::{Searched, SettledBatch};
use dac_contracts::Refusal;

/// Access to L1 that repeats a failed request once. Every request may be repeated, also one that
/// hands over a transaction.
pub(super) struct Again<T: ?Sized>(pub(super) Arc<T>);

/// Returns whether an immediate repetition may succeed. A request that timed out would only time
/// out again, and an endpoint that asks for a pause gets one.
const fn is_worth_another_try(error: &ChainError) -> bool {
    matches!(
        error,
        ChainError::Transport { .. }
            | ChainError::Malformed { .. }
            | ChainError::AnswerTooLong { .. }
            | ChainError::Refused { .. }
    )
}

macro_rules! again {
    ($request:expr) => {
        match $request.await {
            Err(error) if is_worth_another_try(&error) => $request.await,
            result => result,
        }
    };
}

#[async_trait]
impl Broadcast for Again<dyn Broadcast> {
    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        again!(self.0.send_raw(raw))
    }
}

#[async_trait]
impl L1 for Again<dyn L1> {
    async fn head(&self) -> Result<Head, ChainError> {
        again!(self.0.head())
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        again!(self.0.block_at(number))
    }

    async fn nonce(&self, account: Address, block: B256) -> Result<u64, ChainError> {
        again!(self.0.nonce(account, block))
    }

    async fn balance(&self, account: Address, block: B256) -> Result<U256, ChainError> {
        again!(self.0.balance(account, block))
    }

    async fn priority_fee(&self) -> Result<u128, ChainError> {
        again!(self.0.priority_fee())
    }

    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Refusal>, ChainError> {
        again!(self.0.simulate(call, block))
    }

    async fn estimate_gas(
        &self,
        call: &ContractCall,
        block: BlockRef,
    ) -> Result<Result<u64, Refusal>, ChainError> {
        again!(self.0.estimate_gas(call, block))
    }

    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError> {
        again!(self.0.receipt(tx_hash))
    }

    async fn is_recorded(&self, log: Address, digest: BatchDigest, block: B256) -> Result<bool, ChainError> {
        again!(self.0.is_recorded(log, digest, block))
    }

    async fn find_recorded(
        &self,
        log: Address,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError> {
        again!(self.0.find_recorded(log, digest, to_block))
    }

    async fn settled_count(&self, settlement: Address, block: B256) -> Result<u64, ChainError> {
        again!(self.0.settled_count(settlement, block))
    }

    async fn find_settled(
        &self,
        settlement: Address,
        batch_number: u64,
        to_block: u64,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError> {
        again!(self.0.find_settled(settlement, batch_number, to_block, searched))
    }
}
