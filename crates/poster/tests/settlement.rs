//! Tests of settling on a real chain: the contract's rules are reported by name, and the poster
//! works while L1 fails and while others settle too.

use std::sync::Arc;
use std::time::Duration;

use dac_chain::contracts::{CertificateLog, CommitteeRegistry, Settlement, Verifier};
use dac_chain::settlement::SettlementState;
use dac_chain::testing::{
    Anvil, AnvilOptions, CommitteeSpec, Mining, RollupSpec, TestCommittee, TestRollup, deploy_committee,
    deploy_rollup,
};
use dac_chain::{ChainError, Refusal, RpcL1, SettleOrder, SettlementReader, SettlementRefusal};
use dac_poster::testing::MemoryPosterStore;
use dac_poster::{
    Change, FailureReason, Order, Outcome, Outcomes, Poster, PosterConfig, PosterError, PosterStore, Posting,
    PostingDigest, Progress, Settle, Task,
};
use dac_types::{BatchDigest, Certificate};
use tokio_util::sync::{CancellationToken, DropGuard};

const DEADLINE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(20);

struct Setup {
    anvil: Anvil,
    committee: TestCommittee,
    rollup: TestRollup,
    store: Arc<MemoryPosterStore>,
    confirmations: u64,
}

struct Running {
    poster: Poster,
    outcomes: Outcomes,
    _stop: DropGuard,
}

impl Setup {
    async fn new() -> Self {
        Self::on(Anvil::start().await).await
    }

    async fn on(anvil: Anvil) -> Self {
        let spec = RollupSpec::default();
        let committee = deploy_committee(
            &anvil,
            &CommitteeSpec { activation_delay: spec.activation_delay(), ..CommitteeSpec::new(4, 2, 3) },
        )
        .await;
        let rollup = deploy_rollup(&anvil, &committee, spec).await;
        Self { anvil, committee, rollup, store: Arc::default(), confirmations: 1 }
    }

    async fn certificate(&self, batch_number: u64) -> Certificate {
        let expires_at = self.anvil.head().await.timestamp + 1_000_000;
        self.committee.certify(self.rollup.header(&self.committee, batch_number, expires_at), &[])
    }

    async fn order(&self, batch_number: u64) -> SettleOrder {
        self.rollup.order(&self.certificate(batch_number).await)
    }

    fn reader(&self) -> SettlementReader {
        self.rollup.reader(&self.anvil)
    }

    async fn state(&self) -> SettlementState {
        self.reader().state().await.unwrap()
    }

