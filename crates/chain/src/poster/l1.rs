//! L1 as the poster sees it, and its implementation over JSON-RPC.

use std::sync::Arc;

use alloy::primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use dac_types::BatchDigest;

use crate::error::ChainError;
use crate::log::{CertificateLogReader, RecordedCertificate};
use crate::revert::Revert;
use crate::rpc::{At, BlockRef, Call, Endpoint, Endpoints, Head, Receipt, SendAnswer};
use crate::settlement::{Searched, SettledBatch, SettlementReader};
use crate::transaction::USUAL_TIP;

/// A call to a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractCall {
    /// Who calls.
    pub from: Address,
    /// The contract.
    pub to: Address,
    /// Selector and arguments.
    pub data: Bytes,
    /// The function returns something: an empty answer is none of it.
    pub returns: bool,
}

/// What the poster needs of L1. A contract's refusal is an answer, not an error.
#[async_trait]
pub trait L1: Send + Sync {
    /// The newest block.
    async fn head(&self) -> Result<Head, ChainError>;
    /// A block by number.
    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError>;
    /// Nonces that `account` had used up as of a block.
    async fn nonce(&self, account: Address, block: B256) -> Result<u64, ChainError>;
    /// What `account` owns as of the newest block, in wei.
    async fn balance(&self, account: Address) -> Result<U256, ChainError>;
    /// The tip that gets a transaction included soon, in wei per gas.
    async fn priority_fee(&self) -> Result<u128, ChainError>;
    /// Runs a call as of a block, changing nothing.
    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Revert>, ChainError>;
    /// Gas that a call takes as of the newest block; never as of the pending one, where our own transaction may lie
    /// already.
    async fn estimate_gas(&self, call: &ContractCall) -> Result<Result<u64, Revert>, ChainError>;
    /// Hands over a signed transaction.
    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError>;
    /// What became of a transaction, if it is included.
    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError>;
    /// Whether the log had a digest as of a block, by its own books.
    async fn is_recorded(&self, log: Address, digest: BatchDigest, block: B256) -> Result<bool, ChainError>;
    /// The recording of a digest by whomever, if it lies not too far back.
    async fn find_recorded(
        &self,
        log: Address,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError>;
    /// How many batches a rollup had settled as of a block.
    async fn settled_count(&self, settlement: Address, block: B256) -> Result<u64, ChainError>;
    /// The batch that a rollup settled under a number, if it lies not too far back: a few steps of the search, which goes on
    /// with the next call.
    async fn find_settled(
        &self,
        settlement: Address,
        batch_number: u64,
        to_block: u64,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError>;
}

/// L1 over JSON-RPC.
#[derive(Clone, Debug)]
pub struct RpcL1 {
    endpoints: Endpoints,
}

impl RpcL1 {
    /// L1 at these endpoints.
    pub fn new(endpoints: Endpoints) -> Self {
        Self { endpoints }
    }
}

fn rpc_call(call: &ContractCall) -> Call {
    Call { from: Some(call.from), ..Call::view(call.to, call.data.to_vec()) }
}

#[async_trait]
impl L1 for RpcL1 {
    async fn head(&self) -> Result<Head, ChainError> {
        self.endpoints.head().await
    }

    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        let work = |endpoint: Endpoint| async move { endpoint.block_at(number).await };
        let head = self.endpoints.agreed("a block", work).await?;
        Ok(head.map(|head| head.block))
    }

    async fn nonce(&self, account: Address, block: B256) -> Result<u64, ChainError> {
        let work = |endpoint: Endpoint| async move { endpoint.nonce(account, At::Hash(block)).await };
        self.endpoints.agreed("the poster's nonce", work).await
    }

    async fn balance(&self, account: Address) -> Result<U256, ChainError> {
        self.endpoints.first(|endpoint| async move { endpoint.balance(account).await }).await
    }

    async fn priority_fee(&self) -> Result<u128, ChainError> {
        match self.endpoints.first(|endpoint| async move { endpoint.priority_fee().await }).await {
            Err(ChainError::Refused { .. }) => Ok(USUAL_TIP),
            fee => fee,
        }
    }

    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Revert>, ChainError> {
        let request = &rpc_call(call);
        let (returns, address) = (call.returns, call.to);
        self.endpoints
            .first(|endpoint| async move {
                Ok(match endpoint.call(request, At::Hash(block)).await? {
                    // An address without code takes every call: nothing would be recorded there.
                    Ok(data) if data.is_empty() && returns => Err(Revert::Unexplained { data }),
                    Ok(data) if data.is_empty() && endpoint.code(address).await?.is_empty() => {
                        Err(Revert::NoCode { address })
                    }
                    Ok(_) => Ok(()),
                    Err(revert) => Err(revert),
                })
            })
            .await
    }

    async fn estimate_gas(&self, call: &ContractCall) -> Result<Result<u64, Revert>, ChainError> {
        let call = &rpc_call(call);
        self.endpoints.first(|endpoint| async move { endpoint.estimate_gas(call, At::Latest).await }).await
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        // To all: one that is cut off, or keeps to itself what it takes, must not be the only one that has it.
        let raw: Arc<[u8]> = raw.into();
        let send = |endpoint: Endpoint| {
            let raw = raw.clone();
            async move { endpoint.send_raw(&raw).await }
        };
        self.endpoints.every(send, |answer| *answer == SendAnswer::Accepted).await
    }

    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError> {
        let work = |endpoint: Endpoint| async move { endpoint.receipt(tx_hash).await };
        self.endpoints.agreed("a receipt", work).await
    }

    async fn is_recorded(&self, log: Address, digest: BatchDigest, block: B256) -> Result<bool, ChainError> {
        CertificateLogReader::new(self.endpoints.clone(), log).is_recorded_at(digest, block).await
    }

    async fn find_recorded(
        &self,
        log: Address,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError> {
        CertificateLogReader::new(self.endpoints.clone(), log).find(digest, to_block).await
    }

    async fn settled_count(&self, settlement: Address, block: B256) -> Result<u64, ChainError> {
        SettlementReader::new(self.endpoints.clone(), settlement).batch_count_at(block).await
    }

    async fn find_settled(
        &self,
        settlement: Address,
        batch_number: u64,
        to_block: u64,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError> {
        SettlementReader::new(self.endpoints.clone(), settlement)
            .search(batch_number, to_block, searched)
            .await
    }
}
