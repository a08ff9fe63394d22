//! How far this machine's clock is from L1's: a clock that is off signs for the wrong times.

/// What is new about the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockNews {
    /// It differs by so many seconds, and did not before. Positive: it is ahead of L1.
    Differs(i64),
    /// It agrees again.
    Agrees,
}

/// Compares the clock with blocks as they are read.
#[derive(Clone, Copy, Debug)]
pub struct ClockWatch {
    /// Seconds of difference that are nothing to speak of.
    allowed: u64,
    differs: bool,
}

impl ClockWatch {
    /// That speaks of differences above so many seconds.
    pub const fn new(allowed: u64) -> Self {
        Self { allowed, differs: false }
    }

    /// The clock said `now` when the newest block was of `timestamp`. A chain that makes no blocks
    /// looks like a clock ahead.
    pub fn look(&mut self, now: u64, timestamp: u64) -> Option<ClockNews> {
        let differs = now.abs_diff(timestamp) > self.allowed;
        if differs == self.differs {
            return None;
        }
        self.differs = differs;
        Some(if differs { ClockNews::Differs(seconds_ahead(now, timestamp)) } else { ClockNews::Agrees })
    }
}

/// How many seconds `now` is ahead of `timestamp`; negative where it is behind.
pub fn seconds_ahead(now: u64, timestamp: u64) -> i64 {
    let difference = i64::try_from(now.abs_diff(timestamp)).unwrap_or(i64::MAX);
    if now >= timestamp { difference } else { -difference }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_once_in_either_direction() {
        let mut watch = ClockWatch::new(60);
        for (now, timestamp, news) in [
            (1000, 1000, None),
            (1060, 1000, None),
            (1061, 1000, Some(ClockNews::Differs(61))),
            (1100, 1000, None),
            (1000, 1000, Some(ClockNews::Agrees)),
            (1000, 1061, Some(ClockNews::Differs(-61))),
            (0, u64::MAX, None),
            (1000, 1060, Some(ClockNews::Agrees)),
        ] {
            assert_eq!(watch.look(now, timestamp), news, "{now} against {timestamp}");
        }
    }
}
