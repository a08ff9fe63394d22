//! Counts what members and rollups did that honest ones do not do, for each offender, for operators
//! and monitoring.
//!
//! An accusation is *proven* only if signatures prove it: if a rollup's poster signed two
//! submissions for one number. Other messages in a rollup's name may come from another sender, and
//! a member's answer bears no signature that would prove a lie to others. Only members and rollups
//! of the registry are counted by name, so that an attacker cannot fill the table with invented
//! ones.

use dac_runtime::tally::{Tallied, Tally};
use dac_types::Address;
use parking_lot::Mutex;

/// The number of lines that the table keeps for named offenders and kinds.
const ENTRIES_MAX: usize = 4096;

/// The member or rollup that is accused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Accused {
    /// A member of an epoch, by its operator.
    Member(Address),
    /// An admitted rollup.
    Rollup(Address),
    /// All offenders that the registry does not list, or for whom the full table has no line left.
    Other,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// The member or rollup that is accused.
    pub accused: Accused,
    /// Machine-readable: the reason of the refusal, or what the member's answer was.
    pub kind: String,
    /// Whether signatures prove it.
    pub is_proven: bool,
    /// The number of times since the process started.
    pub count: u64,
    /// The last time, in Unix seconds.
    pub last_at: u64,
    /// What happened the last time, in words for people.
    pub detail: String,
}

/// One act of misbehaviour.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The machine-readable kind, in this program's own words; see [`Accusation::kind`].
    pub kind: &'a str,
    /// Whether signatures prove it.
    pub is_proven: bool,
    /// What happened, in words for people.
    pub detail: &'a str,
}

/// A bounded table of accusations.
#[derive(Debug, Default)]
pub struct Accusations(Mutex<Tally<(Accused, String, bool), ENTRIES_MAX>>);

impl Accusations {
    /// Counts one accusation. The caller names only members and rollups of the registry. If the
    /// table is full, the accusation counts for [`Accused::Other`].
    pub fn add(&self, accused: Accused, charge: Charge<'_>, now: u64) {
        let mut lines = self.0.lock();
        let Charge { kind, is_proven, detail } = charge;
        let mut key = (accused, kind.to_owned(), is_proven);
        if !lines.has_room_for(&key) {
            key.0 = Accused::Other;
        }
        lines.add(key, detail, now);
    }

    /// Returns at most `limit` lines: proven ones first, then by falling count.
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
