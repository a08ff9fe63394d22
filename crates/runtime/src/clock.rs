//! The time, in whole Unix seconds as the protocol counts it, injected so that tests can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Seconds since 1970, UTC.
    fn now_unix_seconds(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_unix_seconds(&self) -> u64 {
        // A clock before 1970 is broken; 0 makes every batch look new and every epoch look inactive, so nothing is signed.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }
}

/// A clock that stands until it is moved. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Stands at `now`.
    pub fn at(now: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now)))
    }

    /// Moves to `now`, back or forth.
    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::SeqCst);
    }

    /// Moves forward.
    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now_unix_seconds(&self) -> u64 {
        (**self).now_unix_seconds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_is_moved_by_hand() {
        let clock = ManualClock::at(100);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        clock.advance(5);
        assert_eq!(shared.now_unix_seconds(), 105);
        clock.set(1);
        assert_eq!(shared.now_unix_seconds(), 1);
    }

    #[test]
    fn the_system_clock_is_in_this_century() {
        assert!((1_700_000_000..4_100_000_000).contains(&SystemClock.now_unix_seconds()));
    }
}
