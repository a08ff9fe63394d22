//! The limits of one port, enforced for its connections and for the memory of requests and answers.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dac_admission::{Admission, Limit, Permit, Refused};
use dac_proto::reason::Reason;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::arrivals::Arrivals;
use super::limits::ListenerLimits;
use super::methods::{Method, has_uploads};
use super::network::Network;
use super::places::{ConnectionId, Entry, PieceId, Places};
use crate::alarm::Alarm;

/// When a client that is over its share may try again.
const RETRY: Duration = Duration::from_secs(1);

/// How long calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTimes {
    /// The limit for a call with one request, from its headers to the beginning of its answer.
    pub call: Duration,
    /// What an upload, or a request that looks at much data, may take beyond that.
    pub upload: Duration,
}

impl Default for CallTimes {
    fn default() -> Self {
        Self { call: Duration::from_secs(30), upload: Duration::from_secs(120) }
    }
}

/// Why a connection was not accepted, or was closed by this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Cause {
    /// All places are in use.
    Full,
    /// The client, or a network around it, has used up its share.
    Share,
    /// The client, or a network around it, opens too many connections per second.
    Rate,
    /// Another client took its place.
    Replaced,
    /// The client sent nothing.
    Mute,
    /// The client did not read what it asked for.
    Unread,
    /// Too much was unread, and this connection had the most unread bytes.
    Memory,
    /// The system did not accept a connection.
    Accept,
    /// The connection reached the greatest age.
    Age,
}

impl Cause {
    const ALL: [Self; 9] = [
        Self::Full,
        Self::Share,
        Self::Rate,
        Self::Replaced,
        Self::Mute,
        Self::Unread,
        Self::Memory,
        Self::Accept,
        Self::Age,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Share => "share",
            Self::Rate => "rate",
            Self::Replaced => "replaced",
            Self::Mute => "mute",
            Self::Unread => "unread",
            Self::Memory => "memory",
            Self::Accept => "accept",
            Self::Age => "age",
        }
    }
}

#[derive(Debug)]
struct Table {
    arrivals: Arrivals,
    places: Places,
    /// The connection by its client's address and port, which calls know.
    by_peer: HashMap<SocketAddr, ConnectionId>,
    alarms: HashMap<Cause, Alarm>,
    calls_alarm: Alarm,
}

#[derive(Debug)]
struct Inner {
    name: &'static str,
    services: &'static [&'static str],
    limits: ListenerLimits,
    times: CallTimes,
    stop: CancellationToken,
    table: Mutex<Table>,
    /// The bytes of requests that have arrived and of answers that have not been read.
    memory: Admission<Network>,
}

/// The limits of one port, shared by its connections and its calls. Clones are the same port.
#[derive(Clone)]
pub struct Port(Arc<Inner>);

impl fmt::Debug for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Port").field(&self.0.name).finish()
    }
}

