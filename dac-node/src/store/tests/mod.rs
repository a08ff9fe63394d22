//! One suite for every store: run on SQLite and on PostgreSQL.

use std::collections::BTreeSet;

use bytes::Bytes;
use dac_database::sqlx::{AssertSqlSafe, query_scalar};
use dac_database::testing::TestDatabase;
use dac_database::{Backend, DatabaseError, on_both_backends};
use dac_types::limits::{QUOTA_DAY_SECONDS, STORED_ROW_BYTES};
use dac_types::{Address, B256, BatchDigest, Domain, Seat};
use futures::future::join_all;

use super::sql::CommitFault;
use super::*;
use crate::testing::{Batch, DAILY_BYTES, EPOCH, NOW, ROLLUP, Wish, World};
use crate::verify::{IntakeError, intact_tree, row_is_intact, store_shard};

mod ledger;
mod roles;
pub(crate) mod rot;
mod schema;

const SEAT: Seat = Seat(4);
const DAY: QuotaDay = QuotaDay { rollup: ROLLUP, day: NOW / QUOTA_DAY_SECONDS };

struct Suite {
    world: World,
    database: TestDatabase,
    store: SqlStore,
    writer: Writer,
}

impl Suite {
    async fn new(backend: Backend) -> Self {
        let (world, database) = (World::new(), TestDatabase::new(backend).await);
        let store = open(&database, &world).await.unwrap();
        Self::over(world, database, store)
    }

    fn over(world: World, database: TestDatabase, store: SqlStore) -> Self {
        let writer = MemberStore::of(store.clone()).writer;
        Self { world, database, store, writer }
    }

    /// As after the death of the process: nothing of it is left but the database.
    async fn restart(&mut self) {
        self.reopen(open(&self.database, &self.world).await.unwrap());
    }

    fn reopen(&mut self, store: SqlStore) {
        self.writer = MemberStore::of(store.clone()).writer;
        self.store = store;
    }

    async fn put(&self, batch: &Batch) -> Result<Commit<Stored>, IntakeError> {
        self.put_with(batch, DAILY_BYTES).await
    }

    async fn put_with(&self, batch: &Batch, daily_payload_bytes: u64) -> Result<Commit<Stored>, IntakeError> {
        let authority = self.authority(batch, daily_payload_bytes);
        self.put_as(batch, authority).await
    }

    async fn put_as(&self, batch: &Batch, authority: Authority) -> Result<Commit<Stored>, IntakeError> {
        let (shard, record) = (batch.checked_shard(SEAT), batch.checked_record(SEAT));
        store_shard(&self.writer, shard, batch.digest, record, authority).await
    }

    fn authority(&self, batch: &Batch, daily_payload_bytes: u64) -> Authority {
        let submission = batch.submission.submission.digest(&self.world.domain);
        Authority::Submission { submission, quota: DAY, daily_payload_bytes }
    }

    /// Lines of a table.
    async fn count(&self, table: &str) -> i64 {
        query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(self.store.database().reads())
            .await
            .unwrap()
    }

    async fn assert_nothing_stored(&self) {
        for table in [
            "batches",
            "records",
            "shard_rows",
            "shard_trees",
            "uploads",
            "submission_headers",
            "charged_submissions",
            "quota_days",
            "duties",
            "renewals",
        ] {
            assert_eq!(self.count(table).await, 0, "{table}");
        }
        assert_eq!(self.store.totals().await.unwrap(), Totals::default());
    }

    async fn cover(&self, asked: RenewalAsked) -> Result<Result<Covered, Lacking>, StoreError> {
        Covered::obtain(&self.store, &self.store, asked).await
    }

    async fn hold(&self, batch: &Batch) {
        assert_eq!(self.put(batch).await.unwrap(), stored(batch));
    }

    async fn assert_intact(&self, batch: &Batch) {
        let holding = self.store.find(batch.digest).await.unwrap().expect("it is stored");
        assert_eq!((holding.digest, holding.seat), (batch.digest, SEAT));
        assert_eq!(holding.record.record().header, batch.header);
        assert_eq!(self.read(&holding).await, batch.shard(SEAT));
    }

