//! Counts the most that the account may have spent in the last hour. It counts signed transactions,
//! so that no endpoint's answer can lower the sum.

use std::collections::VecDeque;
use std::time::Duration;

const HOUR_MINUTES: u64 = 60;

/// Wei that transactions of the last hour may cost, by the minute in which they were signed.
///
/// For each nonce the most expensive transaction is counted, with its whole gas limit at the
/// highest price, because a chain includes only one transaction of a nonce. The real cost is less,
/// often by half. The difference is not given back, because only an endpoint could tell it.
#[derive(Clone, Debug)]
pub(super) struct Spending {
    limit: u128,
    /// The minutes, counted from a fixed start, with the wei of each. They are ascending and at
    /// most 60.
    minutes: VecDeque<(u64, u128)>,
}

impl Spending {
    /// Creates a counter with a limit in wei an hour, of which nothing is spent.
    pub(super) const fn new(limit: u128) -> Self {
        Self { limit, minutes: VecDeque::new() }
    }

    /// Returns the wei that transactions signed in the hour before `now` may cost.
    pub(super) fn spent(&self, now: Duration) -> u128 {
        let first = (now.as_secs() / 60).saturating_sub(HOUR_MINUTES - 1);
        self.minutes
            .iter()
            .filter(|(minute, _)| *minute >= first)
            .fold(0, |sum, (_, wei)| sum.saturating_add(*wei))
    }

    /// Returns the wei that may still be spent.
    pub(super) fn left(&self, now: Duration) -> u128 {
        self.limit.saturating_sub(self.spent(now))
    }

    /// Counts a signed transaction: the wei that it may cost beyond earlier transactions with the
    /// same nonce.
    pub(super) fn spend(&mut self, now: Duration, wei: u128) {
        let minute = now.as_secs() / 60;
        match self.minutes.back_mut() {
            Some((last, spent)) if *last >= minute => *spent = spent.saturating_add(wei),
            _ => self.minutes.push_back((minute, wei)),
        }
        while self.minutes.front().is_some_and(|(first, _)| *first + HOUR_MINUTES <= minute) {
            self.minutes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_spent_is_free_again_after_an_hour() {
        let mut spending = Spending::new(100);
        let at = |minutes: u64| Duration::from_secs(60 * minutes);
        spending.spend(at(0), 60);
        spending.spend(at(10), 30);
        assert_eq!(spending.left(at(10)), 10);
        assert_eq!(spending.left(at(59)), 10);
        assert_eq!(spending.left(at(60)), 70);
        assert_eq!(spending.left(at(70)), 100);
        spending.spend(at(70), 500);
        assert_eq!(spending.left(at(70)), 0);
    }

    proptest! {
        /// If each amount is at most what is left, no hour's sum exceeds the limit, and at most 60
        /// minutes are kept.
        #[test]
        fn no_hour_has_more_than_the_limit(steps in prop::collection::vec((0u64..2_000, 0u128..80), 0..300)) {
            let (mut spending, mut now, mut all) = (Spending::new(100), Duration::ZERO, Vec::new());
            for (seconds, wanted) in steps {
                now += Duration::from_secs(seconds);
                let wei = wanted.min(spending.left(now));
                spending.spend(now, wei);
                all.push((now, wei));
                prop_assert!(spending.minutes.len() <= 60);
            }
            for (end, _) in &all {
                let within = |time: &Duration| time <= end && *end - *time < Duration::from_secs(59 * 60);
                let spent: u128 = all.iter().filter(|(time, _)| within(time)).map(|(_, wei)| wei).sum();
                prop_assert!(spent <= 100, "{}", spent);
            }
        }
    }
}
