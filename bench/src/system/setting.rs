//! The description of a measured system.

use std::fmt;

use dac_database::Backend;
use dac_tests::network::Shape;
use dac_types::{Geometry, Quorum, Seat};

/// The services' default number of connections to their database.
const CONNECTIONS: u16 = 8;
/// The number of further connections that a process has: for leases, and for finding out whether a
/// commit took place.
const CONNECTIONS_BESIDE: u16 = 2;
/// The number of connections that the server of `tools/with-postgres` accepts, without those that
/// it reserves for itself and for observers.
const SERVER_CONNECTIONS: u16 = 280;

/// A system to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The number of seats, and of shards that rebuild a batch.
    pub geometry: Geometry,
    /// The database of the members and of the aggregator.
    pub backend: Backend,
    /// Whether every connection but that to L1 is encrypted.
    pub tls: bool,
}

impl Setting {
    /// Describes a system with `n` seats of whose shards `k` rebuild a batch. The goals' committees
    /// have n = 4 (k = 2), 7 (k = 3), 16 (k = 6) and 64 (k = 22).
    pub fn new(n: u16, k: u16, backend: Backend, tls: bool) -> Self {
        Self { geometry: Geometry::new(n, k).expect("a valid geometry"), backend, tls }
    }

    /// Returns the description that the test harness takes. Two thirds of the seats, rounded down,
    /// and one more make a quorum.
    pub fn shape(&self) -> Shape {
        let (n, k) = (self.geometry.n(), self.geometry.k());
        let q = n * 2 / 3 + 1;
        Quorum::new(n, k, q).expect("valid thresholds");
        Shape { n, k, q, backend: self.backend, confirmations: 1 }
    }

    /// Returns whether the system is on SQLite without TLS. Goals, curves and the model are about
    /// such systems.
    pub fn is_plain(&self) -> bool {
        self.backend == Backend::Sqlite && !self.tls
    }

    /// Returns the number of connections of each process to its database: the default number, or
    /// fewer if all processes together would have too many for one PostgreSQL server.
    pub fn connections(&self) -> u16 {
        match self.backend {
            Backend::Sqlite => CONNECTIONS,
            Backend::Postgres => {
                let each = SERVER_CONNECTIONS / (self.geometry.n() + 1);
                CONNECTIONS.min(each.saturating_sub(CONNECTIONS_BESIDE)).max(1)
            }
        }
    }

    /// Returns the seats whose shards are rows of the payload.
    pub fn systematic(&self) -> impl Iterator<Item = Seat> {
        Seat::all(self.geometry.k())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match self.backend {
            Backend::Sqlite => "SQLite",
            Backend::Postgres => "PostgreSQL",
        };
        let tls = if self.tls { "TLS" } else { "plain" };
        write!(formatter, "n={},k={}/{store}/{tls}", self.geometry.n(), self.geometry.k())
    }
}

/// Returns a size as text: `16 KiB`, `1 MiB`.
pub fn show_bytes(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_the_server() {
        for (n, k) in [(4, 2), (7, 3), (16, 6), (64, 22)] {
            let connections = Setting::new(n, k, Backend::Postgres, false).connections();
            assert!(
                (connections + CONNECTIONS_BESIDE) * (n + 1) <= SERVER_CONNECTIONS,
                "{n} seats have {connections} each"
            );
            assert!(Setting::new(n, k, Backend::Sqlite, false).connections() == CONNECTIONS);
        }
    }
}