    async fn read(&self, holding: &Holding) -> Bytes {
        let length = holding.record.shard_length();
        let hashes = self.store.leaf_hashes(holding.shard).await.unwrap().expect("a tree");
        let tree = intact_tree(&holding.record, holding.seat, hashes).expect("an intact tree");
        let mut shard = Vec::new();
        for index in 0..length.div_ceil(STORED_ROW_BYTES) {
            let row = self.store.read(holding.shard, Piece::Row(index)).await.unwrap().expect("a row");
            assert!(row_is_intact(&tree, length, index, &row));
            shard.extend_from_slice(&row);
        }
        for index in [0, dac_types::Geometry::chunk_count(length) - 1] {
            let chunk = self.store.read(holding.shard, Piece::Chunk(index)).await.unwrap().expect("a chunk");
            assert_eq!(dac_coding::merkle::leaf_hash(&chunk), tree.leaf_hashes()[index]);
        }
        assert_eq!(
            self.store.read(holding.shard, Piece::Row(length.div_ceil(STORED_ROW_BYTES))).await.unwrap(),
            None
        );
        shard.into()
    }
}

async fn open(database: &TestDatabase, world: &World) -> Result<SqlStore, StoreError> {
    SqlStore::open(database.options(), world.domain, &world.public_key(SEAT)).await
}

fn stored(batch: &Batch) -> Commit<Stored> {
    Commit::Stored(Stored::new(batch.digest, SEAT))
}

/// Payloads whose shards have less than a row, some rows, exactly two rows, and many.
const LENGTHS: [usize; 5] =
    [1, 100_000, 3 * 2 * STORED_ROW_BYTES, 3 * STORED_ROW_BYTES + 7, 3 * 9 * STORED_ROW_BYTES - 100];

/// A payload whose shard is staged before it is committed.
const LARGE: usize = 3 * 9 * STORED_ROW_BYTES;

async fn shards_of_all_sizes_come_back(backend: Backend) {
    let mut suite = Suite::new(backend).await;
    let batches: Vec<Batch> =
        (1..).zip(LENGTHS).map(|(seed, length)| suite.world.batch(seed, length)).collect();
    for batch in &batches {
        assert_eq!(suite.put(batch).await.unwrap(), stored(batch));
        suite.assert_intact(batch).await;
    }
    let bytes: usize = batches.iter().map(|batch| batch.shard(SEAT).len()).sum();
    let totals = Totals { batches: 5, bytes: bytes as u64 };
    assert_eq!(suite.store.totals().await.unwrap(), totals);
    suite.restart().await;
    for batch in &batches {
        suite.assert_intact(batch).await;
    }
    assert_eq!(suite.store.totals().await.unwrap(), totals);
    assert_eq!(suite.count("uploads").await, 0);
    assert!(suite.store.find(BatchDigest(B256::repeat_byte(9))).await.unwrap().is_none());
    suite.store.ping().await.unwrap();
}

async fn storing_twice_is_storing_once(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batch = suite.world.batch(1, LARGE);
    let (first, second) = (suite.put(&batch).await.unwrap(), suite.put(&batch).await.unwrap());
    assert_eq!((first, second), (stored(&batch), stored(&batch)));
    assert_eq!(suite.store.totals().await.unwrap().batches, 1);
    let facts = suite.store.submission_facts(submission(&suite, &batch), EPOCH, DAY).await.unwrap();
    let expected = SubmissionFacts {
        header: Some(batch.digest),
        charged: true,
        spent_bytes: batch.header.payload_length,
    };
    assert_eq!(facts, expected);
}

fn submission(suite: &Suite, batch: &Batch) -> B256 {
    batch.submission.submission.digest(&suite.world.domain)
}

async fn uploads_of_one_batch_race_and_all_get_the_receipt(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batch = suite.world.batch(1, LARGE);
    let results = join_all((0..6).map(|_| suite.put(&batch))).await;
    assert!(results.into_iter().all(|result| result.unwrap() == stored(&batch)));
    suite.assert_intact(&batch).await;
    assert_eq!(suite.store.totals().await.unwrap().batches, 1);
    // The losers' rows go away by themselves.
    wait_until_swept(&suite).await;
    let rows = batch.shard(SEAT).len().div_ceil(STORED_ROW_BYTES);
    assert_eq!(suite.count("shard_rows").await, i64::try_from(rows).unwrap());
}

/// Clean-ups run in tasks of their own: waits for the last of them.
async fn wait_until_swept(suite: &Suite) {
    let swept = async {
        while suite.writer.drafts() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), swept).await.expect("clean-ups end");
    suite.writer.sweep().await.unwrap();
}

