//! What the registry's owner granted to a rollup.

use alloy_primitives::Address;

/// An admitted rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdmittedRollup {
    /// Its settlement contract.
    pub rollup: Address,
    /// Whose signature authorises its submissions.
    pub poster: Address,
    /// How far ahead `expiresAt` may lie, in seconds.
    pub retention_max_seconds: u64,
    /// Payload bytes it may submit in one UTC day.
    pub daily_payload_bytes: u64,
}
