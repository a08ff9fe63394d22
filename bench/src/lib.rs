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

/// Times of one operation, repeated.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The fastest run: the least disturbed by the rest of the machine.
    pub best: Duration,
    /// The middle one.
    pub median: Duration,
}

impl Timing {
    /// Runs `operation` `runs` times (at least once). What it returns is dropped outside the
    /// measured time.
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

    /// The best run in milliseconds.
    pub fn best_ms(self) -> f64 {
        self.best.as_secs_f64() * 1e3
    }

    /// The median in milliseconds.
    pub fn median_ms(self) -> f64 {
        self.median.as_secs_f64() * 1e3
    }

    /// Gigabytes (10^9 bytes) a second in the best run.
    #[allow(clippy::cast_precision_loss)] // Sizes far below 2^52.
    pub fn gigabytes_per_second(self, bytes: usize) -> f64 {
        bytes as f64 / self.best.as_secs_f64() / 1e9
    }
}
