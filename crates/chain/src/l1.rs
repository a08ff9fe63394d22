//! The poster's view of L1, and its implementation over JSON-RPC.

use std::sync::Arc;

use alloy::primitives::{Address, B256, Bytes, U256};
use async_trait::async_trait;
use dac_types::BatchDigest;

use crate::contracts::Refusal;
use crate::error::ChainError;
use crate::log::{CertificateLogReader, RecordedCertificate};
use crate::rpc::{At, BlockRef, Call, Endpoint, Endpoints, Head, Receipt, SendAnswer};
use crate::settlement::{Searched, SettledBatch, SettlementReader};

/// Two gas estimates agree if they differ by at most the lower one divided by this.
const ESTIMATES_APART: u64 = 4;

/// A call to a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContractCall {
    /// The calling account.
    pub from: Address,
    /// The contract that is called.
    pub to: Address,
    /// The function selector and its arguments.
    pub data: Bytes,
    /// Whether the function returns something. If it does, an empty answer means that there is no
    /// contract.
    pub returns: bool,
}

/// Sends transactions to L1.
#[async_trait]
pub trait Broadcast: Send + Sync {
    /// Sends a signed transaction and tells how the node answered.
    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError>;
}

/// What the poster reads of L1. A contract's refusal is an answer, not an error.
#[async_trait]
pub trait L1: Send + Sync {
    /// The newest block.
    async fn head(&self) -> Result<Head, ChainError>;
    /// A block by number.
    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError>;
    /// The number of nonces that `account` had used as of a block.
    async fn nonce(&self, account: Address, block: B256) -> Result<u64, ChainError>;
    /// The balance of `account` as of a block, in wei.
    async fn balance(&self, account: Address, block: B256) -> Result<U256, ChainError>;
    /// The tip that gets a transaction included soon, in wei per gas.
    async fn priority_fee(&self) -> Result<u128, ChainError>;
    /// Runs a call as of a block, changing nothing.
    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Refusal>, ChainError>;
    /// The gas that a call takes as of a block. This is never the pending block, which may already
    /// contain our own transaction.
    async fn estimate_gas(
        &self,
        call: &ContractCall,
        block: BlockRef,
    ) -> Result<Result<u64, Refusal>, ChainError>;
    /// The receipt of a transaction, or `None` while it is not included.
    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError>;
    /// Whether the log, by its own storage, had recorded a digest as of a block.
    async fn is_recorded(&self, log: Address, digest: BatchDigest, block: B256) -> Result<bool, ChainError>;
    /// The transaction that recorded a digest, from any sender. `None` if it lies too far back.
    async fn find_recorded(
        &self,
        log: Address,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError>;
    /// How many batches a rollup had settled as of a block.
    async fn settled_count(&self, settlement: Address, block: B256) -> Result<u64, ChainError>;
    /// The batch that a rollup settled under a number, if it lies not too far back. One call makes
    /// a few steps of the search; the next call continues it.
    async fn find_settled(
        &self,
        settlement: Address,
        batch_number: u64,
        to_block: u64,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError>;
}

/// All that the poster needs from L1.
pub trait Chain: L1 + Broadcast {}

impl<T: L1 + Broadcast> Chain for T {}

/// L1 over JSON-RPC.
#[derive(Clone, Debug)]
pub struct RpcL1 {
    endpoints: Endpoints,
}

impl RpcL1 {
    /// L1 as these endpoints show it.
    pub fn new(endpoints: Endpoints) -> Self {
        Self { endpoints }
    }
}

fn rpc_call(call: &ContractCall) -> Call {
    Call { from: Some(call.from), ..Call::view(call.to, call.data.to_vec()) }
}

/// Whether two simulations end alike: both calls run, or the contract refuses both by the same
/// rule. The values in a refusal may differ, since nodes run a call in a block whose time they
/// choose.
fn ends_alike<T>(a: &Result<T, Refusal>, b: &Result<T, Refusal>) -> bool {
    match (a, b) {
        (Ok(_), Ok(_)) => true,
        (Err(a), Err(b)) => a.is_same_rule(b),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    }
}

/// Whether two estimates agree: they differ by no more than a quarter of the lower one. Nodes
/// search for the least gas and stop at different values. The larger estimate is kept: with too
/// little gas a transaction fails, and unused gas is refunded. So a lying endpoint can neither
/// cause a transaction with too little gas nor inflate an estimate by more than that quarter.
fn join_estimates(kept: &mut Result<u64, Refusal>, other: &Result<u64, Refusal>) -> bool {
    match (&mut *kept, other) {
        (Ok(kept), Ok(other)) => {
            let (low, high) = ((*kept).min(*other), (*kept).max(*other));
            let is_near = high - low <= low / ESTIMATES_APART;
            if is_near {
                *kept = high;
            }
            is_near
        }
        _ => ends_alike(kept, other),
    }
}

#[async_trait]
impl Broadcast for RpcL1 {
    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        // The transaction goes to all endpoints: one that is cut off, or that does not pass
        // transactions on, must not be the only one that has it.
        let raw: Arc<[u8]> = raw.into();
        let send = |endpoint: Endpoint| {
            let raw = raw.clone();
            async move { endpoint.send_raw(&raw).await }
        };
        self.endpoints.every(send, |answer| *answer == SendAnswer::Accepted).await
    }
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

    /// As many endpoints as must agree have to give the same number; honest ones cannot differ
    /// about a block that is named by its hash. So a lying endpoint can neither hide ether, which
    /// would stop all postings, nor invent it, which would have transactions refused one by one.
    async fn balance(&self, account: Address, block: B256) -> Result<U256, ChainError> {
        let work = |endpoint: Endpoint| async move { endpoint.balance(account, At::Hash(block)).await };
        self.endpoints.agreed("the poster's balance", work).await
    }

    async fn priority_fee(&self) -> Result<u128, ChainError> {
        self.endpoints.tip().await
    }

    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Refusal>, ChainError> {
        let request = &rpc_call(call);
        let (returns, address) = (call.returns, call.to);
        let work = |endpoint: Endpoint| async move {
            Ok(match endpoint.call(request, At::Hash(block)).await? {
                // An address without code accepts every call, but nothing would be recorded there.
                Ok(data) if data.is_empty() && returns => Err(Refusal::Unexplained { data }),
                Ok(data) if data.is_empty() && endpoint.code(address).await?.is_empty() => {
                    Err(Refusal::NoCode { address })
                }
                Ok(_) => Ok(()),
                Err(refusal) => Err(refusal),
            })
        };
        self.endpoints.agreed_by("a simulation", work, ends_alike).await
    }

    /// The block is named by its number, because not all nodes accept its hash here.
    async fn estimate_gas(
        &self,
        call: &ContractCall,
        block: BlockRef,
    ) -> Result<Result<u64, Refusal>, ChainError> {
        let call = &rpc_call(call);
        let work =
            |endpoint: Endpoint| async move { endpoint.estimate_gas(call, At::Number(block.number)).await };
        self.endpoints.agreed_with("the gas of a call", work, join_estimates).await
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

#[cfg(test)]
#[path = "l1_tests.rs"]
mod tests;