    async fn refused(&self, order: &SettleOrder) -> Refusal {
        match self.anvil.account(self.anvil.key(4)).settle(order).await {
            Err(ChainError::Reverted(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    async fn start(&self) -> Running {
        let config = PosterConfig {
            confirmations: self.confirmations,
            poll_interval: POLL,
            ..PosterConfig::new(self.committee.domain, self.committee.deployment.log)
        };
        let (l1, signer) = (Arc::new(RpcL1::new(self.anvil.endpoints())), Arc::new(self.anvil.key(2)));
        let cancellation = CancellationToken::new();
        let (poster, outcomes) =
            Poster::start(config, l1.clone(), l1, self.store.clone(), signer, cancellation.clone())
                .await
                .unwrap();
        Running { poster, outcomes, _stop: cancellation.drop_guard() }
    }
}

impl Running {
    async fn outcome(&mut self) -> (PostingDigest, Outcome) {
        tokio::time::timeout(DEADLINE, self.outcomes.next())
            .await
            .expect("in time")
            .expect("the poster lives")
    }

    async fn until(&self, digest: BatchDigest, wanted: impl Fn(&Progress) -> bool) -> Progress {
        let mut progress = self.poster.progress();
        let waited = progress.wait_for(|map| map.get(&digest.into()).is_some_and(&wanted));
        let map = tokio::time::timeout(DEADLINE, waited).await.expect("in time").unwrap().clone();
        map[&digest.into()].clone()
    }
}

#[tokio::test]
async fn what_settled_is_read_again_and_refusals_are_told_by_name() {
    let setup = Setup::new().await;
    let before = setup.state().await;
    assert_eq!((before.batch_count, before.frozen), (0, false));
    assert_eq!(before.registry, setup.committee.deployment.registry);
    assert_eq!(before.log, setup.committee.deployment.log);

    let second = setup.order(2).await;
    assert_eq!(
        setup.refused(&second).await,
        Refusal::of(&Settlement::BatchNumberSkipped { got: 2, expected: 1 })
    );
    let certificate = setup.certificate(1).await;
    let wrong = setup.rollup.order_with(&certificate, &TestRollup::wrong_proof(1));
    assert_eq!(setup.refused(&wrong).await, Refusal::of(&Verifier::InvalidProof {}));
    let mut inputs = TestRollup::transition(1);
    inputs.inputs_consumed = 9;
    let ahead =
        SettleOrder::with_certificate(&certificate, &setup.committee.domain, &inputs, &TestRollup::proof(1));
    let refusal = setup.refused(&ahead.unwrap()).await;
    assert_eq!(refusal, Refusal::of(&Settlement::InputsNotThere { got: 9, limit: 0 }));
    let now = setup.anvil.head().await.timestamp;
    let brief = setup.committee.certify(setup.rollup.header(&setup.committee, 1, now + 2_000), &[]);
    let refusal = setup.refused(&setup.rollup.order(&brief)).await;
    assert!(refusal.is::<Settlement::LifetimeTooShort>(), "{refusal}");
    assert_eq!(SettlementRefusal::of(&refusal), SettlementRefusal::Batch);
    let mut forged = certificate.clone();
    forged.header.payload_length += 1;
    assert!(setup.refused(&setup.rollup.order(&forged)).await.is::<CertificateLog::SignatureMismatch>());
    let recorded = SettleOrder::recorded(
        &certificate.header,
        &setup.committee.domain,
        &TestRollup::transition(3),
        &TestRollup::proof(1),
    );
    assert!(setup.refused(&recorded).await.is::<Settlement::NotRecorded>());
    setup.rollup.pause().await;
    assert_eq!(setup.refused(&recorded).await, Refusal::of(&CommitteeRegistry::EnforcedPause {}));
    setup.rollup.unpause().await;

    // The first batch settles by its record in the log, the second one with its certificate.
    setup.anvil.account(setup.anvil.key(3)).record(before.log, &certificate).await.unwrap();
    setup.rollup.settle(&recorded).await;
    let again = setup.refused(&setup.rollup.order(&certificate)).await;
    assert_eq!(again, Refusal::of(&Settlement::BatchAlreadySettled { got: 1, batchCount: 1 }));
    // More blocks than one request for events covers.
    setup.anvil.mine(1_500).await;
    let second = setup.order(2).await;
    let receipt = setup.rollup.settle(&second).await;
    assert!(receipt.gas_used < 350_000, "without the proof's own cost: {}", receipt.gas_used);

    let (reader, head) = (setup.reader(), setup.anvil.head().await.number);
    let all = reader.settled_events(0, head, |_, _| {}).await.unwrap();
    let numbers: Vec<_> = all.iter().map(|settled| (settled.batch_number, settled.digest)).collect();
    assert_eq!(numbers, [(1, recorded.digest), (2, second.digest)]);
    assert_eq!((all[1].block, all[1].tx), (receipt.block, receipt.tx_hash));
    assert_eq!(all[1].transition, TestRollup::transition(3));
    for settled in &all {
        assert_eq!(reader.find(settled.batch_number, head).await.unwrap().as_ref(), Some(settled));
    }
    assert_eq!(reader.find(3, head).await.unwrap(), None);
    assert_eq!(reader.find(2, receipt.block - 1).await.unwrap(), None);
    let page = reader.settled_page(0, head).await.unwrap();
    assert!(page.next_block <= head && page.batches.len() == 1);
    let after = setup.state().await;
    assert_eq!((after.batch_count, after.state_root), (2, TestRollup::transition(3).new_state_root));

    setup.anvil.advance(RollupSpec::default().freeze_delay + 10).await;
    setup.rollup.freeze().await;
    let refusal = setup.refused(&setup.order(3).await).await;
    assert_eq!(refusal, Refusal::of(&Settlement::IsFrozen { reason: 1 }));
    assert!(setup.state().await.frozen);
    let nowhere = SettlementReader::new(setup.anvil.endpoints(), dac_chain::Address::repeat_byte(9));
    assert!(matches!(nowhere.state().await, Err(ChainError::NoContract { .. })));
}

#[tokio::test]
async fn batches_settle_in_order_whatever_order_they_come_in() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    let mut expected = Vec::new();
    // Batch 1 arrives last, after more batches than one round looks at.
    for number in (1..=45).rev() {
        let order = setup.order(number).await;
        assert_eq!(running.poster.enqueue(&order).await.unwrap().outcome, None);
        // The same order again changes nothing, and an order with another call does not replace it.
        running.poster.enqueue(&order).await.unwrap();
        let other = SettleOrder { calldata: vec![1].into(), ..order.clone() };
        let refused = running.poster.enqueue(&other).await.unwrap_err();
        assert!(matches!(refused, PosterError::OtherPosting { .. }), "{refused}");
        expected.insert(0, order.digest);
    }
    for digest in &expected {
        let (settled, outcome) = running.outcome().await;
        assert_eq!(settled, *digest);
        assert!(matches!(outcome, Outcome::Recorded { by_us: true, .. }), "{outcome:?}");
    }
    assert_eq!(setup.state().await.batch_count, 45);
    let nonce: dac_chain::U256 = setup
        .anvil
        .rpc(
            "eth_getTransactionCount",
            serde_json::json!([dac_chain::TransactionSigner::address(&setup.anvil.key(2)), "latest"]),
        )
        .await
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(nonce, dac_chain::U256::from(45), "one transaction a batch");
}

#[tokio::test]
async fn wrong_proofs_and_used_numbers_end_without_a_transaction() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    let certificate = setup.certificate(1).await;
    let wrong = setup.rollup.order_with(&certificate, &TestRollup::wrong_proof(1));
    running.poster.enqueue(&wrong).await.unwrap();
    let (_, outcome) = running.outcome().await;
    assert_eq!(
        outcome,
        Outcome::Failed {
            reason: FailureReason::Refused { refusal: Refusal::of(&Verifier::InvalidProof {}) }
        }
    );
    // While the rollup is paused, the posting waits. Afterwards the second proof of the same batch
    // settles.
    setup.rollup.pause().await;
    let good = setup.rollup.order(&certificate);
    running.poster.enqueue(&good).await.unwrap();
    let waits = running.until(good.digest, |progress| matches!(progress, Progress::Waiting(Some(_)))).await;
    assert_eq!(waits, Progress::Waiting(Some(Refusal::of(&CommitteeRegistry::EnforcedPause {}))));
    setup.rollup.unpause().await;
    let (digest, outcome) = running.outcome().await;
    assert!(digest == good.digest && matches!(outcome, Outcome::Recorded { by_us: true, .. }));

    // Another sender is faster: first with the same batch, then with another batch of the same
    // number.
    let (second, other) = (setup.order(2).await, setup.certificate(3).await);
    let receipt = setup.rollup.settle(&second).await;
    running.poster.enqueue(&second).await.unwrap();
    let (_, outcome) = running.outcome().await;
    let (tx_hash, block) = (Some(receipt.tx_hash), Some(receipt.block));
    assert_eq!(outcome, Outcome::Recorded { tx_hash, block, gas_used: None, by_us: false });
    let mut twin = other.header.clone();
    twin.expires_at += 1;
    let twin = setup.rollup.order(&setup.committee.certify(twin, &[]));
    setup.rollup.settle(&twin).await;
    running.poster.enqueue(&setup.rollup.order(&other)).await.unwrap();
    let (_, outcome) = running.outcome().await;
    assert_eq!(outcome, Outcome::Failed { reason: FailureReason::NumberUsed { by: twin.digest } });

    // An order that is withdrawn before its turn is not sent, and may be given again.
    let fifth = setup.order(5).await;
    running.poster.enqueue(&fifth).await.unwrap();
    running.poster.withdraw(fifth.digest).await.unwrap();
    let (_, outcome) = running.outcome().await;
    assert_eq!(outcome, Outcome::Failed { reason: FailureReason::Withdrawn });
    setup.rollup.settle(&setup.order(4).await).await;
    running.poster.enqueue(&fifth).await.unwrap();
    let (_, outcome) = running.outcome().await;
    assert!(matches!(outcome, Outcome::Recorded { by_us: true, .. }));
    assert!(setup.store.slots().is_empty());
}

#[tokio::test]
async fn a_reorganised_settlement_is_made_again_also_by_the_next_process() {
    let anvil = Anvil::with(AnvilOptions { mining: Mining::Automine, ..AnvilOptions::default() }).await;
    let mut setup = Setup::on(anvil).await;
    setup.confirmations = 4;
    let order = setup.order(1).await;
    let running = setup.start().await;
    running.poster.enqueue(&order).await.unwrap();
    let included = |progress: &Progress| matches!(progress, Progress::Included { .. });
    running.until(order.digest, included).await;
    drop(running);

    setup.anvil.reorganise(1).await;
    assert_eq!(setup.state().await.batch_count, 0);
    let mut running = setup.start().await;
    running.until(order.digest, included).await;
    assert_eq!(setup.state().await.batch_count, 1);
    setup.anvil.mine(4).await;
    let (digest, outcome) = running.outcome().await;
    assert!(
        digest == order.digest && matches!(outcome, Outcome::Recorded { by_us: true, .. }),
        "{outcome:?}"
    );
    assert!(running.poster.progress().borrow().get(&order.digest.into()).is_none(), "it is over");
}

#[tokio::test]
async fn a_recorded_batch_settles_from_the_log_and_an_old_one_expires() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    let certificate = setup.certificate(1).await;
    let record = Order::record(&certificate, &setup.committee.domain).unwrap();
    running.poster.enqueue(record).await.unwrap();
    running.outcome().await;
    let order = SettleOrder::recorded(
        &certificate.header,
        &setup.committee.domain,
        &TestRollup::transition(3),
        &TestRollup::proof(1),
    );
    running.poster.enqueue(&order).await.unwrap();
    let (_, outcome) = running.outcome().await;
    assert!(matches!(outcome, Outcome::Recorded { by_us: true, .. }), "{outcome:?}");
    assert_eq!(setup.state().await.batch_count, 1);

    // The turn of this batch never comes.
    let late = setup.order(9).await;
    running.poster.enqueue(&late).await.unwrap();
    running.until(late.digest, |progress| matches!(progress, Progress::Waiting(Some(_)))).await;
    setup.anvil.advance(1_000_010).await;
    let (_, outcome) = running.outcome().await;
    assert!(matches!(outcome, Outcome::Failed { reason: FailureReason::Expired { .. } }), "{outcome:?}");
}

/// Installs a settlement contract with hostile code at an address.
async fn hostile(setup: &Setup, seed: u8, code: &str) -> dac_chain::Address {
    let address = dac_chain::Address::repeat_byte(seed);
    setup.anvil.rpc("anvil_setCode", serde_json::json!([address, code])).await;
    address
}

/// Returns an order for a batch of a hostile contract, with a proof that the contract does not
/// check.
async fn hostile_order(setup: &Setup, settlement: dac_chain::Address, batch_number: u64) -> SettleOrder {
    let mut header = setup.certificate(batch_number).await.header;
    header.rollup = settlement;
    let certificate = setup.committee.certify(header, &[]);
    SettleOrder::with_certificate(
        &certificate,
        &setup.committee.domain,
        &TestRollup::transition(3),
        &TestRollup::proof(1),
    )
    .unwrap()
}

#[tokio::test]
async fn contracts_that_halt_fail_by_themselves_and_hold_up_nobody() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    // The three codes are an invalid instruction, a jump to an invalid place, and an endless loop.
    for (seed, code) in [(0xa1, "0xfe"), (0xa2, "0x600056"), (0xa3, "0x5b600056")] {
        let settlement = hostile(&setup, seed, code).await;
        let order = hostile_order(&setup, settlement, 1).await;
        running.poster.enqueue(&order).await.unwrap();
        let (digest, outcome) = running.outcome().await;
        assert_eq!(digest, order.digest);
        let Outcome::Failed { reason: FailureReason::Refused { refusal } } = outcome else {
            panic!("{outcome:?}")
        };
        assert!(matches!(refusal, Refusal::Halted { .. }), "{refusal:?}");
        assert!(setup.store.postings().iter().all(|ended| ended.calldata.is_empty()), "kept for nothing");
        assert_eq!(SettlementRefusal::of(&refusal), SettlementRefusal::Proof);
    }
    let order = setup.order(1).await;
    running.poster.enqueue(&order).await.unwrap();
    assert!(matches!(running.outcome().await, (digest, Outcome::Recorded { .. }) if digest == order.digest));
}

