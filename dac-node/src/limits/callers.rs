//! Remembers which callers deliver. They come first when strangers crowd.
//!
//! A caller with a client certificate is known by it. Without client certificates, a caller is
//! known for a rollup if it lately delivered a batch of it that was stored. That does not prove the
//! caller's identity; it only decides which callers share with each other.

use std::collections::{HashMap, VecDeque};

use dac_types::Address;
use parking_lot::Mutex;

use super::ClientKey;

/// The number of clients that are remembered of one rollup.
const CLIENTS_PER_ROLLUP: usize = 8;
/// The number of rollups of which clients are remembered.
const ROLLUPS_MAX: usize = 4096;

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The sender's address.
    pub client: ClientKey,
    /// Whether the sender showed a client certificate that this member demands.
    pub has_certificate: bool,
}

/// The group on whose account work is done. Each group has its own share of what is scarce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The rollup whose poster signed for the work, or `None` if nothing shows that an admitted
    /// rollup wants it.
    pub rollup: Option<Address>,
    /// Whether the caller is known to deliver for that rollup. Records are public, so strangers can
    /// bring them too.
    pub is_known: bool,
}

impl Group {
    /// The group of all callers of which nothing is known.
    pub const STRANGERS: Self = Self { rollup: None, is_known: false };
}

/// The clients that delivered, by rollup. The one that did so last is at the end.
#[derive(Debug, Default)]
pub struct Deliverers(Mutex<HashMap<Address, VecDeque<ClientKey>>>);

impl Deliverers {
    /// Notes that this client brought a batch of an admitted rollup that was stored.
    pub fn delivered(&self, rollup: Address, client: ClientKey) {
        let mut rollups = self.0.lock();
        if rollups.len() >= ROLLUPS_MAX && !rollups.contains_key(&rollup) {
            rollups.clear();
        }
        let clients = rollups.entry(rollup).or_default();
        if clients.back() == Some(&client) {
            return;
        }
        clients.retain(|known| *known != client);
        if clients.len() >= CLIENTS_PER_ROLLUP {
            clients.pop_front();
        }
        clients.push_back(client);
    }

    /// Returns the group in whose share this caller's work for a rollup is done.
    pub fn group(&self, rollup: Address, caller: Caller) -> Group {
        let delivered = || self.0.lock().get(&rollup).is_some_and(|clients| clients.contains(&caller.client));
        Group { rollup: Some(rollup), is_known: caller.has_certificate || delivered() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: Address = Address::repeat_byte(1);

    fn caller(last: u8) -> Caller {
        Caller { client: ClientKey::V4([10, 0, 0, last]), has_certificate: false }
    }

    #[test]
    fn who_delivered_lately_is_known_for_that_rollup() {
        let deliverers = Deliverers::default();
        let is_known = |rollup, caller| deliverers.group(rollup, caller).is_known;
        assert!(!is_known(ROLLUP, caller(1)));
        for last in 1..=8 {
            deliverers.delivered(ROLLUP, caller(last).client);
        }
        deliverers.delivered(ROLLUP, caller(1).client);
        deliverers.delivered(ROLLUP, caller(9).client);
        assert!(is_known(ROLLUP, caller(1)) && is_known(ROLLUP, caller(9)));
        assert!(!is_known(ROLLUP, caller(2)), "the one that did not deliver for longest is forgotten");
        assert!(!is_known(Address::repeat_byte(2), caller(1)));
        assert!(is_known(ROLLUP, Caller { has_certificate: true, ..caller(100) }));
    }

    #[test]
    fn the_table_is_bounded() {
        let deliverers = Deliverers::default();
        for number in 0..2 * ROLLUPS_MAX as u64 + 1 {
            deliverers.delivered(Address::left_padding_from(&number.to_be_bytes()), caller(1).client);
        }
        assert!(deliverers.0.lock().len() <= ROLLUPS_MAX);
    }
}
