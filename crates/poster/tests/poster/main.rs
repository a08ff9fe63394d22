//! Tests of the poster on a real chain (anvil): what it does with certificates, for every answer of
//! L1.

mod kills;
mod lies;
mod money;
mod nonces;
mod renewals;
mod reorganisations;
mod support;

use std::sync::atomic::Ordering;

use dac_chain::contracts::CertificateLog;
use dac_chain::testing::{CommitteeSpec, deploy_committee};
use dac_poster::{FailureReason, Outcome, PosterError};

use crate::support::{Setup, by_us, refused};

#[tokio::test]
async fn certificates_are_recorded_in_order_and_once() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    let certificates: Vec<_> = (1..=12).map(|number| setup.certificate(number)).collect();
    for certificate in &certificates {
        let enqueued = running.poster.enqueue(setup.record(certificate)).await.unwrap();
        assert_eq!(enqueued.digest, setup.digest(certificate));
        // Enqueueing the same order again changes nothing.
        running.poster.enqueue(setup.record(certificate)).await.unwrap();
    }
    for _ in &certificates {
        let (digest, outcome) = running.outcome().await;
        assert!(by_us(&outcome), "{outcome:?}");
        assert!(setup.log().recorded_at(digest.batch().unwrap()).await.unwrap().is_some());
    }
    let head = setup.anvil.head().await.number;
    let events = setup.log().recorded_events(0, head).await.unwrap();
    let numbers: Vec<_> = events.iter().map(|event| event.batch_number).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    assert!(setup.store.slots().is_empty());

    let again = running.poster.enqueue(setup.record(&certificates[0])).await.unwrap();
    assert!(again.outcome.as_ref().is_some_and(by_us), "{again:?}");
    assert_eq!(setup.recorded().await, 12);
}

#[tokio::test]
async fn what_somebody_else_recorded_counts_as_done_and_costs_nothing() {
    let setup = Setup::new().await;
    let certificate = setup.certificate(1);
    let receipt =
        setup.anvil.account(setup.anvil.key(5)).record(setup.config.log, &certificate).await.unwrap();

    let mut running = setup.start().await;
    running.poster.enqueue(setup.record(&certificate)).await.unwrap();
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
async fn a_refusal_for_good_is_a_typed_failure_and_the_next_ones_go_on() {
    let setup = Setup::new().await;
    let mut running = setup.start().await;
    let expired = setup.committee.certify(setup.committee.header(1, setup.anvil.head().await.timestamp), &[]);
    let mut forged = setup.certificate(2);
    forged.header.batch_number = 3;
    running.poster.enqueue(setup.record(&expired)).await.unwrap();
    running.poster.enqueue(setup.record(&forged)).await.unwrap();
    running.poster.enqueue(setup.record(&setup.certificate(4))).await.unwrap();
    for _ in 0..3 {
        let (digest, outcome) = running.outcome().await;
        if digest == setup.digest(&expired) {
            assert!(refused::<CertificateLog::Expired>(&outcome), "{outcome:?}");
        } else if digest == setup.digest(&forged) {
            assert!(refused::<CertificateLog::SignatureMismatch>(&outcome), "{outcome:?}");
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
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
    let (_, outcome) = running.outcome().await;
    let Outcome::Failed { reason: FailureReason::Refused { refusal } } = outcome else {
        panic!("{outcome:?}")
    };
    let late = refusal.get::<CertificateLog::EpochNoLongerPostable>();
    assert!(late.is_some_and(|late| late.epoch == 1), "{refusal}");
}

#[tokio::test]
async fn a_pause_holds_certificates_up_and_loses_none() {
    let setup = Setup::new().await;
    setup.committee.admin(&setup.anvil).pause().await.unwrap();
    let mut running = setup.start().await;
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
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
    // The order is taken and stored nevertheless.
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
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
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
    let full = running.poster.enqueue(setup.record(&setup.certificate(2))).await.unwrap_err();
    assert!(matches!(full, PosterError::QueueFull { limit: 1 }));
    setup.l1.down.store(false, Ordering::SeqCst);
    let (_, outcome) = running.outcome().await;
    let Outcome::Failed { reason: FailureReason::GasLimit { needed, limit: 50_000 } } = outcome else {
        panic!("{outcome:?}")
    };
    assert!(needed > 100_000);
}
