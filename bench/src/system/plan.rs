//! The plan: which systems are measured, with which payloads, and for how long.

use std::time::Duration;

use dac_database::Backend;

use super::setting::Setting;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The committees: the number of seats, and the number of shards that rebuild a batch.
const COMMITTEES: [(u16, u16); 4] = [(4, 2), (7, 3), (16, 6), (64, 22)];
/// The payload sizes of the full form (`--full`).
const PAYLOADS: [usize; 5] = [16 * KIB, 64 * KIB, MIB, 8 * MIB, 32 * MIB];

/// From this payload size on, so few batches are certified in a second that windows are twice as
/// long.
const LARGE_BYTES: usize = 8 * MIB;

/// The measurements of one system with payloads of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The system.
    pub setting: Setting,
    /// The bytes of each payload.
    pub bytes: usize,
    /// Whether latencies below capacity are measured.
    pub latency: bool,
    /// Whether payloads are retrieved.
    pub retrieval: bool,
}

/// The durations of the measurements of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The time before anything is measured.
    pub warm_up: Duration,
    /// The time at capacity.
    pub capacity: Duration,
    /// The time at each rate that is tested for whether the system sustains it.
    pub step: Duration,
    /// The shortest time at each rate below capacity.
    pub latency: Duration,
    /// The shortest time at such a rate if there is a goal for the latency.
    pub latency_of_goal: Duration,
}

impl Times {
    /// Returns the times of the short or the full form for payloads of this size. For large
    /// payloads they are longer, because few are certified in a second.
    pub fn of(full: bool, bytes: usize) -> Self {
        let seconds = Duration::from_secs;
        let times = if full {
            Self {
                warm_up: seconds(3),
                capacity: seconds(20),
                step: seconds(12),
                latency: seconds(30),
                latency_of_goal: seconds(90),
            }
        } else {
            Self {
                warm_up: seconds(2),
                capacity: seconds(8),
                step: seconds(6),
                latency: seconds(10),
                latency_of_goal: seconds(40),
            }
        };
        if bytes < LARGE_BYTES {
            return times;
        }
        Self { capacity: times.capacity * 2, step: times.step * 2, ..times }
    }

    /// Sets all times to the same value, for trials.
    pub const fn all(time: Duration) -> Self {
        Self {
            warm_up: Duration::from_secs(1),
            capacity: time,
            step: time,
            latency: time,
            latency_of_goal: time,
        }
    }
}

/// Returns the cells of the full form: every committee, payload and store, with TLS and without.
pub fn full() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (n, k) in COMMITTEES {
        for backend in [Backend::Sqlite, Backend::Postgres] {
            for tls in [false, true] {
                let setting = Setting::new(n, k, backend, tls);
                cells.extend(PAYLOADS.map(|bytes| Cell { setting, bytes, latency: true, retrieval: true }));
            }
        }
    }
    cells
}

/// Returns the cells of the short form: the systems that have goals, one system of each kind, and
/// enough others to fit the model and to check it.
pub fn short() -> Vec<Cell> {
    use Backend::{Postgres, Sqlite};
    let rate_only = |cell: Cell| Cell { latency: false, retrieval: false, ..cell };
    let all = |n, k, backend, tls, bytes| Cell {
        setting: Setting::new(n, k, backend, tls),
        bytes,
        latency: true,
        retrieval: true,
    };
    vec![
        all(4, 2, Sqlite, false, 16 * KIB),
        all(4, 2, Sqlite, false, 64 * KIB),
        all(4, 2, Sqlite, false, MIB),
        all(4, 2, Sqlite, false, 32 * MIB),
        rate_only(all(7, 3, Sqlite, false, 64 * KIB)),
        all(7, 3, Sqlite, false, MIB),
        rate_only(all(7, 3, Sqlite, false, 8 * MIB)),
        rate_only(all(16, 6, Sqlite, false, 64 * KIB)),
        all(16, 6, Sqlite, false, MIB),
        rate_only(all(16, 6, Sqlite, false, 8 * MIB)),
        rate_only(all(64, 22, Sqlite, false, 64 * KIB)),
        all(64, 22, Sqlite, false, MIB),
        rate_only(all(64, 22, Sqlite, false, 8 * MIB)),
        all(4, 2, Sqlite, true, MIB),
        rate_only(all(7, 3, Sqlite, true, MIB)),
        all(4, 2, Postgres, false, MIB),
        rate_only(all(4, 2, Postgres, false, 64 * KIB)),
        rate_only(all(4, 2, Postgres, true, MIB)),
        rate_only(all(7, 3, Postgres, false, MIB)),
        rate_only(all(7, 3, Postgres, true, MIB)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(cells: &[Cell], n: u16, backend: Backend, tls: bool, bytes: usize) -> bool {
        cells.iter().any(|cell| {
            let Setting { geometry, backend: b, tls: t } = cell.setting;
            (geometry.n(), b, t, cell.bytes) == (n, backend, tls, bytes)
        })
    }

    #[test]
    fn every_committee_store_and_goal_has_its_cell() {
        for cells in [short(), full()] {
            for n in [4, 7, 16, 64] {
                assert!(has(&cells, n, Backend::Sqlite, false, MIB), "{n} seats");
            }
            for n in [4, 7] {
                for (backend, tls) in
                    [(Backend::Sqlite, true), (Backend::Postgres, false), (Backend::Postgres, true)]
                {
                    assert!(has(&cells, n, backend, tls, MIB), "{n} seats on {backend:?}, TLS {tls}");
                }
            }
            for bytes in [16 * KIB, 64 * KIB, MIB, 32 * MIB] {
                assert!(has(&cells, 4, Backend::Sqlite, false, bytes), "{bytes} bytes");
            }
            let once = |cell: &Cell| cells.iter().filter(|other| *other == cell).count() == 1;
            assert!(cells.iter().all(once), "a cell is measured twice");
        }
        let of_goal = short().into_iter().find(|cell| cell.setting.geometry.n() == 7 && cell.bytes == MIB);
        assert!(of_goal.is_some_and(|cell| cell.latency), "the goal about latency");
    }
}