#[tokio::test]
async fn one_rollup_does_not_fill_the_queue() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    setup.rollup.settle(&setup.order(1).await).await;
    // One contract may have 256 orders and no more; orders of another contract are still taken.
    let order = setup.order(9).await;
    for number in 0..256u64 {
        let digest = BatchDigest(dac_types::B256::left_padding_from(&(number + 1).to_be_bytes()));
        let queued = SettleOrder { digest, batch_number: number + 100, ..order.clone() };
        running.poster.enqueue(&queued).await.unwrap();
    }
    let more = SettleOrder { batch_number: 400, ..order.clone() };
    let refused = running.poster.enqueue(&more).await.unwrap_err();
    assert!(matches!(refused, PosterError::SettlementsQueued { limit: 256, .. }), "{refused}");
    let next = setup.order(2).await;
    running.poster.enqueue(&next).await.unwrap();
    assert!(matches!(running.outcome().await, (digest, Outcome::Recorded { .. }) if digest == next.digest));
}

#[tokio::test]
async fn a_contract_that_calls_every_number_settled_holds_up_nobody() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    // The code reverts with the refusal's data, which stands behind the code.
    let selector = &dac_types::keccak256("BatchAlreadySettled(uint64,uint64)")[..4];
    let data = selector.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + &"0".repeat(128);
    let settlement = hostile(&setup, 0xa4, &format!("0x6044600c60003960446000fd{data}")).await;
    for number in 1..=2 {
        let order = hostile_order(&setup, settlement, number).await;
        running.poster.enqueue(&order).await.unwrap();
        let said = |progress: &Progress| matches!(progress, Progress::Troubled(text) if text.contains("its event was not found"));
        running.until(order.digest, said).await;
    }
    let order = setup.order(1).await;
    running.poster.enqueue(&order).await.unwrap();
    assert!(matches!(running.outcome().await, (digest, Outcome::Recorded { .. }) if digest == order.digest));
}

#[tokio::test]
async fn transactions_that_failed_are_counted_whatever_the_proof() {
    let setup = Setup::new().await;
    let order = setup.order(1).await;
    let task =
        Task::Settle(Settle { settlement: order.settlement, batch_number: 1, expires_at: order.expires_at });
    let reason = FailureReason::Refused { refusal: Refusal::of(&Verifier::InvalidProof {}) };
    let outcome = Some(Outcome::Failed { reason });
    let ended = Posting::new(order.digest.into(), 1, task, Default::default());
    let spent = Posting { reverts: 5, outcome, ..ended };
    setup.store.commit(&[Change::SavePosting(spent)]).await.unwrap();
    let running = setup.start().await;
    let enqueued = running.poster.enqueue(&order).await.unwrap();
    let reason = FailureReason::FailedRepeatedly { times: 5 };
    assert_eq!(enqueued.outcome, Some(Outcome::Failed { reason }));
    assert!(setup.store.slots().is_empty());
}
