//! The number of batches that each rollup has settled, as last read from L1.

use std::collections::HashMap;
use std::time::Duration;

use dac_types::Address;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// The last reading of a rollup's contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The number of batches settled at the configured depth; 0 before the first reading.
    pub count: u64,
    /// Why the last reading failed; empty if it did not.
    pub problem: String,
}

/// The contracts that batches have waited for. There are no more of them than the registry admits
/// rollups.
#[derive(Debug, Default)]
pub(super) struct Settlements {
    contracts: Mutex<HashMap<Address, watch::Sender<Seen>>>,
    /// Notified when a batch waits for a contract that was not read before.
    more: Notify,
}

impl Settlements {
    pub(super) fn subscribe(&self, contract: Address) -> watch::Receiver<Seen> {
        let mut contracts = self.contracts.lock();
        if let Some(known) = contracts.get(&contract) {
            return known.subscribe();
        }
        let (sender, receiver) = watch::channel(Seen::default());
        contracts.insert(contract, sender);
        self.more.notify_one();
        receiver
    }

    /// Returns the contracts that batches wait for now. The readings of the others are kept.
    pub(super) fn wanted(&self) -> Vec<Address> {
        let contracts = self.contracts.lock();
        contracts
            .iter()
            .filter(|(_, sender)| sender.receiver_count() > 0)
            .map(|(contract, _)| *contract)
            .collect()
    }

    /// Publishes a reading. A failed one leaves the count as it was.
    pub(super) fn tell(&self, contract: Address, looked: Result<u64, String>) {
        let contracts = self.contracts.lock();
        let Some(sender) = contracts.get(&contract) else { return };
        sender.send_if_modified(|seen| {
            let new = match looked {
                Ok(count) => Seen { count, problem: String::new() },
                Err(problem) => Seen { count: seen.count, problem },
            };
            let is_new = *seen != new;
            *seen = new;
            is_new
        });
    }

    pub(super) async fn wait(&self, interval: Duration) {
        tokio::select! {
            () = self.more.notified() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: Address = Address::repeat_byte(7);

    #[test]
    fn what_is_seen_is_told_once_and_a_failure_keeps_the_count() {
        let settlements = Settlements::default();
        let mut receiver = settlements.subscribe(CONTRACT);
        settlements.tell(CONTRACT, Ok(3));
        assert!(receiver.has_changed().unwrap());
        assert_eq!(receiver.borrow_and_update().count, 3);
        settlements.tell(CONTRACT, Ok(3));
        assert!(!receiver.has_changed().unwrap(), "nothing is new");
        settlements.tell(CONTRACT, Err("down".to_owned()));
        assert_eq!(*receiver.borrow_and_update(), Seen { count: 3, problem: "down".to_owned() });
        // A reorganisation may lower the count.
        settlements.tell(CONTRACT, Ok(2));
        assert_eq!(*receiver.borrow_and_update(), Seen { count: 2, problem: String::new() });
    }

    #[test]
    fn a_contract_is_looked_at_for_as_long_as_a_batch_waits() {
        let settlements = Settlements::default();
        assert!(settlements.wanted().is_empty());
        let (first, second) = (settlements.subscribe(CONTRACT), settlements.subscribe(CONTRACT));
        drop(first);
        assert_eq!(settlements.wanted(), [CONTRACT]);
        drop(second);
        assert!(settlements.wanted().is_empty());
        settlements.tell(CONTRACT, Ok(1));
        assert_eq!(settlements.subscribe(CONTRACT).borrow().count, 1);
        assert!(settlements.wanted().is_empty());
    }
}
