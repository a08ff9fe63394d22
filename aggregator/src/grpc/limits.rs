//! The limits of the gRPC service.

use std::time::Duration;

use dac_runtime::clients::ClientRates;

/// The pause after which a client that was answered BUSY is told to try again.
pub(super) const BUSY_RETRY: Duration = Duration::from_secs(1);

/// The limits of the gRPC service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceLimits {
    /// The number of uploads at once, and of proofs at once. One rollup has at most half of each.
    pub uploads: usize,
    /// The number of watches at once. One client has at most a quarter of them.
    pub watchers: usize,
    /// The rates of requests and bytes at which one client may read.
    pub reads: ClientRates,
}
