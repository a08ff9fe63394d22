//! Who gave this member something false, or nothing, when it repaired.

use std::collections::HashMap;

use dac_types::Address;

/// Operators and kinds told apart; a committee has 256 seats and there are some twenty kinds.
const ENTRIES_MAX: usize = 8192;
/// Letters of a detail.
const DETAIL_MAX_CHARS: usize = 300;

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
pub(super) struct Faults(HashMap<(Address, &'static str), Fault>);

impl Faults {
    /// One more.
    pub(super) fn add(&mut self, operator: Address, kind: &'static str, now: u64, detail: &str) {
        metrics::counter!("dac_node_peer_faults_total", "operator" => operator.to_string(), "kind" => kind)
            .increment(1);
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&(operator, kind)) {
            return;
        }
        let fault = self.0.entry((operator, kind)).or_insert_with(|| Fault {
            operator,
            kind,
            count: 0,
            last_at: now,
            detail: String::new(),
        });
        fault.count += 1;
        fault.last_at = now;
        fault.detail = detail.chars().take(DETAIL_MAX_CHARS).collect();
    }

    /// The most first, at most `limit`.
    pub(super) fn list(&self, limit: usize) -> Vec<Fault> {
        let mut faults: Vec<Fault> = self.0.values().cloned().collect();
        faults.sort_unstable_by(|a, b| {
            b.count.cmp(&a.count).then((a.operator, a.kind).cmp(&(b.operator, b.kind)))
        });
        faults.truncate(limit);
        faults
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
        assert_eq!(faults.list(10)[2].detail.len(), DETAIL_MAX_CHARS);
    }
}
