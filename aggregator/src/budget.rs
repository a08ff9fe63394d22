//! Bytes in flight: payloads that are arriving, or that wait for their certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bound on bytes, given out in reservations.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: u64,
    used: AtomicU64,
}

/// Bytes given out until it is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: ByteBudget,
    bytes: u64,
}

impl ByteBudget {
    /// So many bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, used: AtomicU64::new(0) }))
    }

    /// The bound.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Bytes given out.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Some bytes, if they are left. A payload larger than the whole budget may go alone.
    pub fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        let fits = |used: u64| {
            (used == 0 || used.saturating_add(bytes) <= self.0.limit).then(|| used.saturating_add(bytes))
        };
        self.0.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(self.reservation(bytes))
    }

    /// Some bytes, whether they are left or not: of a batch that was taken before a restart.
    pub fn reserve_anyway(&self, bytes: u64) -> Reservation {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
        self.reservation(bytes)
    }

    fn reservation(&self, bytes: u64) -> Reservation {
        self.report();
        Reservation { budget: self.clone(), bytes }
    }

    #[allow(clippy::cast_precision_loss, reason = "a gauge")]
    fn report(&self) {
        metrics::gauge!("dac_aggregator_bytes_in_flight").set(self.used() as f64);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.report();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_out_comes_back() {
        let budget = ByteBudget::new(100);
        let first = budget.try_reserve(60).unwrap();
        assert!(budget.try_reserve(41).is_none());
        let second = budget.try_reserve(40).unwrap();
        drop((first, second));
        assert_eq!(budget.used(), 0);
        let _alone = budget.try_reserve(1000).unwrap();
        assert!(budget.try_reserve(1).is_none());
        let recovered = budget.reserve_anyway(5);
        assert_eq!(budget.used(), 1005);
        drop(recovered);
    }
}
