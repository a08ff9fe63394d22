//! Defines what counts as one client: an address, and the networks around it, any of which one
//! attacker may have to itself.

use std::fmt;
use std::net::IpAddr;

use dac_admission::Claim;

/// An address or a network, identified by its first bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Network {
    first: IpAddr,
    bits: u8,
}

/// The networks around a client: the length of each prefix, and how many clients' shares it has.
///
/// An IPv6 subscriber has a /64, often a /56, and an organisation has a /48. An IPv4 subscriber has
/// one address. A /24 is the smallest block that is routed on its own; larger ones have many
/// owners.
const AROUND_V4: &[(u8, u64)] = &[(24, 4)];
const AROUND_V6: &[(u8, u64)] = &[(56, 2), (48, 4)];

impl Network {
    /// The client that an address belongs to: an IPv4 address, or a /64.
    pub(crate) fn client(address: IpAddr) -> Self {
        match address.to_canonical() {
            address @ IpAddr::V4(_) => Self::of(address, 32),
            address @ IpAddr::V6(_) => Self::of(address, 64),
        }
    }

    fn of(address: IpAddr, bits: u8) -> Self {
        let first = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        };
        Self { first, bits }
    }

    /// Returns the network of all addresses of the same kind.
    pub(crate) fn everyone(address: IpAddr) -> Self {
        Self::of(address.to_canonical(), 0)
    }

    /// Returns the client that an address belongs to and the networks around it, each with what it
    /// may hold as a multiple of a client's share.
    pub(crate) fn around(address: IpAddr) -> impl Iterator<Item = (Self, u64)> {
        let address = address.to_canonical();
        let around = if address.is_ipv4() { AROUND_V4 } else { AROUND_V6 };
        let networks = around.iter().map(move |(bits, multiple)| (Self::of(address, *bits), *multiple));
        std::iter::once((Self::client(address), 1)).chain(networks)
    }

    /// Claims an amount in the name of an address's client, whose share it is, and of the networks
    /// around it.
    pub(crate) fn claim(address: IpAddr, amount: u64, share: u64) -> Claim<Self> {
        let claim = Claim::new(amount, Self::client(address), share);
        Self::around(address)
            .skip(1)
            .fold(claim, |claim, (network, multiple)| claim.and(network, share.saturating_mul(multiple)))
    }

    /// Whether an address belongs to this network.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Self::of(address, self.bits) == *self
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.first, self.bits)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use dac_admission::{Admission, Limit};

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv6_subscriber_is_one_client() {
        let client = |text: &str| Network::client(address(text));
        assert_eq!(client("2001:db8:1:2:3:4:5:6"), client("2001:db8:1:2:ffff::1"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
        assert_ne!(client("10.0.0.1"), client("10.0.0.2"));
        assert_eq!(client("2001:db8:1:2:3:4:5:6").to_string(), "2001:db8:1:2::/64");
        assert!(client("10.0.0.1").contains(address("::ffff:10.0.0.1")));
        assert!(!client("10.0.0.1").contains(address("2001:db8::1")));
    }

    /// How many clients are admitted at a share of 2, with one address after the other.
    fn admitted(addresses: impl Iterator<Item = String>) -> (usize, String) {
        let budget = Admission::without_queue(1000);
        let mut permits = Vec::new();
        for text in addresses {
            match budget.try_admit(Network::claim(address(&text), 1, 2)) {
                Ok(permit) => permits.push(permit),
                Err(refused) => match refused.limit {
                    Limit::Share(network) => return (permits.len(), network.to_string()),
                    other => panic!("{other}"),
                },
            }
        }
        (permits.len(), "none".into())
    }

    #[test]
    fn networks_have_shares_that_grow_slower_than_they_do() {
        assert_eq!(admitted((0..9).map(|_| "10.0.0.1".into())), (2, "10.0.0.1/32".into()));
        assert_eq!(admitted((0..9).map(|n| format!("10.0.0.{n}"))), (8, "10.0.0.0/24".into()));
        assert_eq!(admitted((0..9).map(|n| format!("2001:db8:1:a{n:02}::1"))).1, "2001:db8:1:a00::/56");
        assert_eq!(admitted((0..9).map(|n| format!("2001:db8:1:a{n:02}::1"))).0, 4);
        assert_eq!(admitted((0..9).map(|n| format!("2001:db8:1:{n}00::1"))), (8, "2001:db8:1::/48".into()));
        assert_eq!(admitted((0..9).map(|n| format!("2001:db8:{n}::1"))).0, 9);
    }
}
