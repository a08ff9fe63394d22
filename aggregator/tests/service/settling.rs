//! Tests the way from certificate and proof to the rollup's settlement, while L1 fails and other
//! senders settle batches too.

use std::time::Duration;

use dac_chain::Refusal;
use dac_chain::contracts::{CommitteeRegistry, Settlement, Verifier};
use dac_proto::v1;
use dac_types::{B256, HashKind};

use crate::support::proof::{bad_proof, good_proof};
use crate::support::rollup::{digest, messages, open, order, payload, sign};
use crate::support::{PATIENCE, Running, World};

async fn watched(running: &Running, submission: B256) -> Vec<v1::BatchState> {
    let request = v1::WatchBatchRequest { batch: Some(crate::support::by_submission(submission)) };
    let mut stream = running.client.clone().watch_batch(request).await.unwrap().into_inner();
    let mut states = Vec::new();
    let watching = async {
        while let Some(response) = stream.message().await.unwrap() {
            let state = response.batch.unwrap().state();
            if states.last() != Some(&state) {
                states.push(state);
            }
        }
    };
    tokio::time::timeout(PATIENCE, watching).await.expect("it ends by itself");
    states
}

#[tokio::test]
async fn certificate_and_proof_settle_in_one_transaction() {
    let mut world = World::small().await;
    world.options.confirmations = 4;
    let running = world.start().await;
    let submission = running.submit_to_settle(1).await;
    running.until_state(submission, v1::BatchState::Certified).await;
    assert!(running.get(submission).await.proof.is_none());
    running.prove(submission, good_proof(1)).await.unwrap();
    let states = watched(&running, submission).await;
    let wanted = [v1::BatchState::Proved, v1::BatchState::Posted, v1::BatchState::Settled];
    assert!(states.ends_with(&wanted[1..]) || states == wanted, "{states:?}");
    let batch = running.get(submission).await;
    let settlement = batch.settlement.clone().unwrap();
    assert!(
        settlement.by_us && settlement.gas_used > 0 && settlement.transaction.len() == 32,
        "{settlement:?}"
    );
    assert_eq!((&batch.l1, batch.posting(), batch.l1_problem.as_str()), (&None, v1::PostingMode::Settle, ""));
    assert_eq!((world.l1.included(), world.l1.recorded(), world.l1.settled().len()), (1, 0, 1));
    running.stop().await;
    // After a restart the batch is the same, and no transaction is sent again.
    let running = world.start().await;
    assert_eq!(running.get(submission).await.settlement.unwrap(), settlement);
    running.stop().await;
    assert_eq!(world.l1.included(), 1);
}

#[tokio::test]
async fn batches_wait_for_former_ones_and_hold_up_nobody() {
    let world = World::small().await;
    let running = world.start().await;
    let mut batches = Vec::new();
    // The batches are proved in reverse order, so each has to wait for the one before it.
    for number in (2..=4).rev() {
        let submission = running.submit_to_settle(number).await;
        running.prove(submission, good_proof(1)).await.unwrap();
        batches.push(submission);
    }
    for submission in &batches {
        let waits =
            |batch: &v1::Batch| batch.state() == v1::BatchState::Proved && batch.l1_problem.contains("batch");
        running.until(*submission, waits).await;
    }
    // A batch that is only recorded is not held up.
    let recorded = running.submit_new(9, 1000).await;
    running.until_state(recorded, v1::BatchState::Posted).await;
    assert_eq!(world.l1.included(), 1, "no gas for what can't settle yet");
    let first = running.submit_to_settle(1).await;
    running.prove(first, good_proof(1)).await.unwrap();
    for submission in [first].iter().chain(&batches) {
        running.until_state(*submission, v1::BatchState::Settled).await;
    }
    let numbers: Vec<u64> = world.l1.settled().iter().map(|settled| settled.batch_number).collect();
    assert_eq!((numbers, world.l1.included()), (vec![1, 2, 3, 4], 5));
    running.stop().await;
}

#[tokio::test]
async fn what_somebody_else_settled_is_settled_with_and_without_a_proof() {
    let world = World::small().await;
    let running = world.start().await;
    // Another sender settles a batch for which this aggregator has no proof.
    let first = running.submit_to_settle(1).await;
    running.until_state(first, v1::BatchState::Certified).await;
    world.l1.settle_for_somebody(&running.header(first).await);
    let batch = running.until_state(first, v1::BatchState::Settled).await;
    assert!(!batch.settlement.unwrap().by_us);
    // Another sender settles a batch for which this aggregator has a proof, before it sends its own
    // transaction.
    let second = running.submit_to_settle(2).await;
    running.until_state(second, v1::BatchState::Certified).await;
    let header = running.header(second).await;
    world.l1.set_down(true);
    running.prove(second, good_proof(1)).await.unwrap();
    world.l1.settle_for_somebody(&header);
    world.l1.set_down(false);
    let batch = running.until_state(second, v1::BatchState::Settled).await;
    let settlement = batch.settlement.unwrap();
    assert!(!settlement.by_us && settlement.transaction == vec![0xcc; 32], "{settlement:?}");
    assert_eq!(world.l1.included(), 0, "no gas was spent");
    running.stop().await;
}

