//! The chain behind the production traits, as one host sees it: with delays and with outages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dac_chain::feed::{Fact, L1View, Origin};
use dac_chain::{
    Address, BlockRef, Broadcast, ChainError, ContractCall, Head, L1, Receipt, RecordedCertificate, Refusal,
    RegistryReader, RegistryView, Searched, SendAnswer, SettledBatch, U256,
};
use dac_types::{B256, BatchDigest};

use super::{Chain, RECORD_GAS, State, TRANSFER_GAS};
use crate::cast::LOG;

/// Longest duration of one call, in milliseconds.
const CALL_MAX_MS: u64 = 30;
/// Base fee in wei per gas.
const BASE_FEE: u128 = 1_000_000_000;

/// One host's access to the chain. Clones share an outage.
#[derive(Clone)]
pub(crate) struct ChainView {
    chain: Chain,
    down: Arc<AtomicBool>,
}

impl ChainView {
    pub(crate) fn new(chain: Chain) -> Self {
        Self { chain, down: Arc::default() }
    }

    /// Starts or ends an outage, in which all calls fail.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    async fn call<T>(
        &self,
        method: &'static str,
        work: impl FnOnce(&mut State) -> T,
    ) -> Result<T, ChainError> {
        tokio::time::sleep(Duration::from_millis(rand::random_range(1..=CALL_MAX_MS))).await;
        if self.down.load(Ordering::SeqCst) {
            return Err(transport(method, "no answer"));
        }
        Ok(work(&mut self.chain.state.lock()))
    }
}

fn transport(method: &'static str, reason: &str) -> ChainError {
    ChainError::Transport { endpoint: "simulated".to_owned(), method, reason: reason.to_owned() }
}

#[async_trait]
impl RegistryReader for ChainView {
    async fn read(&self, confirmations: u64) -> Result<RegistryView, ChainError> {
        let head = self
            .call("registry", |state| {
                let number = state.head().number.saturating_sub(confirmations);
                state.block(number).map(|block| block.reference)
            })
            .await?;
        head.map(|head| self.chain.cast.view(head)).ok_or_else(|| transport("registry", "no such block"))
    }
}

#[async_trait]
impl Broadcast for ChainView {
    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        self.call("send", |state| state.send(raw)).await?.map_err(|problem| transport("send", &problem))
    }
}

#[async_trait]
impl L1 for ChainView {
    async fn head(&self) -> Result<Head, ChainError> {
        self.call("head", |state| Head { block: state.head(), base_fee: BASE_FEE }).await
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.call("block", |state| state.block(number).map(|block| block.reference)).await
    }

    async fn nonce(&self, account: Address, block: B256) -> Result<u64, ChainError> {
        self.call("nonce", |state| state.up_to(block).map(|blocks| super::used_nonces(blocks, account)))
            .await?
            .ok_or_else(|| transport("nonce", "no such block"))
    }

    async fn balance(&self, _account: Address, _block: B256) -> Result<U256, ChainError> {
        self.call("balance", |_| U256::MAX).await
    }

    async fn priority_fee(&self) -> Result<u128, ChainError> {
        self.call("fee", |_| BASE_FEE).await
    }

    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Refusal>, ChainError> {
        self.call("call", |state| state.call(call.to, &call.data, block))
            .await?
            .ok_or_else(|| transport("call", "no such block"))
    }

    async fn estimate_gas(
        &self,
        call: &ContractCall,
        block: BlockRef,
    ) -> Result<Result<u64, Refusal>, ChainError> {
        let gas = if call.data.is_empty() { TRANSFER_GAS } else { RECORD_GAS };
        self.call("estimate", |state| {
            if call.data.is_empty() { Some(Ok(())) } else { state.call(call.to, &call.data, block.hash) }
        })
        .await?
        .map(|result| result.map(|()| gas))
        .ok_or_else(|| transport("estimate", "no such block"))
    }

    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError> {
        self.call("receipt", |state| {
            state.blocks.iter().find_map(|block| {
                let included = block.included.iter().find(|included| included.sent.hash == tx_hash)?;
                Some(Receipt {
                    tx_hash,
                    block: block.reference.number,
                    block_hash: block.reference.hash,
                    success: included.success,
                    gas_used: RECORD_GAS,
                    contract: None,
                })
            })
        })
        .await
    }

    async fn is_recorded(&self, _log: Address, digest: BatchDigest, block: B256) -> Result<bool, ChainError> {
        self.call("call", |state| state.up_to(block).map(|blocks| super::is_recorded(blocks, digest)))
            .await?
            .ok_or_else(|| transport("call", "no such block"))
    }

    async fn find_recorded(
        &self,
        _log: Address,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError> {
        self.call("logs", |state| {
            let blocks = state.blocks.iter().take_while(|block| block.reference.number <= to_block);
            blocks.flat_map(recorded_in).find(|recorded| recorded.digest == digest)
        })
        .await
    }

    async fn settled_count(&self, _settlement: Address, _block: B256) -> Result<u64, ChainError> {
        self.call("call", |_| 0).await
    }

    async fn find_settled(
        &self,
        _settlement: Address,
        _batch_number: u64,
        _to_block: u64,
        _searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError> {
        self.call("logs", |_| None).await
    }
}

#[async_trait]
impl L1View for ChainView {
    async fn latest(&self) -> Result<BlockRef, ChainError> {
        self.call("head", |state| state.head()).await
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        L1::block_at(self, number).await
    }

    async fn facts(&self, origin: Origin, from: u64, to: u64) -> Result<Vec<Fact>, ChainError> {
        self.call("logs", |state| match origin {
            Origin::Log(LOG) => {
                let blocks = state.blocks.iter().filter(|b| (from..=to).contains(&b.reference.number));
                blocks.flat_map(recorded_in).map(Fact::Recorded).collect()
            }
            _ => Vec::new(),
        })
        .await
    }
}

/// Returns the records that the log made in a block.
fn recorded_in(block: &super::Block) -> impl Iterator<Item = RecordedCertificate> + '_ {
    block.included.iter().filter_map(|included| {
        let recorded = included.recorded.as_ref()?;
        let (header, block) = (&recorded.certificate.header, block.reference.number);
        Some(RecordedCertificate::of(recorded.digest, header, block, included.sent.hash))
    })
}
