//! JSON-RPC to L1 over HTTP: every call has a deadline, every answer a bound, and what an endpoint says is only parsed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes, U64, U128, U256};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::error::ChainError;
use crate::revert::Revert;

/// Bytes of one answer, at most. The largest one asked for, a page of logs, stays far below.
const ANSWER_MAX_BYTES: usize = 8 << 20;
/// Text of an endpoint's error that is repeated.
const MESSAGE_MAX_CHARS: usize = 200;

/// Where L1 answers, in order of preference.
#[derive(Clone)]
pub struct Endpoints {
    all: Arc<[Endpoint]>,
    chain_id: u64,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoints")
            .field("chain_id", &self.chain_id)
            .field("hosts", &self.all.iter().map(|endpoint| &endpoint.name).collect::<Vec<_>>())
            .finish()
    }
}

impl Endpoints {
    /// Endpoints of the chain `chain_id`; each call to each of them may take `timeout`.
    pub fn new<S: AsRef<str>>(urls: &[S], chain_id: u64, timeout: Duration) -> Result<Self, ChainError> {
        if urls.is_empty() {
            return Err(ChainError::NoEndpoint);
        }
        let all =
            urls.iter().map(|url| Endpoint::new(url.as_ref(), timeout)).collect::<Result<Arc<[_]>, _>>()?;
        Ok(Self { all, chain_id })
    }

    /// Asks the first endpoint which chain it serves, for tools that are told no chain id.
    pub async fn discover<S: AsRef<str>>(urls: &[S], timeout: Duration) -> Result<Self, ChainError> {
        let mut this = Self::new(urls, 0, timeout)?;
        let mut failure = ChainError::NoEndpoint;
        for endpoint in this.all.iter() {
            match endpoint.chain_id().await {
                Ok(chain_id) => {
                    this.chain_id = chain_id;
                    return Ok(this);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The chain that all endpoints must serve.
    pub fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Does `work` with the first endpoint that serves the right chain and answers. A contract's refusal is an answer.
    pub(crate) async fn first<T, F, W>(&self, work: F) -> Result<T, ChainError>
    where
        F: Fn(Endpoint) -> W,
        W: Future<Output = Result<T, ChainError>>,
    {
        let mut failure = None;
        for endpoint in self.all.iter() {
            let result = match endpoint.check_chain(self.chain_id).await {
                Ok(()) => work(endpoint.clone()).await,
                Err(error) => Err(error),
            };
            match result {
                Err(error) if error.is_of_endpoint() => {
                    endpoint.forget_chain();
                    // The first endpoint is the one preferred: its failure is the one to report.
                    failure.get_or_insert(error);
                }
                result => return result,
            }
        }
        Err(failure.unwrap_or(ChainError::NoEndpoint))
    }
}

impl ChainError {
    /// Whether another endpoint may do better.
    fn is_of_endpoint(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. }
                | Self::Transport { .. }
                | Self::AnswerTooLong { .. }
                | Self::Malformed { .. }
                | Self::Refused { .. }
                | Self::WrongChain { .. }
                | Self::NoContract { .. }
                | Self::SnapshotDeadline { .. }
                | Self::Registry { .. }
        )
    }
}

/// One L1 node.
#[derive(Clone)]
pub(crate) struct Endpoint {
    client: reqwest::Client,
    url: reqwest::Url,
    /// Host and port: what may be logged.
    name: Arc<str>,
    timeout: Duration,
    state: Arc<EndpointState>,
}

#[derive(Default)]
struct EndpointState {
    next_id: AtomicU64,
    chain_checked: AtomicBool,
}

/// A block as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: B256,
    /// Its time, in Unix seconds.
    pub timestamp: u64,
}

/// A block and what its successor's gas will cost at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The block.
    pub block: BlockRef,
    /// Wei per gas of the block.
    pub base_fee: u128,
}

/// What became of a transaction that was included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The transaction.
    pub tx_hash: B256,
    /// Number of the block that includes it.
    pub block: u64,
    /// Hash of that block.
    pub block_hash: B256,
    /// Whether it did what it was sent for.
    pub success: bool,
    /// Gas paid for.
    pub gas_used: u64,
    /// The contract it created.
    pub contract: Option<Address>,
}

/// What a call to a contract came to.
pub(crate) type CallResult = Result<Bytes, Revert>;

#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    Latest,
    Pending,
    Hash(B256),
}

impl At {
    fn to_json(self) -> Value {
        match self {
            Self::Latest => json!("latest"),
            Self::Pending => json!("pending"),
            Self::Hash(hash) => json!({ "blockHash": hash }),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) from: Option<Address>,
    /// None creates a contract.
    pub(crate) to: Option<Address>,
    pub(crate) data: Bytes,
}

impl Call {
    pub(crate) fn view(to: Address, data: Vec<u8>) -> Self {
        Self { from: None, to: Some(to), data: data.into() }
    }