async fn a_dropped_upload_leaves_nothing(backend: Backend) {
    let _counted = dac_measure::counted!(Cancelled, 1);
    let suite = Suite::new(backend).await;
    let batch = suite.world.batch(1, LARGE);
    let mut shard = batch.shard(SEAT);
    let mut upload = suite.writer.begin(shard.len());
    for _ in 0..5 {
        upload.put(shard.split_to(STORED_ROW_BYTES)).await.unwrap();
    }
    assert_eq!(suite.count("shard_rows").await, 4, "a part is staged");
    assert!(suite.store.find(batch.digest).await.unwrap().is_none());
    suite.writer.sweep().await.unwrap();
    assert_eq!(suite.count("shard_rows").await, 4, "uploads under way are not swept");
    drop(upload);
    wait_until_swept(&suite).await;
    suite.assert_nothing_stored().await;
}

async fn a_killed_process_leaves_nothing_that_the_next_one_keeps(backend: Backend) {
    let mut suite = Suite::new(backend).await;
    let batch = suite.world.batch(1, LARGE);
    let mut shard = batch.shard(SEAT);
    let mut upload = suite.writer.begin(shard.len());
    for _ in 0..8 {
        upload.put(shard.split_to(STORED_ROW_BYTES)).await.unwrap();
    }
    // The process is gone: no destructor runs, and another one opens the database.
    let ghost = Box::leak(Box::new(upload));
    suite.restart().await;
    suite.assert_nothing_stored().await;
    // Had it only been asleep, it could not finish what was taken from it.
    let upload = std::mem::replace(ghost, suite.writer.begin(1));
    let summary = VerifiedShard::from(&batch.checked_shard(SEAT));
    let authority = suite.authority(&batch, DAILY_BYTES);
    let entry = Entry { digest: batch.digest, record: batch.checked_record(SEAT), shard: summary, authority };
    assert!(matches!(upload.commit(shard, entry).await, Err(StoreError::Lost)));
    suite.assert_nothing_stored().await;
}

async fn rows_that_do_not_make_up_the_shard_are_refused(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batch = suite.world.batch(1, LARGE);
    let entry = || Entry {
        digest: batch.digest,
        record: batch.checked_record(SEAT),
        shard: VerifiedShard::from(&batch.checked_shard(SEAT)),
        authority: suite.authority(&batch, DAILY_BYTES),
    };
    let shard = batch.shard(SEAT);
    let mut upload = suite.writer.begin(shard.len());
    assert!(matches!(upload.put(shard.slice(..100)).await, Err(StoreError::UploadLength { .. })));
    let upload = suite.writer.begin(shard.len());
    assert!(matches!(upload.commit(shard.slice(..100), entry()).await, Err(StoreError::UploadLength { .. })));
    let upload = suite.writer.begin(100);
    assert!(matches!(upload.commit(shard.slice(..100), entry()).await, Err(StoreError::UploadLength { .. })));
    suite.assert_nothing_stored().await;
}

async fn one_header_for_a_submission_in_an_epoch(backend: Backend) {
    let suite = Suite::new(backend).await;
    let (first, mut rival) = (suite.world.batch(1, LARGE), suite.world.batch(2, LARGE));
    rival.submission = first.submission.clone();
    assert_eq!(suite.put(&first).await.unwrap(), stored(&first));
    let conflict = Commit::ConflictingHeader { existing: first.digest };
    assert_eq!(suite.put(&rival).await.unwrap(), conflict);
    wait_until_swept(&suite).await;
    assert!(suite.store.find(rival.digest).await.unwrap().is_none());
    assert_eq!(suite.count("shard_rows").await, 9);
    // A quorum's certificate overrules it; a later epoch is another matter, and is not charged again.
    let certified = Authority::Certificate { submission: submission(&suite, &rival) };
    assert_eq!(suite.put_as(&rival, certified).await.unwrap(), stored(&rival));
    let facts = suite.store.submission_facts(submission(&suite, &first), EPOCH, DAY).await.unwrap();
    assert_eq!(facts.header, Some(first.digest), "the header stored first keeps the submission");
    let wish = Wish { epoch: 3, ..Wish::default() };
    let mut later = suite.world.batch_with(1, LARGE, &wish);
    later.submission = first.submission.clone();
    assert_eq!(suite.put(&later).await.unwrap(), stored(&later));
    let facts = suite.store.submission_facts(submission(&suite, &first), EPOCH, DAY).await.unwrap();
    assert_eq!(facts.spent_bytes, first.header.payload_length);
}

