//! Tests with reorganisations above the confirmed block, up to 32 blocks deep: nothing is posted
//! twice, and no settled batch is forgotten.

use dac_poster::Outcome;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::renewals::{renewal, settled};
use crate::support::{Setup, by_us};

const REORGANISED_MAX: u64 = 32;
const ROUNDS: usize = 60;

/// Returns whether every posting has an outcome and no nonce is pending.
fn is_idle(setup: &Setup) -> bool {
    setup.store.postings().iter().all(|posting| posting.outcome.is_some()) && setup.store.slots().is_empty()
}

#[tokio::test]
async fn no_reorganisation_up_to_the_confirmations_loses_or_doubles_anything() {
    let seed = std::env::var("DAC_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("DAC_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut setup, rollup) = settled(0, 0).await;
    setup.config.confirmations = REORGANISED_MAX + 1;
    let floor = setup.anvil.head().await.number;
    let mut running = setup.start().await;
    let (mut certificates, mut batches, mut renewals) = (0, 0, 0);
    let mut counts = BTreeMap::<&str, usize>::new();
    for _ in 0..ROUNDS {
        let what = match random.random_range(0..16) {
            0..=2 => {
                certificates += 1;
                running.poster.enqueue(setup.record(&setup.certificate(certificates))).await.unwrap();
                "recorded"
            }
            3..=5 => {
                batches += 1;
                let header = rollup.header(&setup.committee, batches, setup.expires_at);
                let order = rollup.order(&setup.committee.certify(header, &[]));
                running.poster.enqueue(&order).await.unwrap();
                "settled"
            }
            6 if batches > 0 => {
                renewals += 1;
                // Each renewal promises a later time than all before it, as the aggregator does.
                let order = renewal(&setup, &rollup, batches, setup.expires_at + renewals);
                match running.poster.enqueue(&order).await {
                    Ok(_) => "renewed",
                    // The renewals before this one wait for batches that have not settled yet, and
                    // no more are taken.
                    Err(dac_poster::PosterError::RenewalsQueued { .. }) => "not renewed",
                    Err(other) => panic!("{other}"),
                }
            }
            6 | 7 => {
                setup.anvil.mine(random.random_range(1..6)).await;
                "mined"
            }
            8 => {
                setup.l1.swallow.store(true, Ordering::SeqCst);
                "swallowed"
            }
            9 => {
                setup.l1.swallow.store(false, Ordering::SeqCst);
                "let through"
            }
            10 => {
                setup.anvil.drop_pending().await;
                "dropped"
            }
            11 => {
                drop(running);
                running = setup.start().await;
                "killed"
            }
            12 | 13 => {
                setup.looked_unless(async || is_idle(&setup)).await;
                "looked"
            }
            _ => {
                let height = setup.anvil.head().await.number - floor;
                let depth = random.random_range(1..=REORGANISED_MAX).min(height);
                if depth > 0 {
                    setup.anvil.reorganise(depth).await;
                }
                "reorganised"
            }
        };
        *counts.entry(what).or_default() += 1;
    }
    setup.l1.swallow.store(false, Ordering::SeqCst);
    for _ in 0..400 {
        if is_idle(&setup) {
            break;
        }
        setup.anvil.mine(8).await;
        setup.looked_unless(async || is_idle(&setup)).await;
    }
    let postings = setup.store.postings();
    println!("{counts:?}");
    for posting in &postings {
        let fine = matches!(posting.outcome, Some(Outcome::Recorded { .. }));
        assert!(fine, "DAC_SEED={seed}: {posting:?}");
    }
    let head = setup.anvil.head().await.number;
    let events = setup.log().recorded_events(0, head).await.unwrap();
    let mut numbers: Vec<_> = events.iter().map(|event| event.batch_number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=certificates).collect::<Vec<_>>(), "DAC_SEED={seed}");
    let settled = rollup.reader(&setup.anvil).settled_events(0, head, |_, _| {}).await.unwrap();
    let numbers: Vec<_> = settled.iter().map(|batch| batch.batch_number).collect();
    assert_eq!(numbers, (1..=batches).collect::<Vec<_>>(), "DAC_SEED={seed}");
    // Each reported outcome must be true on the chain that remains.
    for posting in &postings {
        let Some(Outcome::Recorded { block: Some(block), tx_hash: Some(tx_hash), by_us, .. }) =
            posting.outcome
        else {
            continue;
        };
        let found =
            events.iter().find(|event| posting.digest == event.digest).map(|event| (event.block, event.tx));
        let of_batch = settled.iter().find(|batch| posting.digest == batch.digest);
        let found = found.or(of_batch.map(|batch| (batch.block, batch.tx)));
        if posting.digest.batch().is_some() {
            assert_eq!(found, Some((block, tx_hash)), "DAC_SEED={seed}: {posting:?}");
        }
        assert!(by_us, "nobody else posts: {posting:?}");
    }
}

/// If a reorganisation removes a posting that was reported as final, the poster does not post it
/// again by itself. The part of the aggregator that follows the chain notices and orders it again.
#[tokio::test]
async fn one_deeper_than_the_confirmations_leaves_the_way_free() {
    let (mut setup, rollup) = settled(0, 0).await;
    setup.config.confirmations = 2;
    let mut running = setup.start().await;
    let reader = rollup.reader(&setup.anvil);
    let count = async || reader.state().await.unwrap().batch_count;
    for number in 1..=3 {
        let header = rollup.header(&setup.committee, number, setup.expires_at);
        let order = rollup.order(&setup.committee.certify(header, &[]));
        running.poster.enqueue(&order).await.unwrap();
    }
    setup.until("settled", async || count().await == 3).await;
    setup.anvil.mine(1).await;
    for _ in 1..=3 {
        assert!(by_us(&running.outcome().await.1));
    }
    setup.anvil.reorganise(4).await;
    assert_eq!(count().await, 0);
    let header = rollup.header(&setup.committee, 1, setup.expires_at + 1);
    let order = rollup.order(&setup.committee.certify(header, &[]));
    running.poster.enqueue(&order).await.unwrap();
    setup.until("settled again", async || count().await == 1).await;
    setup.anvil.mine(1).await;
    let (digest, outcome) = running.outcome().await;
    assert_eq!(digest, order.digest);
    assert!(by_us(&outcome), "{outcome:?}");
}