    fn to_json(&self) -> Value {
        let mut object = json!({ "input": self.data });
        if let Some(from) = self.from {
            object["from"] = json!(from);
        }
        if let Some(to) = self.to {
            object["to"] = json!(to);
        }
        object
    }
}

#[derive(Deserialize)]
pub(crate) struct Log {
    pub(crate) address: Address,
    pub(crate) topics: Vec<B256>,
    pub(crate) data: Bytes,
    #[serde(rename = "blockNumber")]
    pub(crate) block: Option<U64>,
    #[serde(rename = "transactionHash")]
    pub(crate) tx_hash: Option<B256>,
    #[serde(default)]
    pub(crate) removed: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: &'a Value,
}

#[derive(Deserialize)]
struct Response<'a> {
    id: Option<u64>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
    #[serde(default)]
    data: Option<Value>,
}

impl ErrorObject {
    /// The revert data, wherever the node puts it: `data` itself, or `data.data`.
    fn revert_data(&self) -> Option<Bytes> {
        let data = self.data.as_ref()?;
        let text = data.as_str().or_else(|| data.get("data")?.as_str())?;
        text.parse().ok()
    }

    /// Code 3 is the answer to a revert by common consent; some nodes only say so.
    fn is_revert(&self) -> bool {
        self.code == 3 || self.message.to_ascii_lowercase().contains("revert")
    }
}

enum Answer<T> {
    Value(T),
    Error(ErrorObject),
}

