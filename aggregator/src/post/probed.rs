//! L1 with failpoints around the handing over of a transaction, where a crash would hurt most.

use std::sync::Arc;

use async_trait::async_trait;
use dac_chain::poster::ContractCall;
use dac_chain::{
    Address, BlockRef, ChainError, Head, L1, Receipt, RecordedCertificate, Revert, Searched, SendAnswer,
    SettledBatch, U256,
};
use dac_runtime::failpoint;
use dac_types::{B256, BatchDigest};

/// L1, as the poster of this process sees it.
pub struct Probed {
    inner: Arc<dyn L1>,
}

impl std::fmt::Debug for Probed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probed").finish_non_exhaustive()
    }
}

impl Probed {
    /// Over an L1.
    pub fn new(inner: Arc<dyn L1>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl L1 for Probed {
    async fn head(&self) -> Result<Head, ChainError> {
        self.inner.head().await
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.inner.block_at(number).await
    }

    async fn nonce(&self, account: Address, block: B256) -> Result<u64, ChainError> {
        self.inner.nonce(account, block).await
    }

    async fn balance(&self, account: Address, block: B256) -> Result<U256, ChainError> {
        self.inner.balance(account, block).await
    }

    async fn priority_fee(&self) -> Result<u128, ChainError> {
        self.inner.priority_fee().await
    }

    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Revert>, ChainError> {
        self.inner.simulate(call, block).await
    }

    async fn estimate_gas(
        &self,
        call: &ContractCall,
        block: BlockRef,
    ) -> Result<Result<u64, Revert>, ChainError> {
        self.inner.estimate_gas(call, block).await
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        failpoint!("aggregator.poster.before_send");
        let answer = self.inner.send_raw(raw).await;
        failpoint!("aggregator.poster.after_send");
        answer
    }

    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError> {
        self.inner.receipt(tx_hash).await
    }

    async fn is_recorded(&self, log: Address, digest: BatchDigest, block: B256) -> Result<bool, ChainError> {
        self.inner.is_recorded(log, digest, block).await
    }

    async fn find_recorded(
        &self,
        log: Address,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError> {
        self.inner.find_recorded(log, digest, to_block).await
    }

    async fn settled_count(&self, settlement: Address, block: B256) -> Result<u64, ChainError> {
        self.inner.settled_count(settlement, block).await
    }

    async fn find_settled(
        &self,
        settlement: Address,
        batch_number: u64,
        to_block: u64,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError> {
        self.inner.find_settled(settlement, batch_number, to_block, searched).await
    }
}
