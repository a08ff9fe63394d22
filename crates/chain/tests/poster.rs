//! The poster against a real chain: kills, reorganisations, dear gas, others who are faster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dac_chain::poster::{ContractCall, FailureReason, Outcomes, Purpose};
use dac_chain::testing::{
    Anvil, AnvilOptions, CommitteeSpec, MemoryPosterStore, Mining, TestCommittee, deploy_committee,
};
use dac_chain::{
    Address, B256, BlockRef, CertificateLogReader, ChainError, Endpoints, Head, L1, Outcome, Poster,
    PosterConfig, Receipt, RecordedCertificate, Revert, RpcL1, Searched, SendAnswer, SettledBatch,
};
use dac_types::{BatchDigest, Certificate};
use tokio_util::sync::{CancellationToken, DropGuard};

const DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);

/// L1 with switches on the way, and counters.
struct SteeredL1 {
    inner: RpcL1,
    /// Transactions vanish as if the node had lost them.
    swallow: AtomicBool,
    /// Nothing answers.
    down: AtomicBool,
    sent: AtomicUsize,
    looks: AtomicUsize,
}

impl SteeredL1 {
    fn new(anvil: &Anvil) -> Arc<Self> {
        Arc::new(Self {
            inner: RpcL1::new(anvil.endpoints()),
            swallow: AtomicBool::new(false),
            down: AtomicBool::new(false),
            sent: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
        })
    }

