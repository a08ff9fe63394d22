//! Which system is measured.

use std::fmt;

use dac_database::Backend;
use dac_tests::network::Shape;
use dac_types::{Geometry, Quorum, Seat};

/// Connections of a process to its database, as services have it by default.
const CONNECTIONS: u16 = 8;
/// Connections that a process has beside those: leases, and reading again whether a commit took
/// place.
const CONNECTIONS_BESIDE: u16 = 2;
/// Connections that the server of `tools/with-postgres` takes, less some that it keeps for itself
/// and for looking on.
const SERVER_CONNECTIONS: u16 = 280;

/// One system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Seats, and shards that rebuild a batch.
    pub geometry: Geometry,
    /// Where members and aggregator store.
    pub backend: Backend,
    /// Whether every connection but that to L1 is encrypted.
    pub tls: bool,
}

impl Setting {
    /// So many seats, with thresholds as the committee sizes of the goals have them: 4 (k 2), 7 (k
    /// 3), 16 (k 6), 64 (k 22).
    pub fn new(n: u16, k: u16, backend: Backend, tls: bool) -> Self {
        Self { geometry: Geometry::new(n, k).expect("a valid geometry"), backend, tls }
    }

    /// As the harness takes it; two thirds of the seats and one make a quorum.
    pub fn shape(&self) -> Shape {
        let (n, k) = (self.geometry.n(), self.geometry.k());
        let q = n * 2 / 3 + 1;
        Quorum::new(n, k, q).expect("valid thresholds");
        Shape { n, k, q, backend: self.backend, confirmations: 1 }
    }

    /// SQLite without TLS: the system that goals, curves and the model speak of.
    pub fn is_plain(&self) -> bool {
        self.backend == Backend::Sqlite && !self.tls
    }

    /// Connections of each process to its database: as many as a configuration without a number
    /// has, but where all of them together would be too many for one PostgreSQL server.
    pub fn connections(&self) -> u16 {
        match self.backend {
            Backend::Sqlite => CONNECTIONS,
            Backend::Postgres => {
                let each = SERVER_CONNECTIONS / (self.geometry.n() + 1);
                CONNECTIONS.min(each.saturating_sub(CONNECTIONS_BESIDE)).max(1)
            }
        }
    }

    /// Seats whose shards are the payload itself.
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

/// `16 KiB`, `1 MiB`.
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
