//! The file descriptors that a process may open, and those that its configuration may make it open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// Descriptors for standard streams, the async runtime, files that are open for a moment, and name
/// look-ups.
const SPARE: u64 = 64;

/// The configuration may make the process open more descriptors than the system allows.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "this configuration may use {needed} file descriptors ({sum}), and the system gives this process {limit}: raise the \
     limit (LimitNOFILE= in a systemd unit, `ulimit -n`, --ulimit nofile= of a container) or lower one of these"
)]
pub struct TooFewDescriptors {
    needed: u64,
    limit: u64,
    sum: String,
}

/// The most descriptors for calls to this many JSON-RPC endpoints. Connections are kept for the
/// next call, and few calls overlap.
pub fn endpoint_descriptors(endpoints: usize) -> u64 {
    const EACH: u64 = 16;
    EACH.saturating_mul(endpoints as u64)
}

/// The descriptors that a configuration may use, by the key that sets them.
#[derive(Clone, Debug, Default)]
pub struct Descriptors(Vec<(String, u64)>);

impl Descriptors {
    /// Adds a number of descriptors; `key` is the configuration key that sets it.
    #[must_use]
    pub fn and(mut self, key: impl Into<String>, count: impl Into<u64>) -> Self {
        self.0.push((key.into(), count.into()));
        self
    }

    /// The sum, with a few to spare.
    pub fn needed(&self) -> u64 {
        self.0.iter().fold(SPARE, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The addition in words.
    pub fn sum(&self) -> String {
        let spare = ("spare", SPARE);
        let uses = self.0.iter().map(|(key, count)| (key.as_str(), *count)).chain([spare]);
        uses.map(|(key, count)| format!("{key} {count}")).collect::<Vec<_>>().join(" + ")
    }

    /// Raises this process's own limit as far as the system allows, and compares it with the sum.
    ///
    /// # Errors
    /// Fails if the sum exceeds the limit; the error contains the addition.
    pub fn check(&self) -> Result<String, TooFewDescriptors> {
        self.fit(raise())
    }

    fn fit(&self, limit: Option<u64>) -> Result<String, TooFewDescriptors> {
        let needed = self.needed();
        match limit {
            Some(limit) if limit < needed => Err(TooFewDescriptors { needed, limit, sum: self.sum() }),
            Some(limit) => Ok(format!("{needed} of {limit} ({})", self.sum())),
            None => Ok(format!("{needed} ({})", self.sum())),
        }
    }
}

/// Raises the process's limit to the most that it may set itself, and returns that; `None` if there
/// is no limit.
fn raise() -> Option<u64> {
    let now = getrlimit(Resource::Nofile);
    if now.current.is_some_and(|current| now.maximum.is_none_or(|maximum| current < maximum)) {
        let raised = Rlimit { current: now.maximum, maximum: now.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of file descriptors stays as it is");
        }
    }
    getrlimit(Resource::Nofile).current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_does_not_fit_is_refused_with_its_parts() {
        let uses = Descriptors::default()
            .and("retrieval.limits.connections", 512_u32)
            .and("store.connections", 8_u32);
        assert_eq!(uses.needed(), 584);
        assert_eq!(
            uses.fit(Some(1024)).unwrap(),
            "584 of 1024 (retrieval.limits.connections 512 + store.connections 8 + spare 64)"
        );
        let error = uses.fit(Some(583)).unwrap_err().to_string();
        assert!(error.contains("584") && error.contains("retrieval.limits.connections 512"), "{error}");
        assert!(uses.fit(Some(584)).is_ok() && uses.fit(None).is_ok());
        assert!(Descriptors::default().and("x", u64::MAX).fit(Some(1024)).is_err());
    }

    #[test]
    fn this_process_has_a_limit_that_is_raised() {
        let limit = getrlimit(Resource::Nofile);
        Descriptors::default().and("one", 1_u32).check().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    }
}