async fn a_certified_header_takes_its_submission(backend: Backend) {
    let suite = Suite::new(backend).await;
    let (first, mut rival) = (suite.world.batch(1, LARGE), suite.world.batch(2, LARGE));
    rival.submission = first.submission.clone();
    let certified = Authority::Certificate { submission: submission(&suite, &first) };
    assert_eq!(suite.put_as(&first, certified).await.unwrap(), stored(&first));
    // What a quorum vouched for was signed all the same: another header of the order is one too many.
    let conflict = Commit::ConflictingHeader { existing: first.digest };
    assert_eq!(suite.put(&rival).await.unwrap(), conflict);
    let facts = suite.store.submission_facts(submission(&suite, &first), EPOCH, DAY).await.unwrap();
    assert_eq!((facts.header, facts.charged, facts.spent_bytes), (Some(first.digest), false, 0));
    assert!(suite.store.find(rival.digest).await.unwrap().is_none());
}

async fn rivals_race_and_one_wins(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batches: Vec<Batch> = (1..=4)
        .map(|seed| {
            let mut batch = suite.world.batch(seed, 50_000);
            batch.submission = suite.world.batch(1, 50_000).submission;
            batch
        })
        .collect();
    let results = join_all(batches.iter().map(|batch| suite.put(batch))).await;
    let won = results.iter().filter(|result| matches!(result, Ok(Commit::Stored(_)))).count();
    let lost = results.iter().filter(|result| matches!(result, Ok(Commit::ConflictingHeader { .. }))).count();
    assert_eq!((won, lost), (1, 3));
    assert_eq!(suite.count("batches").await, 1);
}

async fn uploads_race_and_do_not_overspend(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batches: Vec<Batch> = (1..=6).map(|seed| suite.world.batch(seed, 10_000)).collect();
    let limit = 35_000;
    let results = join_all(batches.iter().map(|batch| suite.put_with(batch, limit))).await;
    let won = results.iter().filter(|result| matches!(result, Ok(Commit::Stored(_)))).count();
    let refused: BTreeSet<u64> = results
        .iter()
        .filter_map(|result| match result {
            Ok(Commit::QuotaExceeded { spent, limit: 35_000, asked: 10_000 }) => Some(*spent),
            _ => None,
        })
        .collect();
    assert_eq!((won, refused), (3, BTreeSet::from([30_000])));
    assert_eq!((suite.count("batches").await, suite.count("charged_submissions").await), (3, 3));
    // What was stored is not charged again; what was refused is taken with a higher grant.
    for (batch, result) in batches.iter().zip(results) {
        let limit = if matches!(result, Ok(Commit::Stored(_))) { limit } else { u64::MAX };
        assert_eq!(suite.put_with(batch, limit).await.unwrap(), stored(batch));
    }
    let facts = suite.store.submission_facts(B256::ZERO, EPOCH, DAY).await.unwrap();
    assert_eq!(facts, SubmissionFacts { header: None, charged: false, spent_bytes: 60_000 });
    let tomorrow = QuotaDay { day: DAY.day + 1, ..DAY };
    assert_eq!(suite.store.submission_facts(B256::ZERO, EPOCH, tomorrow).await.unwrap().spent_bytes, 0);
}

async fn a_certificate_is_added_once(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batch = suite.world.batch(1, 1000);
    let committee = suite.world.committee(EPOCH, 0, u64::MAX);
    let keys = dac_bls::CommitteeKeys::new(&committee).unwrap();
    let aggregate = suite.world.certify(&batch);
    let certificate = dac_types::Certificate { header: batch.header.clone(), aggregate: aggregate.clone() };
    let checked = keys.verify_certificate(&certificate, &suite.world.domain).unwrap();
    suite.store.attach_certificate(&checked).await.unwrap();
    suite.assert_nothing_stored().await;
    suite.put(&batch).await.unwrap();
    for _ in 0..2 {
        suite.store.attach_certificate(&checked).await.unwrap();
        let holding = suite.store.find(batch.digest).await.unwrap().unwrap();
        assert_eq!(holding.record.record().certificate, Some(aggregate.clone()));
    }
    suite.assert_intact(&batch).await;
}

async fn a_failed_commit_that_took_place_is_found_out(backend: Backend) {
    let _counted = dac_measure::counted!(UnknownOutcome, 2);
    let suite = Suite::new(backend).await;
    for (seed, length) in [(1, 1000), (2, LARGE)] {
        let batch = suite.world.batch(seed, length);
        suite.store.fail_next_commit(CommitFault::AnswerLost);
        assert_eq!(suite.put(&batch).await.unwrap(), stored(&batch));
        wait_until_swept(&suite).await;
        suite.assert_intact(&batch).await;
    }
}

