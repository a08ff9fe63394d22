//! Chooses the batches that an audit checks among all those that are owed.
//!
//! A member that knew the choice beforehand could keep only the chosen batches. Most of the sample
//! is therefore random over all that is owed: the batches are divided by age into equal parts, and
//! one is drawn from each. The rest of the sample is the newest batches, because a member that has
//! stopped storing lacks these first.

use std::ops::Range;

use rand::Rng;

/// One batch in this many of a sample is one of the newest.
const NEWEST_ONE_IN: usize = 4;

/// Draws at most `count` indices of the `owed` batches, which are ordered by age, the oldest first.
/// The indices are in the same order.
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

/// The indices of one of `parts` equal parts. No part is empty if there are at least as many
/// indices as parts.
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
            // The oldest batch of a sample lies in the oldest part.
            if count > 1 && owed > count {
                let parts = count - count.div_ceil(NEWEST_ONE_IN);
                prop_assert!(places[0] <= owed / parts);
            }
            prop_assert_eq!(places, sample_owed(owed, count, &mut StdRng::seed_from_u64(seed)));
        }
    }
}
