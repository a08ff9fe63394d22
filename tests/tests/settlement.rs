//! Certificate and validity proof, a real one, become a settlement: refused unpaid while they do
//! not fit, settled once when they do.

use std::net::SocketAddr;

use dac_chain::contracts::{Settlement, Verifier};
use dac_chain::{B256, ChainError, Refusal, SettledBatch, U256};
use dac_client::{AggregatorError, BatchState, BatchStatus, L1Status, ProofState};
use dac_coding::{Points, encode, payload_fingerprint};
use dac_proto::v1;
use dac_tests::gate::Mode;
use dac_tests::settlement::{ProvedBatch, RollupNetwork};
use dac_tests::{Context, Failure, Result, rpc, wait};
use dac_types::{BatchHeader, Certificate, Seat, Transition};

/// What settling may cost, all told.
const SETTLE_GAS_MAX: u64 = 480_000;

/// A batch whose proof L1 refuses says so, and waits for another one.
fn assert_rejected(status: &BatchStatus, refusal: &Refusal) {
    let proof = status.proof.as_ref().expect("a proof was handed in");
    assert_eq!((proof.state, status.state), (ProofState::Rejected, BatchState::Certified), "{status:?}");
    assert!(proof.reason.contains(&refusal.to_string()), "{:?} names {refusal}", proof.reason);
}

fn settlement(status: &BatchStatus) -> &L1Status {
    assert_eq!(status.state, BatchState::Settled);
    status.settlement.as_ref().expect("a settled batch says where")
}

