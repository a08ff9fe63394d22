//! Bounds of the service.

use std::time::Duration;

use dac_runtime::clients::ClientRates;

/// The time after which a busy aggregator may have room again.
pub(super) const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Bounds of the service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceLimits {
    /// Number of uploads at once, and of proofs at once. One rollup has half of each at most.
    pub uploads: usize,
    /// Number of watchers at once. One client has a quarter of them at most.
    pub watchers: usize,
    /// How many requests and bytes one client may read.
    pub reads: ClientRates,
}
