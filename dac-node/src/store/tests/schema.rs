//! Tests databases of earlier and of later versions.

use dac_database::sqlx::query;
use dac_database::{Database, Migration, u64_to_sql};
use prost::Message;

use super::*;
use crate::store::sql::MIGRATIONS;

/// Writes a batch of one row as the first version did.
async fn put_as_version_1(database: &Database, batch: &Batch) {
    let (record, shard) =
        (dac_proto::v1::Record::from(&batch.record(SEAT)).encode_to_vec(), batch.shard(SEAT));
    let leaf_hashes: Vec<u8> =
        batch.checked_shard(SEAT).tree().leaf_hashes().iter().flat_map(|hash| hash.0).collect();
    let batch = batch.clone();
    database
        .transaction::<_, DatabaseError, _>(move |connection| {
            Box::pin(async move {
                query("INSERT INTO shard_rows (shard, row_index, data) VALUES (7, 0, $1)")
                    .bind(shard.to_vec())
                    .execute(&mut *connection)
                    .await?;
                query("INSERT INTO shard_trees (shard, leaf_hashes) VALUES (7, $1)")
                    .bind(leaf_hashes)
                    .execute(&mut *connection)
                    .await?;
                let hash = dac_types::keccak256(&record);
                query(
                    "INSERT INTO batches (sequence, digest, rollup, batch_number, epoch, seat, expires_at, payload_length, \
                     n, k, shard, shard_length, certified, record, record_hash) \
                     VALUES (1, $1, $2, $3, $4, 4, $5, $6, 7, 3, 7, $7, 0, $8, $9)",
                )
                .bind(batch.digest.as_bytes().to_vec())
                .bind(batch.header.rollup.to_vec())
                .bind(u64_to_sql(batch.header.batch_number))
                .bind(u64_to_sql(batch.header.epoch))
                .bind(u64_to_sql(batch.header.expires_at))
                .bind(u64_to_sql(batch.header.payload_length))
                .bind(i64::try_from(shard.len()).unwrap())
                .bind(record)
                .bind(hash.to_vec())
                .execute(&mut *connection)
                .await?;
                query("UPDATE totals SET last_sequence = 1, batches = 1, bytes = $1")
                    .bind(i64::try_from(shard.len()).unwrap())
                    .execute(&mut *connection)
                    .await?;
                Ok(())
            })
        })
        .await
        .unwrap();
}

async fn a_database_of_the_first_version_is_brought_forward(backend: Backend) {
    let _counted = dac_measure::counted!(Schema, 1);
    let (world, database) = (World::new(), TestDatabase::new(backend).await);
    let batch = world.batch(1, 1000);
    let first = database.open(&MIGRATIONS[..1]).await;
    put_as_version_1(&first, &batch).await;
    first.close().await;
    let store = open(&database, &world).await.unwrap();
    let candidate = SqlCandidate::over(World::new(), database, store);
    let mut suite = Suite { world, candidate };
    for _ in 0..2 {
        suite.assert_intact(&batch).await;
        assert_eq!(suite.store().catalog.totals().await.unwrap().batches, 1);
        assert_eq!(suite.store().duties.duty_counts(NOW).await.unwrap(), DutyCounts::default());
        assert_eq!(suite.store().rounds.scrub().await.unwrap(), Scrub::default());
        suite.restart().await;
    }
    // It is kept until its own expiry.
    assert_eq!(suite.store().catalog.delete_expired(batch.header.expires_at, &[], 10).await.unwrap(), 0);
    assert_eq!(suite.store().catalog.delete_expired(batch.header.expires_at + 1, &[], 10).await.unwrap(), 1);
}

async fn a_newer_schema_is_refused(backend: Backend) {
    let _counted = dac_measure::counted!(Schema, 1);
    let suite = on(backend).await;
    let next = Migration { version: 5, name: "later", sql: "CREATE TABLE later (id BIGINT PRIMARY KEY\n);" };
    let migrations: Vec<Migration> = MIGRATIONS.iter().copied().chain([next]).collect();
    suite.candidate.database.open(&migrations).await.close().await;
    let refused = open(&suite.candidate.database, &suite.world).await;
    assert!(
        matches!(refused, Err(StoreError::Database(DatabaseError::SchemaTooNew { found: 5, known: 4 }))),
        "{refused:?}"
    );
}

on_both_backends! {
    a_database_of_the_first_version_is_brought_forward,
    a_newer_schema_is_refused,
}
