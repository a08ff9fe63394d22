//! Limits on clients that read: each client has a rate of requests and bytes, and a share of the
//! watches and of the listings that are read from the database.

use dac_admission::{Admission, Claim, Party, Permit, QueueLimits, Refused};
use dac_proto::reason::Reason;
use dac_runtime::clients::{ClientKey, ClientLimits};
use prost::Message;
use tonic::{Request, Response, Status};

use super::limits::{BUSY_RETRY, ServiceLimits};

/// Number of listings that are read at once. A page costs the database more than any other answer.
const LISTINGS: u64 = 4;
/// Number of listings that are read at once for one client.
const LISTINGS_PER_CLIENT: u64 = 2;
/// Number of listings that wait for their turn.
const LISTING_QUEUE: QueueLimits = QueueLimits { total: 256, per_party: 16 };

/// A watcher's place, which is free again when this is dropped.
pub(super) type WatchPlace = Permit<Watcher>;

/// The parties whose share a watch counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Watcher {
    Client(ClientKey),
    /// The /48 network of an IPv6 address: one subscriber may have as many clients as it has /64
    /// networks.
    Network([u8; 6]),
}

/// The limits and the present use of all clients.
#[derive(Clone, Debug)]
pub(super) struct Readers {
    rates: ClientLimits,
    listings: Admission<ClientKey>,
    watchers: Admission<Watcher>,
}

impl Readers {
    pub(super) fn new(limits: &ServiceLimits) -> Self {
        Self {
            rates: ClientLimits::new(limits.reads),
            listings: Admission::new(LISTINGS, LISTING_QUEUE),
            watchers: Admission::without_queue(limits.watchers as u64),
        }
    }

    /// Counts one request against its client's rate.
    pub(super) fn read<T>(&self, request: &Request<T>) -> Result<ClientKey, Status> {
        let client = ClientKey::of(request);
        self.rates.take(client).map_err(|limited| {
            Reason::RateLimited.status_with_retry(limited.to_string(), limited.retry_after)
        })?;
        Ok(client)
    }

    /// Counts an answer's bytes against its client's rate.
    pub(super) fn answer<T: Message>(
        &self,
        client: ClientKey,
        answer: Response<T>,
    ) -> Result<Response<T>, Status> {
        self.rates.charge(client, answer.get_ref().encoded_len());
        Ok(answer)
    }

    /// Waits for a turn to read a listing.
    pub(super) async fn list(&self, client: ClientKey) -> Result<Permit<ClientKey>, Status> {
        let claim = Claim::new(1, client, LISTINGS_PER_CLIENT);
        self.listings.admit(claim).await.map_err(|refused| busy("listings", &refused))
    }

    /// Takes a place to watch a batch.
    pub(super) fn watch(&self, client: ClientKey) -> Result<WatchPlace, Status> {
        let all = self.watchers.capacity();
        let mut claim = Claim::new(1, Watcher::Client(client), all.div_ceil(4));
        if let ClientKey::V6([a, b, c, d, e, f, ..]) = client {
            claim = claim.and(Watcher::Network([a, b, c, d, e, f]), all.div_ceil(2));
        }
        self.watchers.try_admit(claim).map_err(|refused| busy("watchers", &refused))
    }
}

fn busy<P: Party>(what: &str, refused: &Refused<P>) -> Status {
    Reason::Busy.status_with_retry(format!("at the limit of {what}: {refused}; try again"), BUSY_RETRY)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::config::LimitsConfig;

    fn client(address: &str) -> ClientKey {
        ClientKey::from(Some(address.parse::<IpAddr>().unwrap()))
    }

    #[test]
    fn no_address_and_no_network_takes_all_watchers() {
        let reads = LimitsConfig::default().reads();
        let readers = Readers::new(&ServiceLimits { uploads: 1, watchers: 8, reads });
        let take = |address: &str| -> Vec<WatchPlace> {
            std::iter::from_fn(|| readers.watch(client(address)).ok()).take(100).collect()
        };
        let one = take("10.0.0.1");
        assert_eq!(one.len(), 2, "a quarter");
        let networks: Vec<_> = (0..8).map(|subnet| take(&format!("2001:db8:1:{subnet}::1"))).collect();
        assert_eq!(
            networks.iter().map(Vec::len).sum::<usize>(),
            4,
            "a half of all, with however many networks"
        );
        let honest = take("10.0.0.2");
        assert_eq!(honest.len(), 2);
        drop(one);
        assert_eq!(take("10.0.0.1").len(), 2);
    }
}
