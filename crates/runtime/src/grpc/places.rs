//! The connections of a port, as a pure state machine. It decides which clients get a place, and
//! which give one up if places are short.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use dac_admission::{Budget, Claim, Limit, QueueLimits};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::network::Network;

/// A client that reads more slowly than this is disconnected, however short each of its pauses is.
const READ_BYTES_PER_SECOND: u64 = 128 << 10;

/// Identifies a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(u64);

/// Identifies a piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PieceId(u64);

/// The outcome for a new connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The connection has a place; another one may have been closed for it.
    Admitted {
        /// The new connection.
        id: ConnectionId,
        /// Whether another connection was closed for it.
        is_instead: bool,
    },
    /// The port has as many connections as it may have.
    Full,
    /// The client, or a network around it, has used up its share.
    Share(Network),
}

/// A piece of an answer that the transport has and the client has not read.
#[derive(Debug)]
struct Piece {
    bytes: u64,
    deadline: Instant,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    claim: Claim<Network>,
    /// Closes the connection.
    close: CancellationToken,
    /// The number of calls of any kind that have not ended.
    calls: u32,
    /// The number of calls whose request has arrived and whose answer has not begun: the server is
    /// working on them.
    working: u32,
    /// When the connection was opened, or a request on it last arrived, was answered or ended.
    progressed: Instant,
    /// The unread pieces, in the order in which they were handed to the transport.
    unread: BTreeMap<PieceId, Piece>,
    unread_bytes: u64,
    /// When the client last read a piece, or when there began to be one to read.
    read: Instant,
}

impl Connection {
    const fn is_idle(&self) -> bool {
        self.calls == 0 && self.unread_bytes == 0
    }

    fn is_stalled(&self, patience: Duration, now: Instant) -> bool {
        self.unread.first_key_value().is_some_and(|(_, oldest)| {
            oldest.deadline <= now || now.saturating_duration_since(self.read) >= patience
        })
    }
}

/// All connections of a port.
#[derive(Debug)]
pub(super) struct Places {
    budget: Budget<Network>,
    /// The most connections of one client; networks around it have multiples of this.
    share: u64,
    /// How long a client may read nothing of what is there for it.
    patience: Duration,
    connections: BTreeMap<ConnectionId, Connection>,
    next_connection: u64,
    next_piece: u64,
}

impl Places {
    pub(super) fn new(places: u32, share: u32, patience: Duration) -> Self {
        Self {
            budget: Budget::new(places.into(), QueueLimits { total: 0, per_party: 0 }),
            share: share.into(),
            patience,
            connections: BTreeMap::new(),
            next_connection: 0,
            next_piece: 0,
        }
    }

    /// The number of connections.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Gives a new connection a place. If there is none, the client with the most connections loses
    /// the one that has been idle longest, unless the new client has as many itself.
    pub(super) fn enter(&mut self, address: IpAddr, close: CancellationToken, now: Instant) -> Entry {
        let mut is_instead = false;
        // Both a client's share and the port's places may be used up, so room is made several
        // times.
        for _ in 0..4 {
            let refused = match self.budget.take(Network::claim(address, 1, self.share)) {
                Ok(claim) => {
                    let id = ConnectionId(self.next_connection);
                    self.next_connection += 1;
                    let connection = Connection {
                        address,
                        claim,
                        close,
                        calls: 0,
                        working: 0,
                        progressed: now,
                        unread: BTreeMap::new(),
                        unread_bytes: 0,
                        read: now,
                    };
                    self.connections.insert(id, connection);
                    return Entry::Admitted { id, is_instead };
                }
                Err(refused) => refused,
            };
            let (within, entry) = match refused.limit {
                Limit::Share(network) => (Some(network), Entry::Share(network)),
                Limit::Capacity | Limit::Queue => (None, Entry::Full),
            };
            let Some(leaving) = self.choose(address, within) else { return entry };
            self.close(leaving);
            is_instead = true;
        }
        Entry::Full
    }

    /// The connection that must make room for a new one.
    fn choose(&self, newcomer: IpAddr, within: Option<Network>) -> Option<ConnectionId> {
        let client = Network::client(newcomer);
        let held = |address: IpAddr| self.budget.held_by(&Network::client(address));
        let own = held(newcomer);
        self.connections
            .iter()
            .filter(|(_, connection)| {
                connection.working == 0
                    && within.is_none_or(|network| network.contains(connection.address))
                    && (client == Network::client(connection.address) || held(connection.address) > own)
            })
            .min_by_key(|(id, connection)| {
                // Prefers the client with the most connections; among its connections, one without
                // requests before one whose client does not read or watches; among those, the one
                // for which this has lasted longest.
                (Reverse(held(connection.address)), !connection.is_idle(), connection.progressed, **id)
            })
            .map(|(id, _)| *id)
    }

    /// Closes a connection and frees its place at once.
    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.leave(id) {
            connection.close.cancel();
        }
    }

    /// Removes a connection that ended.
    pub(super) fn left(&mut self, id: ConnectionId) {
        self.leave(id);
    }

    fn leave(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.budget.give_back(&connection.claim);
        Some(connection)
    }

    /// Notes that a call's headers arrived.
    pub(super) fn call_began(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.calls += 1;
        }
    }

    /// Notes that a call's first message arrived: from now on the server works on it.
    pub(super) fn call_arrived(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.working += 1;
            connection.progressed = now;
        }
    }

    /// Notes that a call's answer begins, or that there will be none.
    pub(super) fn call_answered(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.working = connection.working.saturating_sub(1);
            connection.progressed = now;
        }
    }

    /// Notes that a call has ended on the server's side.
    pub(super) fn call_ended(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.calls = connection.calls.saturating_sub(1);
            connection.progressed = now;
        }
    }

    /// Notes that the transport got a piece of an answer.
    pub(super) fn handed_over(&mut self, id: ConnectionId, bytes: u64, now: Instant) -> PieceId {
        let piece = PieceId(self.next_piece);
        self.next_piece += 1;
        if let Some(connection) = self.connections.get_mut(&id) {
            if connection.unread.is_empty() {
                connection.read = now;
            }
            connection.unread_bytes = connection.unread_bytes.saturating_add(bytes);
            let in_turn = Duration::from_secs(connection.unread_bytes / READ_BYTES_PER_SECOND);
            let deadline = now + self.patience + in_turn;
            connection.unread.insert(piece, Piece { bytes, deadline });
        }
        piece
    }

    /// Notes that the client read the piece, or that its connection ended.
    pub(super) fn taken(&mut self, id: ConnectionId, piece: PieceId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id)
            && let Some(piece) = connection.unread.remove(&piece)
        {
            connection.unread_bytes = connection.unread_bytes.saturating_sub(piece.bytes);
            (connection.read, connection.progressed) = (now, now);
        }
    }

    /// Closes the connections whose clients do not read what they asked for. Returns their number.
    pub(super) fn close_stalled(&mut self, now: Instant) -> usize {
        let stalled: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.is_stalled(self.patience, now))
            .map(|(id, _)| *id)
            .collect();
        for id in &stalled {
            self.close(*id);
        }
        stalled.len()
    }

    /// Closes the connection with the most bytes that its client has not read. Returns whether
    /// there was one.
    pub(super) fn close_fullest(&mut self) -> bool {
        let fullest = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.unread_bytes > 0)
            .max_by_key(|(id, connection)| (connection.unread_bytes, Reverse(**id)))
            .map(|(id, _)| *id);
        if let Some(id) = fullest {
            self.close(id);
        }
        fullest.is_some()
    }
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