    fn up(&self) -> Result<&RpcL1, ChainError> {
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

struct Setup {
    anvil: Anvil,
    committee: TestCommittee,
    l1: Arc<SteeredL1>,
    store: Arc<MemoryPosterStore>,
    config: PosterConfig,
    expires_at: u64,
}

struct Running {
    poster: Poster,
    outcomes: Outcomes,
    _stop: DropGuard,
}

impl Setup {
    async fn new() -> Self {
        let anvil = Anvil::start().await;
        let committee = deploy_committee(&anvil, &CommitteeSpec::new(4, 2, 3)).await;
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

    async fn start(&self) -> Running {
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

    fn certificate(&self, batch_number: u64) -> Certificate {
        self.committee.certify(self.committee.header(batch_number, self.expires_at), &[])
    }

    fn digest(&self, certificate: &Certificate) -> BatchDigest {
        certificate.header.digest(&self.committee.domain)
    }

    fn log(&self) -> CertificateLogReader {
        CertificateLogReader::new(self.anvil.endpoints(), self.committee.deployment.log)
    }

    /// Waits until the poster has looked at L1 as it is now, and acted on it.
    async fn looked(&self) {
        let before = self.l1.looks.load(Ordering::SeqCst);
        // One look may be under way, the next one sees all, and a third begins only after that was acted on.
        self.until("looked", async || self.l1.looks.load(Ordering::SeqCst) >= before + 3).await;
    }

    fn undecided(&self) -> bool {
        self.store.postings().iter().all(|posting| posting.outcome.is_none())
    }

    async fn recorded(&self) -> usize {
        let head = self.anvil.head().await.number;
        self.log().recorded_events(0, head).await.unwrap().len()
    }

    /// Waits until something observable holds, by looking: the poster has no event for it.
    async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let wait = async {
            while !condition().await {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{what}: not in time"));
    }
}

impl Running {
    async fn outcome(&mut self) -> (BatchDigest, Outcome) {
        tokio::time::timeout(DEADLINE, self.outcomes.next())
            .await
            .expect("in time")
            .expect("the poster lives")
    }
}

fn by_us(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Recorded { by_us: true, tx_hash: Some(_), block: Some(_), gas_used: Some(_) })
}

#[tokio::test]
async fn certificates_are_recorded_in_order_and_once() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    let certificates: Vec<_> = (1..=12).map(|number| setup.certificate(number)).collect();
    for certificate in &certificates {
        let enqueued = running.poster.enqueue(certificate).await.unwrap();
        assert_eq!(enqueued.digest, setup.digest(certificate));
        // The same again changes nothing.
        running.poster.enqueue(certificate).await.unwrap();
    }
    for _ in &certificates {
        let (digest, outcome) = running.outcome().await;
        assert!(by_us(&outcome), "{outcome:?}");
        assert!(setup.log().recorded_at(digest).await.unwrap().is_some());
    }
    let head = setup.anvil.head().await.number;
    let events = setup.log().recorded_events(0, head).await.unwrap();
    let numbers: Vec<_> = events.iter().map(|event| event.batch_number).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    assert!(setup.store.slots().is_empty());

    let again = running.poster.enqueue(&certificates[0]).await.unwrap();
    assert!(again.outcome.as_ref().is_some_and(by_us), "{again:?}");
    assert_eq!(setup.recorded().await, 12);
}

#[tokio::test]
async fn it_goes_on_after_being_killed_before_anything_was_sent() {
    let setup = Setup::new().await;
    setup.l1.down.store(true, Ordering::SeqCst);
    let running = setup.start().await;
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    drop(running);

    setup.l1.down.store(false, Ordering::SeqCst);
    let mut running = setup.start().await;
    assert!(by_us(&running.outcome().await.1));
    assert_eq!(setup.recorded().await, 1);
}

#[tokio::test]
async fn it_goes_on_after_being_killed_between_commit_and_sending() {
    let setup = Setup::new().await;
    setup.l1.swallow.store(true, Ordering::SeqCst);
    let running = setup.start().await;
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    running.poster.enqueue(&setup.certificate(2)).await.unwrap();
    setup.until("both signed", async || setup.store.slots().len() == 2).await;
    drop(running);
    let signed = setup.store.slots();

    setup.l1.swallow.store(false, Ordering::SeqCst);
    let mut running = setup.start().await;
    for slot in &signed {
        let (digest, outcome) = running.outcome().await;
        assert_eq!(Some(digest), slot.digest);
        let Outcome::Recorded { tx_hash, by_us: true, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!(tx_hash, Some(slot.variants[0].hash), "the transaction signed before, not a new one");
    }
    assert_eq!(setup.recorded().await, 2);
}

#[tokio::test]
async fn it_goes_on_after_being_killed_between_sending_and_the_receipt() {
    let setup = Setup::new().await;
    setup.anvil.set_automine(false).await;
    let running = setup.start().await;
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    setup.until("sent", async || setup.l1.sent.load(Ordering::SeqCst) > 0).await;
    drop(running);
    setup.anvil.mine(1).await;
    setup.anvil.set_automine(true).await;

    let mut running = setup.start().await;
    assert!(by_us(&running.outcome().await.1));
    assert_eq!(setup.recorded().await, 1);
}

#[tokio::test]
async fn a_store_that_fails_at_any_commit_loses_and_doubles_nothing() {
    let setup = Setup::new().await;
    // Enqueueing takes the first; then come signing and settling.
    for (number, commits) in [(1, 1), (2, 2), (3, 3)] {
        setup.store.fail_after(Some(commits));
        let running = setup.start().await;
        running.poster.enqueue(&setup.certificate(number)).await.unwrap();
        if commits < 3 {
            let before = setup.store.slots();
            setup.until("the next commit was tried", async || setup.store.refused() > 0).await;
            assert!(setup.store.slots().len() >= before.len());
        } else {
            setup.until("done", async || setup.store.slots().is_empty() && setup.recorded().await >= 3).await;
        }
        drop(running);
        setup.store.fail_after(None);
        let mut running = setup.start().await;
        if commits < 3 {
            assert!(by_us(&running.outcome().await.1));
        }
        assert_eq!(setup.recorded().await, usize::try_from(number).unwrap());
    }
}

#[tokio::test]
async fn nothing_is_final_before_the_confirmations_and_what_is_reorganised_out_is_sent_again() {
    let mut setup = Setup::new().await;
    setup.config.confirmations = 3;
    let mut running = setup.start().await;
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    setup.until("included", async || setup.recorded().await == 1).await;
    let first = setup.log().recorded_events(0, setup.anvil.head().await.number).await.unwrap()[0];

    setup.anvil.mine(1).await;
    setup.looked().await;
    assert!(setup.undecided(), "two blocks are not three");

    // The block with the record is replaced by an empty one, and the transaction is gone with it.
    setup.anvil.reorganise(2).await;
    setup.until("included again", async || setup.recorded().await == 1).await;
    let second = setup.log().recorded_events(0, setup.anvil.head().await.number).await.unwrap()[0];
    assert!(second.block > first.block);
    assert_eq!(second.tx, first.tx, "the same signed transaction");
    setup.anvil.mine(2).await;
    let (_, outcome) = running.outcome().await;
    assert!(by_us(&outcome));
    assert!(matches!(outcome, Outcome::Recorded { block: Some(block), .. } if block == second.block));
}

#[tokio::test]
async fn a_stuck_transaction_is_replaced_by_a_dearer_one_up_to_the_cap() {
    let mut setup = Setup::new().await;
    setup.config.fee_cap = 60_000_000_000;
    setup.anvil.set_automine(false).await;
    let mut running = setup.start().await;
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    setup.until("signed", async || setup.store.slots().len() == 1).await;
    setup.until("sent", async || setup.l1.sent.load(Ordering::SeqCst) > 0).await;
    let first = setup.store.slots()[0].variants[0].clone();

    // Gas becomes dearer than it pays, for some blocks.
    for _ in 0..4 {
        setup.anvil.set_next_base_fee(u64::try_from(first.fees.max_fee).unwrap() + 1).await;
        setup.anvil.mine(1).await;
    }
    setup.until("replaced", async || setup.store.slots()[0].variants.len() > 1).await;
    let second = setup.store.slots()[0].variants[1].clone();
    assert_eq!(second.purpose, Purpose::Record);
    assert!(second.fees.max_fee * 8 >= first.fees.max_fee * 9);
    assert!(second.fees.priority_fee * 8 >= first.fees.priority_fee * 9);

    // Dearer than the cap: it waits, and nothing above the cap is ever signed.
    for _ in 0..12 {
        setup.anvil.set_next_base_fee(70_000_000_000).await;
        setup.anvil.mine(1).await;
        setup.looked().await;
    }
    for slot in setup.store.slots() {
        assert!(slot.variants.iter().all(|variant| variant.fees.max_fee <= setup.config.fee_cap));
    }
    running.poster.enqueue(&setup.certificate(2)).await.unwrap();
    setup.anvil.set_next_base_fee(1_000_000_000).await;
    setup.anvil.mine(1).await;
    setup.anvil.set_automine(true).await;
    setup.anvil.mine(1).await;
    for _ in 0..2 {
        let (_, outcome) = running.outcome().await;
        assert!(by_us(&outcome), "{outcome:?}");
    }
    assert_eq!(setup.recorded().await, 2);
}

#[tokio::test]
async fn what_somebody_else_recorded_counts_as_done_and_costs_nothing() {
    let setup = Setup::new().await;
    let certificate = setup.certificate(1);
    let receipt =
        setup.anvil.account(setup.anvil.key(5)).record(setup.config.log, &certificate).await.unwrap();

    let mut running = setup.start().await;
    running.poster.enqueue(&certificate).await.unwrap();
    let (digest, outcome) = running.outcome().await;
    assert_eq!(digest, setup.digest(&certificate));
    assert_eq!(
        outcome,
        Outcome::Recorded {
            tx_hash: Some(receipt.tx_hash),
            block: Some(receipt.block),
            gas_used: None,
            by_us: false,
        }
    );
    assert_eq!(setup.l1.sent.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn somebody_elses_record_while_ours_is_under_way_leaves_no_gap_in_the_nonces() {
    let setup = Setup::new().await;
    // Ours is signed, its nonce is given out, but the transaction never reaches the chain.
    setup.l1.swallow.store(true, Ordering::SeqCst);
    let mut running = setup.start().await;
    let certificate = setup.certificate(1);
    running.poster.enqueue(&certificate).await.unwrap();
    setup.until("signed", async || setup.store.slots().len() == 1).await;
    setup.anvil.account(setup.anvil.key(5)).record(setup.config.log, &certificate).await.unwrap();

    let (_, outcome) = running.outcome().await;
    assert!(matches!(outcome, Outcome::Recorded { by_us: false, .. }), "{outcome:?}");
    setup
        .until("the nonce waits to be used", async || {
            setup.store.slots().first().is_some_and(|slot| slot.digest.is_none())
        })
        .await;
    setup.l1.swallow.store(false, Ordering::SeqCst);

    // The next batch goes through, after the orphaned nonce was used.
    running.poster.enqueue(&setup.certificate(2)).await.unwrap();
    setup.anvil.mine(1).await;
    let (_, outcome) = running.outcome().await;
    assert!(by_us(&outcome), "{outcome:?}");
    setup.until("all nonces are used", async || setup.store.slots().is_empty()).await;
    assert_eq!(setup.recorded().await, 2);
}

#[tokio::test]
async fn an_orphaned_nonce_is_cancelled_cheaply_once_it_is_due() {
    let setup = Setup::new().await;
    setup.l1.swallow.store(true, Ordering::SeqCst);
    let mut running = setup.start().await;
    let certificate = setup.certificate(1);
    running.poster.enqueue(&certificate).await.unwrap();
    setup.until("signed", async || setup.store.slots().len() == 1).await;
    setup.anvil.account(setup.anvil.key(5)).record(setup.config.log, &certificate).await.unwrap();
    running.outcome().await;
    setup.anvil.mine(4).await;
    setup
        .until("a transfer to ourselves is signed", async || {
            setup
                .store
                .slots()
                .first()
                .is_some_and(|slot| slot.variants.len() == 2 && slot.variants[1].purpose == Purpose::Cancel)
        })
        .await;
    setup.l1.swallow.store(false, Ordering::SeqCst);
    setup.anvil.mine(1).await;
    setup.until("the nonce is used", async || setup.store.slots().is_empty()).await;
    assert_eq!(setup.recorded().await, 1);
}

#[tokio::test]
async fn a_refusal_for_good_is_a_typed_failure_and_the_next_ones_go_on() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    let expired = setup.committee.certify(setup.committee.header(1, setup.anvil.head().await.timestamp), &[]);
    let mut forged = setup.certificate(2);
    forged.header.batch_number = 3;
    running.poster.enqueue(&expired).await.unwrap();
    running.poster.enqueue(&forged).await.unwrap();
    running.poster.enqueue(&setup.certificate(4)).await.unwrap();
    for _ in 0..3 {
        let (digest, outcome) = running.outcome().await;
        if digest == setup.digest(&expired) {
            let Outcome::Failed { reason: FailureReason::Refused { revert: Revert::Expired { .. } } } =
                outcome
            else {
                panic!("{outcome:?}")
            };
        } else if digest == setup.digest(&forged) {
            let Outcome::Failed {
                reason: FailureReason::Refused { revert: Revert::SignatureMismatch { .. } },
            } = outcome
            else {
                panic!("{outcome:?}")
            };
        } else {
            assert!(by_us(&outcome), "{outcome:?}");
        }
    }
    assert_eq!(setup.recorded().await, 1);
    assert!(setup.store.slots().is_empty());
}

#[tokio::test]
async fn an_epoch_past_its_grace_is_a_failure() {
    let mut setup = Setup::new().await;
    let spec = CommitteeSpec { activation_delay: 1, grace: 1, ..CommitteeSpec::new(4, 2, 3) };
    setup.committee = deploy_committee(&setup.anvil, &spec).await;
    setup.config.domain = setup.committee.domain;
    setup.config.log = setup.committee.deployment.log;
    let operators = setup.committee.operators();
    setup.committee.admin(&setup.anvil).open_epoch(&operators, 2, 3).await.unwrap();
    setup.anvil.advance(10).await;
    let mut running = setup.start().await;
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    let (_, outcome) = running.outcome().await;
    assert!(
        matches!(
            outcome,
            Outcome::Failed {
                reason: FailureReason::Refused { revert: Revert::EpochNoLongerPostable { epoch: 1, .. } }
            }
        ),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_pause_holds_certificates_up_and_loses_none() {
    let setup = Setup::new().await;
    setup.committee.admin(&setup.anvil).pause().await.unwrap();
    let mut running = setup.start().await;
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    setup.looked().await;
    assert!(setup.undecided());
    assert_eq!(setup.l1.sent.load(Ordering::SeqCst), 0, "no gas is spent on what is refused");
    setup.committee.admin(&setup.anvil).unpause().await.unwrap();
    assert!(by_us(&running.outcome().await.1));
}

#[tokio::test]
async fn while_l1_is_down_it_waits() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    setup.l1.down.store(true, Ordering::SeqCst);
    // Taken and stored all the same.
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    setup.looked().await;
    assert!(setup.undecided());
    setup.l1.down.store(false, Ordering::SeqCst);
    assert!(by_us(&running.outcome().await.1));
}

#[tokio::test]
async fn the_queue_and_the_gas_are_bounded() {
    let mut setup = Setup::new().await;
    setup.config.queue_max = 1;
    setup.config.gas_limit_max = 50_000;
    setup.l1.down.store(true, Ordering::SeqCst);
    let mut running = setup.start().await;
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    let full = running.poster.enqueue(&setup.certificate(2)).await.unwrap_err();
    assert!(matches!(full, ChainError::QueueFull { limit: 1 }));
    setup.l1.down.store(false, Ordering::SeqCst);
    let (_, outcome) = running.outcome().await;
    let Outcome::Failed { reason: FailureReason::GasLimit { needed, limit: 50_000 } } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(needed > 100_000);
}

#[tokio::test]
async fn a_nonce_used_by_somebody_with_the_same_key_costs_no_certificate() {
    let setup = Setup::new().await;
    setup.l1.swallow.store(true, Ordering::SeqCst);
    let mut running = setup.start().await;
    running.poster.enqueue(&setup.certificate(1)).await.unwrap();
    setup.until("signed", async || setup.store.slots().len() == 1).await;
    // Against all advice, the key is used elsewhere: for an unrelated record.
    setup.anvil.account(setup.anvil.key(2)).record(setup.config.log, &setup.certificate(7)).await.unwrap();
    setup.l1.swallow.store(false, Ordering::SeqCst);
    let (digest, outcome) = running.outcome().await;
    assert_eq!(digest, setup.digest(&setup.certificate(1)));
    assert!(by_us(&outcome), "{outcome:?}");
    assert_eq!(setup.recorded().await, 2);
}

#[tokio::test]
async fn a_chain_with_a_block_a_second_and_a_window_of_many() {
    let anvil = Anvil::with(AnvilOptions {
        mining: Mining::Interval(1),
        hardfork: "osaka".into(),
        ..AnvilOptions::default()
    })
    .await;
    let committee = deploy_committee(&anvil, &CommitteeSpec::new(2, 1, 2)).await;
    let urls = [anvil.url()];
    let endpoints = Endpoints::new(&urls, anvil.chain_id(), DEADLINE).unwrap();
    let store = Arc::new(MemoryPosterStore::default());
    let config = PosterConfig {
        poll_interval: POLL,
        window: 4,
        ..PosterConfig::new(committee.domain, committee.deployment.log)
    };
    let stop = CancellationToken::new();
    let (poster, outcomes) = Poster::start(
        config,
        Arc::new(RpcL1::new(endpoints)),
        store.clone(),
        Arc::new(anvil.key(3)),
        stop.clone(),
    )
    .await
    .unwrap();
    let expires_at = anvil.head().await.timestamp + 1_000_000;
    for number in 1..=10 {
        poster.enqueue(&committee.certify(committee.header(number, expires_at), &[])).await.unwrap();
    }
    let mut running = Running { poster, outcomes, _stop: stop.drop_guard() };
    let mut blocks = Vec::new();
    for _ in 1..=10 {
        let (_, outcome) = running.outcome().await;
        let Outcome::Recorded { block: Some(block), by_us: true, .. } = outcome else {
            panic!("{outcome:?}")
        };
        blocks.push(block);
        assert!(store.slots().len() <= 4);
    }
    blocks.dedup();
    assert!(blocks.len() < 10, "several went into one block: {blocks:?}");
}
