//! Tests which batches are stored and which are not.

use std::collections::BTreeSet;

use dac_types::limits::{QUOTA_DAY_SECONDS, STORED_ROW_BYTES};
use dac_types::{Address, B256, BatchDigest};
use futures::future::join_all;

use super::{Candidate, DAY, Damage, LARGE, SEAT, Suite, stored, submission, wait_until_swept};
use crate::store::{
    Authority, CHUNKS_PER_ROW, Commit, Entry, Piece, QuotaDay, ShardId, StoreError, SubmissionFacts, Totals,
    VerifiedShard,
};
use crate::testing::{Batch, DAILY_BYTES, EPOCH, NOW, ROLLUP, Wish};
use crate::verify::{intact_tree, row_is_intact};

/// The lengths of payloads whose shards have less than a row, some rows, exactly two rows, and
/// many.
const LENGTHS: [usize; 5] =
    [1, 100_000, 3 * 2 * STORED_ROW_BYTES, 3 * STORED_ROW_BYTES + 7, 3 * 9 * STORED_ROW_BYTES - 100];

pub async fn shards_of_all_sizes_come_back<B: Candidate>() {
    let mut suite = Suite::<B>::new().await;
    let batches: Vec<Batch> =
        (1..).zip(LENGTHS).map(|(seed, length)| suite.world.batch(seed, length)).collect();
    for batch in &batches {
        assert_eq!(suite.put(batch).await.unwrap(), stored(batch));
        suite.assert_intact(batch).await;
    }
    let bytes: usize = batches.iter().map(|batch| batch.shard(SEAT).len()).sum();
    let totals = Totals { batches: 5, bytes: bytes as u64 };
    assert_eq!(suite.store().catalog.totals().await.unwrap(), totals);
    suite.restart().await;
    for batch in &batches {
        suite.assert_intact(batch).await;
    }
    assert_eq!(suite.store().catalog.totals().await.unwrap(), totals);
    assert_eq!(suite.census().await.unclaimed, 0);
    assert!(suite.store().catalog.find(BatchDigest(B256::repeat_byte(9))).await.unwrap().is_none());
    suite.store().upkeep.ping().await.unwrap();
}

pub async fn storing_twice_is_storing_once<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let batch = suite.world.batch(1, LARGE);
    let (first, second) = (suite.put(&batch).await.unwrap(), suite.put(&batch).await.unwrap());
    assert_eq!((first, second), (stored(&batch), stored(&batch)));
    assert_eq!(suite.store().catalog.totals().await.unwrap().batches, 1);
    let facts = suite.store().catalog.submission_facts(submission(&suite, &batch), EPOCH, DAY).await.unwrap();
    let expected = SubmissionFacts {
        header: Some(batch.digest),
        charged: true,
        spent_bytes: batch.header.payload_length,
    };
    assert_eq!(facts, expected);
}

pub async fn uploads_of_one_batch_race_and_all_get_the_receipt<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let batch = suite.world.batch(1, LARGE);
    let results = join_all((0..6).map(|_| suite.put(&batch))).await;
    assert!(results.into_iter().all(|result| result.unwrap() == stored(&batch)));
    suite.assert_intact(&batch).await;
    assert_eq!(suite.store().catalog.totals().await.unwrap().batches, 1);
    // The rows of the drafts that lost are cleaned up.
    wait_until_swept(&suite).await;
    assert_eq!(suite.census().await.rows, batch.rows(SEAT));
}

pub async fn a_dropped_upload_leaves_nothing<B: Candidate>() {
    #[cfg(test)]
    let _counted = dac_measure::counted!(Cancelled, 1);
    let suite = Suite::<B>::new().await;
    let batch = suite.world.batch(1, LARGE);
    let mut shard = batch.shard(SEAT);
    let mut upload = suite.store().writer.begin(shard.len());
    for _ in 0..5 {
        upload.put(shard.split_to(STORED_ROW_BYTES)).await.unwrap();
    }
    assert_eq!(suite.census().await.rows, 4, "a part is staged");
    assert!(suite.store().catalog.find(batch.digest).await.unwrap().is_none());
    suite.store().writer.sweep().await.unwrap();
    assert_eq!(suite.census().await.rows, 4, "uploads under way are not swept");
    drop(upload);
    wait_until_swept(&suite).await;
    suite.assert_nothing_stored().await;
}

