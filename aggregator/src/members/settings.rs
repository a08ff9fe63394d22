//! How members are called.

use std::time::Duration;

/// How members are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallSettings {
    /// Calls at once, to all members together.
    pub calls_max: usize,
    /// Calls at once to one member.
    pub calls_per_member: usize,
    /// From the first byte sent to the answer.
    pub call_timeout: Duration,
    /// Pause after the first failure; it doubles with each.
    pub retry_initial: Duration,
    /// Longest pause while the batch waits for its certificate.
    pub retry_max: Duration,
    /// Longest pause once it has its certificate.
    pub straggler_retry_max: Duration,
    /// Whether members that ask for a client certificate are shown one.
    pub shows_certificate: bool,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// The batch waits for its certificate.
    Fresh,
    /// It has it.
    Straggler,
    /// It has it, and the member has its shard: only the certificate is new.
    Certificate,
}
