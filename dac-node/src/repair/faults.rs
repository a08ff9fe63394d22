//! Who gave this member something false, or nothing, when it repaired.

use dac_runtime::tally::{Tallied, Tally};
use dac_types::Address;

/// Operators and kinds told apart; a committee has 256 seats and there are some twenty kinds.
const ENTRIES_MAX: usize = 8192;

/// Faults of one operator and kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Who.
    pub operator: Address,
    /// Machine-readable: as `dac audit` names them.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// Unix seconds of the last one.
    pub last_at: u64,
    /// Of the last one, for people.
    pub detail: String,
}

/// A bounded table of them.
#[derive(Debug, Default)]
pub(super) struct Faults(Tally<(Address, &'static str), ENTRIES_MAX>);

impl Faults {
    /// One more.
    pub(super) fn add(&mut self, operator: Address, kind: &'static str, now: u64, detail: &str) {
        metrics::counter!("dac_node_peer_faults_total", "operator" => operator.to_string(), "kind" => kind)
            .increment(1);
        if self.0.has_room_for(&(operator, kind)) {
            self.0.add((operator, kind), detail, now);
        }
    }

    /// The most first, at most `limit`.
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