pub async fn a_killed_process_leaves_nothing_that_the_next_one_keeps<B: Candidate>() {
    let mut suite = Suite::<B>::new().await;
    let batch = suite.world.batch(1, LARGE);
    let mut shard = batch.shard(SEAT);
    let mut upload = suite.store().writer.begin(shard.len());
    for _ in 0..8 {
        upload.put(shard.split_to(STORED_ROW_BYTES)).await.unwrap();
    }
    // The process is gone: no destructor runs, and another process opens the store.
    let ghost = Box::leak(Box::new(upload));
    suite.restart().await;
    suite.assert_nothing_stored().await;
    // If the process was only asleep, it cannot finish the draft that was swept.
    let upload = std::mem::replace(ghost, suite.store().writer.begin(1));
    let summary = VerifiedShard::from(&batch.checked_shard(SEAT));
    let authority = suite.authority(&batch, DAILY_BYTES);
    let entry = Entry { digest: batch.digest, record: batch.checked_record(SEAT), shard: summary, authority };
    assert!(matches!(upload.commit(shard, entry).await, Err(StoreError::Lost)));
    suite.assert_nothing_stored().await;
}

pub async fn rows_that_do_not_make_up_the_shard_are_refused<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let batch = suite.world.batch(1, LARGE);
    let entry = || Entry {
        digest: batch.digest,
        record: batch.checked_record(SEAT),
        shard: VerifiedShard::from(&batch.checked_shard(SEAT)),
        authority: suite.authority(&batch, DAILY_BYTES),
    };
    let shard = batch.shard(SEAT);
    let mut upload = suite.store().writer.begin(shard.len());
    assert!(matches!(upload.put(shard.slice(..100)).await, Err(StoreError::UploadLength { .. })));
    let upload = suite.store().writer.begin(shard.len());
    assert!(matches!(upload.commit(shard.slice(..100), entry()).await, Err(StoreError::UploadLength { .. })));
    let upload = suite.store().writer.begin(100);
    assert!(matches!(upload.commit(shard.slice(..100), entry()).await, Err(StoreError::UploadLength { .. })));
    suite.assert_nothing_stored().await;
}

pub async fn one_header_for_a_submission_in_an_epoch<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let (first, mut rival) = (suite.world.batch(1, LARGE), suite.world.batch(2, LARGE));
    rival.submission = first.submission.clone();
    assert_eq!(suite.put(&first).await.unwrap(), stored(&first));
    let conflict = Commit::ConflictingHeader { existing: first.digest };
    assert_eq!(suite.put(&rival).await.unwrap(), conflict);
    wait_until_swept(&suite).await;
    assert!(suite.store().catalog.find(rival.digest).await.unwrap().is_none());
    assert_eq!(suite.census().await.rows, 9);
    // A quorum's certificate overrules the stored header. In a later epoch the submission may have
    // another header, and is not charged again.
    let certified = Authority::Certificate { submission: submission(&suite, &rival) };
    assert_eq!(suite.put_as(&rival, certified).await.unwrap(), stored(&rival));
    let facts = suite.store().catalog.submission_facts(submission(&suite, &first), EPOCH, DAY).await.unwrap();
    assert_eq!(facts.header, Some(first.digest), "the header stored first keeps the submission");
    let wish = Wish { epoch: 3, ..Wish::default() };
    let mut later = suite.world.batch_with(1, LARGE, &wish);
    later.submission = first.submission.clone();
    assert_eq!(suite.put(&later).await.unwrap(), stored(&later));
    let facts = suite.store().catalog.submission_facts(submission(&suite, &first), EPOCH, DAY).await.unwrap();
    assert_eq!(facts.spent_bytes, first.header.payload_length);
}

