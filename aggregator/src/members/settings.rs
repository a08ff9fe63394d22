//! Settings of calls to members.

use std::time::Duration;

/// Limits, timeouts and pauses of calls to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSettings {
    /// The most calls at once to all members together.
    pub calls_max: usize,
    /// The most calls at once to one member.
    pub calls_per_member: usize,
    /// The longest time from the first byte sent to the answer.
    pub call_timeout: Duration,
    /// Pause after the first failure; it doubles with each.
    pub retry_initial: Duration,
    /// Longest pause while the batch waits for its certificate.
    pub retry_max: Duration,
    /// Longest pause once the batch has its certificate.
    pub straggler_retry_max: Duration,
    /// Whether members that ask for a client certificate are shown one.
    pub shows_certificate: bool,
}

/// The purpose of a call, which decides its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// The batch waits for its certificate.
    Fresh,
    /// The batch has its certificate, and the member does not have its shard yet.
    Straggler,
    /// The batch has its certificate and the member has its shard: only the certificate is sent.
    Certificate,
}
