//! A bounded table of actors and how often each did something. Others may make it grow, but must
//! not be able to fill it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The most characters of a detail.
const DETAIL_MAX_CHARS: usize = 300;

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallied {
    /// The number of times since the process started.
    pub count: u64,
    /// The Unix second of the last time.
    pub last_at: u64,
    /// A text for people about the last time: its first 300 characters.
    pub detail: String,
}

/// A table of at most `MOST` rows, by key.
#[derive(Clone, Debug)]
pub struct Tally<K, const MOST: usize>(BTreeMap<K, Tallied>);

impl<K, const MOST: usize> Default for Tally<K, MOST> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, const MOST: usize> Tally<K, MOST> {
    /// Whether this key has a row or one more row fits. If there is no room, the caller counts
    /// under a key that several actors share, or not at all.
    pub fn has_room_for(&self, key: &K) -> bool {
        self.0.len() < MOST || self.0.contains_key(key)
    }

    /// Counts one more time under a key.
    pub fn add(&mut self, key: K, detail: &str, now: u64) {
        let line =
            self.0.entry(key).or_insert_with(|| Tallied { count: 0, last_at: now, detail: String::new() });
        line.count += 1;
        line.last_at = now;
        line.detail = detail.chars().take(DETAIL_MAX_CHARS).collect();
    }

    /// At most `limit` rows, those of the least rank first and, within a rank, those with the
    /// highest count first.
    pub fn list<R: Ord>(&self, limit: usize, rank: impl Fn(&K) -> R) -> Vec<(K, Tallied)> {
        let mut lines: Vec<_> = self.0.iter().map(|(key, line)| (key.clone(), line.clone())).collect();
        lines.sort_by_key(|(key, line)| (rank(key), Reverse(line.count)));
        lines.truncate(limit);
        lines
    }
}
