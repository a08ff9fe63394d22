//! Which system is measured.

use std::fmt;

use dac_database::Backend;
use dac_tests::network::Shape;
use dac_types::{Geometry, Quorum, Seat};

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
    /// So many seats, with thresholds as the committee sizes of the goals have them: 4 (k 2), 7 (k 3), 16 (k 6), 64 (k 22).
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
