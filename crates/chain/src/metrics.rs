//! Metrics of every service that reads L1: the status of its endpoints. Also the names in the
//! registry, so that counters by rollup or operator exist before the first event that they count.

use std::collections::BTreeSet;

use alloy::primitives::Address;

use crate::registry::RegistryView;
use crate::rpc::EndpointsStatus;

/// The most rollups that get counters before their first event. Each rollup takes about fifty lines
/// of a metrics page, and a registry may admit thousands.
const ROLLUPS_MAX: usize = 64;
/// The most operators that get such counters: the seats of the largest committee.
const OPERATORS_MAX: usize = 256;

/// The names, in one service, of the metrics about the endpoints that it reads L1 from.
#[derive(Clone, Copy, Debug)]
pub struct EndpointMetrics {
    /// Counts answers that differed from those of the other endpoints.
    pub disagreements: &'static str,
    /// Is 1 while fewer endpoints agree than must.
    pub undecided: &'static str,
}

impl EndpointMetrics {
    /// Describes the metrics, which creates them.
    pub fn describe(&self) {
        ::metrics::describe_counter!(self.disagreements, "Answers in which L1 endpoints differed");
        ::metrics::describe_gauge!(self.undecided, "1 while fewer L1 endpoints agree than must");
        self.show(&EndpointsStatus::default());
    }

    /// Sets the metrics to the status of the endpoints.
    pub fn show(&self, endpoints: &EndpointsStatus) {
        ::metrics::counter!(self.disagreements).absolute(endpoints.disagreements);
        ::metrics::gauge!(self.undecided).set(f64::from(u8::from(endpoints.undecided.is_some())));
    }
}

/// The rollups and operators that a registry has named so far, up to a bounded number.
#[derive(Debug, Default)]
pub struct Named {
    rollups: BTreeSet<Address>,
    operators: BTreeSet<Address>,
    /// The epochs whose operators are known already; an epoch's operators never change.
    epochs: BTreeSet<u64>,
}

/// Names that the registry has named for the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Admitted rollups.
    pub rollups: Vec<Address>,
    /// Operators of future committees and of committees whose certificates L1 still accepts.
    pub operators: Vec<Address>,
}

impl Named {
    /// Returns the names in this view that no earlier view had.
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

/// Adds names that are not known yet while there is room, and returns those added.
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
        // A name that was removed and comes back is not new.
        assert_eq!(add(&mut known, addresses(2..4), 5), Vec::from_iter(addresses(3..4)));
        assert_eq!(add(&mut known, addresses(0..100), 5).len(), 1);
        assert_eq!(known.len(), 5);
    }
}
