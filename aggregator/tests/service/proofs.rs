//! Tests which proofs are taken, and which are refused for which reason.

use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_types::limits::PROOF_MAX_BYTES;
use dac_types::{B256, BatchDigest};
use tonic::{Code, Status};

use crate::support::proof::{bad_proof, batch_digest, good_proof, proof_request};
use crate::support::{Behaviour, NOW, World, by_submission, key, poster};

fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> Reason {
    let status = result.expect_err("it was taken");
    Reason::of(&status).unwrap_or_else(|| panic!("no reason: {status:?}"))
}

#[tokio::test]
async fn every_rule_of_a_proof_has_its_reason() {
    type Break = fn(&mut v1::SubmitValidityProofRequest);
    let world = World::small().await;
    let running = world.start().await;
    let submission = running.submit_to_settle(1).await;
    let digest = running.encoded(submission).await;
    let good = || proof_request(digest, good_proof(1), &poster());
    let by = |digest: B256| {
        let by = v1::batch_selector::By::Digest(digest.to_vec().into());
        Some(v1::BatchSelector { by: Some(by) })
    };
    let cases: &[(&str, Reason, Break)] = &[
        ("no batch", Reason::MalformedRequest, |r| r.batch = None),
        ("short root", Reason::MalformedRequest, |r| r.new_state_root.truncate(31)),
        ("no outputs", Reason::MalformedRequest, |r| r.outputs.clear()),
        ("no proof", Reason::ProofLength, |r| r.proof.clear()),
        ("over 64 KiB", Reason::ProofLength, |r| r.proof = vec![1; PROOF_MAX_BYTES + 1].into()),
        ("short signature", Reason::BadProofSignature, |r| r.signature.truncate(64)),
        ("malleable signature", Reason::BadProofSignature, |r| r.signature = vec![0xff; 65].into()),
        ("another root", Reason::WrongPoster, |r| r.new_state_root = vec![9; 32].into()),
        ("other inputs", Reason::WrongPoster, |r| r.inputs_consumed += 1),
        ("other outputs", Reason::WrongPoster, |r| r.outputs = vec![9; 32].into()),
        ("other proof", Reason::WrongPoster, |r| r.proof = good_proof(2)),
    ];
    for (name, expected, break_it) in cases {
        let mut request = good();
        break_it(&mut request);
        assert_eq!(reason(running.hand_in(request).await), *expected, "{name}");
    }
    let stranger = proof_request(digest, good_proof(1), &key(0x55));
    assert_eq!(reason(running.hand_in(stranger).await), Reason::WrongPoster);
    let other = BatchDigest(B256::repeat_byte(9));
    assert_eq!(
        reason(running.hand_in(proof_request(other, good_proof(1), &poster())).await),
        Reason::UnknownBatch
    );
    // The proof is signed for another batch and submitted for this one.
    let mut swapped = proof_request(other, good_proof(1), &poster());
    swapped.batch = by(digest.0);
    assert_eq!(reason(running.hand_in(swapped).await), Reason::WrongPoster);
    // The proof is larger than any message may be.
    let mut endless = good();
    endless.proof = vec![1; 1 << 20].into();
    assert_eq!(running.hand_in(endless).await.unwrap_err().code(), Code::OutOfRange);
    assert!(running.get(submission).await.proof.is_none(), "nothing was stored");

    // The longest proof is taken, by the submission's digest as well.
    let mut longest =
        proof_request(digest, [&[1][..], &vec![2; PROOF_MAX_BYTES - 1]].concat().into(), &poster());
    longest.batch = Some(by_submission(submission));
    let batch = running.hand_in(longest).await.unwrap();
    assert_eq!(batch.proof.unwrap().state(), v1::ProofState::Received);
    running.until_state(submission, v1::BatchState::Settled).await;
    running.stop().await;
}

