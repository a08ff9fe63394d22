//! Tests about money: an account without ether, a tip that is too low, and an hourly limit that is
//! spent.

use std::sync::atomic::Ordering;

use dac_chain::U256;
use dac_chain::amount::GWEI;
use dac_poster::{Payer, Trouble};
use serde_json::json;

use crate::support::{Running, Setup, by_us};

const ETHER: u128 = GWEI * GWEI;

async fn give(setup: &Setup, wei: u128) {
    let address = setup.anvil.key(2).address();
    setup.anvil.rpc("anvil_setBalance", json!([address, U256::from(wei)])).await;
}

async fn payer(setup: &Setup, running: &Running, what: &str, is_so: impl Fn(&Payer) -> bool) -> Payer {
    let payer = running.poster.payer();
    setup.until(what, async || is_so(&payer.borrow())).await;
    payer.borrow().clone()
}

#[tokio::test]
async fn an_empty_account_is_told_before_and_while_something_waits_for_it() {
    let setup = Setup::new().await;
    give(&setup, 0).await;
    let mut running = setup.start().await;
    let is_unfunded = |payer: &Payer| payer.trouble.as_ref().is_some_and(Trouble::is_unfunded);
    let idle = payer(&setup, &running, "told though nothing waits", is_unfunded).await;
    assert!(idle.is_low && idle.balance == Some(U256::ZERO) && idle.needed > U256::ZERO, "{idle:?}");
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
    setup.looked().await;
    setup.anvil.mine(3).await;
    setup.looked().await;
    let waiting = payer(&setup, &running, "told while it waits", is_unfunded).await;
    let text = waiting.trouble.unwrap().to_string();
    assert!(text.contains(&waiting.account.to_string()) && text.contains("owns 0 ether"), "{text}");
    assert!(setup.store.slots().is_empty(), "nothing is signed that could not be paid");

    give(&setup, ETHER).await;
    assert!(by_us(&running.outcome().await.1));
    let paid = payer(&setup, &running, "over", |payer| payer.trouble.is_none()).await;
    assert!(!paid.is_low && paid.sent == 1, "{paid:?}");
}

#[tokio::test]
async fn a_tip_that_pools_refuse_is_raised_to_what_they_ask_for_within_its_bound() {
    let mut setup = Setup::new().await;
    // Replacement because blocks pass is switched off, so the replacement can only come from the
    // pool's refusal.
    setup.config.bump_after_blocks = 1_000;
    setup.l1.pool_floor.store(u64::try_from(3 * GWEI).unwrap(), Ordering::SeqCst);
    let mut running = setup.start().await;
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
    assert!(by_us(&running.outcome().await.1));

    setup.l1.pool_floor.store(u64::try_from(30 * GWEI).unwrap(), Ordering::SeqCst);
    running.poster.enqueue(setup.record(&setup.certificate(2))).await.unwrap();
    let is_capped = |payer: &Payer| matches!(payer.trouble, Some(Trouble::TipCap { .. }));
    let text = payer(&setup, &running, "capped", is_capped).await.trouble.unwrap().to_string();
    assert!(text.contains("a tip of 30 gwei is needed, at most 10 gwei"), "{text}");
    let tips = setup.store.slots().into_iter().flat_map(|slot| slot.variants);
    assert!(tips.map(|variant| variant.fees.priority_fee).max() <= Some(2 * setup.config.tip_cap));
    setup.l1.pool_floor.store(0, Ordering::SeqCst);
    setup.anvil.mine(1).await;
    assert!(by_us(&running.outcome().await.1));
}

#[tokio::test]
async fn no_more_is_spent_in_an_hour_than_allowed() {
    let mut setup = Setup::new().await;
    // The limit allows two transactions at the price of the first: twice the base fee of a new
    // chain plus the tip.
    setup.config.hourly_max = ETHER / 1_000;
    let mut running = setup.start().await;
    for number in 1..=20 {
        running.poster.enqueue(setup.record(&setup.certificate(number))).await.unwrap();
    }
    let is_spent = |payer: &Payer| matches!(payer.trouble, Some(Trouble::HourSpent { .. }));
    let payer = payer(&setup, &running, "spent", is_spent).await;
    assert!(payer.spent <= setup.config.hourly_max, "{payer:?}");
    let text = payer.trouble.unwrap().to_string();
    assert!(text.contains("0.001 ether"), "{text}");
    assert!(by_us(&running.outcome().await.1), "what was paid is recorded");
    setup.anvil.mine(5).await;
    setup.looked().await;
    assert!(setup.store.postings().iter().any(|posting| posting.outcome.is_none()), "the others wait");
}
