//! Counts the operators that gave this member something false, or nothing, when it repaired.

use dac_runtime::tally::{Tallied, Tally};
use dac_types::Address;

/// The number of pairs of operator and kind that are told apart. A committee has 256 seats and
/// there are some twenty kinds.
const ENTRIES_MAX: usize = 8192;

/// The faults of one operator and one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The operator.
    pub operator: Address,
    /// The kind, machine-readable, as `dac audit` names it.
    pub kind: &'static str,
    /// The number of faults.
    pub count: u64,
    /// The Unix time in seconds of the last one.
    pub last_at: u64,
    /// What happened the last time, for people.
    pub detail: String,
}

/// A bounded table of faults.
#[derive(Debug, Default)]
pub(super) struct Faults(Tally<(Address, &'static str), ENTRIES_MAX>);

impl Faults {
    /// Counts one more fault.
    pub(super) fn add(&mut self, operator: Address, kind: &'static str, now: u64, detail: &str) {
        metrics::counter!("dac_node_peer_faults_total", "operator" => operator.to_string(), "kind" => kind)
            .increment(1);
        if self.0.has_room_for(&(operator, kind)) {
            self.0.add((operator, kind), detail, now);
        }
    }

    /// Returns at most `limit` faults, the most frequent first.
    pub(super) fn list(&self, limit: usize) -> Vec<Fault> {
        let lines = self.0.list(limit, |_| ());
        let fault = |((operator, kind), line)| {
            let Tallied { count, last_at, detail } = line;
            Fault { operator, kind, count, last_at, detail }
        };
        lines.into_iter().map(fault).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_by_operator_and_kind() {
        let mut faults = Faults::default();
        let (a, b) = (Address::repeat_byte(1), Address::repeat_byte(2));
        faults.add(a, "BAD_SHARD", 10, "first");
        faults.add(b, "UNREACHABLE", 11, &"x".repeat(1000));
        faults.add(a, "BAD_SHARD", 12, "second");
        faults.add(a, "JUNK", 13, "");
        let list = faults.list(2);
        let expected =
            Fault { operator: a, kind: "BAD_SHARD", count: 2, last_at: 12, detail: "second".to_owned() };
        assert_eq!((list.len(), &list[0]), (2, &expected));
        assert_eq!((list[1].kind, faults.list(10).len()), ("JUNK", 3));
        assert_eq!(faults.list(10)[2].detail.len(), 300);
    }
}
