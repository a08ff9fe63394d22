//! Runs the suite of every store on SQLite and on PostgreSQL, and tests what is particular to a
//! database.

use async_trait::async_trait;
use dac_chain::feed::{Cursor, Fact};
use dac_chain::testing::FakeEvents;
use dac_database::testing::TestDatabase;
use dac_database::{Backend, DatabaseError, on_both_backends};
use dac_types::limits::STORED_ROW_BYTES;
use dac_types::{Address, B256, BatchDigest, Domain, Seat};

use super::sql::CommitFault;
use super::suite::{
    Candidate, Census, Damage, LARGE, LOG, LONGER, SEAT, SETTLEMENT, Suite, asked, recorded, renewal,
    settled, stored, wait_until_swept,
};
use super::*;
use crate::testing::{Batch, DAILY_BYTES, NOW, ROLLUP, World};
use crate::verify::{IntakeError, intact_tree, row_is_intact};

mod commits;
mod roles;
pub(crate) mod rot;
mod schema;

/// A store with both halves on a database of the test.
pub(crate) struct SqlCandidate {
    pub(crate) database: TestDatabase,
    world: World,
    pub(crate) sql: SqlStore,
    store: MemberStore,
}

impl SqlCandidate {
    async fn on(backend: Backend) -> Self {
        let (world, database) = (World::new(), TestDatabase::new(backend).await);
        let sql = open(&database, &world).await.unwrap();
        Self::over(world, database, sql)
    }

    fn over(world: World, database: TestDatabase, sql: SqlStore) -> Self {
        Self { database, world, store: MemberStore::of(sql.clone()), sql }
    }

    fn reopen(&mut self, sql: SqlStore) {
        self.store = MemberStore::of(sql.clone());
        self.sql = sql;
    }
}

#[async_trait]
impl Candidate for SqlCandidate {
    async fn new() -> Self {
        Self::on(Backend::Sqlite).await
    }

    fn store(&self) -> &MemberStore {
        &self.store
    }

    async fn restart(&mut self) {
        self.reopen(open(&self.database, &self.world).await.unwrap());
    }

    async fn census(&self) -> Census {
        self.sql.census().await
    }

    async fn spoil(&self, digest: BatchDigest, damage: Damage) -> bool {
        self.sql.spoil(digest, damage).await;
        true
    }
}

/// The same store on PostgreSQL.
struct OnPostgres(SqlCandidate);

#[async_trait]
impl Candidate for OnPostgres {
    async fn new() -> Self {
        Self(SqlCandidate::on(Backend::Postgres).await)
    }

    fn store(&self) -> &MemberStore {
        self.0.store()
    }

    async fn restart(&mut self) {
        self.0.restart().await;
    }

    async fn census(&self) -> Census {
        self.0.census().await
    }

    async fn spoil(&self, digest: BatchDigest, damage: Damage) -> bool {
        self.0.spoil(digest, damage).await
    }
}

mod suite_on_sqlite {
    crate::store_suite!(super::SqlCandidate);
}

mod suite_on_postgres {
    crate::store_suite!(super::OnPostgres);
}

async fn open(database: &TestDatabase, world: &World) -> Result<SqlStore, StoreError> {
    SqlStore::open(database.options(), world.domain, &world.public_key(SEAT)).await
}

async fn on(backend: Backend) -> Suite<SqlCandidate> {
    Suite { world: World::new(), candidate: SqlCandidate::on(backend).await }
}

/// Makes batches numbered from 1, all of them settled and in the log.
async fn owing(backend: Backend, count: u64) -> (Suite<SqlCandidate>, Vec<Batch>) {
    let suite = on(backend).await;
    let batches = suite.owe(count).await;
    (suite, batches)
}

async fn a_failed_commit_that_took_place_is_found_out(backend: Backend) {
    let _counted = dac_measure::counted!(UnknownOutcome, 2);
    let suite = on(backend).await;
    for (seed, length) in [(1, 1000), (2, LARGE)] {
        let batch = suite.world.batch(seed, length);
        suite.candidate.sql.fail_next_commit(CommitFault::AnswerLost);
        assert_eq!(suite.put(&batch).await.unwrap(), stored(&batch));
        wait_until_swept(&suite).await;
        suite.assert_intact(&batch).await;
    }
}

async fn a_failed_commit_gives_no_receipt(backend: Backend) {
    let _counted = dac_measure::counted!(UnknownOutcome, 2);
    let suite = on(backend).await;
    for (seed, length) in [(1, 1000), (2, LARGE)] {
        let batch = suite.world.batch(seed, length);
        suite.candidate.sql.fail_next_commit(CommitFault::NotPersisted);
        assert!(matches!(suite.put(&batch).await, Err(IntakeError::Store(StoreError::Database(_)))));
        wait_until_swept(&suite).await;
        suite.assert_nothing_stored().await;
    }
    // Another attempt succeeds.
    let batch = suite.world.batch(1, 1000);
    assert_eq!(suite.put(&batch).await.unwrap(), stored(&batch));
}

