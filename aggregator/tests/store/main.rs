//! Tests of the store on both backends: committed changes stay, uncommitted ones leave nothing
//! behind, and races have one winner.

#![allow(missing_docs, clippy::cast_possible_truncation)]

use std::sync::Arc;

use bytes::Bytes;
use dac_aggregator::batch::{
    Batch, Delivery, DeliveryFailure, Dispersal, Event, FailureReason, L1Record, NumberTaken, Phase, Proof,
    SubmissionDigest,
};
use dac_aggregator::store::{Creation, Owner, PageToken, SqlStore, Store, StoreError, Upload};
use dac_database::testing::TestDatabase;
use dac_database::{Backend, DatabaseError, on_both_backends, sqlx};
use dac_poster::{Change, NonceSlot, Outcome, Posting, Task};
use dac_types::{
    AbsentSeats, Address, AggregateAttestation, B256, BatchDigest, BatchHeader, BatchSubmission, Domain,
    EcdsaSignature, HashKind, Quorum, Record, RowFingerprints, Seat, SignatureBytes, SignedSubmission,
    Transition,
};

const DOMAIN: Domain = Domain { chain_id: 1, registry: Address::repeat_byte(9) };
const TERM: std::time::Duration = std::time::Duration::from_secs(3);
const OWNER: Owner = Owner { domain: DOMAIN, disperser: Address::repeat_byte(8) };

mod settlements;
mod uploads;

on_both_backends!(
    batches_come_back_as_they_were_saved,
    what_many_members_say_is_kept,
    the_same_submission_is_created_once,
    one_number_has_one_holder_in_any_race,
    replacing_fails_the_former_and_drops_its_payload,
    two_writers_do_not_overwrite_one_another,
    pages_are_complete_and_ordered,
    the_posters_books_are_kept,
    strangers_may_not_open_it,
    corrupt_rows_are_named,
);

/// Closes the store and opens it again, as a process does that follows another one.
async fn reopen(database: &TestDatabase, former: &SqlStore) -> SqlStore {
    former.close().await;
    open(database).await
}

async fn open(database: &TestDatabase) -> SqlStore {
    SqlStore::open(database.options(), OWNER, TERM).await.unwrap()
}

fn submission(batch_number: u64, seed: u8, replaces: B256) -> SignedSubmission {
    let mut signature = [1; 65];
    signature[64] = 27;
    SignedSubmission {
        submission: BatchSubmission {
            rollup: Address::repeat_byte(1),
            batch_number,
            payload_length: 700_000,
            expires_at: u64::MAX,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::repeat_byte(seed),
            replaces,
            disperser: OWNER.disperser,
            submit_before: u64::MAX - 1,
        },
        signature: EcdsaSignature::try_from(&signature[..]).unwrap(),
    }
}

fn received(submission: SignedSubmission, at_ms: u64) -> Batch {
    Batch::received(SubmissionDigest(submission.submission.digest(&DOMAIN)), submission, at_ms)
}

fn bytes(length: u32) -> Bytes {
    (0..length).map(|i| (i.wrapping_mul(i) >> 3) as u8).collect()
}

fn payload() -> Bytes {
    bytes(700_000)
}

async fn upload(store: &SqlStore, payload: &[u8]) -> Upload {
    let mut upload = Upload::begin(Arc::new(store.clone()), 5, payload.len() as u64);
    for piece in payload.chunks(100_001) {
        upload.push(piece).await.unwrap();
    }
    upload
}

async fn create(store: &SqlStore, batch: Batch) -> Creation {
    upload(store, &payload()).await.create(batch).await.unwrap().0
}

fn dispersal(batch: &Batch, epoch: u64) -> Dispersal {
    dispersal_to(Quorum::new(4, 2, 3).unwrap(), batch, epoch)
}

