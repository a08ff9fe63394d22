//! Warnings about what others can make happen as often as they like.

use std::time::Duration;

use tokio::time::Instant;

/// Between two warnings of the same thing.
const INTERVAL: Duration = Duration::from_secs(60);

/// Says when to warn: the first time at once, and then once a minute at most, with the number of
/// times since.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm {
    warned: Option<Instant>,
    untold: u64,
}

impl Alarm {
    /// It happened once more. Gives how often since the last warning, where it is time for one.
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