#[tokio::test]
async fn a_proof_needs_a_digest_and_an_unended_batch() {
    let world = World::small().await;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Silent);
    }
    let running = world.start().await;
    // No epoch is active, so the batch is not encoded.
    let committees = world.registry.latest().unwrap().committees.clone();
    let submission = running.submit_to_settle(1).await;
    let digest = running.encoded(submission).await;
    world.clock.set(NOW + 3600 + 31);
    running.until_state(submission, v1::BatchState::Failed).await;
    let request = proof_request(digest, good_proof(1), &poster());
    assert_eq!(reason(running.hand_in(request.clone()).await), Reason::BatchEnded);
    world.publish(|view| view.rollups.clear());
    assert_eq!(reason(running.hand_in(request).await), Reason::UnknownRollup);
    drop(committees);
    running.stop().await;
}

#[tokio::test]
async fn the_same_proof_again_changes_nothing_and_another_one_waits_for_a_refusal() {
    let world = World::small().await;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Silent);
    }
    let running = world.start().await;
    let submission = running.submit_to_settle(1).await;
    let first = running.prove(submission, bad_proof(1)).await.unwrap();
    // Before the certificate nothing can be simulated.
    assert_eq!(
        (first.state(), first.proof.as_ref().unwrap().state()),
        (v1::BatchState::Dispersing, v1::ProofState::Received)
    );
    let again = running.prove(submission, bad_proof(1)).await.unwrap();
    assert_eq!(again.proof, first.proof);
    assert_eq!(reason(running.prove(submission, good_proof(2)).await), Reason::ConflictingProof);
    assert_eq!(world.l1.settlements_simulated(), 0);
    running.stop().await;

    // After a restart the proof is still there, and is refused before gas is spent.
    for seat in 0..4 {
        world.behave(seat, Behaviour::Honest);
    }
    let running = world.start().await;
    assert_eq!(running.get(submission).await.proof, first.proof);
    let rejected = |batch: &v1::Batch| {
        batch.proof.as_ref().is_some_and(|proof| proof.state() == v1::ProofState::Rejected)
    };
    let batch = running.until(submission, rejected).await;
    assert!(batch.proof.as_ref().unwrap().reason.contains("does not show"), "{batch:?}");
    assert_eq!((batch.state(), world.l1.included()), (v1::BatchState::Certified, 0));
    // The same proof is simulated again; another proof settles the batch.
    running.prove(submission, bad_proof(1)).await.unwrap();
    running.until(submission, rejected).await;
    running.prove(submission, good_proof(2)).await.unwrap();
    let settled = running.until_state(submission, v1::BatchState::Settled).await;
    assert_eq!(settled.proof.unwrap().state(), v1::ProofState::Accepted);
    assert_eq!(
        (world.l1.included(), world.l1.recorded()),
        (1, 0),
        "one transaction for certificate and proof"
    );
    // Once the batch has settled, the same proof is answered with the batch, and another one is
    // refused.
    running.prove(submission, good_proof(2)).await.unwrap();
    assert_eq!(reason(running.prove(submission, good_proof(3)).await), Reason::BatchEnded);
    running.stop().await;
}

#[tokio::test]
async fn a_new_epoch_voids_the_proof_of_the_old_header() {
    let world = World::small().await;
    for seat in 0..4 {
        world.behave(seat, Behaviour::Refuse(Reason::EpochNotActive));
    }
    let running = world.start().await;
    let submission = running.submit_to_settle(1).await;
    let old = running.prove(submission, good_proof(1)).await.unwrap();
    world.open_epoch(2);
    world.clock.advance(10);
    let new = running.until(submission, |batch| batch.epoch == 2 && !batch.digest.is_empty()).await;
    let proof = new.proof.as_ref().unwrap();
    assert_eq!(proof.state(), v1::ProofState::Rejected);
    assert!(proof.reason.contains("digest"), "{}", proof.reason);
    let stale = proof_request(batch_digest(&old), good_proof(1), &poster());
    assert_eq!(reason(running.hand_in(stale).await), Reason::UnknownBatch);
    for seat in 0..4 {
        world.behave(seat, Behaviour::Honest);
    }
    running.prove(submission, good_proof(1)).await.unwrap();
    running.until_state(submission, v1::BatchState::Settled).await;
    running.stop().await;
}
