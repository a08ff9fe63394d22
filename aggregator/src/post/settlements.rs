//! How many batches rollups have settled: one look at each contract, for all batches that wait for it.

use std::collections::HashMap;
use std::time::Duration;

use dac_chain::{ChainError, L1};
use dac_types::Address;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::Posting;

/// What was last seen of a rollup's contract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Batches settled, as deep as is asked for; 0 before the first look.
    pub count: u64,
    /// Why the last look saw nothing; empty where it did.
    pub problem: String,
}

/// The contracts that somebody waited for, which are no more than the registry admits rollups.
#[derive(Debug, Default)]
pub(super) struct Settlements {
    contracts: Mutex<HashMap<Address, watch::Sender<Seen>>>,
    /// Somebody waits for one that was not looked at before.
    more: Notify,
}

impl Settlements {
    fn subscribe(&self, contract: Address) -> watch::Receiver<Seen> {
        let mut contracts = self.contracts.lock();
        if let Some(known) = contracts.get(&contract) {
            return known.subscribe();
        }
        let (sender, receiver) = watch::channel(Seen::default());
        contracts.insert(contract, sender);
        self.more.notify_one();
        receiver
    }

    /// Those that somebody waits for now. Of the others it is kept what was seen.
    fn wanted(&self) -> Vec<Address> {
        let contracts = self.contracts.lock();
        contracts
            .iter()
            .filter(|(_, sender)| sender.receiver_count() > 0)
            .map(|(contract, _)| *contract)
            .collect()
    }

    /// A look that failed leaves the count as it was.
    fn tell(&self, contract: Address, looked: Result<u64, String>) {
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

    async fn wait(&self, interval: Duration) {
        tokio::select! {
            () = self.more.notified() => {}
            () = tokio::time::sleep(interval) => {}
        }
    }
}

impl Posting {
    /// What is seen of this rollup's contract, for as long as [`Posting::watch_settlements`] runs and the receiver lives.
    pub fn settled_count(&self, contract: Address) -> watch::Receiver<Seen> {
        self.settlements.subscribe(contract)
    }

    /// Looks at all contracts that somebody waits for, again and again.
    pub async fn watch_settlements(&self) {
        loop {
            let contracts = self.settlements.wanted();
            if !contracts.is_empty()
                && let Err(error) = self.look_at(&contracts).await
            {
                for contract in contracts {
                    self.settlements.tell(contract, Err(error.to_string()));
                }
            }
            self.settlements.wait(self.watch_interval).await;
        }
    }

    /// One look at each, all in the same block.
    async fn look_at(&self, contracts: &[Address]) -> Result<(), ChainError> {
        let l1: &dyn L1 = &*self.l1;
        let confirmed = self.confirmed(l1.head().await?.block.number);
        let Some(block) = l1.block_at(confirmed).await? else { return Ok(()) };
        for contract in contracts {
            let count = l1.settled_count(*contract, block.hash).await;
            self.settlements.tell(*contract, count.map_err(|error| error.to_string()));
        }
        Ok(())
    }

    /// The newest block as deep as is asked for.
    pub(super) const fn confirmed(&self, head: u64) -> u64 {
        head.saturating_sub(self.confirmations.saturating_sub(1))
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
        // A reorganisation may undo what was seen.
        settlements.tell(CONTRACT, Ok(2));
        assert_eq!(*receiver.borrow_and_update(), Seen { count: 2, problem: String::new() });
    }

    #[test]
    fn a_contract_is_looked_at_for_as_long_as_somebody_waits() {
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
