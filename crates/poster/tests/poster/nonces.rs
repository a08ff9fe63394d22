//! Tests of nonces and fees: transactions that are stuck, orphaned nonces, nonces used by other
//! programs, and transactions that a reorganisation removes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dac_chain::testing::{Anvil, AnvilOptions, CommitteeSpec, Mining, deploy_committee};
use dac_chain::{Endpoints, RpcL1};
use dac_poster::testing::MemoryPosterStore;
use dac_poster::{Order, Outcome, Poster, PosterConfig, Purpose};
use tokio_util::sync::CancellationToken;

use crate::support::{DEADLINE, POLL, Running, Setup, by_us};

#[tokio::test]
async fn a_stuck_transaction_is_replaced_by_a_dearer_one_up_to_the_cap() {
    let mut setup = Setup::new().await;
    setup.config.fee_cap = 60_000_000_000;
    setup.anvil.set_automine(false).await;
    let mut running = setup.start().await;
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
    setup.until("signed", async || setup.store.slots().len() == 1).await;
    setup.until("sent", async || setup.l1.sent.load(Ordering::SeqCst) > 0).await;
    let first = setup.store.slots()[0].variants[0].clone();

    // For some blocks gas costs more than the transaction pays.
    for _ in 0..4 {
        setup.anvil.set_next_base_fee(u64::try_from(first.fees.max_fee).unwrap() + 1).await;
        setup.anvil.mine(1).await;
    }
    setup.until("replaced", async || setup.store.slots()[0].variants.len() > 1).await;
    let second = setup.store.slots()[0].variants[1].clone();
    assert_eq!(second.purpose, Purpose::Post);
    assert!(second.fees.max_fee * 8 >= first.fees.max_fee * 9);
    assert!(second.fees.priority_fee * 8 >= first.fees.priority_fee * 9);

    // Gas now costs more than the cap: the poster waits, and never signs a transaction above the
    // cap.
    for _ in 0..12 {
        setup.anvil.set_next_base_fee(70_000_000_000).await;
        setup.anvil.mine(1).await;
        setup.looked().await;
    }
    for slot in setup.store.slots() {
        assert!(slot.variants.iter().all(|variant| variant.fees.max_fee <= setup.config.fee_cap));
    }
    running.poster.enqueue(setup.record(&setup.certificate(2))).await.unwrap();
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

/// Starts a poster whose transaction is signed with a nonce but never reaches the chain. Meanwhile
/// another account records the same certificate.
async fn start_with_an_orphan(setup: &Setup) -> Running {
    setup.l1.swallow.store(true, Ordering::SeqCst);
    let running = setup.start().await;
    let certificate = setup.certificate(1);
    running.poster.enqueue(setup.record(&certificate)).await.unwrap();
    setup.until("signed", async || setup.store.slots().len() == 1).await;
    setup.anvil.account(setup.anvil.key(5)).record(setup.config.log, &certificate).await.unwrap();
    running
}

#[tokio::test]
async fn somebody_elses_record_while_ours_is_under_way_leaves_no_gap_in_the_nonces() {
    let setup = Setup::new().await;
    let mut running = start_with_an_orphan(&setup).await;

    let (_, outcome) = running.outcome().await;
    assert!(matches!(outcome, Outcome::Recorded { by_us: false, .. }), "{outcome:?}");
    setup
        .until("the nonce waits to be used", async || {
            setup.store.slots().first().is_some_and(|slot| slot.digest.is_none())
        })
        .await;
    setup.l1.swallow.store(false, Ordering::SeqCst);

    // The next batch goes through, after the orphaned nonce was used.
    running.poster.enqueue(setup.record(&setup.certificate(2))).await.unwrap();
    setup.anvil.mine(1).await;
    let (_, outcome) = running.outcome().await;
    assert!(by_us(&outcome), "{outcome:?}");
    setup.until("all nonces are used", async || setup.store.slots().is_empty()).await;
    assert_eq!(setup.recorded().await, 2);
}

#[tokio::test]
async fn an_orphaned_nonce_is_cancelled_cheaply_once_it_is_due() {
    let setup = Setup::new().await;
    let mut running = start_with_an_orphan(&setup).await;
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
async fn a_nonce_used_by_somebody_with_the_same_key_costs_no_certificate() {
    let setup = Setup::new().await;
    setup.l1.swallow.store(true, Ordering::SeqCst);
    let mut running = setup.start().await;
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
    setup.until("signed", async || setup.store.slots().len() == 1).await;
    // Another program uses the poster's key, which it must not, for an unrelated record.
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
    let l1 = Arc::new(RpcL1::new(endpoints));
    let (poster, outcomes) =
        Poster::start(config, l1.clone(), l1, store.clone(), Arc::new(anvil.key(3)), stop.clone())
            .await
            .unwrap();
    let expires_at = anvil.head().await.timestamp + 1_000_000;
    for number in 1..=10 {
        let certificate = committee.certify(committee.header(number, expires_at), &[]);
        poster.enqueue(Order::record(&certificate, &committee.domain).unwrap()).await.unwrap();
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

#[tokio::test]
async fn nothing_is_final_before_the_confirmations_and_what_is_reorganised_out_is_sent_again() {
    let mut setup = Setup::new().await;
    setup.config.confirmations = 3;
    let mut running = setup.start().await;
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
    setup.until("included", async || setup.recorded().await == 1).await;
    let first = setup.log().recorded_events(0, setup.anvil.head().await.number).await.unwrap()[0];

    setup.anvil.mine(1).await;
    setup.looked().await;
    assert!(setup.undecided(), "two blocks are not three");

    // The block with the record is replaced by an empty one, and the node loses the transaction
    // too.
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