pub async fn a_certified_header_takes_its_submission<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let (first, mut rival) = (suite.world.batch(1, LARGE), suite.world.batch(2, LARGE));
    rival.submission = first.submission.clone();
    let certified = Authority::Certificate { submission: submission(&suite, &first) };
    assert_eq!(suite.put_as(&first, certified).await.unwrap(), stored(&first));
    // The certified header was signed, so another header of the submission is refused.
    let conflict = Commit::ConflictingHeader { existing: first.digest };
    assert_eq!(suite.put(&rival).await.unwrap(), conflict);
    let facts = suite.store().catalog.submission_facts(submission(&suite, &first), EPOCH, DAY).await.unwrap();
    assert_eq!((facts.header, facts.charged, facts.spent_bytes), (Some(first.digest), false, 0));
    assert!(suite.store().catalog.find(rival.digest).await.unwrap().is_none());
}

pub async fn rivals_race_and_one_wins<B: Candidate>() {
    let suite = Suite::<B>::new().await;
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
    assert_eq!(suite.census().await.batches, 1);
}

pub async fn uploads_race_and_do_not_overspend<B: Candidate>() {
    let suite = Suite::<B>::new().await;
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
    let census = suite.census().await;
    assert_eq!((census.batches, census.charged), (3, 3));
    // A stored batch is not charged again. A refused one is taken if the limit is higher.
    for (batch, result) in batches.iter().zip(results) {
        let limit = if matches!(result, Ok(Commit::Stored(_))) { limit } else { u64::MAX };
        assert_eq!(suite.put_with(batch, limit).await.unwrap(), stored(batch));
    }
    let facts = suite.store().catalog.submission_facts(B256::ZERO, EPOCH, DAY).await.unwrap();
    assert_eq!(facts, SubmissionFacts { header: None, charged: false, spent_bytes: 60_000 });
    let tomorrow = QuotaDay { day: DAY.day + 1, ..DAY };
    assert_eq!(
        suite.store().catalog.submission_facts(B256::ZERO, EPOCH, tomorrow).await.unwrap().spent_bytes,
        0
    );
}

pub async fn a_certificate_is_added_once<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let batch = suite.world.batch(1, 1000);
    let committee = suite.world.committee(EPOCH, 0, u64::MAX);
    let keys = dac_bls::CommitteeKeys::new(&committee).unwrap();
    let aggregate = suite.world.certify(&batch);
    let certificate = dac_types::Certificate { header: batch.header.clone(), aggregate: aggregate.clone() };
    let checked = keys.verify_certificate(&certificate, &suite.world.domain).unwrap();
    suite.store().catalog.attach_certificate(&checked).await.unwrap();
    suite.assert_nothing_stored().await;
    suite.put(&batch).await.unwrap();
    for _ in 0..2 {
        suite.store().catalog.attach_certificate(&checked).await.unwrap();
        let holding = suite.store().catalog.find(batch.digest).await.unwrap().unwrap();
        assert_eq!(holding.record.record().certificate, Some(aggregate.clone()));
    }
    suite.assert_intact(&batch).await;
}

pub async fn listings_follow_the_order_of_storing<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let mut batches = Vec::new();
    for seed in 1..=5_u64 {
        let rollup = if seed == 3 { Address::repeat_byte(0x77) } else { ROLLUP };
        // Numbers beyond SQL's range keep their value.
        let wish = Wish { batch_number: u64::MAX - seed, rollup, ..Wish::default() };
        let batch = suite.world.batch_with(seed, 100, &wish);
        suite.put(&batch).await.unwrap();
        batches.push(batch);
    }
    let all = suite.store().catalog.list(None, 0, 10).await.unwrap();
    assert_eq!(
        all.iter().map(|listed| listed.digest).collect::<Vec<_>>(),
        batches.iter().map(|b| b.digest).collect::<Vec<_>>()
    );
    assert!(all.iter().map(|listed| listed.sequence).is_sorted());
    let first = &all[0];
    assert_eq!((first.batch_number, first.epoch, first.seat), (u64::MAX - 1, EPOCH, SEAT));
    assert_eq!((first.expires_at, first.payload_length, first.rollup), (NOW + 3600, 100, ROLLUP));
    let page = suite.store().catalog.list(Some(ROLLUP), all[0].sequence, 2).await.unwrap();
    assert_eq!(
        page.iter().map(|listed| listed.digest).collect::<Vec<_>>(),
        [batches[1].digest, batches[3].digest]
    );
    assert!(suite.store().catalog.list(Some(Address::ZERO), 0, 2).await.unwrap().is_empty());
}