impl Endpoint {
    fn new(url: &str, timeout: Duration) -> Result<Self, ChainError> {
        let unusable = |reason: String| ChainError::EndpointUrl { reason };
        let url: reqwest::Url = url.parse().map_err(|error| unusable(format!("{error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(unusable(format!("the scheme must be http or https, got {}", url.scheme())));
        }
        let host = url.host_str().ok_or_else(|| unusable("it names no host".into()))?;
        let name = match url.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none());
        if loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| unusable(describe(&error)))?;
        Ok(Self { client, url, name: name.into(), timeout, state: Arc::default() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn check_chain(&self, expected: u64) -> Result<(), ChainError> {
        if self.state.chain_checked.load(Ordering::Relaxed) {
            return Ok(());
        }
        let got = self.chain_id().await?;
        if got != expected {
            return Err(ChainError::WrongChain { endpoint: self.name.to_string(), expected, got });
        }
        self.state.chain_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// After a failure the endpoint may come back as another one.
    fn forget_chain(&self) {
        self.state.chain_checked.store(false, Ordering::Relaxed);
    }

    pub(crate) async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(self.request::<U64>("eth_chainId", json!([])).await?.to())
    }

    pub(crate) async fn head(&self) -> Result<Head, ChainError> {
        const METHOD: &str = "eth_getBlockByNumber";
        self.block(json!("latest")).await?.ok_or_else(|| self.malformed(METHOD, "there is no latest block"))
    }

    pub(crate) async fn block_at(&self, number: u64) -> Result<Option<Head>, ChainError> {
        let head = self.block(json!(U64::from(number))).await?;
        match head {
            Some(head) if head.block.number != number => {
                Err(self.malformed("eth_getBlockByNumber", "another block than the one asked for"))
            }
            head => Ok(head),
        }
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

    pub(crate) async fn call(&self, call: &Call, at: At) -> Result<CallResult, ChainError> {
        self.revertible("eth_call", json!([call.to_json(), at.to_json()])).await
    }

    pub(crate) async fn estimate_gas(&self, call: &Call) -> Result<Result<u64, Revert>, ChainError> {
        let gas: Result<U64, Revert> = self.revertible("eth_estimateGas", json!([call.to_json()])).await?;
        Ok(gas.map(|gas| gas.to()))
    }

    pub(crate) async fn code(&self, address: Address) -> Result<Bytes, ChainError> {
        self.request("eth_getCode", json!([address, "latest"])).await
    }

    pub(crate) async fn balance(&self, address: Address) -> Result<U256, ChainError> {
        self.request("eth_getBalance", json!([address, "latest"])).await
    }

    pub(crate) async fn nonce(&self, address: Address, at: At) -> Result<u64, ChainError> {
        Ok(self.request::<U64>("eth_getTransactionCount", json!([address, at.to_json()])).await?.to())
    }

    pub(crate) async fn priority_fee(&self) -> Result<u128, ChainError> {
        Ok(self.request::<U128>("eth_maxPriorityFeePerGas", json!([])).await?.to())
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
            return Err(self.malformed(METHOD, "the receipt of another transaction"));
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
        let filter = json!({
            "address": address,
            "topics": topics,
            "fromBlock": U64::from(from),
            "toBlock": U64::from(to),
        });
        self.request("eth_getLogs", json!([filter])).await
    }

    /// Hands over a signed transaction. A node that has it already has accepted it.
    pub(crate) async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        const METHOD: &str = "eth_sendRawTransaction";
        let params = json!([alloy::primitives::hex::encode_prefixed(raw)]);
        match self.exchange::<B256>(METHOD, params).await? {
            Answer::Value(_) => Ok(SendAnswer::Accepted),
            Answer::Error(error) => {
                let text = error.message.to_ascii_lowercase();
                // Geth, Nethermind, Besu, Erigon, Reth and anvil word these differently.
                if ["already known", "already imported", "known transaction", "alreadyknown", "already in"]
                    .iter()
                    .any(|known| text.contains(known))
                {
                    Ok(SendAnswer::Accepted)
                } else if text.contains("nonce too low")
                    || text.contains("oldnonce")
                    || text.contains("nonce is too low")
                {
                    Ok(SendAnswer::NonceUsed)
                } else if text.contains("underpriced") || text.contains("fee too low") {
                    Ok(SendAnswer::Underpriced)
                } else {
                    Err(self.refused(METHOD, error))
                }
            }
        }
    }

    /// Any method, for tests that steer a local chain.
    #[cfg(feature = "testing")]
    pub(crate) async fn raw(&self, method: &'static str, params: Value) -> Result<Value, ChainError> {
        match self.exchange::<Option<Value>>(method, params).await? {
            Answer::Value(value) => Ok(value.unwrap_or(Value::Null)),
            Answer::Error(error) => Err(self.refused(method, error)),
        }
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, ChainError> {
        match self.exchange(method, params).await? {
            Answer::Value(value) => Ok(value),
            Answer::Error(error) => Err(self.refused(method, error)),
        }
    }

    async fn revertible<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Result<T, Revert>, ChainError> {
        match self.exchange(method, params).await? {
            Answer::Value(value) => Ok(Ok(value)),
            Answer::Error(error) => match error.revert_data() {
                Some(data) => Ok(Err(Revert::decode(&data))),
                None if error.is_revert() => Ok(Err(Revert::Unexplained { data: Bytes::new() })),
                None => Err(self.refused(method, error)),
            },
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Answer<T>, ChainError> {
        let id = self.state.next_id.fetch_add(1, Ordering::Relaxed);
        let body = serde_json::to_vec(&Request { jsonrpc: "2.0", id, method, params: &params })
            .map_err(|error| self.malformed(method, &error.to_string()))?;
        // The client's own timeout covers connecting and each read; this one covers the whole exchange.
        let (status, answer) =
            tokio::time::timeout(self.timeout, self.post(method, body)).await.map_err(|_| {
                ChainError::Timeout { endpoint: self.name.to_string(), method, limit: self.timeout }
            })??;

        let response: Response<'_> = match serde_json::from_slice(&answer) {
            Ok(response) => response,
            Err(_) if !status.is_success() => {
                let reason = format!("HTTP status {}", status.as_u16());
                return Err(ChainError::Transport { endpoint: self.name.to_string(), method, reason });
            }
            Err(error) => return Err(self.malformed(method, &error.to_string())),
        };
        if let Some(error) = response.error {
            return Ok(Answer::Error(error));
        }
        if response.id != Some(id) {
            return Err(self.malformed(method, "the answer to another request"));
        }
        let raw = response.result.map_or("null", RawValue::get);
        let value = serde_json::from_str(raw).map_err(|error| self.malformed(method, &error.to_string()))?;
        Ok(Answer::Value(value))
    }

    async fn post(
        &self,
        method: &'static str,
        body: Vec<u8>,
    ) -> Result<(reqwest::StatusCode, Vec<u8>), ChainError> {
        let transport = |error: reqwest::Error| ChainError::Transport {
            endpoint: self.name.to_string(),
            method,
            // A URL may carry a credential.
            reason: describe(&error.without_url()),
        };
        let mut response = self
            .client
            .post(self.url.clone())
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body)
            .send()
            .await
            .map_err(transport)?;
        let mut answer = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(transport)? {
            if answer.len() + piece.len() > ANSWER_MAX_BYTES {
                return Err(ChainError::AnswerTooLong {
                    endpoint: self.name.to_string(),
                    method,
                    limit: ANSWER_MAX_BYTES,
                });
            }
            answer.extend_from_slice(&piece);
        }
        Ok((response.status(), answer))
    }

    fn malformed(&self, method: &'static str, reason: &str) -> ChainError {
        ChainError::Malformed { endpoint: self.name.to_string(), method, reason: shorten(reason) }
    }

    fn refused(&self, method: &'static str, error: ErrorObject) -> ChainError {
        ChainError::Refused {
            endpoint: self.name.to_string(),
            method,
            code: error.code,
            message: shorten(&error.message),
        }
    }
}

/// What a node says to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAnswer {
    /// It has it.
    Accepted,
    /// A transaction with this nonce was included already: perhaps this very one.
    NonceUsed,
    /// It has another one with this nonce, and this one does not pay enough to replace it.
    Underpriced,
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX_CHARS).collect()
}

/// An error with its causes: reqwest's own text hides them.
fn describe(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    shorten(&text)
}
