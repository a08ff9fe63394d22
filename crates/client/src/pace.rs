//! A limit to the rate at which shards are fetched: repair shares disk and network with urgent
//! work.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

/// Limits the rate at which bytes are received.
pub trait Pace: fmt::Debug + Send + Sync {
    /// Returns once these bytes, which have just arrived, fit the rate. The stream pauses
    /// meanwhile, and so does the member's deadline.
    fn take(&self, bytes: usize) -> BoxFuture<'_, ()>;
}

/// A limit of bytes a second that all its users share.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: NonZeroU64,
    /// When all bytes received so far fit the rate.
    paid_at: Mutex<Option<Instant>>,
}

impl Throttle {
    /// Makes a limit of this rate.
    pub const fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, paid_at: Mutex::new(None) }
    }

    fn pay(&self, bytes: usize, now: Instant) -> Instant {
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let until = paid_at.map_or(now, |paid| paid.max(now)) + cost;
        *paid_at = Some(until);
        until
    }
}

impl Pace for Throttle {
    fn take(&self, bytes: usize) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep_until(self.pay(bytes, Instant::now())))
    }
}

/// A pace that tells whether it makes a fetch wait right now.
#[derive(Debug)]
pub(crate) struct WatchedPace {
    inner: Arc<dyn Pace>,
    waiting: AtomicUsize,
}

impl WatchedPace {
    pub(crate) fn new(inner: Arc<dyn Pace>) -> Self {
        Self { inner, waiting: AtomicUsize::new(0) }
    }

    pub(crate) fn is_holding(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Pace for WatchedPace {
    fn take(&self, bytes: usize) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _waiting = Waiting::enter(&self.waiting);
            self.inner.take(bytes).await;
        })
    }
}

/// Counts a waiting fetch while it lives, so that a fetch that is cancelled is no longer counted.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_share_a_throttle_share_its_rate() {
        let throttle = Throttle::new(NonZeroU64::new(1000).unwrap());
        let start = Instant::now();
        let waits = [500, 500, 1000].map(|bytes| (throttle.pay(bytes, start) - start).as_millis());
        assert_eq!(waits, [500, 1000, 2000]);
        // Unused bytes are not saved up for later.
        let later = start + Duration::from_secs(60);
        assert_eq!(throttle.pay(1000, later) - later, Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_holds_nobody() {
        let pace = WatchedPace::new(Arc::new(Throttle::new(NonZeroU64::new(1).unwrap())));
        let mut wait = pace.take(1_000_000);
        assert!(futures::poll!(&mut wait).is_pending());
        assert!(pace.is_holding());
        drop(wait);
        assert!(!pace.is_holding());
    }
}
