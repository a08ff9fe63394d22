//! Tests that one process signs and that any number of others read.

use dac_database::sqlx::{Connection, query_scalar};

use super::*;
use crate::store::sql::LEASE_TERM;
use crate::testing::EPOCH;

async fn signer(suite: &Suite<SqlCandidate>, holder: &str) -> Result<SqlStore, StoreError> {
    let key = suite.world.public_key(SEAT);
    SqlStore::open_as_signer(suite.candidate.database.options(), suite.world.domain, &key, holder).await
}

async fn one_process_signs_at_a_time(backend: Backend) {
    let _counted = dac_measure::counted!(Readers, 1);
    let mut suite = on(backend).await;
    suite.store().upkeep.close().await;
    suite.candidate.reopen(signer(&suite, "first").await.unwrap());
    let batch = suite.world.batch(1, LARGE);
    suite.hold(&batch).await;
    if backend == Backend::Sqlite {
        let second = signer(&suite, "second").await;
        let is_refused = matches!(&second, Err(StoreError::Database(DatabaseError::FileInUse { holder, .. })) if holder == "first");
        assert!(is_refused, "{second:?}");
        suite.store().upkeep.close().await;
        suite.candidate.reopen(signer(&suite, "second").await.unwrap());
    } else {
        // The second process waits, and begins when the first one gives up signing.
        let (options, domain) = (suite.candidate.database.options().clone(), suite.world.domain);
        let key = suite.world.public_key(SEAT);
        let waiting =
            tokio::spawn(async move { SqlStore::open_as_signer(&options, domain, &key, "second").await });
        suite.hold(&suite.world.batch(2, 1000)).await;
        assert!(!waiting.is_finished());
        suite.store().upkeep.close().await;
        suite.candidate.reopen(waiting.await.unwrap().unwrap());
    }
    suite.assert_intact(&batch).await;
    suite.hold(&suite.world.batch(3, 1000)).await;
    assert_eq!(
        suite.store().catalog.totals().await.unwrap().batches,
        if backend == Backend::Sqlite { 2 } else { 3 }
    );
}

async fn what_another_process_took_over_is_not_signed_here(backend: Backend) {
    if backend == Backend::Sqlite {
        // The operating system keeps other processes out for as long as this one lives.
        return;
    }
    let mut suite = on(backend).await;
    suite.candidate.reopen(signer(&suite, "paused").await.unwrap());
    suite.hold(&suite.world.batch(1, 1000)).await;
    suite
        .candidate
        .sql
        .damage(
            "UPDATE leases SET token = token + 1, holder = 'other', expires_at_ms = expires_at_ms + 1000000",
        )
        .await;
    let refused = suite.put(&suite.world.batch(2, LARGE)).await;
    assert!(
        matches!(refused, Err(IntakeError::Store(StoreError::Database(DatabaseError::LeaseLost { .. })))),
        "{refused:?}"
    );
    let renewal =
        dac_types::CoverageRenewal { rollup: ROLLUP, last_batch: 1, expires_at: NOW + 9, epoch: EPOCH };
    let covered =
        suite.cover(RenewalAsked { renewal, seat: SEAT, since_epoch: 1, keep_until: NOW + 9 }).await;
    assert!(!matches!(covered, Ok(Ok(_))), "{covered:?}");
    tokio::time::timeout(std::time::Duration::from_secs(60), suite.candidate.sql.lost())
        .await
        .expect("it finds out");
}

async fn a_stalled_database_costs_no_signer_its_lease(backend: Backend) {
    if backend == Backend::Sqlite {
        // The operating system releases the lock.
        return;
    }
    let mut suite = on(backend).await;
    suite.candidate.reopen(signer(&suite, "stalled").await.unwrap());
    let token = async |suite: &Suite<SqlCandidate>| -> i64 {
        query_scalar("SELECT token FROM leases")
            .fetch_one(suite.candidate.sql.database().reads())
            .await
            .unwrap()
    };
    let before = token(&suite).await;
    let dac_database::DatabaseUrl::Postgres(url) = &suite.candidate.database.options().url else {
        unreachable!()
    };
    let mut connection = dac_database::AnyConnection::connect(url.as_str()).await.unwrap();
    dac_database::sqlx::raw_sql("BEGIN; LOCK TABLE leases IN ACCESS EXCLUSIVE MODE")
        .execute(&mut connection)
        .await
        .unwrap();
    // The database answers no process for longer than the term.
    let lost =
        tokio::time::timeout(LEASE_TERM + std::time::Duration::from_secs(3), suite.candidate.sql.lost())
            .await;
    assert!(lost.is_err(), "nobody else can have it");
    connection.close().await.unwrap();
    suite.hold(&suite.world.batch(1, LARGE)).await;
    // Another process has to wait, and this one goes on for longer than a term.
    let lost =
        tokio::time::timeout(LEASE_TERM + std::time::Duration::from_secs(1), suite.candidate.sql.lost())
            .await;
    assert!(lost.is_err());
    suite.hold(&suite.world.batch(2, LARGE)).await;
    assert_eq!(token(&suite).await, before, "its own lease all the time");
}

async fn nothing_is_signed_by_what_is_stored_after_the_lease_was_given_back(backend: Backend) {
    let mut suite = on(backend).await;
    suite.store().upkeep.close().await;
    suite.candidate.reopen(signer(&suite, "first").await.unwrap());
    suite.candidate.sql.stop_signing().await;
    let refused = suite.put(&suite.world.batch(1, LARGE)).await;
    assert!(
        matches!(refused, Err(IntakeError::Store(StoreError::Database(DatabaseError::LeaseLost { .. })))),
        "{refused:?}"
    );
    wait_until_swept(&suite).await;
    assert_eq!(suite.store().catalog.totals().await.unwrap().batches, 0);
}

async fn readers_read_beside_the_signer(backend: Backend) {
    let _counted = dac_measure::counted!(Readers, 2);
    let suite = on(backend).await;
    let batch = suite.world.batch(1, LARGE);
    let key = suite.world.public_key(SEAT);
    let reader =
        SqlStore::open_to_read(suite.candidate.database.options(), suite.world.domain, &key).await.unwrap();
    // A reader sweeps nothing that the signer is still writing.
    let mut shard = batch.shard(SEAT);
    let mut upload = suite.store().writer.begin(shard.len());
    while shard.len() > STORED_ROW_BYTES {
        upload.put(shard.split_to(STORED_ROW_BYTES)).await.unwrap();
    }
    let second =
        SqlStore::open_to_read(suite.candidate.database.options(), suite.world.domain, &key).await.unwrap();
    let entry = Entry {
        digest: batch.digest,
        record: batch.checked_record(SEAT),
        shard: VerifiedShard::from(&batch.checked_shard(SEAT)),
        authority: suite.authority(&batch, DAILY_BYTES),
    };
    assert_eq!(upload.commit(shard, entry).await.unwrap(), stored(&batch));
    for reader in [reader, second] {
        let candidate = SqlCandidate::over(World::new(), TestDatabase::sqlite(), reader);
        let read = Suite { world: World::new(), candidate };
        read.assert_intact(&batch).await;
        read.store().upkeep.close().await;
    }
    suite.assert_intact(&batch).await;
}

on_both_backends! {
    one_process_signs_at_a_time,
    what_another_process_took_over_is_not_signed_here,
    a_stalled_database_costs_no_signer_its_lease,
    nothing_is_signed_by_what_is_stored_after_the_lease_was_given_back,
    readers_read_beside_the_signer,
}
