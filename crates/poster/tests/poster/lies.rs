//! Tests with endpoints that lie, that fail now and then, and that word their refusals differently.

use std::sync::atomic::Ordering;

use dac_chain::U256;
use dac_chain::amount::GWEI;
use dac_poster::{Outcome, Progress};

use crate::support::{Setup, by_us};

/// Returns the account's nonce and its balance in wei.
async fn account(setup: &Setup) -> (u64, U256) {
    let address = setup.anvil.key(2).address();
    let number = |value: serde_json::Value| value.as_str().unwrap().parse::<U256>().unwrap();
    let nonce = setup.anvil.rpc("eth_getTransactionCount", serde_json::json!([address, "latest"])).await;
    let balance = setup.anvil.rpc("eth_getBalance", serde_json::json!([address, "latest"])).await;
    (number(nonce).to(), number(balance))
}

#[tokio::test]
async fn an_endpoint_that_hides_what_was_recorded_costs_a_few_transactions_and_no_more() {
    let setup = Setup::new().await;
    let (first_nonce, before) = account(&setup).await;
    setup.l1.lie(Some(setup.anvil.head().await.hash));
    let mut running = setup.start().await;
    let certificate = setup.certificate(1);
    let digest = setup.digest(&certificate);
    running.poster.enqueue(setup.record(&certificate)).await.unwrap();

    let progress = running.poster.progress();
    let stopped = || match progress.borrow().get(&digest) {
        Some(Progress::Troubled(problem)) => problem.contains("posting is stopped: 3 nonces"),
        _ => false,
    };
    setup.until("stopped", async || stopped()).await;
    // No further transaction is sent while the endpoint goes on lying.
    setup.anvil.mine(20).await;
    setup.looked().await;
    let (nonce, after) = account(&setup).await;
    assert_eq!(nonce - first_nonce, u64::from(setup.config.lost_max));
    assert_eq!(setup.recorded().await, 1);
    let payer = running.poster.payer().borrow().clone();
    assert_eq!((payer.stopped, payer.sent), (1, 3));
    // The tip is at most the cap of 5 gwei, although the endpoint suggests 190; the base fee adds
    // at most 1 gwei.
    let (spent, most) = (before - after, U256::from(3 * 300_000 * 6 * GWEI));
    assert!(spent < most, "{spent} of {most}");
    assert!(payer.spent >= spent.to::<u128>(), "no less is counted than was spent");

    // A restarted poster does not start spending again.
    drop(running);
    running = setup.start().await;
    setup.anvil.mine(20).await;
    setup.looked().await;
    assert_eq!(account(&setup).await.0, nonce);

    // Once the endpoint tells the truth, the posting ends.
    setup.l1.lie(None);
    let (ended, outcome) = running.outcome().await;
    assert_eq!(ended, digest);
    assert!(matches!(outcome, Outcome::Recorded { .. }), "{outcome:?}");
    assert_eq!(account(&setup).await.0, nonce);
}

#[tokio::test]
async fn a_backlog_is_posted_though_some_requests_fail() {
    let setup = Setup::new().await;
    let certificates: Vec<_> = (1..=60).map(|number| setup.certificate(number)).collect();
    setup.l1.failing.store(5, Ordering::SeqCst);
    let mut running = setup.start().await;
    for certificate in &certificates {
        running.poster.enqueue(setup.record(certificate)).await.unwrap();
    }
    for _ in &certificates {
        let (_, outcome) = running.outcome().await;
        assert!(by_us(&outcome), "{outcome:?}");
    }
    setup.l1.failing.store(0, Ordering::SeqCst);
    assert_eq!(setup.recorded().await, 60);
    assert_eq!(setup.store.postings().iter().map(|posting| posting.lost).sum::<u32>(), 0);
}

#[tokio::test]
async fn what_was_recorded_is_known_by_the_log_where_the_refusal_is_not_understood() {
    let setup = Setup::new().await;
    let certificate = setup.certificate(1);
    let log = setup.config.log;
    let receipt = setup.anvil.account(setup.anvil.key(5)).record(log, &certificate).await.unwrap();
    setup.l1.wordless.store(true, Ordering::SeqCst);
    let mut running = setup.start().await;
    running.poster.enqueue(setup.record(&certificate)).await.unwrap();
    let (_, outcome) = running.outcome().await;
    assert!(
        matches!(outcome, Outcome::Recorded { tx_hash, by_us: false, .. } if tx_hash == Some(receipt.tx_hash)),
        "{outcome:?}"
    );
    // Other postings are not held up.
    running.poster.enqueue(setup.record(&setup.certificate(2))).await.unwrap();
    assert!(by_us(&running.outcome().await.1));
}
