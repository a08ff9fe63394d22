//! A poster on a real chain, whose connection to L1 has switches for faults.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::keccak256;
use alloy::sol_types::SolError;
use alloy_consensus::Transaction;
use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::Decodable2718;
use async_trait::async_trait;
use dac_chain::amount::GWEI;
use dac_chain::testing::{Anvil, CommitteeSpec, TestCommittee, deploy_committee};
use dac_chain::{
    Address, B256, BlockRef, Broadcast, Bytes, CertificateLogReader, ChainError, ContractCall, Head, L1,
    Receipt, RecordedCertificate, Refusal, RpcL1, Searched, SendAnswer, SettledBatch, U256,
};
use dac_poster::testing::MemoryPosterStore;
use dac_poster::{FailureReason, Order, Outcome, Outcomes, Poster, PosterConfig, PostingDigest};
use dac_types::{BatchDigest, Certificate};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// Access to L1 with switches for faults, and counters of requests.
pub(crate) struct SteeredL1 {
    pub(crate) inner: RpcL1,
    /// If true, transactions are accepted and then vanish, as if the node had lost them.
    pub(crate) swallow: AtomicBool,
    /// If true, every request fails.
    pub(crate) down: AtomicBool,
    /// The number of requests of every hundred that fail.
    pub(crate) failing: AtomicU64,
    asked: AtomicU64,
    /// If set, the endpoint lies: it hides all transactions after this block, runs simulations as
    /// of this block, and suggests a tip of 190 gwei.
    lying_since: Mutex<Option<B256>>,
    /// The lowest tip per gas, in wei, with which pools take a transaction.
    pub(crate) pool_floor: AtomicU64,
    /// If true, refusals carry no revert data.
    pub(crate) wordless: AtomicBool,
    pub(crate) sent: AtomicUsize,
    pub(crate) looks: AtomicUsize,
}

impl SteeredL1 {
    pub(crate) fn new(anvil: &Anvil) -> Arc<Self> {
        Arc::new(Self {
            inner: RpcL1::new(anvil.endpoints()),
            swallow: AtomicBool::new(false),
            down: AtomicBool::new(false),
            failing: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            lying_since: Mutex::new(None),
            pool_floor: AtomicU64::new(0),
            wordless: AtomicBool::new(false),
            sent: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
        })
    }

    pub(crate) fn up(&self) -> Result<&RpcL1, ChainError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(ChainError::NoEndpoint);
        }
        // The choice depends only on the request's number, so the same requests fail in each run if
        // they come in the same order.
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let lot = u64::from_be_bytes(keccak256(number.to_be_bytes())[..8].try_into().unwrap()) % 100;
        if lot < self.failing.load(Ordering::SeqCst) {
            let (endpoint, method) = ("steered".to_owned(), "any");
            return Err(ChainError::Transport { endpoint, method, reason: "HTTP status 502".to_owned() });
        }
        Ok(&self.inner)
    }

    /// Makes the endpoint lie as of a block, or tell the truth again if `since` is `None`.
    pub(crate) fn lie(&self, since: Option<B256>) {
        *self.lying_since.lock().unwrap() = since;
    }

    fn lying_since(&self) -> Option<B256> {
        *self.lying_since.lock().unwrap()
    }
}

#[async_trait]
impl Broadcast for SteeredL1 {
    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        if self.swallow.load(Ordering::SeqCst) {
            return Ok(SendAnswer::Accepted);
        }
        let transaction = TxEnvelope::decode_2718(&mut &raw[..]).expect("a transaction");
        let needed = u128::from(self.pool_floor.load(Ordering::SeqCst));
        if transaction.max_priority_fee_per_gas().is_some_and(|tip| tip < needed) {
            return Ok(SendAnswer::TipTooLow { needed: Some(needed) });
        }
        self.up()?.send_raw(raw).await
    }
}

