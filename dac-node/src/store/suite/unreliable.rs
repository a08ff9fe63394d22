//! Tests what must hold although calls fail.

use dac_database::DatabaseError;

use super::owing::{LONGER, SETTLEMENT, asked, renewal, settled};
use super::{Candidate, Census, DAY, LARGE, SEAT, Suite, stored, wait_until_swept};
use crate::store::{Covered, StoreError, unreliable};
use crate::testing::{Batch, DAILY_BYTES, EPOCH, NOW};
use crate::verify::{IntakeError, store_shard};

/// The number of seeds. Each lets other calls fail.
const SEEDS: u64 = 4;

pub async fn receipts_are_true_over_an_unreliable_store<C: Candidate>() {
    let mut failures = 0;
    for seed in 0..SEEDS {
        failures += one_unreliable_history::<C>(seed).await;
    }
    assert!(failures > SEEDS, "calls fail: {failures}");
}

/// Stores and covers some batches, each as often as needed. Returns the number of attempts that
/// failed.
async fn one_unreliable_history<C: Candidate>(seed: u64) -> u64 {
    let mut suite = Suite::<C>::new().await;
    let store = unreliable(suite.store(), seed);
    let batches: Vec<Batch> =
        (1..=6).map(|number| suite.world.batch(number, if number % 2 == 0 { LARGE } else { 1000 })).collect();
    let mut failures = 0;
    for batch in &batches {
        let authority = suite.authority(batch, DAILY_BYTES);
        loop {
            let (shard, record) = (batch.checked_shard(SEAT), batch.checked_record(SEAT));
            match store_shard(&store.writer, shard, batch.digest, record, authority).await {
                Ok(commit) => {
                    assert_eq!(commit, stored(batch));
                    break;
                }
                Err(IntakeError::Store(StoreError::Database(DatabaseError::Closed))) => failures += 1,
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        suite.assert_intact(batch).await;
    }
    suite.learn(SETTLEMENT, batches.iter().map(|batch| settled(batch, 1)).collect()).await;
    let ask = asked(renewal(batches.len() as u64, LONGER));
    loop {
        match Covered::obtain(&*store.renewals, &*store.shards, ask).await {
            Ok(covered) => {
                assert_eq!(covered.unwrap().renewal(), ask.renewal);
                break;
            }
            Err(StoreError::Database(DatabaseError::Closed)) => failures += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    // Failed drafts are cleaned up as far as calls succeed, and the rest when the store is opened
    // again.
    let drafts = async {
        while store.writer.drafts() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), drafts).await.expect("drafts end");
    suite.restart().await;
    wait_until_swept(&suite).await;
    assert_eq!(
        suite.store().catalog.delete_expired(NOW + 3601, &[], 10).await.unwrap(),
        0,
        "all are covered"
    );
    for batch in &batches {
        suite.assert_intact(batch).await;
    }
    let rows = batches.iter().map(|batch| batch.rows(SEAT)).sum();
    let Census { records, trees, unclaimed, rows: found, .. } = suite.census().await;
    assert_eq!((records, trees, unclaimed, found), (6, 6, 0, rows), "seed {seed}");
    let facts = suite.store().catalog.submission_facts(dac_types::B256::ZERO, EPOCH, DAY).await.unwrap();
    let spent: u64 = batches.iter().map(|batch| batch.header.payload_length).sum();
    assert_eq!(facts.spent_bytes, spent, "each is charged once");
    failures
}
