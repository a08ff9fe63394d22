//! The rate at which clients open connections, as a pure state machine. A new connection costs a
//! server work before its client has asked for anything, above all a TLS handshake.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::network::Network;

/// A client may open as many connections at once as it may open in this time.
const BURST: Duration = Duration::from_secs(4);
/// How often a full table is searched for networks whose connections are paid for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Largest number of networks that are remembered. Clients beyond them count as one client.
const NETWORKS_MAX: usize = 16 << 10;

/// How many connections clients, and the networks around them, have opened lately.
///
/// This is the generic cell rate algorithm (ITU-T I.371): of each network the time is kept up to
/// which its connections are paid for, at one interval each.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// The time between two connections of one client in the long run.
    interval: Duration,
    paid_until: HashMap<Network, Instant>,
    swept: Option<Instant>,
}

impl Arrivals {
    /// Lets each client open so many connections a second, at least one.
    pub(super) fn new(per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.max(1), paid_until: HashMap::new(), swept: None }
    }

    /// Counts a new connection and returns `Ok`. If the client or a network around it has opened
    /// too many, returns that network and counts nothing.
    pub(super) fn arrive(&mut self, address: IpAddr, now: Instant) -> Result<(), Network> {
        let may_sweep = self.swept.is_none_or(|swept| now - swept >= SWEEP_INTERVAL);
        if self.paid_until.len() >= NETWORKS_MAX && may_sweep {
            self.swept = Some(now);
            self.paid_until.retain(|_, until| *until > now);
        }
        let is_full = self.paid_until.len() >= NETWORKS_MAX;
        let networks: Vec<(Network, u64)> = match is_full && !self.knows(address) {
            true => vec![(Network::everyone(address), 1)],
            false => Network::around(address).collect(),
        };
        let paid_until =
            |network: &Network| self.paid_until.get(network).map_or(now, |until| now.max(*until));
        if let Some((network, _)) = networks.iter().find(|(network, _)| paid_until(network) - now >= BURST) {
            return Err(*network);
        }
        for (network, shares) in networks {
            let shares = u32::try_from(shares).unwrap_or(u32::MAX);
            let until = self.paid_until.entry(network).or_insert(now);
            *until = now.max(*until) + self.interval / shares;
        }
        Ok(())
    }

    fn knows(&self, address: IpAddr) -> bool {
        self.paid_until.contains_key(&Network::client(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// The number of connections, of a thousand attempts, that a client may open at one moment.
    fn at_once(arrivals: &mut Arrivals, from: &str, now: Instant) -> usize {
        (0..1000).take_while(|_| arrivals.arrive(address(from), now).is_ok()).count()
    }

    #[test]
    fn a_client_opens_a_burst_and_then_goes_on_at_its_rate() {
        let (mut arrivals, start) = (Arrivals::new(10), Instant::now());
        assert_eq!(at_once(&mut arrivals, "10.0.0.1", start), 40);
        assert_eq!(at_once(&mut arrivals, "10.0.1.1", start), 40, "another client has its own");
        for second in 1..4 {
            let now = start + Duration::from_secs(second);
            assert_eq!(at_once(&mut arrivals, "10.0.0.1", now), 10, "second {second}");
        }
        assert_eq!(at_once(&mut arrivals, "10.0.0.1", start + Duration::from_secs(60)), 40);
    }

    #[test]
    fn the_addresses_of_a_network_have_a_share_together() {
        let (mut arrivals, now) = (Arrivals::new(10), Instant::now());
        let served: usize = (0..255).map(|last| at_once(&mut arrivals, &format!("10.0.0.{last}"), now)).sum();
        assert_eq!(served, 4 * 40);
        let refused = arrivals.arrive(address("10.0.0.255"), now).unwrap_err();
        assert_eq!(refused.to_string(), "10.0.0.0/24");
        let served: usize =
            (0..255).map(|site| at_once(&mut arrivals, &format!("2001:db8:0:{site:x}00::1"), now)).sum();
        assert_eq!(served, 4 * 40);
    }

    #[test]
    fn the_table_is_bounded_and_forgets() {
        let (mut arrivals, now) = (Arrivals::new(10), Instant::now());
        let known = address("10.0.0.1");
        arrivals.arrive(known, now).unwrap();
        let mut served = 0;
        for number in 0..3 * NETWORKS_MAX {
            let other = IpAddr::V4((0x0b00_0000 + u32::try_from(number).unwrap() * 256).into());
            served += usize::from(arrivals.arrive(other, now).is_ok());
        }
        assert!(arrivals.paid_until.len() <= NETWORKS_MAX + 2);
        assert!(served < NETWORKS_MAX, "those that are not remembered count as one client");
        arrivals.arrive(known, now).unwrap();
        arrivals.arrive(address("10.9.9.9"), now + BURST).unwrap();
        assert!(arrivals.paid_until.len() < 10, "what is paid for is forgotten");
    }
}
