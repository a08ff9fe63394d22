//! A limit to the rate at which shards are fetched: repair shares disk and network with urgent
//! work.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::Instant;

/// Says when more bytes may be taken.
pub trait Pace: fmt::Debug + Send + Sync {
    /// Returns once these bytes, which have just arrived, are paid for. The stream stands still
    /// meanwhile; its member's deadline does, too.
    fn take(&self, bytes: usize) -> BoxFuture<'_, ()>;
}

/// So many bytes a second, over all that share it.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: NonZeroU64,
    /// When all that was taken so far is paid for.
    paid_at: Mutex<Option<Instant>>,
}

impl Throttle {
    /// At this rate.
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

/// Counts one who waits for as long as it lives: a wait that is given up is none.
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
        // What was not used is not saved up.
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
