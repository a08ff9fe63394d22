//! When a rollup's coverage is renewed, up to which batch and until when: pure.

use std::time::Duration;

/// A renewal asks for so much less than the longest retention: members' clocks differ.
const SLACK_SECONDS: u64 = 120;
/// A renewal that gains less than this part of the longest retention is not worth its transaction.
const GAIN_PART: u64 = 10;

/// A rollup's coverage as its contract says it, in a block deep enough. Times in seconds, and Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Batches settled.
    pub batch_count: u64,
    /// Until when all of them are kept; none before the first.
    pub until: Option<u64>,
    /// Of the contract.
    pub freeze_delay: u64,
    /// Of the contract.
    pub exit_window: u64,
}

/// What is to be asked of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Batches 1 to this one.
    pub last_batch: u64,
    /// Unix seconds.
    pub expires_at: u64,
}

/// Whether it is time. `ahead`: how long before settling would stop; without it a third of the rollup's longest retention,
/// and not less than the contract's freeze delay.
pub fn due(covered: &Covered, retention_max_seconds: u64, ahead: Option<Duration>, now: u64) -> Option<Due> {
    let until = covered.until?;
    if covered.batch_count == 0 {
        return None;
    }
    let margin =
        ahead.map_or_else(|| (retention_max_seconds / 3).max(covered.freeze_delay), |ahead| ahead.as_secs());
    let needed =
        now.saturating_add(covered.freeze_delay).saturating_add(covered.exit_window).saturating_add(margin);
    let expires_at = now.saturating_add(retention_max_seconds.saturating_sub(SLACK_SECONDS));
    let gains = expires_at > until.saturating_add(retention_max_seconds / GAIN_PART);
    (until < needed && gains).then_some(Due { last_batch: covered.batch_count, expires_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;
    const RETENTION: u64 = 90_000;

    fn covered(until: u64) -> Covered {
        Covered { batch_count: 7, until: Some(until), freeze_delay: 1_000, exit_window: 2_000 }
    }

    #[test]
    fn it_is_renewed_when_it_runs_short_and_not_before() {
        let short = NOW + 1_000 + 2_000 + RETENTION / 3;
        assert_eq!(due(&covered(short), RETENTION, None, NOW), None);
        let wanted = Due { last_batch: 7, expires_at: NOW + RETENTION - SLACK_SECONDS };
        assert_eq!(due(&covered(short - 1), RETENTION, None, NOW), Some(wanted));
        // What ran out is renewed as well.
        assert_eq!(due(&covered(NOW - 5), RETENTION, None, NOW), Some(wanted));
        // A longer or shorter lead, as configured.
        assert_eq!(due(&covered(NOW + 4_000), RETENTION, Some(Duration::from_secs(1_000)), NOW), None);
        assert_eq!(
            due(&covered(NOW + 3_999), RETENTION, Some(Duration::from_secs(1_000)), NOW),
            Some(wanted)
        );
        // The lead is never shorter than the freeze delay by itself.
        let slow = Covered { freeze_delay: 60_000, ..covered(NOW + 70_000) };
        assert_eq!(due(&slow, RETENTION, None, NOW), Some(wanted));
    }

    #[test]
    fn nothing_is_asked_for_where_nothing_is_gained() {
        assert_eq!(due(&Covered { until: None, ..covered(0) }, RETENTION, None, NOW), None);
        assert_eq!(due(&Covered { batch_count: 0, ..covered(NOW) }, RETENTION, None, NOW), None);
        // Coverage that is always too short for the contract is not renewed at every look.
        let always = Covered { freeze_delay: 10 * RETENTION, ..covered(NOW + RETENTION - SLACK_SECONDS) };
        assert_eq!(due(&always, RETENTION, None, NOW), None);
        assert!(due(&always, RETENTION, None, NOW + RETENTION / 5).is_some());
        for extreme in [0, u64::MAX] {
            let _ = due(&covered(extreme), u64::MAX, None, u64::MAX);
            let _ = due(&covered(extreme), 0, None, extreme);
        }
    }
}
