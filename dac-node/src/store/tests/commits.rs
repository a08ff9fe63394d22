//! Tests how often storing a shard waits for the disk.

use super::*;

/// Returns the number of transactions that a SQLite database has committed to its log. See "The WAL
/// File Format": a frame that ends a transaction names the size of the database after it.
fn commits_in_log(suite: &Suite<SqlCandidate>) -> usize {
    const HEADER_BYTES: usize = 32;
    const FRAME_HEADER_BYTES: usize = 24;
    let log = std::fs::read(suite.candidate.database.file().unwrap().with_extension("db-wal")).unwrap();
    let page_bytes = u32::from_be_bytes(log[8..12].try_into().unwrap()) as usize;
    let salts = log[16..24].to_vec();
    log[HEADER_BYTES..]
        .chunks_exact(FRAME_HEADER_BYTES + page_bytes)
        .take_while(|frame| frame[8..16] == salts)
        .filter(|frame| frame[4..8] != [0; 4])
        .count()
}

/// A shard of up to four rows takes one commit for rows, record, header and quota. Every four rows
/// before the last ones take one more. It was the same when bytes and books were one trait.
#[tokio::test]
async fn a_stored_shard_waits_for_the_disk_once_and_once_more_for_every_four_rows_before() {
    for (seed, length, expected) in [(1, 1000, 1), (2, 3 * 4 * STORED_ROW_BYTES, 1), (3, LARGE, 3)] {
        // Each has a log of its own, which is too short to be begun again.
        let suite = on(Backend::Sqlite).await;
        let batch = suite.world.batch(seed, length);
        let before = commits_in_log(&suite);
        suite.hold(&batch).await;
        assert_eq!(commits_in_log(&suite) - before, expected, "{} rows", batch.rows(SEAT));
    }
}
