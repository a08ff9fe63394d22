//! Decides when a rollup's coverage is renewed, up to which batch and until when, and how long the
//! next renewal waits. The functions are pure.

use std::time::Duration;

/// How much less than the longest retention a renewal asks for, because members' clocks differ.
const SLACK_SECONDS: u64 = 120;
/// A renewal that gains less than one tenth of the longest retention is not worth its transaction.
const GAIN_PART: u64 = 10;

/// The longest pause between two renewals if a rollup's contract does not seem to count them.
const PAUSE_MAX_SECONDS: u64 = 24 * 3600;

/// A rollup's coverage as its contract states it in a block that is deep enough. Durations are in
/// seconds, times in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// The number of settled batches.
    pub batch_count: u64,
    /// The time until which members keep all of them; none before the first batch.
    pub until: Option<u64>,
    /// The contract's freeze delay.
    pub freeze_delay: u64,
    /// The contract's exit window.
    pub exit_window: u64,
}

/// The renewal to ask the members for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The last batch; the renewal covers batches 1 to this one.
    pub last_batch: u64,
    /// The new end of the coverage, in Unix seconds.
    pub expires_at: u64,
}

/// Returns the renewal that is due, if it is time. `ahead` is how long before settling would stop;
/// if it is none, a third of the rollup's longest retention, and not less than the contract's
/// freeze delay.
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

/// The last renewal of a rollup that was handed to L1. The aggregator pays for renewals, so if a
/// contract goes on saying that its coverage is short, it is renewed with pauses that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The time of the renewal, in Unix seconds.
    at: u64,
    /// The highest last batch of all renewals so far.
    last_batch: u64,
    /// The seconds until the same batches may be renewed again.
    pause: u64,
}

impl Renewed {
    /// Returns what to remember after a renewal at `now`. `interval` is the shortest pause. The
    /// longest pause is no longer than the least time that a renewal gains, so that a contract that
    /// counts renewals never has to wait.
    pub fn after(
        former: Option<Self>,
        due: &Due,
        retention_max_seconds: u64,
        interval: Duration,
        now: u64,
    ) -> Self {
        let shortest = interval.as_secs().max(1);
        let longest = PAUSE_MAX_SECONDS.min(retention_max_seconds / GAIN_PART).max(shortest);
        let last_batch = former.map_or(0, |former| former.last_batch).max(due.last_batch);
        let pause = match former {
            Some(former)
                if former.last_batch == last_batch
                    && now.saturating_sub(former.at) < longest.saturating_mul(2) =>
            {
                former.pause.saturating_mul(2).min(longest)
            }
            _ => shortest,
        };
        Self { at: now, last_batch, pause }
    }

    /// Returns the time until which a renewal waits, if it does. A renewal of more batches than
    /// before never waits, because a quorum signs only for batches that it knows.
    pub fn holds_back(&self, due: &Due, now: u64) -> Option<u64> {
        let until = self.at.saturating_add(self.pause);
        (due.last_batch <= self.last_batch && now < until).then_some(until)
    }

    /// Returns whether the renewal before this one had no effect, as far as the contract says.
    pub fn is_repeated(&self, interval: Duration) -> bool {
        self.pause > interval.as_secs().max(1)
    }

    /// Returns the pause in seconds.
    pub const fn pause(&self) -> u64 {
        self.pause
    }
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
        // Coverage that has run out is renewed as well.
        assert_eq!(due(&covered(NOW - 5), RETENTION, None, NOW), Some(wanted));
        // The configuration may set a longer or shorter lead.
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
        // Coverage that is always too short for the contract is not renewed at every check.
        let always = Covered { freeze_delay: 10 * RETENTION, ..covered(NOW + RETENTION - SLACK_SECONDS) };
        assert_eq!(due(&always, RETENTION, None, NOW), None);
        assert!(due(&always, RETENTION, None, NOW + RETENTION / 5).is_some());
        for extreme in [0, u64::MAX] {
            let _ = due(&covered(extreme), u64::MAX, None, u64::MAX);
            let _ = due(&covered(extreme), 0, None, extreme);
        }
    }

    #[test]
    fn a_contract_that_counts_no_renewal_is_renewed_ever_more_seldom() {
        const INTERVAL: Duration = Duration::from_secs(60);
        let retention = 30 * PAUSE_MAX_SECONDS;
        let due = Due { last_batch: 7, expires_at: NOW };
        let mut renewed = Renewed::after(None, &due, retention, INTERVAL, NOW);
        assert!(!renewed.is_repeated(INTERVAL));
        let (mut now, mut pauses) = (NOW, vec![renewed.pause()]);
        for _ in 0..14 {
            // The contract changes nothing between the checks.
            while renewed.holds_back(&due, now).is_some() {
                now += 60;
            }
            renewed = Renewed::after(Some(renewed), &due, retention, INTERVAL, now);
            assert!(renewed.is_repeated(INTERVAL));
            pauses.push(renewed.pause());
        }
        assert_eq!(pauses[..4], [60, 120, 240, 480]);
        assert_eq!(pauses[12..], [PAUSE_MAX_SECONDS; 3]);
        // A renewal of fewer batches has to wait. A renewal of one more batch is made at once, and
        // resets the pause.
        assert!(renewed.holds_back(&Due { last_batch: 6, ..due }, now).is_some());
        let more = Due { last_batch: 8, ..due };
        assert_eq!(renewed.holds_back(&more, now), None);
        assert_eq!(Renewed::after(Some(renewed), &more, retention, INTERVAL, now).pause(), 60);
        // Coverage that was long enough for a while resets the pause, too.
        let late = now + 2 * PAUSE_MAX_SECONDS;
        assert_eq!(Renewed::after(Some(renewed), &due, retention, INTERVAL, late).pause(), 60);
    }

    #[test]
    fn no_pause_is_longer_than_what_a_renewal_gains() {
        let (interval, due) = (Duration::from_secs(60), Due { last_batch: 7, expires_at: NOW });
        let mut renewed = None;
        for step in 0..20 {
            let now = NOW + step * RETENTION / GAIN_PART;
            assert_eq!(renewed.and_then(|renewed: Renewed| renewed.holds_back(&due, now)), None);
            renewed = Some(Renewed::after(renewed, &due, RETENTION, interval, now));
        }
    }
}