fn dispersal_to(quorum: Quorum, batch: &Batch, epoch: u64) -> Dispersal {
    let (geometry, order) = (quorum.geometry(), &batch.submission.submission);
    let header = BatchHeader {
        rollup: order.rollup,
        batch_number: order.batch_number,
        epoch,
        expires_at: order.expires_at,
        payload_length: order.payload_length,
        hash_kind: order.hash_kind,
        batch_hash: order.batch_hash,
        shard_root: B256::repeat_byte(4),
        fingerprints_hash: B256::repeat_byte(5),
        payload_fingerprint: vec![6; geometry.fingerprint_bytes()],
    };
    let digest = header.digest(&DOMAIN);
    let fingerprints = vec![8; usize::from(geometry.k()) * geometry.fingerprint_bytes()];
    let record = Record {
        header,
        shard_hashes: vec![B256::repeat_byte(7); geometry.n().into()],
        row_fingerprints: RowFingerprints::new(geometry, fingerprints).unwrap(),
        submission: batch.submission.clone(),
        disperser_signature: batch.submission.signature,
        certificate: None,
    };
    Dispersal::new(digest, quorum, Arc::new(record))
}

/// Applies an event and saves the batch. The state machine's actions are ignored here.
async fn apply(store: &SqlStore, batch: &mut Batch, version: &mut i64, event: Event) {
    let before = batch.clone();
    batch.apply(event);
    *version = store.save(&before, batch, *version).await.unwrap();
}

async fn run(store: &SqlStore, statement: String) {
    let done: Result<(), StoreError> = store
        .database()
        .transaction(move |connection| {
            Box::pin(async move {
                sqlx::query(sqlx::AssertSqlSafe(statement)).execute(connection).await?;
                Ok(())
            })
        })
        .await;
    done.unwrap();
}

fn proof(byte: u8) -> Proof {
    let transition = Transition {
        new_state_root: B256::repeat_byte(byte),
        inputs_consumed: u64::MAX,
        outputs: B256::repeat_byte(byte + 1),
    };
    // A proof of the greatest length.
    Proof::received(transition, vec![byte; dac_types::limits::PROOF_MAX_BYTES].into(), u64::MAX)
}

fn offered(digest: BatchDigest, byte: u8) -> Event {
    Event::ProofOffered { digest, proof: Box::new(proof(byte)) }
}

fn answered(digest: BatchDigest, seat: u8) -> Event {
    Event::Answered {
        digest,
        seat: Seat(seat),
        signature: SignatureBytes([seat; 48]),
        at_ms: 77,
        with_certificate: false,
    }
}

/// Uses as many members as need statements of several lengths.
async fn what_many_members_say_is_kept(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let (mut batch, mut version) = (received(submission(1, 1, B256::ZERO), 1), 1);
    create(&store, batch.clone()).await;
    let dispersal = dispersal_to(Quorum::new(255, 86, 171).unwrap(), &batch, 1);
    let digest = dispersal.digest;
    apply(&store, &mut batch, &mut version, Event::Encoded(Box::new(dispersal))).await;
    assert_eq!(rows(&store, "members").await, 0, "nothing is known of anybody");
    for seats in [0..3, 2..170] {
        let before = batch.clone();
        for seat in seats {
            batch.apply(answered(digest, seat));
        }
        version = store.save(&before, &batch, version).await.unwrap();
        assert_eq!(store.batch(batch.id).await.unwrap().unwrap().batch.dispersal, batch.dispersal);
    }
    assert_eq!(rows(&store, "members").await, 170);
}

