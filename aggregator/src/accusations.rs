//! Counts what members and rollups did that honest ones do not do, for each offender, for operators
//! and monitoring.
//!
//! A rollup answers for what its poster signed: two orders for one number. Other messages in its
//! name may come from a stranger, and a member's answer bears no signature that shows the lie to
//! others, so these are not *proven*. Only names of the registry are counted, so that an attacker
//! cannot fill the table with invented ones.

use dac_runtime::tally::{Tallied, Tally};
use dac_types::Address;
use parking_lot::Mutex;

/// Lines of the table.
const ENTRIES_MAX: usize = 4096;

/// Who is accused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Accused {
    /// A member of an epoch, by its operator.
    Member(Address),
    /// An admitted rollup.
    Rollup(Address),
    /// Nobody that the registry knows.
    Other,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// Who.
    pub accused: Accused,
    /// Machine-readable: the reason of the refusal, or what the member's answer was.
    pub kind: String,
    /// Whether signatures show it.
    pub is_proven: bool,
    /// How often, since the process started.
    pub count: u64,
    /// Unix seconds of the last time.
    pub last_at: u64,
    /// Of the last time, for people.
    pub detail: String,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// See [`Accusation::kind`]: this program's own words.
    pub kind: &'a str,
    /// Whether signatures show it.
    pub is_proven: bool,
    /// For people.
    pub detail: &'a str,
}

/// A bounded table of them.
#[derive(Debug, Default)]
pub struct Accusations(Mutex<Tally<(Accused, String, bool), ENTRIES_MAX>>);

impl Accusations {
    /// Only members and rollups of the registry are to be named here.
    pub fn add(&self, accused: Accused, charge: Charge<'_>, now: u64) {
        let mut lines = self.0.lock();
        let Charge { kind, is_proven, detail } = charge;
        let mut key = (accused, kind.to_owned(), is_proven);
        if !lines.has_room_for(&key) {
            key.0 = Accused::Other;
        }
        lines.add(key, detail, now);
    }

    /// What is proven first, then the most first; at most `limit`.
    pub fn list(&self, limit: usize) -> Vec<Accusation> {
        let lines = self.0.lock().list(limit, |(_, _, is_proven)| !is_proven);
        let accusation = |((accused, kind, is_proven), line)| {
            let Tallied { count, last_at, detail } = line;
            Accusation { accused, kind, is_proven, count, last_at, detail }
        };
        lines.into_iter().map(accusation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_what_is_proven_comes_first() {
        let accusations = Accusations::default();
        let charge = Charge { kind: "OTHER_DIGEST", is_proven: false, detail: &"x".repeat(1000) };
        for number in 0..10_000_u64 {
            let member = Address::left_padding_from(&number.to_be_bytes());
            accusations.add(Accused::Member(member), charge, 7);
        }
        let proven = Charge { kind: "CONFLICTING_BATCH", is_proven: true, detail: "two orders" };
        accusations.add(Accused::Rollup(Address::ZERO), proven, 8);
        let list = accusations.list(usize::MAX);
        assert_eq!(list.len(), ENTRIES_MAX + 2);
        assert_eq!(
            (list[0].kind.as_str(), list[0].accused, list[0].last_at),
            ("CONFLICTING_BATCH", Accused::Other, 8)
        );
        assert_eq!((list[1].accused, list[1].count), (Accused::Other, 10_000 - ENTRIES_MAX as u64));
        assert_eq!(list[2].detail.len(), 300);
        assert_eq!(accusations.list(2).len(), 2);
    }
}