pub async fn what_has_expired_goes_and_the_rest_stays<B: Candidate>() {
    #[cfg(test)]
    let _counted = dac_measure::counted!(Retention, 4);
    let suite = Suite::<B>::new().await;
    let expiring = |seed, expires_at| {
        let wish = Wish { batch_number: seed, expires_at, ..Wish::default() };
        suite.world.batch_with(seed, LARGE, &wish)
    };
    let (early, late) = (expiring(1, NOW + 10), expiring(2, NOW + 11));
    suite.put(&early).await.unwrap();
    suite.put(&late).await.unwrap();
    assert_eq!(
        suite.store().catalog.delete_expired(NOW + 10, &[], 10).await.unwrap(),
        0,
        "expiresAt itself is served"
    );
    let spared = [Address::repeat_byte(9), ROLLUP];
    assert_eq!(
        suite.store().catalog.delete_expired(NOW + 11, &spared, 10).await.unwrap(),
        0,
        "its rollup is spared"
    );
    assert_eq!(suite.store().catalog.delete_expired(NOW + 11, &spared[..1], 10).await.unwrap(), 1);
    assert!(suite.store().catalog.find(early.digest).await.unwrap().is_none());
    suite.assert_intact(&late).await;
    let bytes = late.shard(SEAT).len() as u64;
    assert_eq!(suite.store().catalog.totals().await.unwrap(), Totals { batches: 1, bytes });
    let census = suite.census().await;
    assert_eq!((census.headers, census.charged), (1, 1));
    assert_eq!(census.quota_days, 1, "today's quota is not forgotten");
    let tomorrow = NOW + 2 * QUOTA_DAY_SECONDS;
    assert_eq!(suite.store().catalog.delete_expired(tomorrow, &[], 10).await.unwrap(), 1);
    suite.assert_nothing_stored().await;
    // A place in the order of storing is not used twice.
    suite.put(&suite.world.batch(3, 100)).await.unwrap();
    assert_eq!(suite.store().catalog.list(None, 0, 10).await.unwrap()[0].sequence, 3);
}

pub async fn damaged_bytes_are_read_as_they_are<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let batch = suite.world.batch(1, LARGE);
    suite.hold(&batch).await;
    let holding = suite.store().catalog.find(batch.digest).await.unwrap().unwrap();
    let length = holding.record.shard_length();
    let hashes = suite.store().catalog.leaf_hashes(holding.shard).await.unwrap().unwrap();
    let tree = intact_tree(&holding.record, SEAT, hashes).unwrap();
    let read = async |piece| suite.store().shards.read(holding.shard, piece).await.unwrap();

    suite.candidate.spoil(batch.digest, Damage::RowCut(1)).await;
    assert!(!row_is_intact(&tree, length, 1, &read(Piece::Row(1)).await.unwrap()));
    assert!(row_is_intact(&tree, length, 0, &read(Piece::Row(0)).await.unwrap()));
    suite.candidate.spoil(batch.digest, Damage::RowLost(3)).await;
    assert_eq!(read(Piece::Row(3)).await, None);
    assert_eq!(read(Piece::Chunk(3 * CHUNKS_PER_ROW)).await, None);
    let whole =
        suite.store().shards.are_whole(&[(holding.shard, length), (ShardId::draw(), 1)]).await.unwrap();
    assert_eq!(whole, [false, false]);
    suite.candidate.spoil(batch.digest, Damage::TreeLost).await;
    assert_eq!(suite.store().catalog.leaf_hashes(holding.shard).await.unwrap(), None);
    if suite.candidate.spoil(batch.digest, Damage::RecordCut).await {
        let found = suite.store().catalog.find(batch.digest).await;
        assert!(matches!(found, Err(StoreError::Corrupt { digest, .. }) if digest == batch.digest));
    }
}
