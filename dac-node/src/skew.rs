//! Measures how far this machine's clock is from L1's. A member whose clock is wrong signs for the
//! wrong times.

/// A change in how the clock compares with L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockNews {
    /// The clock now differs by this many seconds and did not before. The number is positive if the
    /// clock is ahead of L1.
    Differs(i64),
    /// The clock agrees with L1 again.
    Agrees,
}

/// Compares the clock with each block that is read.
#[derive(Clone, Copy, Debug)]
pub struct ClockWatch {
    /// The difference in seconds that is not reported.
    allowed: u64,
    differs: bool,
}

impl ClockWatch {
    /// Makes a watch that reports differences above `allowed` seconds.
    pub const fn new(allowed: u64) -> Self {
        Self { allowed, differs: false }
    }

    /// Compares the time `now` with the `timestamp` of the newest block. A chain that makes no
    /// blocks looks like a clock that is ahead.
    pub fn look(&mut self, now: u64, timestamp: u64) -> Option<ClockNews> {
        let differs = now.abs_diff(timestamp) > self.allowed;
        if differs == self.differs {
            return None;
        }
        self.differs = differs;
        Some(if differs { ClockNews::Differs(seconds_ahead(now, timestamp)) } else { ClockNews::Agrees })
    }
}

/// Returns how many seconds `now` is ahead of `timestamp`. The number is negative if it is behind.
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
