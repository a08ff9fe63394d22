//! Typed calls of the JSON-RPC methods that are used.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U64, U128, U256, keccak256};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::http::{Answer, Http};
use super::rest::{Rest, Turn};
use super::standing::Standing;
use super::types::{At, BlockRef, Call, Head, Log, Receipt};
use super::width::{Failure, PageWidth};
use crate::contracts::Refusal;
use crate::error::ChainError;
use crate::transaction::SendAnswer;

/// How long an endpoint's chain id is trusted before it is asked for again: a provider may change
/// the node behind a URL.
const CHAIN_CHECK_AGE_MAX: Duration = Duration::from_secs(60);

/// One L1 node.
#[derive(Clone)]
pub(crate) struct Endpoint {
    http: Arc<Http>,
    /// When the endpoint last confirmed that it serves the right chain.
    chain_checked: Arc<Mutex<Option<Instant>>>,
    rest: Arc<Rest>,
    width: Arc<Mutex<PageWidth>>,
    standing: Arc<Standing>,
    /// The endpoint's position in the configuration.
    index: usize,
}

impl Endpoint {
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, ChainError> {
        Ok(Self {
            http: Arc::new(Http::new(url, timeout)?),
            chain_checked: Arc::default(),
            rest: Arc::default(),
            width: Arc::default(),
            standing: Arc::default(),
            index: 0,
        })
    }

    /// The same endpoint with its position in the configuration.
    pub(super) fn at(self, index: usize) -> Self {
        Self { index, ..self }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// What operators are told about this endpoint.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(crate) fn name(&self) -> &str {
        self.http.name()
    }

    pub(crate) async fn check_chain(&self, expected: u64) -> Result<(), ChainError> {
        let checked = *lock(&self.chain_checked);
        if checked.is_some_and(|at| at.elapsed() < CHAIN_CHECK_AGE_MAX) {
            return Ok(());
        }
        let got = self.chain_id().await?;
        if got != expected {
            return Err(ChainError::WrongChain { endpoint: self.name().into(), expected, got });
        }
        *lock(&self.chain_checked) = Some(Instant::now());
        Ok(())
    }

    /// Whether the endpoint may be asked now.
    pub(super) fn turn(&self) -> Turn {
        self.rest.turn()
    }

    /// Notes that the endpoint asked for a pause, and returns the error for it.
    pub(super) fn rate_limited(&self, method: &'static str, retry_after: Duration) -> ChainError {
        ChainError::RateLimited { endpoint: self.name().into(), method, retry_after }
    }

    /// Notes a failure: the endpoint is asked last for a while, and then checked for its chain
    /// again.
    pub(super) fn failed(&self, error: &ChainError) {
        self.standing.failed(error);
        if matches!(error, ChainError::BlockUnknown { .. }) {
            return;
        }
        *lock(&self.chain_checked) = None;
        match error {
            // The endpoint works; the next request may be small enough.
            ChainError::HttpStatus { status: 413, .. } => {}
            ChainError::Timeout { .. } | ChainError::Transport { .. } | ChainError::HttpStatus { .. } => {
                self.rest.failed();
            }
            ChainError::RateLimited { retry_after, .. } => self.rest.limited(*retry_after),
            // The endpoint answered, if badly; the next request may suit it better.
            _ => {}
        }
    }

    /// Notes that another endpoint has more of the chain.
    pub(super) fn lags(&self) {
        self.rest.lags();
    }

