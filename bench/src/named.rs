//! Parses the names of the whole system's figures, such as `system/capacity/n=4,k=2/SQLite/plain/1
//! MiB`.

use crate::report::Figure;

/// A parsed name: the figure's kind, the system, and the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The kind of figure, for example `capacity`.
    pub what: &'a str,
    /// The number of seats.
    pub n: u16,
    /// The number of shards that rebuild a batch.
    pub k: u16,
    /// The database: `SQLite` or `PostgreSQL`.
    pub store: &'a str,
    /// The connections: `TLS` or `plain`.
    pub wire: &'a str,
    /// The bytes of a payload, or the bytes of shards that a member lost.
    pub bytes: usize,
}

impl<'a> Named<'a> {
    /// Parses a figure's name. Returns `None` for the name of another kind of figure.
    pub fn read(name: &'a str) -> Option<Self> {
        let mut parts = name.strip_prefix("system/")?.split('/');
        let what = parts.next()?;
        let (n, k) = parts.next()?.strip_prefix("n=")?.split_once(",k=")?;
        let (store, wire, size) = (parts.next()?, parts.next()?, parts.next()?);
        let (n, k) = (n.parse().ok()?, k.parse().ok()?);
        parts.next().is_none().then_some(Self { what, n, k, store, wire, bytes: bytes(size)? })
    }

    /// Returns whether the system uses SQLite without TLS.
    pub fn is_plain(&self) -> bool {
        (self.store, self.wire) == ("SQLite", "plain")
    }
}

/// Returns the figures of the whole system with their parsed names, in the order of measurement.
pub fn all(figures: &[Figure]) -> impl Iterator<Item = (Named<'_>, &Figure)> {
    figures.iter().filter_map(|figure| Some((Named::read(&figure.name)?, figure)))
}

/// Parses a size such as `16 KiB` or `1 MiB` into bytes.
pub fn bytes(size: &str) -> Option<usize> {
    let (number, unit) = size.split_once(' ')?;
    let unit = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use dac_database::Backend;

    use super::*;
    use crate::system::setting::{Setting, show_bytes};

    #[test]
    fn names_are_read_as_they_are_written() {
        let setting = Setting::new(16, 6, Backend::Postgres, true);
        for size in [16 << 10, 1 << 20, 32 << 20] {
            let name = format!("system/certificate latency p99.9 at 50 %/{setting}/{}", show_bytes(size));
            let read = Named::read(&name).unwrap();
            assert_eq!((read.what, read.n, read.k), ("certificate latency p99.9 at 50 %", 16, 6));
            assert_eq!((read.store, read.wire, read.bytes), ("PostgreSQL", "TLS", size));
            assert!(!read.is_plain());
        }
        for other in ["coding/encode/n=4 k=2 1 MiB", "system/x", "system/x/n=4,k=2/SQLite/plain/1 MB", ""] {
            assert_eq!(Named::read(other), None, "{other}");
        }
    }
}
