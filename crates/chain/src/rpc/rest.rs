//! When to ask an endpoint again that asked for a pause, did not answer, or had nothing new.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long an endpoint that did not answer is asked last.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
/// How long an endpoint that had less of the chain than another is asked last.
const AFTER_LAGGING: Duration = Duration::from_secs(60);
/// How long an endpoint is not asked that wants a pause and does not say how long.
pub(super) const LIMITED_DEFAULT: Duration = Duration::from_secs(1);
/// The longest that an endpoint is not asked, even if it wants a longer pause: it may be wrong or
/// malicious.
pub(super) const LIMITED_MAX: Duration = Duration::from_secs(120);

/// Whether an endpoint may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The endpoint may be asked now.
    Now,
    /// The endpoint may be asked if the others could not help.
    Last,
    /// The endpoint asked for a pause, of which this much is left.
    Not(Duration),
}

/// The pauses of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Rest(Mutex<State>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    last_until: Option<Instant>,
    not_until: Option<Instant>,
}

impl Rest {
    pub(super) fn turn(&self) -> Turn {
        self.turn_at(Instant::now())
    }

    fn turn_at(&self, now: Instant) -> Turn {
        let state = self.state(|state| *state);
        match (state.not_until, state.last_until) {
            (Some(until), _) if until > now => Turn::Not(until - now),
            (_, Some(until)) if until > now => Turn::Last,
            _ => Turn::Now,
        }
    }

    pub(super) fn failed(&self) {
        self.last_for(AFTER_FAILURE);
    }

    pub(super) fn lags(&self) {
        self.last_for(AFTER_LAGGING);
    }

    pub(super) fn limited(&self, pause: Duration) {
        self.state(|state| state.not_until = Some(Instant::now() + pause));
    }

    fn last_for(&self, pause: Duration) {
        self.state(|state| state.last_until = Some(Instant::now() + pause));
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everyone_comes_back() {
        let rest = Rest::default();
        let now = Instant::now();
        let later = |seconds: u64| rest.turn_at(now + Duration::from_secs(seconds));
        assert_eq!(later(0), Turn::Now);
        rest.failed();
        assert_eq!((later(9), later(11)), (Turn::Last, Turn::Now));
        rest.lags();
        assert_eq!((later(59), later(61)), (Turn::Last, Turn::Now));
        rest.limited(Duration::from_secs(70));
        assert!(matches!(later(69), Turn::Not(pause) if pause <= Duration::from_secs(2)));
        assert_eq!(later(71), Turn::Now);
    }
}
