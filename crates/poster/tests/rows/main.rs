//! Rows of the poster's tables as earlier versions wrote them. The test checks that they are still
//! read, and written again without a change.
//!
//! `postings.jsonl` has a posting of every kind, with every outcome and every refusal;
//! `slots.jsonl` has nonces; `words.txt` has the error text of each failed posting, in the same
//! order.

use dac_poster::{NonceSlot, Outcome, Posting};
use serde::Serialize;
use serde::de::DeserializeOwned;

const POSTINGS: &str = include_str!("postings.jsonl");
const SLOTS: &str = include_str!("slots.jsonl");
const WORDS: &str = include_str!("words.txt");

fn read<T: DeserializeOwned + Serialize>(rows: &str) -> Vec<T> {
    let read = |row: &str| {
        let value: T = serde_json::from_str(row).unwrap_or_else(|error| panic!("{row}: {error}"));
        assert_eq!(serde_json::to_string(&value).unwrap(), row);
        value
    };
    rows.lines().map(read).collect()
}

#[test]
fn postings_of_every_kind_and_outcome_are_read_and_written_as_they_were() {
    let postings = read::<Posting>(POSTINGS);
    assert_eq!(postings.len(), 75);
    let failed = postings.iter().filter_map(|posting| match &posting.outcome {
        Some(Outcome::Failed { reason }) => Some(reason.to_string()),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), WORDS.lines().collect::<Vec<_>>());
}

#[test]
fn nonces_are_read_and_written_as_they_were() {
    assert_eq!(read::<NonceSlot>(SLOTS).len(), 3);
}