impl Port {
    /// A port without connections. `name` stands in metrics and in the log. `services` are those
    /// that the port has beside health and reflection. The caller cancels `stop` when the port must
    /// stop.
    pub fn new(
        name: &'static str,
        services: &'static [&'static str],
        limits: &ListenerLimits,
        times: CallTimes,
        stop: CancellationToken,
    ) -> Self {
        let places = Places::new(limits.connections, limits.connections_per_client, *limits.write_timeout);
        let table = Table {
            arrivals: Arrivals::new(limits.connections_per_second),
            places,
            by_peer: HashMap::new(),
            alarms: HashMap::new(),
            calls_alarm: Alarm::default(),
        };
        describe(name);
        Self(Arc::new(Inner {
            name,
            services,
            limits: *limits,
            times,
            stop,
            table: Mutex::new(table),
            memory: Admission::without_queue(limits.memory.bytes()),
        }))
    }

    /// The port's name in metrics and in the log.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// The port's services, beside health and reflection.
    pub fn services(&self) -> &'static [&'static str] {
        self.0.services
    }

    /// Whether any of its services receives uploads.
    pub(super) fn has_uploads(&self) -> bool {
        self.0.services.iter().any(|service| has_uploads(service))
    }

    /// The port's limits.
    pub fn limits(&self) -> &ListenerLimits {
        &self.0.limits
    }

    pub(super) fn times(&self) -> CallTimes {
        self.0.times
    }

    /// The token that is cancelled when the port must stop.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Gives a new connection a place; `None` if it gets none, which is counted and logged.
    pub(super) fn enter(&self, peer: SocketAddr) -> Option<Place> {
        let (close, now) = (CancellationToken::new(), Instant::now());
        let mut table = self.0.table.lock();
        if let Err(network) = table.arrivals.arrive(peer.ip(), now) {
            self.tell(&mut table, Cause::Rate, &network);
            return None;
        }
        let cause = match table.places.enter(peer.ip(), close.clone(), now) {
            Entry::Admitted { id, is_instead } => {
                table.by_peer.insert(peer, id);
                self.show(&table);
                if is_instead {
                    self.tell(&mut table, Cause::Replaced, &peer.ip());
                }
                drop(table);
                return Some(Place { port: self.clone(), id, peer, close });
            }
            Entry::Full => Cause::Full,
            Entry::Share(_) => Cause::Share,
        };
        self.tell(&mut table, cause, &peer.ip());
        None
    }

    /// Closes connections whose clients have not read for too long.
    pub(super) fn look_after(&self) {
        let mut table = self.0.table.lock();
        for _ in 0..table.places.close_stalled(Instant::now()) {
            self.tell(&mut table, Cause::Unread, &"a client");
        }
        self.show(&table);
    }

    /// Counts that the system did not accept a connection.
    pub(super) fn accept_failed(&self, error: &io::Error) {
        self.tell(&mut self.0.table.lock(), Cause::Accept, error);
    }

    /// Counts a connection that closed itself for this cause.
    pub(super) fn gave_up(&self, cause: Cause, peer: SocketAddr) {
        self.tell(&mut self.0.table.lock(), cause, &peer.ip());
    }

    /// Begins a call and reserves the memory of its answer.
    pub(super) fn begin(&self, peer: Option<SocketAddr>, method: Method) -> Result<Call, Status> {
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let permit = self.admit(address, method.answer_bytes as u64)?;
        let connection = peer.and_then(|peer| {
            let mut table = self.0.table.lock();
            let id = table.by_peer.get(&peer).copied()?;
            table.places.call_began(id);
            Some(id)
        });
        let state = Mutex::new(CallState { permit, has_arrived: false, is_answered: false });
        Ok(Call { port: self.clone(), address, connection, method, state })
    }

    fn admit(&self, address: IpAddr, bytes: u64) -> Result<Permit<Network>, Status> {
        let share = self.0.limits.memory_per_client.bytes();
        let claim = Network::claim(address, bytes, share);
        self.0.memory.try_admit(claim).map_err(|refused| self.refused(address, refused))
    }

    fn refused(&self, address: IpAddr, refused: Refused<Network>) -> Status {
        let mut table = self.0.table.lock();
        let reason = match refused.limit {
            Limit::Share(_) => "share",
            Limit::Capacity | Limit::Queue => {
                if table.places.close_fullest() {
                    self.tell(&mut table, Cause::Memory, &"a client");
                }
                "memory"
            }
        };
        metrics::counter!("dac_listener_calls_refused_total", "listener" => self.0.name, "reason" => reason)
            .increment(1);
        if let Some(times) = table.calls_alarm.ring(Instant::now()) {
            tracing::warn!(
                listener = self.0.name, client = %address, times, %refused,
                "calls are refused: limits.memory or limits.memory_per_client of this listener is in use"
            );
        }
        let message = format!("the bytes of calls under way are at their limit: {refused}; try again");
        Reason::Busy.status_with_retry(message, RETRY)
    }

    fn show(&self, table: &Table) {
        let connections = u32::try_from(table.places.len()).unwrap_or(u32::MAX);
        metrics::gauge!("dac_listener_connections", "listener" => self.0.name).set(connections);
    }

    /// Counts a connection that was not accepted or was closed, and logs a warning at most once a
    /// minute for each cause.
    fn tell(&self, table: &mut Table, cause: Cause, about: &dyn fmt::Display) {
        metrics::counter!(
            "dac_listener_connections_refused_total", "listener" => self.0.name, "reason" => cause.as_str()
        )
        .increment(1);
        // A connection that reached its greatest age is nothing to warn about.
        if cause == Cause::Age {
            return;
        }
        if let Some(times) = table.alarms.entry(cause).or_default().ring(Instant::now()) {
            tracing::warn!(
                listener = self.0.name, reason = cause.as_str(), times, last = %about,
                connections = table.places.len(), "connections are refused or closed"
            );
        }
    }
}

