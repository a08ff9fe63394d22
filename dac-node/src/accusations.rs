//! Counts what dispersers and rollups did that an honest one does not do. Each count names the
//! signers of what was received. Metrics and the member's status show the counts.
//!
//! The member does not know which client delivers a batch, only whose signatures the delivery
//! bears. For a header and an order, both signers answer for what they signed, for example for two
//! headers of one order. What else came with them may have been garbled on the way, so it is not
//! *proven*. A delivery that lacks the signatures of the parties that it names is counted against
//! none of them: a stranger can send it in any name. Names come from the registry and from verified
//! signatures only, and few are kept of each rollup, so that a rollup cannot fill the table with
//! names that it makes up.

use std::collections::{BTreeMap, BTreeSet};

use dac_runtime::tally::{Tallied, Tally};
use dac_types::Address;
use parking_lot::Mutex;

/// The number of dispersers that are told apart for one rollup.
const DISPERSERS_PER_ROLLUP_MAX: usize = 16;
/// The number of lines in the table.
const ENTRIES_MAX: usize = 4096;
/// The label that metrics show for a rollup or disperser that is not told apart.
const OTHER: &str = "other";

/// The parties whose verified signatures a delivery bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signers {
    /// The rollup, or `None` if no signature of an admitted rollup was verified.
    pub rollup: Option<Address>,
    /// The disperser, or `None` if the rollup is not known to have named it.
    pub disperser: Option<Address>,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// The parties that signed.
    pub signers: Signers,
    /// What they did, machine-readable: the reason of the refusal, or BAD_SEAT, FALSE_CLAIM,
    /// DOUBTED_CLAIM.
    pub kind: &'static str,
    /// Whether their signatures prove it.
    pub is_proven: bool,
    /// How often it happened since the process started.
    pub count: u64,
    /// The Unix time in seconds at which it happened last.
    pub last_at: u64,
    /// What happened the last time, for people.
    pub detail: String,
}

/// One misbehaviour that is to be counted.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// What was done. See [`Accusation::kind`].
    pub kind: &'static str,
    /// Whether the signatures prove it.
    pub is_proven: bool,
    /// What happened, for people.
    pub detail: &'a str,
}

/// A bounded table of accusations.
#[derive(Debug, Default)]
pub struct Accusations(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// The dispersers that signed a header of an order in which the rollup had named them.
    known: BTreeMap<Address, BTreeSet<Address>>,
    lines: Tally<(Signers, &'static str, bool), ENTRIES_MAX>,
}

impl Accusations {
    /// Notes that an admitted rollup named this disperser and that the disperser signed. The caller
    /// verified both signatures.
    pub fn know(&self, rollup: Address, disperser: Address) {
        let mut table = self.0.lock();
        let known = table.known.entry(rollup).or_default();
        if known.len() < DISPERSERS_PER_ROLLUP_MAX {
            known.insert(disperser);
        }
    }

    /// Counts a misbehaviour. The caller names admitted rollups only.
    pub fn add(&self, rollup: Option<Address>, disperser: Option<Address>, charge: Charge<'_>, now: u64) {
        let mut table = self.0.lock();
        let is_known = |disperser: &Address| {
            rollup.and_then(|rollup| table.known.get(&rollup)).is_some_and(|known| known.contains(disperser))
        };
        let mut signers = Signers { rollup, disperser: disperser.filter(is_known) };
        let Charge { kind, is_proven, detail } = charge;
        if !table.lines.has_room_for(&(signers, kind, is_proven)) {
            signers = Signers { rollup: None, disperser: None };
        }
        let label =
            |address: Option<Address>| address.map_or(OTHER.to_owned(), |address| address.to_string());
        metrics::counter!(
            "dac_node_accusations_total",
            "rollup" => label(signers.rollup), "disperser" => label(signers.disperser), "kind" => kind,
            "proven" => if is_proven { "yes" } else { "no" }
        )
        .increment(1);
        table.lines.add((signers, kind, is_proven), detail, now);
    }

    /// Returns at most `limit` accusations: the proven ones first, then the most frequent first.
    pub fn list(&self, limit: usize) -> Vec<Accusation> {
        let lines = self.0.lock().lines.list(limit, |(_, _, is_proven)| !is_proven);
        let accusation = |((signers, kind, is_proven), line)| {
            let Tallied { count, last_at, detail } = line;
            Accusation { signers, kind, is_proven, count, last_at, detail }
        };
        lines.into_iter().map(accusation).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: Address = Address::repeat_byte(1);
    const HONEST: Address = Address::repeat_byte(2);

    fn charge(kind: &'static str, is_proven: bool) -> Charge<'static> {
        Charge { kind, is_proven, detail: "what came" }
    }

    #[test]
    fn only_known_names_are_told_apart() {
        let accusations = Accusations::default();
        accusations.know(ROLLUP, HONEST);
        for made_up in 0..=255 {
            let stranger = Address::repeat_byte(made_up);
            accusations.add(Some(ROLLUP), Some(stranger), charge("BAD_SHARD", false), 7);
        }
        accusations.add(Some(ROLLUP), Some(HONEST), charge("CONFLICTING_HEADER", true), 8);
        accusations.add(None, Some(HONEST), charge("BAD_SHARD", false), 9);
        let list = accusations.list(10);
        let lines: Vec<_> =
            list.iter().map(|line| (line.signers.rollup, line.signers.disperser, line.count)).collect();
        let rollup = Some(ROLLUP);
        assert_eq!(
            lines,
            [(rollup, Some(HONEST), 1), (rollup, None, 255), (None, None, 1), (rollup, Some(HONEST), 1)]
        );
        assert!(list[0].is_proven && list[0].last_at == 8);
        assert_eq!(accusations.list(2).len(), 2);
    }

    #[test]
    fn a_rollup_names_so_many_dispersers_and_no_more() {
        let accusations = Accusations::default();
        for number in 0..100 {
            let disperser = Address::repeat_byte(number);
            accusations.know(ROLLUP, disperser);
            accusations.add(Some(ROLLUP), Some(disperser), charge("BAD_RECORD", false), 7);
        }
        assert_eq!(accusations.list(1000).len(), DISPERSERS_PER_ROLLUP_MAX + 1);
    }
}