async fn a_failed_replacement_leaves_what_was_there(backend: Backend) {
    let suite = on(backend).await;
    let batch = suite.world.batch(1, LARGE);
    suite.hold(&batch).await;
    suite.store().catalog.mark_corrupt(batch.digest, None).await.unwrap();
    suite.candidate.sql.fail_next_commit(CommitFault::NotPersisted);
    assert!(matches!(suite.put(&batch).await, Err(IntakeError::Store(StoreError::Database(_)))));
    wait_until_swept(&suite).await;
    assert!(suite.store().catalog.find(batch.digest).await.unwrap().unwrap().is_corrupt);
    suite.assert_intact(&batch).await;
    suite.candidate.sql.fail_next_commit(CommitFault::AnswerLost);
    suite.hold(&batch).await;
    assert!(!suite.store().catalog.find(batch.digest).await.unwrap().unwrap().is_corrupt);
}

async fn corrupted_lines_are_detected(backend: Backend) {
    let suite = on(backend).await;
    let batch = suite.world.batch(1, LARGE);
    suite.put(&batch).await.unwrap();
    let holding = suite.store().catalog.find(batch.digest).await.unwrap().unwrap();
    let length = holding.record.shard_length();
    let hashes = suite.store().catalog.leaf_hashes(holding.shard).await.unwrap().unwrap();
    let tree = intact_tree(&holding.record, SEAT, hashes).unwrap();

    suite.candidate.sql.damage("UPDATE shard_rows SET data = (SELECT data FROM shard_rows WHERE row_index = 0) WHERE row_index = 2").await;
    let row = suite.store().shards.read(holding.shard, Piece::Row(2)).await.unwrap().unwrap();
    assert!(!row_is_intact(&tree, length, 2, &row));
    suite
        .candidate
        .sql
        .damage("UPDATE shard_rows SET data = substr(data, 1, 4096) WHERE row_index = 1")
        .await;
    let row = suite.store().shards.read(holding.shard, Piece::Row(1)).await.unwrap().unwrap();
    assert!(!row_is_intact(&tree, length, 1, &row));
    suite.candidate.sql.damage("DELETE FROM shard_rows WHERE row_index = 3").await;
    assert_eq!(suite.store().shards.read(holding.shard, Piece::Row(3)).await.unwrap(), None);
    assert_eq!(
        suite.store().shards.read(holding.shard, Piece::Chunk(3 * CHUNKS_PER_ROW)).await.unwrap(),
        None
    );

    suite.candidate.sql.damage("UPDATE shard_trees SET leaf_hashes = substr(leaf_hashes, 1, 100)").await;
    let hashes = suite.store().catalog.leaf_hashes(holding.shard).await.unwrap().unwrap();
    assert!(intact_tree(&holding.record, SEAT, hashes).is_none());

    for statement in [
        "UPDATE batches SET n = 8",
        "UPDATE batches SET n = 1",
        "UPDATE batches SET n = 7, seat = 7",
        "UPDATE batches SET seat = 300",
        "UPDATE records SET record = substr(record, 2)",
    ] {
        suite.candidate.sql.damage(statement).await;
        let found = suite.store().catalog.find(batch.digest).await;
        assert!(
            matches!(found, Err(StoreError::Corrupt { digest, .. }) if digest == batch.digest),
            "{statement}"
        );
    }
}

async fn a_damaged_record_of_a_bad_seat_is_detected(backend: Backend) {
    let suite = on(backend).await;
    let batch = suite.world.batch(1, 1000);
    let bad = BadSeat { digest: batch.digest, seat: SEAT, found_at: NOW, record: batch.checked_record(SEAT) };
    suite.store().catalog.add_bad_seat(bad).await.unwrap();
    suite.candidate.sql.damage("UPDATE bad_seats SET record = substr(record, 2)").await;
    let found = suite.store().catalog.bad_seat(batch.digest).await;
    assert!(matches!(found, Err(StoreError::Corrupt { .. })));
}

/// Returns the sizes of the file and of its log in bytes.
fn sizes(suite: &Suite<SqlCandidate>) -> Option<(u64, u64)> {
    let file = suite.candidate.database.file()?;
    let log = file.with_extension("db-wal");
    let length = |path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    Some((length(&file), length(&log)))
}

async fn space_goes_back_to_the_file_system(backend: Backend) {
    let _counted = dac_measure::counted!(Retention, 1);
    let suite = on(backend).await;
    for seed in 1..=4 {
        suite.hold(&suite.world.batch(seed, 24_000_000)).await;
    }
    let full = sizes(&suite);
    assert_eq!(suite.store().catalog.delete_expired(NOW + 4000, &[], 10).await.unwrap(), 4);
    suite.store().upkeep.give_back().await.unwrap();
    suite.store().upkeep.give_back().await.unwrap();
    if let (Some((file, _)), Some((file_after, log_after))) = (full, sizes(&suite)) {
        assert!(file > 30_000_000, "4 shards of 8 MB stood in the file: {file}");
        assert!(file_after < 1_000_000 && log_after == 0, "{file_after} and {log_after} bytes are left");
    }
    // The database still works as a store.
    let batch = suite.world.batch(20, 1_000_000);
    suite.hold(&batch).await;
    suite.assert_intact(&batch).await;
}