async fn batches_come_back_as_they_were_saved(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let mut store = open(&database).await;
    let first = received(submission(1, 1, B256::ZERO), u64::MAX);
    assert_eq!(create(&store, first.clone()).await, Creation::Created { replaced: None });
    let stored = store.batch(first.id).await.unwrap().unwrap();
    let (mut batch, mut version) = (stored.batch, stored.version);
    assert_eq!(batch, first);
    let dispersal = dispersal(&batch, 3);
    let digest = dispersal.digest;
    let refused = Event::DeliveryFailed {
        digest,
        seat: Seat(3),
        kind: DeliveryFailure::Refused,
        reason: "BAD_SHARD".to_owned(),
        detail: "ünïcode \u{1F980}".to_owned(),
    };
    let events = [
        Event::Encoded(Box::new(dispersal)),
        answered(digest, 0),
        refused,
        answered(digest, 1),
        answered(digest, 2),
        Event::Aggregated {
            digest,
            aggregate: AggregateAttestation {
                absent: AbsentSeats::from_signers(4, &[Seat(0), Seat(1), Seat(2)]),
                signature: SignatureBytes([9; 48]),
            },
            at_ms: 99,
        },
        Event::PostingProblem("fees".to_owned()),
        Event::Recorded(L1Record {
            transaction: Some(B256::repeat_byte(2)),
            block: u64::MAX,
            gas_used: 161_000,
            by_us: true,
        }),
    ];
    for event in events {
        apply(&store, &mut batch, &mut version, event).await;
        // A new process reads the same.
        store = reopen(&database, &store).await;
        let reread = store.batch(batch.id).await.unwrap().unwrap();
        assert_eq!(reread.version, version);
        assert_eq!(
            (&reread.batch.phase, &reread.batch.dispersal, &reread.batch.certificate, &reread.batch.l1),
            (&batch.phase, &batch.dispersal, &batch.certificate, &batch.l1)
        );
        assert_eq!(reread.batch.l1_problem, batch.l1_problem);
    }
    assert_eq!(batch.phase, Phase::Posted);
    assert_eq!(store.by_digest(digest).await.unwrap(), Some(batch.id));
    assert_eq!(store.by_digest(BatchDigest(B256::ZERO)).await.unwrap(), None);
    assert_eq!(store.unfinished().await.unwrap(), [batch.id], "seat 3 waits for its shard");
    assert_eq!(store.count_by_phase().await.unwrap(), [("posted".to_owned(), 1)]);
}

async fn rows(store: &SqlStore, table: &'static str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .fetch_one(store.database().reads())
        .await
        .unwrap()
}

async fn the_same_submission_is_created_once(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let batch = received(submission(1, 1, B256::ZERO), 1);
    create(&store, batch.clone()).await;
    assert_eq!(create(&store, batch.clone()).await, Creation::Exists);
    assert!(store.batch(batch.id).await.unwrap().is_some());
    assert_eq!(rows(&store, "payload_rows").await, 3, "of the second upload nothing was written");
}

async fn one_number_has_one_holder_in_any_race(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    // Two processes race on one database if the backend allows that; a SQLite file takes only one.
    let second = match backend {
        Backend::Sqlite => store.clone(),
        Backend::Postgres => open(&database).await,
    };
    let mut racers = Vec::new();
    for seed in 0..6 {
        let store = if seed % 2 == 0 { store.clone() } else { second.clone() };
        let upload = upload(&store, &payload()).await;
        racers.push((upload, received(submission(1, seed, B256::ZERO), 1)));
    }
    let racers: Vec<_> = racers
        .into_iter()
        .map(|(upload, batch)| tokio::spawn(async move { upload.create(batch).await }))
        .collect();
    let mut created = 0;
    for racer in racers {
        match racer.await.unwrap().unwrap().0 {
            Creation::Created { .. } => created += 1,
            Creation::Refused(NumberTaken::Conflict { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(created, 1);
    // The database itself refuses a second batch that holds the same number.
    let forced: Result<(), StoreError> = store
        .database()
        .transaction(|connection| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO batches SELECT $1, rollup, batch_number, submission, $1, received_at_ms, phase,
                        failure_reason, failure_detail, holds_number, epoch, certificate, certified_at_ms,
                        l1_transaction, l1_block, l1_gas_used, l1_by_us, l1_problem, payload_dropped, finished, version
                     FROM batches",
                )
                .bind(vec![1u8; 32])
                .execute(connection)
                .await?;
                Ok(())
            })
        })
        .await;
    assert!(matches!(forced, Err(StoreError::Database(DatabaseError::Sql(_)))), "{forced:?}");
}

