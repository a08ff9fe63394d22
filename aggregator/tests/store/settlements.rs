//! Tests that proofs and settlements are stored while they are needed, and that a new process finds
//! them again.

use dac_aggregator::batch::{Batch, Event, Failure, FailureReason, L1Record, Phase, ProofState};
use dac_database::testing::TestDatabase;
use dac_database::{Backend, on_both_backends};
use dac_poster::{Change, Posting, Settle, Task};
use dac_types::{
    AbsentSeats, Address, AggregateAttestation, B256, BatchDigest, PostingMode, Seat, SignatureBytes,
};

use crate::{
    SqlStore, Store as _, apply, create, dispersal, offered, open, proof, received, reopen, rows, run,
    submission,
};

on_both_backends!(
    proofs_and_settlements_come_back,
    rows_from_before_settlements_are_recorded,
    settlements_of_ended_batches_are_found,
);

/// Makes a certified batch that is to be settled.
async fn certified(store: &SqlStore, batch_number: u64) -> (Batch, i64, BatchDigest) {
    let mut batch = received(submission(batch_number, 1, B256::ZERO), 1).posted_by(PostingMode::Settle);
    create(store, batch.clone()).await;
    let (dispersal, mut version) = (dispersal(&batch, 3), 1);
    let digest = dispersal.digest;
    apply(store, &mut batch, &mut version, Event::Encoded(Box::new(dispersal))).await;
    for seat in 0..3 {
        let event = Event::Answered {
            digest,
            seat: Seat(seat),
            signature: SignatureBytes([seat; 48]),
            at_ms: 7,
            with_certificate: false,
        };
        apply(store, &mut batch, &mut version, event).await;
    }
    let aggregate = AggregateAttestation {
        absent: AbsentSeats::from_signers(4, &[Seat(0), Seat(1), Seat(2)]),
        signature: SignatureBytes([9; 48]),
    };
    apply(store, &mut batch, &mut version, Event::Aggregated { digest, aggregate, at_ms: 9 }).await;
    (batch, version, digest)
}

async fn proofs_and_settlements_come_back(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let mut store = open(&database).await;
    let (mut batch, mut version, digest) = certified(&store, 1).await;
    let hash = proof(2).hash;
    let record = |by_us: bool| L1Record {
        transaction: by_us.then(|| B256::repeat_byte(3)),
        block: u64::MAX,
        gas_used: 400_000,
        by_us,
    };
    let events = [
        (offered(digest, 1), Phase::Proved, 1),
        (Event::ProofRejected { hash: proof(1).hash, reason: "ünïcode".to_owned() }, Phase::Certified, 0),
        (offered(digest, 2), Phase::Proved, 1),
        (Event::ProofAccepted { hash }, Phase::Proved, 1),
        (Event::SettlementIncluded { hash, record: record(true) }, Phase::Posted, 1),
        (Event::SettlementWaits { hash }, Phase::Proved, 1),
        (Event::SettlementIncluded { hash, record: record(true) }, Phase::Posted, 1),
        (Event::Settled(record(false)), Phase::Settled, 0),
    ];
    for (event, phase, proofs) in events {
        apply(&store, &mut batch, &mut version, event).await;
        assert_eq!((&batch.phase, rows(&store, "proofs").await), (&phase, proofs));
        // A new process reads the same.
        store = reopen(&database, &store).await;
        let reread = store.batch(batch.id).await.unwrap().unwrap();
        assert_eq!(
            (&reread.batch.phase, reread.batch.posting, &reread.batch.proof, reread.batch.settlement),
            (&batch.phase, PostingMode::Settle, &batch.proof, batch.settlement)
        );
        // A batch whose settlement may be on its way to L1 cannot be replaced any more.
        let accepted = batch.proof.as_ref().is_some_and(|proof| proof.state == ProofState::Accepted);
        let holder = store.holder(Address::repeat_byte(1), 1).await.unwrap().unwrap();
        assert_eq!(holder.posted, accepted || [Phase::Posted, Phase::Settled].contains(&phase));
        let listed = store.list(None, None, 10).await.unwrap().batches.remove(0).batch;
        let state = |batch: &Batch| batch.proof.as_ref().map(|proof| (proof.hash, proof.state.clone()));
        assert_eq!((state(&listed), listed.settlement), (state(&batch), batch.settlement));
    }
}

async fn rows_from_before_settlements_are_recorded(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let batch = received(submission(1, 1, B256::ZERO), 1);
    create(&store, batch.clone()).await;
    run(&store, "DELETE FROM settlements".to_owned()).await;
    let stored = store.batch(batch.id).await.unwrap().unwrap();
    assert_eq!(stored.batch, batch);
    assert_eq!(store.list(None, None, 10).await.unwrap().batches.len(), 1);
    // Postings that were stored before posting modes existed record the certificate.
    let body = r#"{"digest":"0x0101010101010101010101010101010101010101010101010101010101010101","sequence":1,
        "calldata":"0x00","reverts":0,"outcome":null}"#;
    let row = format!(
        "INSERT INTO postings (digest, sequence, done, body) SELECT submission_digest, 1, 0, '{body}' FROM batches"
    );
    run(&store, row).await;
    assert_eq!(store.books().load().await.unwrap().postings[0].task, Task::Record);
}

async fn settlements_of_ended_batches_are_found(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let mut orphans = Vec::new();
    for (number, ended, task) in [
        (
            1,
            true,
            Task::Settle(Settle { settlement: Address::repeat_byte(1), batch_number: 1, expires_at: 9 }),
        ),
        (
            2,
            false,
            Task::Settle(Settle { settlement: Address::repeat_byte(1), batch_number: 2, expires_at: 9 }),
        ),
        (3, true, Task::Record),
    ] {
        let (mut batch, mut version, digest) = certified(&store, number).await;
        let posting = Posting::new(digest.into(), number, task, vec![1].into());
        store.books().commit(&[Change::SavePosting(posting)]).await.unwrap();
        if ended {
            let failure = Failure { reason: FailureReason::RollupFrozen, detail: String::new() };
            apply(&store, &mut batch, &mut version, Event::SettlingFailed(failure)).await;
        }
        if number == 1 {
            orphans.push(digest);
        }
    }
    assert_eq!(reopen(&database, &store).await.orphaned_settlements().await.unwrap(), orphans);
}
