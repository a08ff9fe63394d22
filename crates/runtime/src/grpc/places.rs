//! The connections of a port, as a pure state machine: who gets a place, and who gives one up when
//! places are short.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use dac_admission::{Budget, Claim, Limit, QueueLimits};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::network::Network;

/// Clients that read more slowly are given up, however long each wait of theirs is.
const READ_BYTES_PER_SECOND: u64 = 128 << 10;

/// Names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(u64);

/// Names a piece of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PieceId(u64);

/// What became of a new connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It has a place; another one may have been closed for it.
    Admitted {
        /// The new one.
        id: ConnectionId,
        /// Whether one was closed.
        is_instead: bool,
    },
    /// The port has all the connections that it may have.
    Full,
    /// The client, or a network around it, has its share.
    Share(Network),
}

/// What was handed to the transport of an answer, and not taken by the client.
#[derive(Debug)]
struct Piece {
    bytes: u64,
    deadline: Instant,
}

#[derive(Debug)]
struct Connection {
    address: IpAddr,
    claim: Claim<Network>,
    /// Closes it.
    close: CancellationToken,
    /// Calls that have not ended, of any kind.
    calls: u32,
    /// Calls whose request is here and whose answer has not begun: the server's own work.
    working: u32,
    /// When it was opened, or last began or ended anything that was asked for.
    progressed: Instant,
    /// By the order in which they were handed over.
    unread: BTreeMap<PieceId, Piece>,
    unread_bytes: u64,
    /// When its client took the last piece, or began to have any to take.
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

/// The connections of a port.
#[derive(Debug)]
pub(super) struct Places {
    budget: Budget<Network>,
    /// Of one client; networks around it have multiples of this.
    share: u64,
    /// How long a client may take nothing of what is there for it.
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

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Gives a new connection a place. Where there is none, the client that holds most gives up the
    /// one of its connections that has been idle longest, unless the new client holds as many
    /// itself.
    pub(super) fn enter(&mut self, address: IpAddr, close: CancellationToken, now: Instant) -> Entry {
        let mut is_instead = false;
        // A client's share and then the places of all may be used up: each is made room in once.
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

    /// The connection that makes room for a new one.
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
                // Of the one who holds most; one that nothing was asked on, before one whose client
                // does not read or watches; then the one for which that has been so longest.
                (Reverse(held(connection.address)), !connection.is_idle(), connection.progressed, **id)
            })
            .map(|(id, _)| *id)
    }

    /// Closes a connection and gives its place back at once.
    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.leave(id) {
            connection.close.cancel();
        }
    }

    /// It ended.
    pub(super) fn left(&mut self, id: ConnectionId) {
        self.leave(id);
    }

    fn leave(&mut self, id: ConnectionId) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        self.budget.give_back(&connection.claim);
        Some(connection)
    }

    /// A call's headers came.
    pub(super) fn call_began(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.calls += 1;
        }
    }

    /// Its first message is here: from now on it is the server's work.
    pub(super) fn call_arrived(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.working += 1;
            connection.progressed = now;
        }
    }

    /// Its answer begins, or there will be none.
    pub(super) fn call_answered(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.working = connection.working.saturating_sub(1);
            connection.progressed = now;
        }
    }

    /// Nothing more is made for it.
    pub(super) fn call_ended(&mut self, id: ConnectionId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.calls = connection.calls.saturating_sub(1);
            connection.progressed = now;
        }
    }

    /// A piece of an answer is the transport's now.
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

    /// The client took the piece, or its connection ended.
    pub(super) fn taken(&mut self, id: ConnectionId, piece: PieceId, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id)
            && let Some(piece) = connection.unread.remove(&piece)
        {
            connection.unread_bytes = connection.unread_bytes.saturating_sub(piece.bytes);
            (connection.read, connection.progressed) = (now, now);
        }
    }

    /// Closes the connections whose clients do not read what they asked for. Says how many.
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

    /// Closes the connection with most bytes that its client has not read. Says whether there was
    /// one.
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
