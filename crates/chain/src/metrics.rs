//! What every service that reads L1 tells Prometheus: how its endpoints stand, and the names that
//! the registry knows, so that counters by rollup or operator exist before the first event that
//! they count.

use std::collections::BTreeSet;

use alloy::primitives::Address;

use crate::registry::RegistryView;
use crate::rpc::EndpointsStatus;

/// Rollups that have counters of their own before anything happened to them. Each of them takes
/// some fifty lines of a page, and a registry may admit thousands.
const ROLLUPS_MAX: usize = 64;
/// The same of operators: the seats of the largest committee.
const OPERATORS_MAX: usize = 256;

/// Metrics of the endpoints that a service reads L1 from, under the service's own names.
#[derive(Clone, Copy, Debug)]
pub struct EndpointMetrics {
    /// Counts answers that differed from what the others said.
    pub disagreements: &'static str,
    /// Is 1 while too few endpoints agree.
    pub undecided: &'static str,
}

impl EndpointMetrics {
    /// Describes them; they exist from now on.
    pub fn describe(&self) {
        ::metrics::describe_counter!(self.disagreements, "Answers in which L1 endpoints differed");
        ::metrics::describe_gauge!(self.undecided, "1 while fewer L1 endpoints agree than must");
        self.show(&EndpointsStatus::default());
    }

    /// Shows how the endpoints stand.
    pub fn show(&self, endpoints: &EndpointsStatus) {
        ::metrics::counter!(self.disagreements).absolute(endpoints.disagreements);
        ::metrics::gauge!(self.undecided).set(f64::from(u8::from(endpoints.undecided.is_some())));
    }
}

/// The rollups and operators that a registry has named so far, a bounded number of them.
#[derive(Debug, Default)]
pub struct Named {
    rollups: BTreeSet<Address>,
    operators: BTreeSet<Address>,
    /// Epochs whose operators were looked at: they never change.
    epochs: BTreeSet<u64>,
}

/// Names that were not known before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Admitted rollups.
    pub rollups: Vec<Address>,
    /// Operators of committees whose certificates L1 still takes, and of those to come.
    pub operators: Vec<Address>,
}

impl Named {
    /// What this view names beyond those before it.
    pub fn news(&mut self, view: &RegistryView) -> News {
        let rollups = add(&mut self.rollups, view.rollups.keys().copied(), ROLLUPS_MAX);
        let mut operators = Vec::new();
        for (epoch, committee) in &view.committees {
            if committee.postable_until() >= view.head.timestamp && self.epochs.insert(*epoch) {
                let members = committee.members().iter().map(|member| member.operator);
                operators.extend(add(&mut self.operators, members, OPERATORS_MAX));
            }
        }
        self.epochs.retain(|epoch| view.committees.contains_key(epoch));
        News { rollups, operators }
    }
}

/// Adds what is new as long as there is room, and tells what that was.
fn add(known: &mut BTreeSet<Address>, named: impl Iterator<Item = Address>, most: usize) -> Vec<Address> {
    named.filter(|name| known.len() < most && known.insert(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(range: std::ops::Range<usize>) -> impl Iterator<Item = Address> {
        range.map(|number| Address::left_padding_from(&number.to_be_bytes()))
    }

    #[test]
    fn each_name_is_news_once_and_there_is_room_for_so_many() {
        let mut known = BTreeSet::new();
        assert_eq!(add(&mut known, addresses(0..3), 5).len(), 3);
        assert_eq!(add(&mut known, addresses(0..3), 5), Vec::<Address>::new());
        // One that went and comes back is no news.
        assert_eq!(add(&mut known, addresses(2..4), 5), Vec::from_iter(addresses(3..4)));
        assert_eq!(add(&mut known, addresses(0..100), 5).len(), 1);
        assert_eq!(known.len(), 5);
    }
}