#[tokio::test]
async fn a_number_used_by_another_batch_fails() {
    for with_proof in [false, true] {
        let world = World::small().await;
        let running = world.start().await;
        let submission = running.submit_to_settle(1).await;
        running.until_state(submission, v1::BatchState::Certified).await;
        let mut other = running.header(submission).await;
        other.batch_hash = B256::repeat_byte(9);
        world.l1.set_down(true);
        if with_proof {
            running.prove(submission, good_proof(1)).await.unwrap();
        }
        world.l1.settle_for_somebody(&other);
        world.l1.set_down(false);
        let batch = running.until_state(submission, v1::BatchState::Failed).await;
        assert!(batch.failure.starts_with("BATCH_NUMBER_USED"), "{}", batch.failure);
        assert_eq!(world.l1.included(), 0);
        running.stop().await;
    }
}

#[tokio::test]
async fn refusals_of_the_rollup_have_their_consequence() {
    for (refusal, failure) in [
        (Refusal::of(&Settlement::IsFrozen { reason: 2 }), "ROLLUP_FROZEN"),
        (Refusal::of(&Settlement::LifetimeTooShort { expiresAt: 1, needed: 2 }), "SETTLEMENT_REFUSED"),
        (Refusal::of(&Verifier::HashKindNotAllowed { got: 0 }), "SETTLEMENT_REFUSED"),
    ] {
        let world = World::small().await;
        world.l1.refuse_settling(Some(refusal));
        let running = world.start().await;
        let submission = running.submit_to_settle(1).await;
        running.prove(submission, good_proof(1)).await.unwrap();
        let batch = running.until_state(submission, v1::BatchState::Failed).await;
        assert!(batch.failure.starts_with(failure), "{}", batch.failure);
        assert_eq!(world.l1.included(), 0);
        running.stop().await;
    }
    // A temporary refusal is shown, and the batch waits until it is over.
    for (refusal, text) in [
        (Refusal::of(&Settlement::CoverageTooShort { coverageUntil: 1, needed: 2 }), "renew"),
        (Refusal::of(&CommitteeRegistry::EnforcedPause {}), "paused"),
        (Refusal::NoCode { address: dac_types::Address::ZERO }, "no contract"),
    ] {
        let world = World::small().await;
        world.l1.refuse_settling(Some(refusal));
        let running = world.start().await;
        let submission = running.submit_to_settle(1).await;
        running.prove(submission, good_proof(1)).await.unwrap();
        let batch = running.until(submission, |batch| batch.l1_problem.contains(text)).await;
        assert_eq!(batch.state(), v1::BatchState::Proved);
        world.l1.refuse_settling(None);
        let batch = running.until_state(submission, v1::BatchState::Settled).await;
        assert_eq!(batch.l1_problem, "");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_reorganised_settlement_is_settled_again() {
    let mut world = World::small().await;
    // So many confirmations are needed that the state in between is seen; every reading of L1 mines
    // a block.
    world.options.confirmations = 100;
    let running = world.start().await;
    let submission = running.submit_to_settle(1).await;
    running.prove(submission, good_proof(1)).await.unwrap();
    let posted = running.until_state(submission, v1::BatchState::Posted).await;
    let settlement = posted.settlement.unwrap();
    assert!(settlement.by_us);
    world.l1.set_withhold(true);
    world.l1.reorganise(settlement.block - 1);
    let proved = running.until_state(submission, v1::BatchState::Proved).await;
    assert!(proved.settlement.is_none());
    world.l1.set_withhold(false);
    running.until_state(submission, v1::BatchState::Posted).await;
    running.until_state(submission, v1::BatchState::Settled).await;
    assert_eq!(world.l1.settled().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn settling_goes_on_after_a_restart_at_every_step() {
    let mut world = World::small().await;
    world.options.confirmations = 60;
    world.l1.set_withhold(true);
    let running = world.start().await;
    let submission = running.submit_to_settle(1).await;
    running.prove(submission, good_proof(1)).await.unwrap();
    running.until_state(submission, v1::BatchState::Proved).await;
    running.stop().await;
    // The settlement is simulated and perhaps signed, but not included.
    let running = world.start().await;
    let accepted = |batch: &v1::Batch| {
        batch.proof.as_ref().is_some_and(|proof| proof.state() == v1::ProofState::Accepted)
    };
    assert_eq!(running.until(submission, accepted).await.state(), v1::BatchState::Proved);
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.stop().await;
    // The settlement is included, but not deep enough.
    world.l1.set_withhold(false);
    let running = world.start().await;
    running.until_state(submission, v1::BatchState::Posted).await;
    running.stop().await;
    let running = world.start().await;
    running.until_state(submission, v1::BatchState::Settled).await;
    running.stop().await;
    let running = world.start().await;
    assert_eq!(running.get(submission).await.state(), v1::BatchState::Settled);
    running.stop().await;
    assert_eq!((world.l1.settled().len(), world.l1.included()), (1, 1), "settled once, paid once");
}

#[tokio::test]
async fn a_recorded_batch_is_settled_from_the_log() {
    let world = World::small().await;
    let running = world.start().await;
    let submission = running.submit_new(1, 1000).await;
    let all = |batch: &v1::Batch| {
        batch.state() == v1::BatchState::Posted
            && batch.members.iter().all(|member| member.state() == v1::DeliveryState::Attested)
    };
    let recorded = running.until(submission, all).await;
    // The work on the batch is done: its task has ended.
    tokio::time::timeout(PATIENCE, async {
        while !running.store().unfinished().await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    running.prove(submission, bad_proof(1)).await.unwrap();
    let rejected = |batch: &v1::Batch| {
        batch.proof.as_ref().is_some_and(|proof| proof.state() == v1::ProofState::Rejected)
    };
    assert_eq!(running.until(submission, rejected).await.state(), v1::BatchState::Posted);
    running.prove(submission, good_proof(1)).await.unwrap();
    let settled = running.until_state(submission, v1::BatchState::Settled).await;
    assert_eq!(settled.l1, recorded.l1);
    assert!(settled.settlement.unwrap().by_us);
    assert_eq!((world.l1.recorded(), world.l1.settled().len(), world.l1.included()), (1, 1, 2));
    running.stop().await;
}

#[tokio::test]
async fn what_was_replaced_is_not_settled_any_more() {
    let world = World::small().await;
    // The batch before it never settles, so this one's turn never comes.
    let running = world.start().await;
    let former = running.submit_to_settle(2).await;
    running.prove(former, good_proof(1)).await.unwrap();
    running.until(former, |batch| !batch.l1_problem.is_empty()).await;
    let bytes = payload(900, 77);
    let mut next = order(2, HashKind::Opaque, &bytes);
    next.replaces = running.encoded(former).await.0;
    let next = sign(next);
    let mut opening = open(&next);
    opening.posting = v1::PostingMode::Settle.into();
    running.upload(messages(opening, &bytes)).await.unwrap();
    let failed = running.until_state(former, v1::BatchState::Failed).await;
    assert!(failed.failure.starts_with("REPLACED"), "{}", failed.failure);
    running.prove(digest(&next), good_proof(2)).await.unwrap();
    let first = running.submit_to_settle(1).await;
    running.prove(first, good_proof(3)).await.unwrap();
    running.until_state(digest(&next), v1::BatchState::Settled).await;
    assert_eq!(world.l1.settled()[1].digest, running.encoded(digest(&next)).await);
    running.stop().await;
}

#[tokio::test]
async fn the_mode_that_a_batch_was_first_submitted_with_counts() {
    let world = World::small().await;
    let running = world.start().await;
    let bytes = payload(1000, 1);
    let submission = sign(order(1, HashKind::Opaque, &bytes));
    let mut opening = open(&submission);
    opening.posting = 9;
    let refused = running.upload(messages(opening.clone(), &bytes)).await.unwrap_err();
    assert_eq!(dac_proto::reason::Reason::of(&refused), Some(dac_proto::reason::Reason::MalformedRequest));
    opening.posting = 0;
    running.upload(messages(opening.clone(), &bytes)).await.unwrap();
    opening.posting = v1::PostingMode::Settle.into();
    let batch = running.upload(messages(opening, &bytes)).await.unwrap();
    assert_eq!(batch.posting(), v1::PostingMode::Record);
    running.until_state(digest(&submission), v1::BatchState::Posted).await;
    running.stop().await;
}

#[tokio::test]
async fn a_settlement_that_cannot_be_simulated_holds_up_nobody_and_says_why() {
    let world = World::small().await;
    world.l1.trouble(Some(1));
    let running = world.start().await;
    let submission = running.submit_to_settle(1).await;
    running.prove(submission, good_proof(1)).await.unwrap();
    running.until(submission, |batch| batch.l1_problem.contains("smoke")).await;
    let recorded = running.submit_new(9, 1000).await;
    let posted = running.until_state(recorded, v1::BatchState::Posted).await;
    assert_eq!(posted.l1_problem, "");
    assert_eq!(running.get(submission).await.state(), v1::BatchState::Proved);
    world.l1.trouble(None);
    let batch = running.until_state(submission, v1::BatchState::Settled).await;
    assert_eq!(batch.l1_problem, "");
    running.stop().await;
}