async fn a_store_is_of_one_member_in_one_domain(backend: Backend) {
    let suite = on(backend).await;
    let (world, options) = (&suite.world, suite.candidate.database.options());
    let key = world.public_key(SEAT);
    let elsewhere = Domain { chain_id: 1, ..world.domain };
    let other_registry = Domain { registry: Address::repeat_byte(1), ..world.domain };
    for (domain, key) in [(elsewhere, key), (other_registry, key), (world.domain, world.public_key(Seat(0)))]
    {
        let opened = SqlStore::open(options, domain, &key).await;
        assert!(matches!(opened, Err(StoreError::Database(DatabaseError::Identity { .. }))));
    }
    SqlStore::open(options, world.domain, &key).await.unwrap();
}

async fn a_contract_claims_so_many_batches_and_no_more(backend: Backend) {
    let suite = on(backend).await;
    let header = suite.world.batch(1, 1000).header;
    let claims = |numbers: std::ops::Range<u64>| -> Vec<Fact> {
        let claim = |number: u64| {
            let claim = dac_types::BatchHeader { batch_number: number, ..header.clone() };
            FakeEvents::settled(BatchDigest(dac_types::keccak256(number.to_be_bytes())), &claim)
        };
        numbers.map(claim).collect()
    };
    let learn = async |facts| suite.store().duties.learn(facts, Cursor::new(SETTLEMENT, 1)).await.unwrap();
    let max = DUTIES_PER_ROLLUP_MAX;
    assert_eq!(learn(claims(1..max)).await, 0);
    assert_eq!(learn(claims(max..max + 3)).await, 2);
    assert_eq!(learn(claims(1..max + 1)).await, 0, "what is known may be said again");
    assert_eq!(suite.census().await.duties, max);
    // The log shows that a quorum signed, so its batches need no room; other rollups have room of
    // their own.
    let batch = suite.world.batch(1000, 1000);
    suite.learn(LOG, vec![recorded(&batch, 3)]).await;
    assert_eq!(learn(vec![settled(&batch, 4)]).await, 0);
    let other = dac_types::BatchHeader { rollup: Address::repeat_byte(0x66), ..header.clone() };
    assert_eq!(learn(vec![FakeEvents::settled(BatchDigest(B256::repeat_byte(3)), &other)]).await, 0);
    let refused = suite.cover(asked(renewal(max + 2, LONGER))).await.unwrap();
    assert!(matches!(refused, Err(Lacking::Shards { .. })), "{refused:?}");
}

async fn what_was_looked_at_is_promised_again_without_a_look(backend: Backend) {
    let (suite, batches) = owing(backend, 3).await;
    for batch in &batches {
        suite.hold(batch).await;
    }
    let ask = |last, expires_at| RenewalAsked { keep_until: LONGER, ..asked(renewal(last, expires_at)) };
    let is_covered = async |asked| suite.cover(asked).await.unwrap().is_ok();
    assert!(is_covered(ask(2, NOW + 5000)).await);
    suite
        .candidate
        .sql
        .damage("DELETE FROM shard_trees WHERE shard = (SELECT shard FROM batches WHERE sequence = 1)")
        .await;
    assert!(is_covered(ask(2, NOW + 5001)).await && is_covered(ask(1, LONGER)).await);
    // Only later batches are looked at, until a longer promise is asked for. For that, all are
    // looked at.
    assert!(is_covered(ask(3, NOW + 5001)).await);
    assert_eq!(
        suite.store().catalog.delete_expired(LONGER, &[], 10).await.unwrap(),
        0,
        "kept for the whole step"
    );
    let longer = asked(renewal(3, LONGER + 1));
    assert_eq!(suite.cover(longer).await.unwrap(), Err(Lacking::Shards { missing: 1, first: 1 }));
    // A batch that is known to be corrupt is not promised.
    assert_eq!(suite.cover(ask(1, NOW + 5001)).await.unwrap(), Err(Lacking::Shards { missing: 1, first: 1 }));
}

on_both_backends! {
    a_failed_commit_that_took_place_is_found_out,
    a_failed_commit_gives_no_receipt,
    a_failed_replacement_leaves_what_was_there,
    corrupted_lines_are_detected,
    a_damaged_record_of_a_bad_seat_is_detected,
    space_goes_back_to_the_file_system,
    a_store_is_of_one_member_in_one_domain,
    a_contract_claims_so_many_batches_and_no_more,
    what_was_looked_at_is_promised_again_without_a_look,
}