async fn replacing_fails_the_former_and_drops_its_payload(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let former = received(submission(1, 1, B256::ZERO), 1);
    create(&store, former.clone()).await;
    let (mut batch, mut version) = (former.clone(), 1);
    let old = dispersal(&batch, 1);
    let digest = old.digest;
    apply(&store, &mut batch, &mut version, Event::Encoded(Box::new(old))).await;

    let plain = received(submission(1, 2, B256::ZERO), 2);
    let conflict = NumberTaken::Conflict { holder: former.id };
    assert_eq!(create(&store, plain).await, Creation::Refused(conflict));
    let stranger = BatchDigest(B256::repeat_byte(3));
    let other = received(submission(1, 3, stranger.0), 3);
    let mismatch = NumberTaken::OtherReplaced { holder: former.id, named: stranger };
    assert_eq!(create(&store, other).await, Creation::Refused(mismatch));

    let named = received(submission(1, 4, digest.0), 4);
    let created = create(&store, named.clone()).await;
    assert_eq!(created, Creation::Created { replaced: Some(former.id) });
    let failed = store.batch(former.id).await.unwrap().unwrap().batch;
    assert!(matches!(&failed.phase, Phase::Failed(failure) if failure.reason == FailureReason::Replaced));
    assert!(failed.finished && failed.payload_dropped);
    let holder = store.holder(Address::repeat_byte(1), 1).await.unwrap().unwrap();
    assert_eq!((holder.id, holder.posted), (named.id, false));
    // A task that works on the former batch finds out when it saves it.
    let before = batch.clone();
    batch.apply(Event::EpochOver { epoch: 1 });
    assert!(matches!(store.save(&before, &batch, version).await, Err(StoreError::Superseded { .. })));
}

async fn two_writers_do_not_overwrite_one_another(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let batch = received(submission(1, 1, B256::ZERO), 1);
    create(&store, batch.clone()).await;
    let (mut one, mut two) = (batch.clone(), batch.clone());
    one.apply(Event::Encoded(Box::new(dispersal(&batch, 1))));
    two.apply(Event::Encoded(Box::new(dispersal(&batch, 2))));
    let second = match backend {
        Backend::Sqlite => store.clone(),
        Backend::Postgres => open(&database).await,
    };
    let (first, second) = tokio::join!(store.save(&batch, &one, 1), second.save(&batch, &two, 1));
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    let stored = store.batch(batch.id).await.unwrap().unwrap().batch.dispersal.unwrap();
    assert_eq!(stored.epoch(), if first.is_ok() { 1 } else { 2 });
    assert!(stored.members.iter().all(|member| member.delivery == Delivery::Pending));
    assert_eq!(rows(&store, "dispersals").await, 1, "the loser left nothing");
}

async fn pages_are_complete_and_ordered(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    for number in 0..7u8 {
        // Several batches have the same millisecond, and one has a time that does not fit into a
        // signed number.
        let at_ms = if number == 6 { u64::MAX } else { u64::from(number / 3) };
        let batch = received(submission(number.into(), number, B256::ZERO), at_ms);
        create(&store, batch).await;
    }
    let mut listed = Vec::new();
    let mut from: Option<PageToken> = None;
    loop {
        let page = store.list(Some(Address::repeat_byte(1)), from, 2).await.unwrap();
        listed.extend(page.batches.iter().map(|listed| (listed.batch.received_at_ms, listed.batch.id)));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), 7);
    assert!(listed.is_sorted_by(|a, b| a > b));
    assert_eq!(store.list(None, None, 100).await.unwrap().batches.len(), 7);
    assert_eq!(store.list(Some(Address::ZERO), None, 100).await.unwrap().batches.len(), 0);
}

async fn the_posters_books_are_kept(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    let store = open(&database).await;
    let posting = |byte: u8, sequence: u64| {
        let digest = BatchDigest(B256::repeat_byte(byte)).into();
        Posting {
            attempts: 2,
            lost: 1,
            ..Posting::new(digest, sequence, Task::Record, vec![byte; 500].into())
        }
    };
    let slot =
        NonceSlot { nonce: 7, digest: Some(BatchDigest(B256::repeat_byte(1)).into()), variants: vec![] };
    let (one, two) = (posting(1, 1), posting(2, 2));
    let changes =
        [Change::SavePosting(one.clone()), Change::SavePosting(two.clone()), Change::SaveSlot(slot.clone())];
    store.books().commit(&changes).await.unwrap();
    let store = reopen(&database, &store).await;
    let unfinished = store.books().load().await.unwrap();
    assert_eq!(
        (unfinished.postings, unfinished.slots, unfinished.last_sequence),
        (vec![one.clone(), two], vec![slot], 2)
    );

    let outcome = Outcome::Recorded { tx_hash: None, block: Some(1), gas_used: None, by_us: false };
    let done = Posting { outcome: Some(outcome), ..posting(2, 2) };
    store
        .books()
        .commit(&[Change::SavePosting(done.clone()), Change::ForgetSlot { nonce: 7 }])
        .await
        .unwrap();
    let unfinished = store.books().load().await.unwrap();
    assert_eq!((unfinished.postings, unfinished.slots.len(), unfinished.last_sequence), (vec![one], 0, 2));
    assert_eq!(store.books().posting(done.digest).await.unwrap(), Some(done));
    assert_eq!(store.books().posting(BatchDigest(B256::ZERO).into()).await.unwrap(), None);

    // Changes are made all or not at all: the second one breaks the order of sequences.
    let changes = [
        Change::SaveSlot(NonceSlot { nonce: 8, digest: None, variants: vec![] }),
        Change::SavePosting(posting(3, 2)),
    ];
    store.books().commit(&changes).await.unwrap_err();
    assert_eq!(store.books().load().await.unwrap().slots.len(), 0);
}

