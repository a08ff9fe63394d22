//! When a rollup's coverage is renewed, up to which batch and until when, and how long it is left
//! alone afterwards: pure.

use std::time::Duration;

/// A renewal asks for so much less than the longest retention: members' clocks differ.
const SLACK_SECONDS: u64 = 120;
/// A renewal that gains less than this part of the longest retention is not worth its transaction.
const GAIN_PART: u64 = 10;

/// Longest pause between two renewals that a rollup's contract does not seem to count.
const PAUSE_MAX_SECONDS: u64 = 24 * 3600;

/// A rollup's coverage as its contract says it, in a block deep enough. Times in seconds, and Unix
/// seconds.
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

/// Whether it is time. `ahead`: how long before settling would stop; without it a third of the
/// rollup's longest retention, and not less than the contract's freeze delay.
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

/// The last renewal of a rollup that was handed to L1. Who renews pays: a contract that goes on
/// saying that its coverage is short is renewed with pauses that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Unix seconds.
    at: u64,
    /// The most batches renewed so far.
    last_batch: u64,
    /// Seconds until the same batches may be renewed again.
    pause: u64,
}

impl Renewed {
    /// What is remembered after a renewal at `now`; `interval` is the shortest pause. The longest
    /// is no longer than what a renewal has to gain, so that a contract that counts renewals never
    /// has to wait.
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

    /// Until when a renewal waits. More batches than were renewed never wait: a quorum signs only
    /// for those that it knows.
    pub fn holds_back(&self, due: &Due, now: u64) -> Option<u64> {
        let until = self.at.saturating_add(self.pause);
        (due.last_batch <= self.last_batch && now < until).then_some(until)
    }

    /// Whether the one before was no use, as far as its contract says.
    pub fn is_repeated(&self, interval: Duration) -> bool {
        self.pause > interval.as_secs().max(1)
    }

    /// Seconds.
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

    #[test]
    fn a_contract_that_counts_no_renewal_is_renewed_ever_more_seldom() {
        const INTERVAL: Duration = Duration::from_secs(60);
        let retention = 30 * PAUSE_MAX_SECONDS;
        let due = Due { last_batch: 7, expires_at: NOW };
        let mut renewed = Renewed::after(None, &due, retention, INTERVAL, NOW);
        assert!(!renewed.is_repeated(INTERVAL));
        let (mut now, mut pauses) = (NOW, vec![renewed.pause()]);
        for _ in 0..14 {
            // The contract changes nothing between the looks.
            while renewed.holds_back(&due, now).is_some() {
                now += 60;
            }
            renewed = Renewed::after(Some(renewed), &due, retention, INTERVAL, now);
            assert!(renewed.is_repeated(INTERVAL));
            pauses.push(renewed.pause());
        }
        assert_eq!(pauses[..4], [60, 120, 240, 480]);
        assert_eq!(pauses[12..], [PAUSE_MAX_SECONDS; 3]);
        // Fewer batches are nothing new; one more is renewed at once, and starts anew.
        assert!(renewed.holds_back(&Due { last_batch: 6, ..due }, now).is_some());
        let more = Due { last_batch: 8, ..due };
        assert_eq!(renewed.holds_back(&more, now), None);
        assert_eq!(Renewed::after(Some(renewed), &more, retention, INTERVAL, now).pause(), 60);
        // So does one that was long enough for long enough.
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
