//! The limits of a listener, as they stand in configuration files.

use serde::Deserialize;

use crate::config::{ByteSize, Period, within};

/// The most memory that a listener's calls may be given.
const MEMORY_MAX: ByteSize = ByteSize::MEMORY;
/// The least memory that a client's calls may be given: enough for one call of any method.
pub(super) const MEMORY_PER_CLIENT_MIN: ByteSize = ByteSize(1 << 20);
/// The most connections for which the search for an idle one is fast enough.
const CONNECTIONS_MAX: u32 = 100_000;

/// The limits of a listener: the `[….limits]` tables of configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// The most connections at a time. If all places are taken, a new client gets the place of an
    /// idle connection.
    pub connections: u32,
    /// The most connections of one address at a time (of one /64 for IPv6). A /56 may have twice as
    /// many; a /48, and an IPv4 /24, four times as many.
    pub connections_per_client: u32,
    /// The connections per second that one client may open in the long run; at once it may open
    /// four times as many. The networks around a client have multiples of this, by the same factors
    /// as for open connections.
    pub connections_per_second: u32,
    /// The most calls of one connection at a time.
    pub streams_per_connection: u32,
    /// How long a connection may take until it speaks HTTP/2, TLS handshake included.
    pub handshake_timeout: Period,
    /// How long a connection may be silent before a ping asks whether it is still there.
    pub keepalive_interval: Period,
    /// How long the answer to that ping may take.
    pub keepalive_timeout: Period,
    /// How long a request may take to arrive; for an upload, its first message.
    pub request_timeout: Period,
    /// How long a client may read nothing of an answer that is there for it. After that its
    /// connection is closed.
    pub write_timeout: Period,
    /// The most bytes, in total, of requests that have arrived and of answers that are reserved or
    /// not yet read.
    pub memory: ByteSize,
    /// The same for one client. The networks around it have multiples of this, by the same factors
    /// as for open connections.
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
    /// Checks that nothing is zero and that one client's memory is enough for a call.
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