async fn strangers_may_not_open_it(backend: Backend) {
    let database = TestDatabase::new(backend).await;
    open(&database).await.close().await;
    let registry = Domain { registry: Address::repeat_byte(7), ..DOMAIN };
    let chain = Domain { chain_id: 2, ..DOMAIN };
    for stranger in [
        Owner { disperser: Address::repeat_byte(7), ..OWNER },
        Owner { domain: registry, ..OWNER },
        Owner { domain: chain, ..OWNER },
    ] {
        let refused = SqlStore::open(database.options(), stranger, TERM).await;
        assert!(matches!(refused, Err(StoreError::Database(DatabaseError::Identity { .. }))), "{refused:?}");
    }
    open(&database).await;
}

async fn corrupt_rows_are_named(backend: Backend) {
    for (statement, wanted) in [
        ("UPDATE batches SET phase = 'floating'", "the phase"),
        ("UPDATE batches SET submission = upload_id", "the submission"),
        ("UPDATE batches SET certificate = upload_id", "the certificate"),
        ("UPDATE dispersals SET record = digest", "the record"),
        ("UPDATE dispersals SET quorum = 1", "the committee's numbers"),
        ("UPDATE dispersals SET seats = 5", "the record"),
        ("UPDATE members SET seat = 9 WHERE seat = 1", "a member's seat"),
        ("UPDATE members SET signature = submission_digest WHERE seat = 1", "a member's outcome"),
        ("DELETE FROM dispersals", "the dispersal"),
        ("UPDATE settlements SET posting = 'floating'", "the posting mode"),
        ("UPDATE settlements SET proof_state = 'floating'", "the proof"),
        ("UPDATE settlements SET outputs = posting_bytes", "the proof"),
        ("UPDATE proofs SET proof = submission_digest", ""),
        ("DELETE FROM proofs", ""),
    ] {
        let statement = statement.replace("posting_bytes", "(SELECT proof FROM proofs)");
        let database = TestDatabase::new(backend).await;
        let store = open(&database).await;
        let mut batch = received(submission(1, 1, B256::ZERO), 1);
        create(&store, batch.clone()).await;
        let dispersal = dispersal(&batch, 1);
        let digest = dispersal.digest;
        let mut version = 1;
        apply(&store, &mut batch, &mut version, Event::Encoded(Box::new(dispersal))).await;
        apply(&store, &mut batch, &mut version, answered(digest, 1)).await;
        apply(&store, &mut batch, &mut version, offered(digest, 1)).await;
        run(&store, statement.clone()).await;
        match store.batch(batch.id).await {
            // A corrupt proof does not fail the batch, because the proof can be submitted again.
            Ok(Some(read)) if wanted.is_empty() => {
                assert!(read.batch.live_proof().is_none(), "{statement}");
                let state = format!("{:?}", read.batch.proof.unwrap().state);
                assert!(state.contains("do not pass their check"), "{state}");
            }
            Err(StoreError::Corrupt { id, what, .. }) => {
                assert_eq!((id, what), (batch.id, wanted), "{statement}")
            }
            other => panic!("{statement}: {other:?}"),
        }
    }
}
