//! Which of all the batches that are owed an audit looks at.
//!
//! A member that knows the choice beforehand keeps only what will be chosen. So most of the sample
//! is random over all that is owed: one batch of each of so many equal parts, from the oldest to
//! the newest. The rest is the newest ones, since a member that has stopped storing shows itself
//! there first.

use std::ops::Range;

use rand::Rng;

/// One batch in so many of a sample is one of the newest.
const NEWEST_ONE_IN: usize = 4;

/// At most `count` places of `owed` batches that are ordered by age, the oldest first; the places
/// are in that order too.
pub fn sample_owed(owed: usize, count: usize, random: &mut impl Rng) -> Vec<usize> {
    if count >= owed {
        return (0..owed).collect();
    }
    let newest = count.div_ceil(NEWEST_ONE_IN);
    let (older, parts) = (owed - newest, count - newest);
    let mut places: Vec<usize> =
        (0..parts).map(|part| random.random_range(range_of(part, parts, older))).collect();
    places.extend(older..owed);
    places
}

/// The places of one part of so many. No part is empty while there are at least as many places as
/// parts.
fn range_of(part: usize, parts: usize, places: usize) -> Range<usize> {
    part * places / parts..(part + 1) * places / parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    #[test]
    fn every_batch_that_is_owed_comes_up_sooner_or_later() {
        let mut random = StdRng::seed_from_u64(1);
        let mut times = [0_u32; 200];
        for _ in 0..1_000 {
            for place in sample_owed(200, 20, &mut random) {
                times[place] += 1;
            }
        }
        assert!(times.iter().all(|times| *times > 20), "{times:?}");
        assert_eq!(times[195..], [1_000; 5]);
    }

    proptest! {
        #[test]
        fn samples_are_full_ordered_and_reach_from_old_to_new(owed in 0..500_usize, count in 1..60_usize, seed: u64) {
            let places = sample_owed(owed, count, &mut StdRng::seed_from_u64(seed));
            prop_assert_eq!(places.len(), count.min(owed));
            prop_assert!(places.is_sorted_by(|a, b| a < b));
            prop_assert!(places.iter().all(|place| *place < owed));
            prop_assert_eq!(places.last().copied(), owed.checked_sub(1));
            // The oldest one of a sample lies in the oldest part.
            if count > 1 && owed > count {
                let parts = count - count.div_ceil(NEWEST_ONE_IN);
                prop_assert!(places[0] <= owed / parts);
            }
            prop_assert_eq!(places, sample_owed(owed, count, &mut StdRng::seed_from_u64(seed)));
        }
    }
}