#[async_trait]
impl L1 for SteeredL1 {
    async fn head(&self) -> Result<Head, ChainError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.up()?.head().await
    }
    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError> {
        self.up()?.block_at(number).await
    }
    async fn nonce(&self, account: Address, block: B256) -> Result<u64, ChainError> {
        self.up()?.nonce(account, block).await
    }
    async fn balance(&self, account: Address, block: B256) -> Result<U256, ChainError> {
        self.up()?.balance(account, block).await
    }
    async fn priority_fee(&self) -> Result<u128, ChainError> {
        let tip = self.up()?.priority_fee().await?;
        Ok(if self.lying_since().is_some() { 190 * GWEI } else { tip })
    }
    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Refusal>, ChainError> {
        let result = self.up()?.simulate(call, self.lying_since().unwrap_or(block)).await?;
        Ok(match result {
            Err(_) if self.wordless.load(Ordering::SeqCst) => {
                Err(Refusal::Unexplained { data: Bytes::new() })
            }
            result => result,
        })
    }
    async fn estimate_gas(
        &self,
        call: &ContractCall,
        block: BlockRef,
    ) -> Result<Result<u64, Refusal>, ChainError> {
        let result = self.up()?.estimate_gas(call, block).await?;
        Ok(if self.lying_since().is_some() { Ok(result.unwrap_or(200_000)) } else { result })
    }
    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError> {
        let receipt = self.up()?.receipt(tx_hash).await?;
        Ok(receipt.filter(|_| self.lying_since().is_none()))
    }
    async fn is_recorded(&self, log: Address, digest: BatchDigest, block: B256) -> Result<bool, ChainError> {
        self.up()?.is_recorded(log, digest, self.lying_since().unwrap_or(block)).await
    }
    async fn find_recorded(
        &self,
        log: Address,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError> {
        let found = self.up()?.find_recorded(log, digest, to_block).await?;
        Ok(found.filter(|_| self.lying_since().is_none()))
    }
    async fn settled_count(&self, settlement: Address, block: B256) -> Result<u64, ChainError> {
        self.up()?.settled_count(settlement, block).await
    }
    async fn find_settled(
        &self,
        settlement: Address,
        batch_number: u64,
        to_block: u64,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError> {
        self.up()?.find_settled(settlement, batch_number, to_block, searched).await
    }
}

pub(crate) struct Setup {
    pub(crate) anvil: Anvil,
    pub(crate) committee: TestCommittee,
    pub(crate) l1: Arc<SteeredL1>,
    pub(crate) store: Arc<MemoryPosterStore>,
    pub(crate) config: PosterConfig,
    pub(crate) expires_at: u64,
}

pub(crate) struct Running {
    pub(crate) poster: Poster,
    pub(crate) outcomes: Outcomes,
    pub(crate) _stop: DropGuard,
}

impl Setup {
    pub(crate) async fn new() -> Self {
        Self::with(&CommitteeSpec::new(4, 2, 3)).await
    }

    pub(crate) async fn with(spec: &CommitteeSpec) -> Self {
        let anvil = Anvil::start().await;
        let committee = deploy_committee(&anvil, spec).await;
        let l1 = SteeredL1::new(&anvil);
        let expires_at = anvil.head().await.timestamp + 1_000_000;
        let config = PosterConfig {
            confirmations: 1,
            poll_interval: POLL,
            bump_after_blocks: 3,
            ..PosterConfig::new(committee.domain, committee.deployment.log)
        };
        Self { anvil, committee, l1, store: Arc::default(), config, expires_at }
    }

    pub(crate) async fn start(&self) -> Running {
        let cancellation = CancellationToken::new();
        let signer = Arc::new(self.anvil.key(2));
        let (poster, outcomes) = Poster::start(
            self.config.clone(),
            self.l1.clone(),
            self.l1.clone(),
            self.store.clone(),
            signer,
            cancellation.clone(),
        )
        .await
        .unwrap();
        Running { poster, outcomes, _stop: cancellation.drop_guard() }
    }

    pub(crate) fn certificate(&self, batch_number: u64) -> Certificate {
        self.committee.certify(self.committee.header(batch_number, self.expires_at), &[])
    }

    pub(crate) fn record(&self, certificate: &Certificate) -> Order {
        Order::record(certificate, &self.committee.domain).unwrap()
    }

    pub(crate) fn digest(&self, certificate: &Certificate) -> PostingDigest {
        certificate.header.digest(&self.committee.domain).into()
    }

    pub(crate) fn log(&self) -> CertificateLogReader {
        CertificateLogReader::new(self.anvil.endpoints(), self.committee.deployment.log)
    }

    /// Waits until the poster has looked at the present state of L1 and acted on it.
    pub(crate) async fn looked(&self) {
        let before = self.l1.looks.load(Ordering::SeqCst);
        // One look may be under way now; the next one sees the present state, and a third begins
        // only after the poster has acted on the second.
        self.until("looked", async || self.l1.looks.load(Ordering::SeqCst) >= before + 3).await;
    }

    /// Does the same as `looked`, but also returns once `over` is true, because a poster with
    /// nothing left to do does not look at L1.
    pub(crate) async fn looked_unless(&self, over: impl AsyncFn() -> bool) {
        let before = self.l1.looks.load(Ordering::SeqCst);
        self.until("looked", async || over().await || self.l1.looks.load(Ordering::SeqCst) >= before + 3)
            .await;
    }

    pub(crate) fn undecided(&self) -> bool {
        self.store.postings().iter().all(|posting| posting.outcome.is_none())
    }

    pub(crate) async fn recorded(&self) -> usize {
        let head = self.anvil.head().await.number;
        self.log().recorded_events(0, head).await.unwrap().len()
    }

    /// Waits until the condition is true, by checking it repeatedly, because the poster has no
    /// event for it.
    pub(crate) async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{what}: not in time"));
    }
}

impl Running {
    pub(crate) async fn outcome(&mut self) -> (PostingDigest, Outcome) {
        tokio::time::timeout(DEADLINE, self.outcomes.next())
            .await
            .expect("in time")
            .expect("the poster lives")
    }
}

pub(crate) fn by_us(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Recorded { by_us: true, tx_hash: Some(_), block: Some(_), gas_used: Some(_) })
}

/// Returns whether the contract refused a posting for good with this error.
pub(crate) fn refused<E: SolError>(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed { reason: FailureReason::Refused { refusal } } if refusal.is::<E>())
}
