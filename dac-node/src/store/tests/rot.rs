//! Tests places that the database itself cannot read. One of them must not keep the others from
//! being read, repaired and deleted.

use std::path::Path;

use super::*;

/// The size of SQLite's pages.
const PAGE_BYTES: usize = 4096;

/// Breaks the chain of pages of a long value in a SQLite file that no process has open. The page
/// that holds `piece` names no next page, and the map of pages does not know it.
pub(crate) fn break_chain(file: &Path, piece: &[u8]) {
    let mut bytes = std::fs::read(file).unwrap();
    let places: Vec<usize> = bytes
        .windows(piece.len())
        .enumerate()
        .filter(|(_, window)| window == &piece)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the value is in the file");
    for place in places {
        let page = place / PAGE_BYTES * PAGE_BYTES;
        bytes[page..page + 4].copy_from_slice(&[0xff; 4]);
        // See "Pointer Map or Ptrmap Pages" in SQLite's file format: they are page 2, and one for
        // each 819 pages that follow it.
        let next = place / PAGE_BYTES + 2;
        let map = (next - 2) / (PAGE_BYTES / 5 + 1) * (PAGE_BYTES / 5 + 1) + 2;
        let entry = (map - 1) * PAGE_BYTES + 5 * (next - map - 1);
        bytes[entry..entry + 5].fill(0);
    }
    std::fs::write(file, bytes).unwrap();
}

/// Stores three batches, of which the second has a row that SQLite cannot read.
async fn rotten() -> (Suite<SqlCandidate>, Vec<Batch>) {
    let mut suite = on(Backend::Sqlite).await;
    let batches: Vec<Batch> = (1..=3).map(|seed| suite.world.batch(seed, LARGE)).collect();
    for batch in &batches {
        suite.hold(batch).await;
    }
    suite.store().upkeep.close().await;
    let at = STORED_ROW_BYTES + STORED_ROW_BYTES / 2;
    break_chain(&suite.candidate.database.file().unwrap(), &batches[1].shard(SEAT)[at..at + 16]);
    suite.restart().await;
    (suite, batches)
}

#[tokio::test]
async fn what_cannot_be_read_is_missing_and_can_be_replaced() {
    let (mut suite, batches) = rotten().await;
    let holding = suite.store().catalog.find(batches[1].digest).await.unwrap().unwrap();
    assert!(suite.store().shards.read(holding.shard, Piece::Row(0)).await.unwrap().is_some());
    assert_eq!(suite.store().shards.read(holding.shard, Piece::Row(1)).await.unwrap(), None);
    assert_eq!(
        suite.store().shards.read(holding.shard, Piece::Chunk(2 * CHUNKS_PER_ROW - 1)).await.unwrap(),
        None
    );
    assert!(suite.store().catalog.mark_corrupt(batches[1].digest, Some(holding.shard)).await.unwrap());
    suite.hold(&batches[1]).await;
    for _ in 0..2 {
        for batch in &batches {
            suite.assert_intact(batch).await;
        }
        assert_eq!(suite.store().catalog.totals().await.unwrap().batches, 3);
        assert_eq!(suite.census().await.unclaimed, 1, "what cannot be deleted is left over");
        suite.restart().await;
    }
}

#[tokio::test]
async fn what_cannot_be_read_keeps_nothing_from_being_deleted() {
    let (mut suite, batches) = rotten().await;
    assert_eq!(
        suite.store().catalog.delete_expired(batches[0].header.expires_at + 1, &[], 10).await.unwrap(),
        3
    );
    suite.store().writer.sweep().await.unwrap();
    suite.store().upkeep.give_back().await.unwrap();
    suite.restart().await;
    assert_eq!(suite.store().catalog.totals().await.unwrap(), Totals::default());
    assert_eq!((suite.census().await.batches, suite.census().await.headers), (0, 0));
    let batch = suite.world.batch(4, LARGE);
    suite.hold(&batch).await;
    suite.assert_intact(&batch).await;
}
