//! Each client's share of a server: a bucket of requests and a bucket of bytes, both refilled at a
//! steady rate.
//!
//! A request passes if both buckets are not empty, and may then overdraw them. So even a small
//! bucket serves a large shard, and the client waits afterwards. The table of clients is bounded;
//! when it is full of active clients, new ones share one bucket.
//!
//! An IPv6 subscriber may have a /56 or a /48. Each of those networks has its own buckets, as large
//! as those of several clients, which all /64 networks in it draw from.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use tonic::Request;

/// How often a full table is searched for idle clients.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The longest wait that a client is told.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The rates that one client may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientRates {
    /// The requests per second in the long run.
    pub requests_per_second: f64,
    /// The most requests at once.
    pub request_burst: f64,
    /// The bytes per second in the long run.
    pub bytes_per_second: f64,
    /// The most bytes at once.
    pub byte_burst: f64,
    /// The most streams open at the same time.
    pub streams: u32,
    /// The most clients that are remembered.
    pub clients: usize,
}

/// The client or network that a share belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKey {
    /// One IPv4 address.
    V4([u8; 4]),
    /// The 64-bit network of an IPv6 address, which one client usually has for itself.
    V6([u8; 8]),
    /// The 56-bit network around an IPv6 client.
    V6Site([u8; 7]),
    /// The 48-bit network around an IPv6 client.
    V6Block([u8; 6]),
    /// The client of a transport without addresses.
    Unknown,
    /// All clients for which the table had no room.
    Others,
}

