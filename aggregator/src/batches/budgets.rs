//! Budgets for the bytes of payloads that have no certificate yet.

use crate::batch::Batch;
use crate::budget::{Budget, Held, Part};

/// Budgets of payload bytes in memory and on the disk. Clones share the same budgets.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// Bytes of payloads that are arriving or being delivered to members that accept them.
    pub in_flight: Budget,
    /// Bytes of payloads on the disk that too few members accept for now. Their budget is separate,
    /// so that one rollup's refused batches do not keep other rollups from submitting.
    pub parked: Budget,
}

impl Budgets {
    /// Makes two budgets of `in_flight` and `parked` bytes.
    pub fn new(in_flight: u64, parked: u64) -> Self {
        Self { in_flight: Budget::new(in_flight, Part::Half), parked: Budget::new(parked, Part::Half) }
    }

    /// Takes a place on the disk for a batch that too few members accept for now. Returns `None` if
    /// its rollup has no place left: the batch then stays in flight, within its rollup's share.
    pub(super) fn park(&self, batch: &Batch) -> Option<Held> {
        let order = &batch.submission.submission;
        self.parked.try_take(order.rollup, order.payload_length).ok()
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    pub(crate) fn report(&self) {
        metrics::gauge!("dac_aggregator_bytes_in_flight").set(self.in_flight.used() as f64);
        metrics::gauge!("dac_aggregator_bytes_parked").set(self.parked.used() as f64);
    }
}