async fn a_failed_commit_gives_no_receipt(backend: Backend) {
    let _counted = dac_measure::counted!(UnknownOutcome, 2);
    let suite = Suite::new(backend).await;
    for (seed, length) in [(1, 1000), (2, LARGE)] {
        let batch = suite.world.batch(seed, length);
        suite.store.fail_next_commit(CommitFault::NotPersisted);
        assert!(matches!(suite.put(&batch).await, Err(IntakeError::Store(StoreError::Database(_)))));
        wait_until_swept(&suite).await;
        suite.assert_nothing_stored().await;
    }
    // And trying again works.
    let batch = suite.world.batch(1, 1000);
    assert_eq!(suite.put(&batch).await.unwrap(), stored(&batch));
}

async fn corrupted_lines_are_detected(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batch = suite.world.batch(1, LARGE);
    suite.put(&batch).await.unwrap();
    let holding = suite.store.find(batch.digest).await.unwrap().unwrap();
    let length = holding.record.shard_length();
    let hashes = suite.store.leaf_hashes(holding.shard).await.unwrap().unwrap();
    let tree = intact_tree(&holding.record, SEAT, hashes).unwrap();

    suite.store.damage("UPDATE shard_rows SET data = (SELECT data FROM shard_rows WHERE row_index = 0) WHERE row_index = 2").await;
    let row = suite.store.read(holding.shard, Piece::Row(2)).await.unwrap().unwrap();
    assert!(!row_is_intact(&tree, length, 2, &row));
    suite.store.damage("UPDATE shard_rows SET data = substr(data, 1, 4096) WHERE row_index = 1").await;
    let row = suite.store.read(holding.shard, Piece::Row(1)).await.unwrap().unwrap();
    assert!(!row_is_intact(&tree, length, 1, &row));
    suite.store.damage("DELETE FROM shard_rows WHERE row_index = 3").await;
    assert_eq!(suite.store.read(holding.shard, Piece::Row(3)).await.unwrap(), None);
    assert_eq!(suite.store.read(holding.shard, Piece::Chunk(3 * CHUNKS_PER_ROW)).await.unwrap(), None);

    suite.store.damage("UPDATE shard_trees SET leaf_hashes = substr(leaf_hashes, 1, 100)").await;
    let hashes = suite.store.leaf_hashes(holding.shard).await.unwrap().unwrap();
    assert!(intact_tree(&holding.record, SEAT, hashes).is_none());

    for statement in [
        "UPDATE batches SET n = 8",
        "UPDATE batches SET n = 1",
        "UPDATE batches SET n = 7, seat = 7",
        "UPDATE batches SET seat = 300",
        "UPDATE records SET record = substr(record, 2)",
    ] {
        suite.store.damage(statement).await;
        let found = suite.store.find(batch.digest).await;
        assert!(
            matches!(found, Err(StoreError::Corrupt { digest, .. }) if digest == batch.digest),
            "{statement}"
        );
    }
}

async fn listings_follow_the_order_of_storing(backend: Backend) {
    let suite = Suite::new(backend).await;
    let mut batches = Vec::new();
    for seed in 1..=5_u64 {
        let rollup = if seed == 3 { Address::repeat_byte(0x77) } else { ROLLUP };
        // Numbers beyond SQL's own range keep their value.
        let wish = Wish { batch_number: u64::MAX - seed, rollup, ..Wish::default() };
        let batch = suite.world.batch_with(seed, 100, &wish);
        suite.put(&batch).await.unwrap();
        batches.push(batch);
    }
    let all = suite.store.list(None, 0, 10).await.unwrap();
    assert_eq!(
        all.iter().map(|listed| listed.digest).collect::<Vec<_>>(),
        batches.iter().map(|b| b.digest).collect::<Vec<_>>()
    );
    assert!(all.iter().map(|listed| listed.sequence).is_sorted());
    let first = &all[0];
    assert_eq!((first.batch_number, first.epoch, first.seat), (u64::MAX - 1, EPOCH, SEAT));
    assert_eq!((first.expires_at, first.payload_length, first.rollup), (NOW + 3600, 100, ROLLUP));
    let page = suite.store.list(Some(ROLLUP), all[0].sequence, 2).await.unwrap();
    assert_eq!(
        page.iter().map(|listed| listed.digest).collect::<Vec<_>>(),
        [batches[1].digest, batches[3].digest]
    );
    assert!(suite.store.list(Some(Address::ZERO), 0, 2).await.unwrap().is_empty());
}