fn describe(name: &'static str) {
    metrics::describe_gauge!("dac_listener_connections", "Connections that a listener has.");
    metrics::describe_counter!(
        "dac_listener_connections_refused_total",
        "Connections that a listener did not accept, or closed itself, by reason."
    );
    metrics::describe_counter!(
        "dac_listener_calls_refused_total",
        "Calls that a listener refused because the memory of calls was in use, by whose."
    );
    metrics::gauge!("dac_listener_connections", "listener" => name).set(0);
    for cause in Cause::ALL {
        metrics::counter!(
            "dac_listener_connections_refused_total", "listener" => name, "reason" => cause.as_str()
        )
        .increment(0);
    }
    for reason in ["share", "memory"] {
        metrics::counter!("dac_listener_calls_refused_total", "listener" => name, "reason" => reason)
            .increment(0);
    }
}

/// A connection's place, which is freed when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    port: Port,
    id: ConnectionId,
    peer: SocketAddr,
    close: CancellationToken,
}

impl Place {
    /// The token that is cancelled when the connection must be closed.
    pub(super) const fn close(&self) -> &CancellationToken {
        &self.close
    }

    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) const fn port(&self) -> &Port {
        &self.port
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.port.0.table.lock();
        table.places.left(self.id);
        if table.by_peer.get(&self.peer) == Some(&self.id) {
            table.by_peer.remove(&self.peer);
        }
        self.port.show(&table);
    }
}

#[derive(Debug)]
struct CallState {
    permit: Permit<Network>,
    has_arrived: bool,
    is_answered: bool,
}

/// A call that is under way. It ends when this is dropped, together with its handler and the last
/// piece of its answer.
#[derive(Debug)]
pub(super) struct Call {
    port: Port,
    address: IpAddr,
    connection: Option<ConnectionId>,
    method: Method,
    state: Mutex<CallState>,
}

impl Call {
    pub(super) const fn port(&self) -> &Port {
        &self.port
    }

    pub(super) const fn method(&self) -> &Method {
        &self.method
    }

    /// Notes that this many bytes of the request have arrived in all. At most one of its messages
    /// is kept at a time.
    pub(super) fn received(&self, bytes: usize) -> Result<(), Status> {
        let kept = self.method.answer_bytes + bytes.min(self.method.request_max_bytes);
        let resized = self.state.lock().permit.resize(kept as u64);
        resized.map_err(|refused| self.port.refused(self.address, refused))
    }

    /// Notes that the first message of the request has arrived.
    pub(super) fn arrived(&self) {
        self.state.lock().has_arrived = true;
        if let Some(id) = self.connection {
            self.port.0.table.lock().places.call_arrived(id, Instant::now());
        }
    }

    pub(super) fn has_arrived(&self) -> bool {
        self.state.lock().has_arrived
    }

    /// Notes that the answer begins. From here on its pieces are counted instead of the
    /// reservation.
    pub(super) fn answered(&self, reserved: usize) {
        let mut state = self.state.lock();
        let reserved = (reserved as u64).min(state.permit.amount());
        if let Err(refused) = state.permit.resize(reserved) {
            tracing::debug!(%refused, "a permit that shrinks");
        }
        self.end_work(&mut state);
    }

    fn end_work(&self, state: &mut CallState) {
        let was_working = state.has_arrived && !state.is_answered;
        state.is_answered = true;
        if was_working && let Some(id) = self.connection {
            self.port.0.table.lock().places.call_answered(id, Instant::now());
        }
    }

    /// Counts a piece of the answer that goes to the transport.
    pub(super) fn hand_over(&self, bytes: usize) -> Unread {
        let share = self.port.0.limits.memory_per_client.bytes();
        let claim = Network::claim(self.address, bytes as u64, share);
        let permit = self.port.0.memory.admit_anyway(claim);
        let piece = self
            .connection
            .map(|id| (id, self.port.0.table.lock().places.handed_over(id, bytes as u64, Instant::now())));
        Unread { port: self.port.clone(), piece, _permit: permit }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end_work(&mut self.state.lock());
        if let Some(id) = self.connection {
            self.port.0.table.lock().places.call_ended(id, Instant::now());
        }
    }
}

/// A piece of an answer that the client has not read. It is dropped when it was written, or when it
/// never will be.
#[derive(Debug)]
pub(super) struct Unread {
    port: Port,
    piece: Option<(ConnectionId, PieceId)>,
    _permit: Permit<Network>,
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some((id, piece)) = self.piece {
            self.port.0.table.lock().places.taken(id, piece, Instant::now());
        }
    }
}
