//! Tests that coverage is renewed on a real settlement contract, once, and before other waiting
//! postings.

use std::sync::atomic::Ordering;

use dac_chain::contracts::{CertificateLog, Settlement};
use dac_chain::testing::{CommitteeSpec, RollupSpec, TestRollup, deploy_rollup};
use dac_chain::{Address, Refusal, RenewOrder};
use dac_poster::{FailureReason, Outcome, PosterError, Progress};
use dac_types::CoverageRenewal;

use crate::support::{DEADLINE, Running, Setup, by_us, refused};

/// Sets up a rollup that has settled `batches` batches, which members keep for `seconds` seconds.
pub(crate) async fn settled(batches: u64, seconds: u64) -> (Setup, TestRollup) {
    let spec = RollupSpec::default();
    let setup = Setup::with(&CommitteeSpec {
        activation_delay: spec.activation_delay(),
        ..CommitteeSpec::new(4, 2, 3)
    })
    .await;
    let rollup = deploy_rollup(&setup.anvil, &setup.committee, spec).await;
    for number in 1..=batches {
        settle(&setup, &rollup, number, seconds).await;
    }
    (setup, rollup)
}

async fn settle(setup: &Setup, rollup: &TestRollup, number: u64, seconds: u64) {
    let expires_at = setup.anvil.head().await.timestamp + seconds;
    let header = rollup.header(&setup.committee, number, expires_at);
    rollup.settle(&rollup.order(&setup.committee.certify(header, &[]))).await;
}

pub(crate) fn renewal(setup: &Setup, rollup: &TestRollup, last_batch: u64, expires_at: u64) -> RenewOrder {
    renewal_of(setup, rollup.address, last_batch, expires_at)
}

fn renewal_of(setup: &Setup, rollup: Address, last_batch: u64, expires_at: u64) -> RenewOrder {
    let renewal = CoverageRenewal { rollup, last_batch, expires_at, epoch: setup.committee.epoch };
    RenewOrder::new(&setup.committee.certify_renewal(renewal, &[dac_types::Seat(2)]))
}

async fn until(running: &Running, order: &RenewOrder, wanted: impl Fn(&Progress) -> bool) {
    let mut progress = running.poster.progress();
    let waited = progress.wait_for(|map| map.get(&order.digest.into()).is_some_and(&wanted));
    tokio::time::timeout(DEADLINE, waited).await.expect("in time").unwrap();
}

#[tokio::test]
async fn coverage_is_renewed_once_and_further() {
    let (setup, rollup) = settled(2, 5_000).await;
    let reader = rollup.reader(&setup.anvil);
    let before = reader.coverage().await.unwrap();
    assert_eq!((before.batch_count, before.mark), (2, 0));
    let mut running = setup.start().await;
    for expires_at in [setup.expires_at, setup.expires_at + 1] {
        let order = renewal(&setup, &rollup, 2, expires_at);
        assert_eq!(running.poster.enqueue(&order).await.unwrap().digest, order.digest);
        running.poster.enqueue(&order).await.unwrap();
        let (digest, outcome) = running.outcome().await;
        assert_eq!(digest, order.digest);
        assert!(by_us(&outcome), "{outcome:?}");
        assert_eq!(reader.state().await.unwrap().coverage_until, expires_at);
        let sent = setup.l1.sent.load(Ordering::SeqCst);
        let again = running.poster.enqueue(&order).await.unwrap();
        assert_eq!((again.outcome, setup.l1.sent.load(Ordering::SeqCst)), (Some(outcome), sent));
    }
    assert!(reader.has_code().await.unwrap());
}

#[tokio::test]
async fn somebody_elses_renewal_counts_as_done_and_costs_nothing() {
    let (setup, rollup) = settled(1, 5_000).await;
    rollup.renew(&renewal(&setup, &rollup, 1, setup.expires_at + 5)).await;
    let mut running = setup.start().await;
    running.poster.enqueue(&renewal(&setup, &rollup, 1, setup.expires_at)).await.unwrap();
    let (_, outcome) = running.outcome().await;
    let done = Outcome::Recorded { tx_hash: None, block: None, gas_used: None, by_us: false };
    assert_eq!(outcome, done);
    assert_eq!(setup.l1.sent.load(Ordering::SeqCst), 0);

    // Another sender renews while our transaction is under way, too. The nonce of ours is then used
    // for the next posting.
    setup.l1.swallow.store(true, Ordering::SeqCst);
    running.poster.enqueue(&renewal(&setup, &rollup, 1, setup.expires_at + 7)).await.unwrap();
    setup.until("signed", async || setup.store.slots().len() == 1).await;
    rollup.renew(&renewal(&setup, &rollup, 1, setup.expires_at + 8)).await;
    assert_eq!(running.outcome().await.1, done);
    setup.l1.swallow.store(false, Ordering::SeqCst);
    running.poster.enqueue(setup.record(&setup.certificate(2))).await.unwrap();
    setup.anvil.mine(1).await;
    assert!(by_us(&running.outcome().await.1));
    setup.until("all nonces are used", async || setup.store.slots().is_empty()).await;
    assert_eq!(rollup.reader(&setup.anvil).state().await.unwrap().coverage_until, setup.expires_at + 8);
}