    pub(crate) async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(self.request::<U64>("eth_chainId", json!([])).await?.to())
    }

    pub(crate) async fn head(&self) -> Result<Head, ChainError> {
        const METHOD: &str = "eth_getBlockByNumber";
        self.block(json!("latest"))
            .await?
            .ok_or_else(|| self.http.malformed(METHOD, "there is no latest block"))
    }

    /// The newest block that has `confirmations` blocks on top.
    pub(crate) async fn confirmed(&self, confirmations: u64) -> Result<BlockRef, ChainError> {
        let latest = self.head().await?.block;
        if confirmations == 0 {
            return Ok(latest);
        }
        let number = latest.number.saturating_sub(confirmations);
        // The block is missing if the chain became shorter between the two calls; the next attempt
        // will then see one chain.
        self.known_block(number).await
    }

    pub(crate) async fn block_at(&self, number: u64) -> Result<Option<Head>, ChainError> {
        let head = self.block(json!(U64::from(number))).await?;
        match head {
            Some(head) if head.block.number != number => {
                Err(self.http.malformed("eth_getBlockByNumber", "another block than the one asked for"))
            }
            head => Ok(head),
        }
    }

    /// Reads a block that was there a moment ago; it is an error if it is not there now.
    pub(crate) async fn known_block(&self, number: u64) -> Result<BlockRef, ChainError> {
        let block = self.block_at(number).await?;
        block.map(|head| head.block).ok_or(ChainError::BlockUnknown { block: number })
    }

    async fn block(&self, which: Value) -> Result<Option<Head>, ChainError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Block {
            number: U64,
            hash: B256,
            timestamp: U64,
            base_fee_per_gas: Option<U128>,
        }
        let block: Option<Block> = self.request("eth_getBlockByNumber", json!([which, false])).await?;
        Ok(block.map(|block| Head {
            block: BlockRef { number: block.number.to(), hash: block.hash, timestamp: block.timestamp.to() },
            base_fee: block.base_fee_per_gas.unwrap_or_default().to(),
        }))
    }

    pub(crate) async fn call(&self, call: &Call, at: At) -> Result<Result<Bytes, Refusal>, ChainError> {
        self.revertible("eth_call", json!([call.to_json(), at.to_json()])).await
    }

    pub(crate) async fn estimate_gas(&self, call: &Call, at: At) -> Result<Result<u64, Refusal>, ChainError> {
        let gas: Result<U64, Refusal> =
            self.revertible("eth_estimateGas", json!([call.to_json(), at.to_json()])).await?;
        Ok(gas.map(|gas| gas.to()))
    }

    pub(crate) async fn code(&self, address: Address) -> Result<Bytes, ChainError> {
        self.request("eth_getCode", json!([address, "latest"])).await
    }

    pub(crate) async fn balance(&self, address: Address, at: At) -> Result<U256, ChainError> {
        self.request("eth_getBalance", json!([address, at.to_json()])).await
    }

    pub(crate) async fn nonce(&self, address: Address, at: At) -> Result<u64, ChainError> {
        Ok(self.request::<U64>("eth_getTransactionCount", json!([address, at.to_json()])).await?.to())
    }

    /// The tip that the node suggests. Fails with [`ChainError::Refused`] if the node does not have
    /// the method or a proxy forbids it.
    pub(crate) async fn priority_fee(&self) -> Result<u128, ChainError> {
        match self.request::<U128>("eth_maxPriorityFeePerGas", json!([])).await {
            Ok(tip) => Ok(tip.to()),
            // A proxy may forbid a method by a status alone. That concerns only this method, so the
            // endpoint is not asked last because of it.
            Err(ChainError::HttpStatus { endpoint, method, status, said })
                if (400..500).contains(&status) && status != 408 =>
            {
                Err(ChainError::Refused { endpoint, method, code: status.into(), message: said })
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn receipt(&self, hash: B256) -> Result<Option<Receipt>, ChainError> {
        const METHOD: &str = "eth_getTransactionReceipt";
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw {
            transaction_hash: B256,
            block_number: U64,
            block_hash: B256,
            status: U64,
            gas_used: U64,
            contract_address: Option<Address>,
        }
        let raw: Option<Raw> = self.request(METHOD, json!([hash])).await?;
        let Some(raw) = raw else { return Ok(None) };
        if raw.transaction_hash != hash {
            return Err(self.http.malformed(METHOD, "the receipt of another transaction"));
        }
        Ok(Some(Receipt {
            tx_hash: hash,
            block: raw.block_number.to(),
            block_hash: raw.block_hash,
            success: raw.status == U64::ONE,
            gas_used: raw.gas_used.to(),
            contract: raw.contract_address,
        }))
    }

    pub(crate) async fn logs(
        &self,
        address: Address,
        topics: &[Option<B256>],
        from: u64,
        to: u64,
    ) -> Result<Vec<Log>, ChainError> {
        self.logs_with(address, json!(topics), from, to).await
    }

    /// Returns all logs whose first topic is one of `kinds`.
    pub(crate) async fn logs_of_kinds(
        &self,
        address: Address,
        kinds: &[B256],
        from: u64,
        to: u64,
    ) -> Result<Vec<Log>, ChainError> {
        self.logs_with(address, json!([kinds]), from, to).await
    }

    async fn logs_with(
        &self,
        address: Address,
        topics: Value,
        from: u64,
        to: u64,
    ) -> Result<Vec<Log>, ChainError> {
        let filter = json!({
            "address": address,
            "topics": topics,
            "fromBlock": U64::from(from),
            "toBlock": U64::from(to),
        });
        let result = self.request("eth_getLogs", json!([filter])).await;
        let blocks = (to - from).saturating_add(1);
        match &result {
            Ok(_) => lock(&self.width).answered(blocks),
            Err(error) if error.is_crowded() => lock(&self.width).failed(blocks, Failure::Refused),
            Err(error) if error.may_be_crowded() => lock(&self.width).failed(blocks, Failure::Broken),
            Err(_) => {}
        }
        result
    }

    /// How many of `blocks` blocks should be asked for logs at once, given what the endpoint
    /// granted before.
    pub(crate) fn page_width(&self, blocks: u64) -> u64 {
        lock(&self.width).of(blocks)
    }

    /// Sends a signed transaction. A node that has it already counts as having accepted it.
    pub(crate) async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        const METHOD: &str = "eth_sendRawTransaction";
        let params = json!([alloy::primitives::hex::encode_prefixed(raw)]);
        match self.http.exchange::<B256>(METHOD, params).await? {
            Answer::Value(_) => Ok(SendAnswer::Accepted),
            Answer::Error(error) => match SendAnswer::of(&error.message) {
                Some(answer) => Ok(answer),
                // If the node has the transaction, it accepted it; the words of the error do not
                // matter.
                None if self.has_transaction(keccak256(raw)).await => Ok(SendAnswer::Accepted),
                None => Err(self.http.refused(METHOD, error)),
            },
        }
    }

    /// Whether the node says that it has this transaction, in a block or in its pool.
    async fn has_transaction(&self, hash: B256) -> bool {
        #[derive(Deserialize)]
        struct Transaction {
            hash: B256,
        }
        let known = self.request::<Option<Transaction>>("eth_getTransactionByHash", json!([hash])).await;
        known.is_ok_and(|known| known.is_some_and(|transaction| transaction.hash == hash))
    }

    /// Calls any method, for tests that steer a local chain.
    #[cfg(feature = "testing")]
    pub(crate) async fn raw(&self, method: &'static str, params: Value) -> Result<Value, ChainError> {
        match self.http.exchange::<Option<Value>>(method, params).await? {
            Answer::Value(value) => Ok(value.unwrap_or(Value::Null)),
            Answer::Error(error) => Err(self.http.refused(method, error)),
        }
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, ChainError> {
        match self.http.exchange(method, params).await? {
            Answer::Value(value) => Ok(value),
            Answer::Error(error) => Err(self.http.refused(method, error)),
        }
    }

    async fn revertible<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Result<T, Refusal>, ChainError> {
        match self.http.exchange(method, params).await? {
            Answer::Value(value) => Ok(Ok(value)),
            Answer::Error(error) => match (error.revert_data().filter(|data| !data.is_empty()), error.halt())
            {
                (Some(data), _) => Ok(Err(Refusal::decode(&data))),
                (None, Some(reason)) => Ok(Err(Refusal::Halted { reason })),
                (None, None) if error.is_revert() || error.revert_data().is_some() => {
                    Ok(Err(Refusal::Unexplained { data: Bytes::new() }))
                }
                (None, None) => Err(self.http.refused(method, error)),
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::fake::{Say, serve};
    use super::*;

    #[tokio::test]
    async fn the_chain_behind_a_url_is_asked_for_again_after_a_minute() {
        let chain = Arc::new(AtomicU64::new(1));
        let served = Arc::clone(&chain);
        let answer = move || json!(format!("{:#x}", served.load(Ordering::Relaxed)));
        let url = serve(move |_, _| Say::Result(answer())).await;
        let endpoint = Endpoint::new(&url, Duration::from_secs(5)).unwrap();
        endpoint.check_chain(1).await.unwrap();
        chain.store(2, Ordering::Relaxed);
        endpoint.check_chain(1).await.expect("it was asked a moment ago");
        *lock(&endpoint.chain_checked) = Instant::now().checked_sub(CHAIN_CHECK_AGE_MAX);
        let wrong = endpoint.check_chain(1).await.unwrap_err();
        assert!(matches!(wrong, ChainError::WrongChain { expected: 1, got: 2, .. }), "{wrong}");
    }
}
