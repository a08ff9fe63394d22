//! What payloads hold on their way to the certificate.

use crate::batch::Batch;
use crate::budget::{Budget, Held, Part};

/// Payload bytes by what becomes of them. Clones are the same budgets.
#[derive(Clone, Debug)]
pub struct Budgets {
    /// Arriving, or on their way to members that take them.
    pub in_flight: Budget,
    /// On the disk, while too few members take them: what one rollup's members refuse must not keep
    /// other rollups from submitting.
    pub parked: Budget,
}

impl Budgets {
    /// So many bytes of each.
    pub fn new(in_flight: u64, parked: u64) -> Self {
        Self { in_flight: Budget::new(in_flight, Part::Half), parked: Budget::new(parked, Part::Half) }
    }

    /// A place on the disk for a batch that no quorum takes for now, if its rollup has one left.
    /// Otherwise the batch stays in flight, within its rollup's share of that.
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
