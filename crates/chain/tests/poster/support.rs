//! A poster on a real chain, with switches on the way there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dac_chain::poster::{ContractCall, Outcomes, PostingDigest};
use dac_chain::testing::{Anvil, CommitteeSpec, MemoryPosterStore, TestCommittee, deploy_committee};
use dac_chain::{
    Address, B256, BlockRef, CertificateLogReader, ChainError, Head, L1, Outcome, Poster, PosterConfig,
    Receipt, RecordedCertificate, Revert, RpcL1, Searched, SendAnswer, SettledBatch,
};
use dac_types::{BatchDigest, Certificate};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const DEADLINE: Duration = Duration::from_secs(90);
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// L1 with switches on the way, and counters.
pub(crate) struct SteeredL1 {
    pub(crate) inner: RpcL1,
    /// Transactions vanish as if the node had lost them.
    pub(crate) swallow: AtomicBool,
    /// Nothing answers.
    pub(crate) down: AtomicBool,
    pub(crate) sent: AtomicUsize,
    pub(crate) looks: AtomicUsize,
}

impl SteeredL1 {
    pub(crate) fn new(anvil: &Anvil) -> Arc<Self> {
        Arc::new(Self {
            inner: RpcL1::new(anvil.endpoints()),
            swallow: AtomicBool::new(false),
            down: AtomicBool::new(false),
            sent: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
        })
    }

    pub(crate) fn up(&self) -> Result<&RpcL1, ChainError> {
        match self.down.load(Ordering::SeqCst) {
            true => Err(ChainError::NoEndpoint),
            false => Ok(&self.inner),
        }
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
    async fn priority_fee(&self) -> Result<u128, ChainError> {
        self.up()?.priority_fee().await
    }
    async fn simulate(&self, call: &ContractCall, block: B256) -> Result<Result<(), Revert>, ChainError> {
        self.up()?.simulate(call, block).await
    }
    async fn estimate_gas(&self, call: &ContractCall) -> Result<Result<u64, Revert>, ChainError> {
        self.up()?.estimate_gas(call).await
    }
    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        self.sent.fetch_add(1, Ordering::SeqCst);
        if self.swallow.load(Ordering::SeqCst) {
            return Ok(SendAnswer::Accepted);
        }
        self.up()?.send_raw(raw).await
    }
    async fn receipt(&self, tx_hash: B256) -> Result<Option<Receipt>, ChainError> {
        self.up()?.receipt(tx_hash).await
    }
    async fn find_recorded(
        &self,
        log: Address,
        digest: BatchDigest,
        to_block: u64,
    ) -> Result<Option<RecordedCertificate>, ChainError> {
        self.up()?.find_recorded(log, digest, to_block).await
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

    pub(crate) fn digest(&self, certificate: &Certificate) -> PostingDigest {
        certificate.header.digest(&self.committee.domain).into()
    }

    pub(crate) fn log(&self) -> CertificateLogReader {
        CertificateLogReader::new(self.anvil.endpoints(), self.committee.deployment.log)
    }

    /// Waits until the poster has looked at L1 as it is now, and acted on it.
    pub(crate) async fn looked(&self) {
        let before = self.l1.looks.load(Ordering::SeqCst);
        // One look may be under way, the next one sees all, and a third begins only after that was acted on.
        self.until("looked", async || self.l1.looks.load(Ordering::SeqCst) >= before + 3).await;
    }

    /// The same, unless something holds: a poster with nothing left to do does not look.
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

    /// Waits until something observable holds, by looking: the poster has no event for it.
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