async fn what_has_expired_goes_and_the_rest_stays(backend: Backend) {
    let _counted = dac_measure::counted!(Retention, 4);
    let suite = Suite::new(backend).await;
    let expiring = |seed, expires_at| {
        let wish = Wish { batch_number: seed, expires_at, ..Wish::default() };
        suite.world.batch_with(seed, LARGE, &wish)
    };
    let (early, late) = (expiring(1, NOW + 10), expiring(2, NOW + 11));
    suite.put(&early).await.unwrap();
    suite.put(&late).await.unwrap();
    assert_eq!(suite.store.delete_expired(NOW + 10, &[], 10).await.unwrap(), 0, "expiresAt itself is served");
    let spared = [Address::repeat_byte(9), ROLLUP];
    assert_eq!(suite.store.delete_expired(NOW + 11, &spared, 10).await.unwrap(), 0, "its rollup is spared");
    assert_eq!(suite.store.delete_expired(NOW + 11, &spared[..1], 10).await.unwrap(), 1);
    assert!(suite.store.find(early.digest).await.unwrap().is_none());
    suite.assert_intact(&late).await;
    let bytes = late.shard(SEAT).len() as u64;
    assert_eq!(suite.store.totals().await.unwrap(), Totals { batches: 1, bytes });
    assert_eq!((suite.count("submission_headers").await, suite.count("charged_submissions").await), (1, 1));
    assert_eq!(suite.count("quota_days").await, 1, "today's quota is not forgotten");
    let tomorrow = NOW + 2 * QUOTA_DAY_SECONDS;
    assert_eq!(suite.store.delete_expired(tomorrow, &[], 10).await.unwrap(), 1);
    suite.assert_nothing_stored().await;
    // Places in the order of storing are not given out twice.
    suite.put(&suite.world.batch(3, 100)).await.unwrap();
    assert_eq!(suite.store.list(None, 0, 10).await.unwrap()[0].sequence, 3);
}

/// Bytes of the file and of its log.
fn sizes(suite: &Suite) -> Option<(u64, u64)> {
    let file = suite.database.file()?;
    let log = file.with_extension("db-wal");
    let length = |path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    Some((length(&file), length(&log)))
}

async fn space_goes_back_to_the_file_system(backend: Backend) {
    let _counted = dac_measure::counted!(Retention, 1);
    let suite = Suite::new(backend).await;
    for seed in 1..=4 {
        suite.hold(&suite.world.batch(seed, 24_000_000)).await;
    }
    let full = sizes(&suite);
    assert_eq!(suite.store.delete_expired(NOW + 4000, &[], 10).await.unwrap(), 4);
    suite.store.give_back().await.unwrap();
    suite.store.give_back().await.unwrap();
    if let (Some((file, _)), Some((file_after, log_after))) = (full, sizes(&suite)) {
        assert!(file > 30_000_000, "4 shards of 8 MB stood in the file: {file}");
        assert!(file_after < 1_000_000 && log_after == 0, "{file_after} and {log_after} bytes are left");
    }
    // And it is still a store.
    let batch = suite.world.batch(20, 1_000_000);
    suite.hold(&batch).await;
    suite.assert_intact(&batch).await;
}

async fn a_store_is_of_one_member_in_one_domain(backend: Backend) {
    let suite = Suite::new(backend).await;
    let (world, options) = (&suite.world, suite.database.options());
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

on_both_backends! {
    shards_of_all_sizes_come_back,
    storing_twice_is_storing_once,
    uploads_of_one_batch_race_and_all_get_the_receipt,
    a_dropped_upload_leaves_nothing,
    a_killed_process_leaves_nothing_that_the_next_one_keeps,
    rows_that_do_not_make_up_the_shard_are_refused,
    one_header_for_a_submission_in_an_epoch,
    a_certified_header_takes_its_submission,
    rivals_race_and_one_wins,
    uploads_race_and_do_not_overspend,
    a_certificate_is_added_once,
    a_failed_commit_that_took_place_is_found_out,
    a_failed_commit_gives_no_receipt,
    corrupted_lines_are_detected,
    listings_follow_the_order_of_storing,
    what_has_expired_goes_and_the_rest_stays,
    space_goes_back_to_the_file_system,
    a_store_is_of_one_member_in_one_domain,
}
