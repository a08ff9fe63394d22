//! A minimum rate for transfers: a transfer may hold memory only while its bytes keep arriving.

use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

/// The rate at which the bytes of a transfer must arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second in the long run. It is at least 1.
    pub bytes_per_second: u64,
    /// How far a transfer may lag behind that rate, which covers its start and networks that stall.
    pub grace: Duration,
}

/// The error that a transfer lags behind its rate by more than the grace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{received} bytes came in {elapsed:?}; at least {bytes_per_second} bytes a second are asked for after {grace:?}"
)]
pub struct TooSlow {
    /// Number of bytes that arrived.
    pub received: u64,
    /// Time since the transfer began.
    pub elapsed: Duration,
    /// The rate that is demanded.
    pub bytes_per_second: u64,
    /// How far a transfer may lag behind the rate.
    pub grace: Duration,
}

/// The progress of one transfer, measured against its rate.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    rate: Rate,
    began: Instant,
    received: u64,
}

impl Pace {
    /// Starts to measure a transfer that begins now.
    pub const fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, began: now, received: 0 }
    }

    /// Records that this number of bytes arrived.
    pub const fn received(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
    }

    /// Returns the time at which the transfer is too slow unless more bytes arrive. A wait for the
    /// next bytes should end there.
    pub fn deadline(&self) -> Instant {
        let due = self.received / self.rate.bytes_per_second.max(1);
        let rest = self.received % self.rate.bytes_per_second.max(1);
        let part = Duration::from_secs_f64(to_f64(rest) / to_f64(self.rate.bytes_per_second.max(1)));
        self.began + self.rate.grace + Duration::from_secs(due.min(u64::from(u32::MAX))) + part
    }

    /// Checks that the transfer keeps its rate.
    ///
    /// # Errors
    /// It fails if the transfer is too slow; the error has the figures.
    pub fn check(&self, now: Instant) -> Result<(), TooSlow> {
        if now < self.deadline() {
            return Ok(());
        }
        let Rate { bytes_per_second, grace } = self.rate;
        let elapsed = now.saturating_duration_since(self.began);
        Err(TooSlow { received: self.received, elapsed, bytes_per_second, grace })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a part of a second")]
const fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bytes_per_second: 1000, grace: Duration::from_secs(10) };

    #[test]
    fn a_transfer_that_trickles_is_too_slow() {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start);
        assert_eq!(pace.deadline(), start + Duration::from_secs(10));
        pace.received(500);
        assert_eq!(pace.deadline(), start + Duration::from_millis(10_500));
        pace.check(start + Duration::from_millis(10_499)).unwrap();
        let slow = pace.check(start + Duration::from_millis(10_500)).unwrap_err();
        assert_eq!((slow.received, slow.elapsed), (500, Duration::from_millis(10_500)));
    }

    #[test]
    fn a_fast_transfer_may_pause_for_what_it_is_ahead() {
        let start = Instant::now();
        let mut pace = Pace::new(RATE, start);
        pace.received(60_000);
        pace.check(start + Duration::from_secs(69)).unwrap();
        assert!(pace.check(start + Duration::from_secs(70)).is_err());
    }
}
