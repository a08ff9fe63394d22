//! The limits of a listener, as configuration files have them.

use serde::Deserialize;

use crate::config::{ByteSize, Period, within};

/// Most of the memory that a listener's calls may have.
const MEMORY_MAX: ByteSize = ByteSize::MEMORY;
/// Least of the memory that a client's calls may have: one call of any method.
pub(super) const MEMORY_PER_CLIENT_MIN: ByteSize = ByteSize(1 << 20);
/// Most connections: what the search for an idle one is fast enough for.
const CONNECTIONS_MAX: u32 = 100_000;

/// Bounds of a listener: the `[….limits]` tables of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// Connections at a time. When all places are taken, a new client gets that of a connection
    /// which is idle.
    pub connections: u32,
    /// Connections at a time of one address (of one /64 for IPv6). A /56 may have twice as many, a
    /// /48 and an IPv4 /24 four times as many.
    pub connections_per_client: u32,
    /// Connections that one client may open a second in the long run, and four times as many at
    /// once. The networks around it may open as many times that as they may hold.
    pub connections_per_second: u32,
    /// Calls at a time of one connection.
    pub streams_per_connection: u32,
    /// How long a connection may take to speak HTTP/2, TLS handshake included.
    pub handshake_timeout: Period,
    /// How long a connection may be silent before it is asked whether it is still there.
    pub keepalive_interval: Period,
    /// How long it may take to answer that.
    pub keepalive_timeout: Period,
    /// How long a request may take to arrive; of an upload, its first message.
    pub request_timeout: Period,
    /// How long a client may take nothing of an answer that is there for it; then its connection is
    /// closed.
    pub write_timeout: Period,
    /// Bytes of requests that have come, and of answers that are reserved for or not read, in all.
    pub memory: ByteSize,
    /// The same of one client; the networks around it may hold as many times that as with
    /// connections.
    pub memory_per_client: ByteSize,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            connections_per_client: 64,
            connections_per_second: 64,
            streams_per_connection: 128,
            handshake_timeout: Period::from_secs(10),
            keepalive_interval: Period::from_secs(30),
            keepalive_timeout: Period::from_secs(20),
            request_timeout: Period::from_secs(20),
            write_timeout: Period::from_secs(30),
            memory: ByteSize(256 << 20),
            memory_per_client: ByteSize(32 << 20),
        }
    }
}

impl ListenerLimits {
    /// Nothing may be zero, and one client's memory must be enough for a call.
    pub fn check(&self) -> Result<(), String> {
        let Self {
            connections, connections_per_client, connections_per_second, streams_per_connection, ..
        } = *self;
        for (name, value) in [
            ("connections", connections),
            ("connections_per_client", connections_per_client),
            ("connections_per_second", connections_per_second),
            ("streams_per_connection", streams_per_connection),
        ] {
            within(name, value, 1, CONNECTIONS_MAX)?;
        }
        for (name, period) in [
            ("handshake_timeout", self.handshake_timeout),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
            ("request_timeout", self.request_timeout),
            ("write_timeout", self.write_timeout),
        ] {
            within(name, period, Period::SHORTEST, Period::DAY)?;
        }
        if self.memory_per_client < MEMORY_PER_CLIENT_MIN {
            return Err(format!(
                "memory_per_client = \"{}\": at least {MEMORY_PER_CLIENT_MIN}",
                self.memory_per_client
            ));
        }
        if self.memory < self.memory_per_client || self.memory > MEMORY_MAX {
            return Err(format!(
                "memory = \"{}\": at least memory_per_client, and at most {MEMORY_MAX}",
                self.memory
            ));
        }
        Ok(())
    }
}
