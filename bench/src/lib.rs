#![doc = include_str!("../README.md")]

pub mod allocations;
pub mod committee;
pub mod curves;
pub mod excluded;
pub mod gas;
pub mod machine;
pub mod model;
pub mod named;
pub mod page;
pub mod peers;
pub mod plot;
pub mod report;
pub mod system;

use std::time::{Duration, Instant};

/// The times of an operation that was run several times.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The time of the fastest run, which the rest of the machine disturbed least.
    pub best: Duration,
    /// The median time.
    pub median: Duration,
}

impl Timing {
    /// Runs `operation` `runs` times (at least once). Its results are dropped outside the measured
    /// time.
    pub fn of<T>(runs: usize, mut operation: impl FnMut() -> T) -> Self {
        let mut times: Vec<Duration> = (0..runs.max(1))
            .map(|_| {
                let start = Instant::now();
                let result = std::hint::black_box(operation());
                let time = start.elapsed();
                drop(result);
                time
            })
            .collect();
        times.sort_unstable();
        Self { best: times[0], median: times[times.len() / 2] }
    }

    /// Returns the time of the fastest run in milliseconds.
    pub fn best_ms(self) -> f64 {
        self.best.as_secs_f64() * 1e3
    }

    /// Returns the median time in milliseconds.
    pub fn median_ms(self) -> f64 {
        self.median.as_secs_f64() * 1e3
    }

    /// Returns the rate of the fastest run in gigabytes (10^9 bytes) a second.
    #[allow(clippy::cast_precision_loss)] // Sizes far below 2^52.
    pub fn gigabytes_per_second(self, bytes: usize) -> f64 {
        bytes as f64 / self.best.as_secs_f64() / 1e9
    }
}