#[tokio::test]
async fn a_renewal_of_what_is_not_settled_waits_and_one_that_came_too_late_fails() {
    let (setup, rollup) = settled(1, 9_000).await;
    let mut running = setup.start().await;
    let ahead = renewal(&setup, &rollup, 2, setup.expires_at);
    running.poster.enqueue(&ahead).await.unwrap();
    let wanted = Refusal::of(&Settlement::RenewalAhead { lastBatch: 2, batchCount: 1 });
    until(&running, &ahead, |progress| *progress == Progress::Waiting(Some(wanted.clone()))).await;
    assert_eq!(setup.l1.sent.load(Ordering::SeqCst), 0, "no gas is spent on what is refused");
    settle(&setup, &rollup, 2, 9_000).await;
    assert!(by_us(&running.outcome().await.1));

    // The contract's coverage marks move when batches settle at least a freezeDelay apart.
    for number in 3..=5 {
        setup.anvil.advance(1_001).await;
        settle(&setup, &rollup, number, 9_000).await;
    }
    let old = renewal(&setup, &rollup, 1, setup.expires_at);
    running.poster.enqueue(&old).await.unwrap();
    let (_, outcome) = running.outcome().await;
    let Outcome::Failed { reason: FailureReason::Refused { refusal } } = outcome else {
        panic!("{outcome:?}")
    };
    let mark = rollup.reader(&setup.anvil).coverage().await.unwrap().mark;
    assert_eq!(refusal, Refusal::of(&Settlement::RenewalTooOld { lastBatch: 1, mark }));

    // The time that the renewal promises is over before its turn comes.
    let late = renewal(&setup, &rollup, 9, setup.expires_at);
    running.poster.enqueue(&late).await.unwrap();
    until(&running, &late, |progress| matches!(progress, Progress::Waiting(Some(_)))).await;
    setup.anvil.advance(1_000_010).await;
    let (_, outcome) = running.outcome().await;
    assert!(matches!(outcome, Outcome::Failed { reason: FailureReason::Expired { .. } }), "{outcome:?}");
}

#[tokio::test]
async fn a_forged_renewal_and_a_contract_that_halts_fail_by_name() {
    let (setup, rollup) = settled(1, 9_000).await;
    let mut running = setup.start().await;
    let good = renewal(&setup, &rollup, 1, setup.expires_at);
    // The renewal carries the signature of another renewal.
    let mut forged = renewal(&setup, &rollup, 1, setup.expires_at + 1);
    let signature = forged.calldata.len() - 128;
    forged.calldata = [&forged.calldata[..signature], &good.calldata[signature..]].concat().into();
    running.poster.enqueue(&forged).await.unwrap();
    let (digest, outcome) = running.outcome().await;
    assert_eq!(digest, forged.digest);
    assert!(refused::<CertificateLog::SignatureMismatch>(&outcome), "{outcome:?}");
    let address = Address::repeat_byte(0xa1);
    setup.anvil.rpc("anvil_setCode", serde_json::json!([address, "0xfe"])).await;
    running.poster.enqueue(&renewal_of(&setup, address, 1, setup.expires_at)).await.unwrap();
    let (_, outcome) = running.outcome().await;
    assert!(matches!(outcome, Outcome::Failed { reason: FailureReason::Refused { .. } }), "{outcome:?}");
    running.poster.enqueue(&good).await.unwrap();
    assert!(by_us(&running.outcome().await.1));
    assert_eq!(rollup.reader(&setup.anvil).state().await.unwrap().coverage_until, setup.expires_at);
}

#[tokio::test]
async fn renewals_have_room_of_their_own_and_no_more_than_that() {
    let (mut setup, rollup) = settled(1, 9_000).await;
    setup.config.queue_max = 2;
    setup.config.window = 1;
    setup.l1.down.store(true, Ordering::SeqCst);
    let mut running = setup.start().await;
    for number in 1..=2 {
        running.poster.enqueue(setup.record(&setup.certificate(number))).await.unwrap();
    }
    assert!(running.poster.enqueue(setup.record(&setup.certificate(3))).await.is_err(), "the queue is full");
    let orders: Vec<_> = (0..4).map(|later| renewal(&setup, &rollup, 1, setup.expires_at + later)).collect();
    for order in &orders {
        running.poster.enqueue(order).await.unwrap();
    }
    let fifth = renewal(&setup, &rollup, 1, setup.expires_at + 4);
    let full = running.poster.enqueue(&fifth).await.unwrap_err();
    assert!(matches!(full, PosterError::RenewalsQueued { limit: 4, .. }), "{full}");
    // The order that arrived first has the first outcome.
    setup.l1.down.store(false, Ordering::SeqCst);
    let (digest, outcome) = running.outcome().await;
    assert_eq!(digest, orders[0].digest);
    assert!(by_us(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn a_renewal_goes_on_after_a_kill_and_a_reorganisation() {
    let (mut setup, rollup) = settled(1, 9_000).await;
    setup.config.confirmations = 3;
    setup.l1.swallow.store(true, Ordering::SeqCst);
    let running = setup.start().await;
    let order = renewal(&setup, &rollup, 1, setup.expires_at);
    running.poster.enqueue(&order).await.unwrap();
    setup.until("signed", async || setup.store.slots().len() == 1).await;
    drop(running);
    let signed = setup.store.slots()[0].variants[0].hash;

    setup.l1.swallow.store(false, Ordering::SeqCst);
    let mut running = setup.start().await;
    let reader = rollup.reader(&setup.anvil);
    let renewed = async || reader.state().await.unwrap().coverage_until == setup.expires_at;
    setup.until("renewed", renewed).await;
    // The block that includes it is replaced by an empty one, and the node loses the transaction
    // too.
    setup.anvil.reorganise(1).await;
    setup.until("renewed again", renewed).await;
    setup.anvil.mine(2).await;
    let (digest, outcome) = running.outcome().await;
    assert_eq!(digest, order.digest);
    let Outcome::Recorded { tx_hash, by_us: true, .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(tx_hash, Some(signed), "the transaction signed before, not a new one");
}