impl From<Option<IpAddr>> for ClientKey {
    fn from(address: Option<IpAddr>) -> Self {
        match address.map(|address| address.to_canonical()) {
            None => Self::Unknown,
            Some(IpAddr::V4(address)) => Self::V4(address.octets()),
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl ClientKey {
    /// The client that a request comes from. The transport knows its address, with TLS or without.
    pub fn of<T>(request: &Request<T>) -> Self {
        Self::from(request.remote_addr().map(|address| address.ip()))
    }

    /// The keys of all buckets that a request takes from. The widest network comes first, so that a
    /// used-up network adds no entries for the clients in it.
    fn all(self) -> impl Iterator<Item = Self> {
        let networks = match self {
            Self::V6([a, b, c, d, e, f, g, _]) => {
                [Some(Self::V6Block([a, b, c, d, e, f])), Some(Self::V6Site([a, b, c, d, e, f, g]))]
            }
            _ => [None, None],
        };
        networks.into_iter().flatten().chain([self])
    }

    /// How many clients' shares this key has.
    const fn shares(self) -> u32 {
        match self {
            Self::V6Site(_) => 4,
            Self::V6Block(_) => 16,
            Self::V4(_) | Self::V6(_) | Self::Unknown | Self::Others => 1,
        }
    }
}

impl ClientRates {
    /// The rates of this many clients together.
    fn times(&self, shares: u32) -> Self {
        let factor = f64::from(shares);
        Self {
            requests_per_second: self.requests_per_second * factor,
            request_burst: self.request_burst * factor,
            bytes_per_second: self.bytes_per_second * factor,
            byte_burst: self.byte_burst * factor,
            streams: self.streams.saturating_mul(shares),
            clients: self.clients,
        }
    }
}

/// The client has used up its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this client's share of {what} is used up; try again in about {} ms", .retry_after.as_millis())]
pub struct RateLimited {
    /// The kind of share that is used up.
    pub what: &'static str,
    /// The time until the share has something again.
    pub retry_after: Duration,
}

#[derive(Debug)]
struct Bucket {
    requests: f64,
    bytes: f64,
    refilled: Instant,
    streams: u32,
}

impl Bucket {
    fn full(rates: &ClientRates, now: Instant) -> Self {
        Self { requests: rates.request_burst, bytes: rates.byte_burst, refilled: now, streams: 0 }
    }

    fn refill(&mut self, rates: &ClientRates, now: Instant) {
        let seconds = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.requests = rates.requests_per_second.mul_add(seconds, self.requests).min(rates.request_burst);
        self.bytes = rates.bytes_per_second.mul_add(seconds, self.bytes).min(rates.byte_burst);
        self.refilled = now;
    }

    fn is_idle(&self, rates: &ClientRates) -> bool {
        self.streams == 0 && self.requests >= rates.request_burst && self.bytes >= rates.byte_burst
    }
}

#[derive(Debug)]
struct Table {
    buckets: HashMap<ClientKey, Bucket>,
    swept: Option<Instant>,
}

impl Table {
    /// The client's bucket with its rates, or the shared one if the table has no room for it.
    fn bucket(
        &mut self,
        client: ClientKey,
        rates: &ClientRates,
        now: Instant,
    ) -> (ClientKey, &mut Bucket, ClientRates) {
        let full = self.buckets.len() >= rates.clients && !self.buckets.contains_key(&client);
        if full && self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_INTERVAL) {
            self.swept = Some(now);
            self.buckets.retain(|key, bucket| {
                let rates = rates.times(key.shares());
                bucket.refill(&rates, now);
                !bucket.is_idle(&rates)
            });
        }
        let fits = self.buckets.len() < rates.clients || self.buckets.contains_key(&client);
        let key = if fits { client } else { ClientKey::Others };
        let rates = rates.times(key.shares());
        let bucket = self.buckets.entry(key).or_insert_with(|| Bucket::full(&rates, now));
        bucket.refill(&rates, now);
        (key, bucket, rates)
    }

    /// Takes one request, and this many streams, from all buckets that the client draws from, or
    /// from none.
    fn take(
        &mut self,
        client: ClientKey,
        rates: &ClientRates,
        now: Instant,
        streams: u32,
    ) -> Result<Vec<ClientKey>, RateLimited> {
        let mut keys = Vec::with_capacity(3);
        for key in client.all() {
            let (key, bucket, rates) = self.bucket(key, rates, now);
            if bucket.streams.saturating_add(streams) > rates.streams {
                return Err(RateLimited { what: "open streams", retry_after: Duration::from_secs(1) });
            }
            if bucket.requests < 1.0 {
                return Err(limited("requests", 1.0 - bucket.requests, rates.requests_per_second));
            }
            if bucket.bytes <= 0.0 {
                return Err(limited("bytes", 1.0 - bucket.bytes, rates.bytes_per_second));
            }
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        for key in &keys {
            if let Some(bucket) = self.buckets.get_mut(key) {
                bucket.requests -= 1.0;
                bucket.streams += streams;
            }
        }
        Ok(keys)
    }
}

/// The shares of all clients.
#[derive(Clone, Debug)]
pub struct ClientLimits {
    rates: ClientRates,
    table: Arc<Mutex<Table>>,
}

impl ClientLimits {
    /// Full shares for all clients.
    pub fn new(rates: ClientRates) -> Self {
        let table = Table { buckets: HashMap::new(), swept: None };
        Self { rates, table: Arc::new(Mutex::new(table)) }
    }

    /// Takes one request from the client's share.
    pub fn take(&self, client: ClientKey) -> Result<(), RateLimited> {
        self.table.lock().take(client, &self.rates, Instant::now(), 0).map(|_| ())
    }

    /// Charges the bytes of an answer, which are known only after the request was let in.
    pub fn charge(&self, client: ClientKey, bytes: usize) {
        let mut table = self.table.lock();
        for key in client.all() {
            let (_, bucket, _) = table.bucket(key, &self.rates, Instant::now());
            bucket.bytes -= f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }

    /// Does the same as [`ClientLimits::take`] for an answer that streams. The stream counts until
    /// the permit is dropped.
    pub fn open_stream(&self, client: ClientKey) -> Result<StreamPermit, RateLimited> {
        let keys = self.table.lock().take(client, &self.rates, Instant::now(), 1)?;
        Ok(StreamPermit { keys, table: Arc::clone(&self.table) })
    }
}

fn limited(what: &'static str, missing: f64, per_second: f64) -> RateLimited {
    let retry_after =
        Duration::try_from_secs_f64(missing / per_second).unwrap_or(RETRY_AFTER_MAX).min(RETRY_AFTER_MAX);
    RateLimited { what, retry_after }
}

/// An open stream of a client, which counts until this is dropped.
#[derive(Debug)]
pub struct StreamPermit {
    keys: Vec<ClientKey>,
    table: Arc<Mutex<Table>>,
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        for key in &self.keys {
            if let Some(bucket) = table.buckets.get_mut(key) {
                bucket.streams = bucket.streams.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> ClientRates {
        ClientRates {
            requests_per_second: 2.0,
            request_burst: 3.0,
            bytes_per_second: 100.0,
            byte_burst: 200.0,
            streams: 2,
            clients: 2,
        }
    }

    fn client(last: u8) -> ClientKey {
        ClientKey::V4([10, 0, 0, last])
    }

    #[tokio::test(start_paused = true)]
    async fn requests_refill_at_their_rate() {
        let limits = ClientLimits::new(rates());
        for _ in 0..3 {
            limits.take(client(1)).unwrap();
        }
        let limited = limits.take(client(1)).unwrap_err();
        assert_eq!((limited.what, limited.retry_after), ("requests", Duration::from_millis(500)));
        limits.take(client(2)).unwrap();
        tokio::time::advance(limited.retry_after).await;
        limits.take(client(1)).unwrap();
        assert!(limits.take(client(1)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_may_be_overdrawn_once_and_are_paid_for() {
        let limits = ClientLimits::new(rates());
        limits.take(client(1)).unwrap();
        limits.charge(client(1), 1000);
        let limited = limits.take(client(1)).unwrap_err();
        assert_eq!(limited.what, "bytes");
        assert_eq!(limited.retry_after, Duration::from_millis(8010));
        tokio::time::advance(limited.retry_after).await;
        limits.take(client(1)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_counted_while_they_are_open() {
        let limits = ClientLimits::new(rates());
        let first = limits.open_stream(client(1)).unwrap();
        let _second = limits.open_stream(client(1)).unwrap();
        assert_eq!(limits.open_stream(client(1)).unwrap_err().what, "open streams");
        drop(first);
        limits.open_stream(client(1)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_stays_bounded() {
        let limits = ClientLimits::new(rates());
        for last in 0..200 {
            let _ = limits.take(client(last));
            limits.charge(client(last), 1000);
        }
        assert!(limits.table.lock().buckets.len() <= 3, "two clients and one bucket for the others");
        assert!(limits.take(client(201)).is_err(), "newcomers share one bucket");
        tokio::time::advance(Duration::from_secs(20)).await;
        limits.take(client(201)).unwrap();
        assert!(limits.table.lock().buckets.contains_key(&client(201)), "idle clients make room");
    }

    #[tokio::test(start_paused = true)]
    async fn the_networks_of_one_ipv6_subscriber_have_shares_as_well() {
        let limits = ClientLimits::new(ClientRates { clients: 1000, ..rates() });
        let block = |site: u8, network: u8| ClientKey::V6([0x20, 1, 0xd, 0xb8, 0, 1, site, network]);
        let mut served = 0;
        for site in 0..=255 {
            for network in 0..8 {
                served += u32::from(limits.take(block(site, network)).is_ok());
            }
        }
        assert_eq!(served, 3 * 16, "a /48 has the share of sixteen clients");
        assert!(limits.table.lock().buckets.len() < 3 * 16 + 10, "who is refused makes no entry");
        limits.take(ClientKey::V6([0x20, 1, 0xd, 0xb8, 0, 2, 0, 0])).unwrap();

        let limits = ClientLimits::new(ClientRates { clients: 1000, ..rates() });
        let held: Vec<_> =
            (0..=255).filter_map(|network| limits.open_stream(block(1, network)).ok()).collect();
        assert_eq!(held.len(), 2 * 4, "a /56 has that of four");
        drop(held);
        assert!(limits.table.lock().buckets.values().all(|bucket| bucket.streams == 0));
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let key = |text: &str| ClientKey::from(Some(text.parse::<IpAddr>().unwrap()));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), client(1));
    }
}
