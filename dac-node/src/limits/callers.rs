//! Which callers deliver: they come first where strangers crowd.
//!
//! A caller with a client certificate is known by that. Without client certificates a caller of a
//! rollup is known when it delivered a batch of it lately that was stored. That is no proof of who
//! it is; it only decides who shares with whom.

use std::collections::{HashMap, VecDeque};

use dac_types::Address;
use parking_lot::Mutex;

use super::ClientKey;

/// Clients that are remembered of one rollup.
const CLIENTS_PER_ROLLUP: usize = 8;
/// Rollups of which clients are remembered.
const ROLLUPS_MAX: usize = 4096;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its address.
    pub client: ClientKey,
    /// Whether it showed a client certificate that this member demands.
    pub has_certificate: bool,
}

/// Whom a piece of work is for: each group has its own share of what is scarce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    /// The rollup whose poster signed for the work; none where nothing shows that an admitted
    /// rollup wants it.
    pub rollup: Option<Address>,
    /// Whether the caller is known to deliver for that rollup. Records are public, so strangers can
    /// bring them too.
    pub is_known: bool,
}

impl Group {
    /// All those of whom nothing is known.
    pub const STRANGERS: Self = Self { rollup: None, is_known: false };
}

/// Clients that delivered, by rollup; the one that did so last at the end.
#[derive(Debug, Default)]
pub struct Deliverers(Mutex<HashMap<Address, VecDeque<ClientKey>>>);

impl Deliverers {
    /// A batch of an admitted rollup, brought by this client, was stored.
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

    /// Whose share this caller's work for a rollup belongs to.
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
