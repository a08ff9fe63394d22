//! Limits warnings about events that others can cause as often as they like.

use std::time::Duration;

use tokio::time::Instant;

/// The time between two warnings of the same kind.
const INTERVAL: Duration = Duration::from_secs(60);

/// Decides when to warn: the first time at once, and then at most once a minute, with the number of
/// events since.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm {
    warned: Option<Instant>,
    untold: u64,
}

impl Alarm {
    /// Counts one more event. Returns the number since the last warning if it is time for a new
    /// one.
    pub fn ring(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        if self.warned.is_some_and(|warned| now.saturating_duration_since(warned) < INTERVAL) {
            return None;
        }
        self.warned = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_once_a_minute_with_its_size() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        assert_eq!(alarm.ring(start), Some(1));
        for second in 1..60 {
            assert_eq!(alarm.ring(start + Duration::from_secs(second)), None);
        }
        assert_eq!(alarm.ring(start + INTERVAL), Some(60));
    }
}