/// What L1 must say of a batch that settled with this certificate.
fn expected(
    rollup: &RollupNetwork,
    certificate: &Certificate,
    batch: &ProvedBatch,
    status: &BatchStatus,
) -> SettledBatch {
    let (header, place) = (&certificate.header, settlement(status));
    SettledBatch {
        digest: header.digest(&rollup.network.domain()),
        batch_number: batch.sealed.number(),
        epoch: header.epoch,
        expires_at: header.expires_at,
        transition: batch.sealed.transition,
        block: place.block,
        tx: place.transaction.expect("a settlement is a transaction"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_proof_is_refused_unpaid_and_the_right_one_settles() -> Result<()> {
    let mut rollup = RollupNetwork::start(1).await?;
    let batch = rollup.batches[0].clone();
    let (truth, proof) = (batch.sealed.transition, batch.proof.clone());
    assert_ne!(truth.outputs, B256::ZERO, "a withdrawal is granted");
    let digest = rollup.submit(&batch).await?;
    let certificate = rollup.certified(digest).await?;

    let before = rollup.purse().await?;
    let mut root = truth.new_state_root;
    root.0[31] ^= 1;
    let length = Refusal::of(&Verifier::ProofLength { got: U256::from(255), expected: U256::from(256) });
    let wrong = [
        (
            Transition { new_state_root: root, ..truth },
            proof.clone(),
            Refusal::of(&Verifier::InvalidProof {}),
        ),
        (Transition { outputs: B256::ZERO, ..truth }, proof.clone(), Refusal::of(&Verifier::InvalidProof {})),
        (
            Transition { inputs_consumed: 3, ..truth },
            proof.clone(),
            Refusal::of(&Settlement::InputsNotThere { got: 3, limit: 2 }),
        ),
        (truth, proof.slice(..255), length),
    ];
    for (transition, proof, refusal) in wrong {
        rollup.hand_in(digest, transition, proof).await?;
        let waited = rollup.settled(digest).await;
        assert!(matches!(waited, Err(AggregatorError::ProofRejected { .. })), "{refusal}: {waited:?}");
        assert_rejected(&rollup.status(digest).await?, &refusal);
        assert_eq!(rollup.purse().await?, before, "{refusal}: nothing is sent");
    }
    assert_eq!(rollup.sent().await?, before.transactions, "nor waits to be mined");

    rollup.hand_in_good(digest, &batch).await?;
    let settled = rollup.settled(digest).await?;
    let place = settlement(&settled);
    assert!(place.by_us && place.gas_used <= SETTLE_GAS_MAX, "{place:?}");
    println!("settled with a withdrawal: {} gas", place.gas_used);
    let after = rollup.purse().await?;
    assert_eq!(after.transactions, before.transactions + 1);
    assert!(after.wei < before.wei);
    assert_eq!(rollup.settlements().await?, [expected(&rollup, &certificate, &batch, &settled)]);
    let state = rollup.reader().state().await?;
    assert_eq!((state.batch_count, state.inputs_consumed), (1, 2));
    assert_eq!(
        (state.state_root, state.coverage_until),
        (truth.new_state_root, certificate.header.expires_at)
    );
    rollup.stranger().claim_withdrawal(1, &batch.sealed.batch.withdrawals(), 0).await?;
    assert_eq!(rollup.network.recordings(digest).await, 0, "one transaction did it all");

    // No log has the certificate: L1's own event leads anyone to the data.
    rollup.network.aggregator.kill();
    assert!(rollup.network.retrieve(digest).await? == batch.sealed.payload);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_came_before_the_certificate_survives_the_aggregator() -> Result<()> {
    let mut rollup = RollupNetwork::start(1).await?;
    let batch = rollup.batches[0].clone();
    let before = rollup.purse().await?;
    // Two of four are gone: no certificate can form.
    rollup.network.members[2].service.kill();
    rollup.network.members[3].service.kill();
    let digest = rollup.submit(&batch).await?;
    let handed_in = rollup.hand_in_good(digest, &batch).await?;
    let proof = handed_in.proof.as_ref().expect("it was handed in");
    assert_eq!((handed_in.state, proof.state), (BatchState::Dispersing, ProofState::Received));
    rollup.network.aggregator.kill();

    // Its transaction is in no block yet when it dies once more.
    rollup.network.anvil.set_automine(false).await;
    rollup.network.members[2].service.start().await?;
    rollup.network.aggregator.start().await?;
    let sent = async || (rollup.sent().await.ok()? == before.transactions + 1).then_some(());
    wait::until("the settlement to be sent", wait::LIMIT, sent).await?;
    rollup.network.aggregator.kill();
    rollup.network.aggregator.start().await?;
    rollup.network.anvil.set_automine(true).await;
    rollup.network.anvil.mine(1).await;

    let settled = rollup.settled(digest).await?;
    assert!(settlement(&settled).by_us);
    let certificate = rollup.certified(digest).await?;
    assert_eq!(rollup.settlements().await?, [expected(&rollup, &certificate, &batch, &settled)]);
    assert_eq!(rollup.sent().await?, before.transactions + 1, "settled once, paid once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_unpaid_until_the_one_before_it_has_settled() -> Result<()> {
    let rollup = RollupNetwork::start(2).await?;
    let [first, second] = &rollup.batches[..] else { unreachable!("two batches") };
    let before = rollup.purse().await?;
    let later = rollup.submit(second).await?;
    rollup.certified(later).await?;
    rollup.hand_in_good(later, second).await?;
    let why = Refusal::of(&Settlement::BatchNumberSkipped { got: 2, expected: 1 }).to_string();
    let waits = |batch: &v1::Batch| batch.l1_problem.contains(&why);
    let waiting = rollup.follow("to wait for its turn", rpc::by_digest(later), waits).await?;
    assert_eq!(waiting.state(), v1::BatchState::Proved);
    let proof = waiting.proof.as_ref().expect("it was handed in");
    assert_eq!(proof.state(), v1::ProofState::Received, "not refused, nor accepted yet");
    assert_eq!(rollup.sent().await?, before.transactions);
    assert_eq!(rollup.purse().await?, before, "waiting costs nothing");

    let earlier = rollup.submit(first).await?;
    rollup.hand_in_good(earlier, first).await?;
    let mut settled = Vec::new();
    for (digest, batch) in [(earlier, first), (later, second)] {
        let status = rollup.settled(digest).await?;
        assert!(settlement(&status).by_us);
        let certificate = rollup.certified(digest).await?;
        settled.push(expected(&rollup, &certificate, batch, &status));
    }
    assert_eq!(rollup.settlements().await?, settled);
    assert!(settled[0].block < settled[1].block);
    assert_eq!(rollup.sent().await?, before.transactions + 2, "one transaction each");
    let root = second.sealed.transition.new_state_root;
    assert_eq!(rollup.reader().state().await?.state_root, root);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_settled_is_recognised() -> Result<()> {
    let rollup = RollupNetwork::start(2).await?;
    let [first, second] = &rollup.batches[..] else { unreachable!("two batches") };
    let before = rollup.purse().await?;

    // The aggregator never sees a proof.
    let digest = rollup.submit(first).await?;
    let certificate = rollup.certified(digest).await?;
    let receipt = rollup.stranger_settles(&certificate, first).await?;
    let status = rollup.settled(digest).await?;
    assert!(!settlement(&status).by_us);
    assert_eq!(status.proof, None);
    let mut settled = vec![expected(&rollup, &certificate, first, &status)];
    assert_eq!((settled[0].tx, settled[0].block), (receipt.tx_hash, receipt.block));

    // It has the proof, but no way to L1. Another account settles.
    let digest = rollup.submit(second).await?;
    let certificate = rollup.certified(digest).await?;
    rollup.network.l1.set(Mode::Shut);
    rollup.hand_in_good(digest, second).await?;
    let proved = |batch: &v1::Batch| batch.state() == v1::BatchState::Proved;
    rollup.follow("to be proved", rpc::by_digest(digest), proved).await?;
    rollup.stranger_settles(&certificate, second).await?;
    rollup.network.l1.set(Mode::Open(SocketAddr::from(([127, 0, 0, 1], rollup.network.anvil.port()))));
    let status = rollup.settled(digest).await?;
    assert!(!settlement(&status).by_us);
    settled.push(expected(&rollup, &certificate, second, &status));

    assert_eq!(rollup.settlements().await?, settled);
    assert_eq!(rollup.sent().await?, before.transactions);
    assert_eq!(rollup.purse().await?, before, "nothing was left to pay for");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn data_other_than_what_was_proved_never_settle_whoever_signs() -> Result<()> {
    let rollup = RollupNetwork::start(1).await?;
    let batch = &rollup.batches[0];
    let before = rollup.purse().await?;
    let mut other = batch.sealed.payload.clone();
    other[100] ^= 1;

    // Honest members cannot know an OPAQUE hash: they certify another payload under it. The
    // fingerprint that they sign is that payload's.
    let digest = rollup.submit_payload(rollup.order(batch), other.clone().into()).await?;
    let false_header = rollup.certified(digest).await?.header;
    rollup.hand_in_good(digest, batch).await?;
    let waited = rollup.settled(digest).await;
    assert!(matches!(waited, Err(AggregatorError::ProofRejected { .. })), "{waited:?}");
    assert_rejected(&rollup.status(digest).await?, &Refusal::of(&Verifier::InvalidProof {}));
    assert_eq!(rollup.purse().await?, before);

    // Colluding members sign anything, here with their own keys: any mixture of the two payloads'
    // commitments.
    let geometry = rollup.network.committee.quorum.geometry();
    let committed = |payload: &[u8]| {
        let encoded = encode(geometry, payload.to_vec().into(), batch.sealed.batch_hash())?;
        let commitment = encoded.commitment();
        Ok::<_, Failure>(BatchHeader {
            payload_length: payload.len() as u64,
            shard_root: commitment.shard_root,
            fingerprints_hash: commitment.fingerprints_hash,
            payload_fingerprint: commitment.payload_fingerprint.clone(),
            ..false_header.clone()
        })
    };
    assert_eq!(committed(&other)?, false_header);
    let true_header = committed(&batch.sealed.payload)?;
    let longer = committed(&[&batch.sealed.payload[..], &[0]].concat())?;
    let at_points_of = |header: &BatchHeader, payload: &[u8]| {
        let BatchHeader { shard_root, batch_hash, payload_length, .. } = *header;
        let points = Points::from_record(shard_root, batch_hash, payload_length, geometry);
        payload_fingerprint(&points, payload).as_bytes().to_vec()
    };
    let mixtures = [
        ("the other payload, honestly committed to", false_header.clone()),
        (
            "its fingerprint at the proved payload's points",
            BatchHeader { payload_fingerprint: at_points_of(&true_header, &other), ..true_header.clone() },
        ),
        (
            "its shards with the proved payload's fingerprint",
            BatchHeader {
                payload_fingerprint: true_header.payload_fingerprint.clone(),
                ..false_header.clone()
            },
        ),
        (
            "its shards with the proved payload's fingerprint at their points",
            BatchHeader {
                payload_fingerprint: at_points_of(&false_header, &batch.sealed.payload),
                ..false_header.clone()
            },
        ),
        ("another hash", BatchHeader { batch_hash: B256::with_last_byte(7), ..true_header.clone() }),
        ("a zero more", longer),
    ];
    for (what, header) in mixtures {
        let certificate = rollup.network.committee.certify(header, &[Seat(3)]);
        let refused = rollup.stranger_settles(&certificate, batch).await;
        assert!(
            matches!(&refused, Err(ChainError::Reverted(refusal)) if refusal.is::<Verifier::InvalidProof>()),
            "{what}: {refused:?}"
        );
    }

    // The same hands settle what was proved: it was the data, and not the signatures.
    let certificate = rollup.network.committee.certify(true_header, &[Seat(3)]);
    rollup.stranger_settles(&certificate, batch).await.context("the truth")?;
    // The number is used: for what the aggregator has there is no way left.
    let failed = |batch: &v1::Batch| batch.state() == v1::BatchState::Failed;
    let failed = rollup.follow("to fail", rpc::by_digest(digest), failed).await?;
    assert!(failed.failure.starts_with("BATCH_NUMBER_USED"), "{}", failed.failure);
    assert_eq!(rollup.purse().await?, before);
    Ok(())
}
