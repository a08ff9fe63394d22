//! Tests that a poster that is killed at any point continues after a restart: no certificate is
//! lost, and none is posted twice.

use dac_poster::Outcome;
use std::sync::atomic::Ordering;

use crate::support::{Setup, by_us};

#[tokio::test]
async fn it_goes_on_after_being_killed_before_anything_was_sent() {
    let setup = Setup::new().await;
    setup.l1.down.store(true, Ordering::SeqCst);
    let running = setup.start().await;
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
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
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
    running.poster.enqueue(setup.record(&setup.certificate(2))).await.unwrap();
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
    running.poster.enqueue(setup.record(&setup.certificate(1))).await.unwrap();
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
    // The first commit is that of enqueueing; the next two are those of signing and of the outcome.
    for (number, commits) in [(1, 1), (2, 2), (3, 3)] {
        setup.store.fail_after(Some(commits));
        let running = setup.start().await;
        running.poster.enqueue(setup.record(&setup.certificate(number))).await.unwrap();
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
