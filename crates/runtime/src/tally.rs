//! Who did what, and how often: a bounded table that others may make grow, and must not fill.

use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Letters of a detail.
const DETAIL_MAX_CHARS: usize = 300;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallied {
    /// How often, since the process started.
    pub count: u64,
    /// Unix seconds of the last time.
    pub last_at: u64,
    /// Of the last time, for people: its first 300 letters.
    pub detail: String,
}

/// Lines by what tells them apart, `MOST` of them.
#[derive(Clone, Debug)]
pub struct Tally<K, const MOST: usize>(BTreeMap<K, Tallied>);

impl<K, const MOST: usize> Default for Tally<K, MOST> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, const MOST: usize> Tally<K, MOST> {
    /// Returns whether this line is there or one more fits. A caller without room counts in a line
    /// that several keys share, or not at all.
    pub fn has_room_for(&self, key: &K) -> bool {
        self.0.len() < MOST || self.0.contains_key(key)
    }

    /// Once more.
    pub fn add(&mut self, key: K, detail: &str, now: u64) {
        let line =
            self.0.entry(key).or_insert_with(|| Tallied { count: 0, last_at: now, detail: String::new() });
        line.count += 1;
        line.last_at = now;
        line.detail = detail.chars().take(DETAIL_MAX_CHARS).collect();
    }

    /// The least rank first, of equal rank the most first; at most `limit`.
    pub fn list<R: Ord>(&self, limit: usize, rank: impl Fn(&K) -> R) -> Vec<(K, Tallied)> {
        let mut lines: Vec<_> = self.0.iter().map(|(key, line)| (key.clone(), line.clone())).collect();
        lines.sort_by_key(|(key, line)| (rank(key), Reverse(line.count)));
        lines.truncate(limit);
        lines
    }
}
