//! Decides which shards are tried next. Within a rollup those that are kept shortest come first,
//! and rollups take turns. A rollup whose contract claims endless batches costs the others no more
//! than their share of time.

use std::collections::BTreeMap;

use dac_types::{Address, BatchDigest};

use crate::store::Wanted;

/// The number of wanted shards of one rollup that are taken in one turn.
pub(super) const WANTED_PER_TURN: u32 = 32;
/// The number of turns of a rollup in one round. The next round goes on from there.
const TURNS_PER_ROUND: u32 = 64;

/// A place in the order in which a rollup's shards are wanted.
type Place = (u64, BatchDigest);

/// The place at which each rollup goes on, and the number of turns that it has left.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<Address, Turn>);

#[derive(Debug, Default)]
struct Turn {
    after: Option<Place>,
    left: u32,
}

impl Turns {
    /// Begins a round with these rollups. A rollup that had more than its turns goes on where it
    /// stopped. All others begin with their first shard.
    pub(super) fn begin(&mut self, rollups: Vec<Address>) {
        let former = std::mem::take(&mut self.0);
        for rollup in rollups {
            let after = former.get(&rollup).and_then(|turn| turn.after);
            self.0.insert(rollup, Turn { after, left: TURNS_PER_ROUND });
        }
    }

    /// Returns the rollups that have a turn, each with the place after which it goes on.
    pub(super) fn next(&self) -> Vec<(Address, Option<Place>)> {
        let waiting = self.0.iter().filter(|(_, turn)| turn.left > 0);
        waiting.map(|(rollup, turn)| (*rollup, turn.after)).collect()
    }

    /// Notes that a rollup had its turn up to this place. With `None` nothing more of it is wanted.
    pub(super) fn took(&mut self, rollup: Address, last: Option<Place>) {
        if let Some(turn) = self.0.get_mut(&rollup) {
            turn.left = if last.is_some() { turn.left.saturating_sub(1) } else { 0 };
            turn.after = last;
        }
    }
}

/// Takes the first shard of each page, then the second of each, and so on.
pub(super) fn in_turn(pages: Vec<Vec<Wanted>>) -> Vec<Wanted> {
    let longest = pages.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|index| pages.iter().filter_map(move |page| page.get(index))).copied().collect()
}

#[cfg(test)]
mod tests {
    use dac_types::{B256, Seat};

    use super::*;
    use crate::store::BatchOnL1;

    fn wanted(rollup: u8, number: u64) -> Wanted {
        let mut digest = B256::repeat_byte(rollup);
        digest[24..].copy_from_slice(&number.to_be_bytes());
        let (digest, rollup) = (BatchDigest(digest), Address::repeat_byte(rollup));
        Wanted {
            batch: BatchOnL1 { digest, rollup, batch_number: number, epoch: 1, expires_at: number },
            keep_until: number,
            seat: Seat(0),
            is_corrupt: false,
            evidence: None,
        }
    }

    #[test]
    fn rollups_take_turns() {
        let pages = vec![(0..3).map(|number| wanted(1, number)).collect(), vec![wanted(2, 9)], Vec::new()];
        let order: Vec<_> =
            in_turn(pages).iter().map(|wanted| (wanted.batch.rollup[0], wanted.keep_until)).collect();
        assert_eq!(order, [(1, 0), (2, 9), (1, 1), (1, 2)]);
    }

    #[test]
    fn a_round_ends_whatever_a_rollup_claims_and_the_next_goes_on() {
        let (endless, short) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let mut turns = Turns::default();
        turns.begin(vec![endless, short]);
        let mut taken = 0;
        loop {
            let next = turns.next();
            if next.is_empty() {
                break;
            }
            for (rollup, after) in next {
                let last = wanted(1, after.map_or(0, |(number, _)| number) + 1).place();
                turns.took(rollup, (rollup == endless).then_some(last));
                taken += u32::from(rollup == endless);
            }
        }
        assert_eq!(taken, TURNS_PER_ROUND);
        turns.begin(vec![endless, short]);
        let after = wanted(1, TURNS_PER_ROUND.into()).place();
        assert_eq!(turns.next(), [(endless, Some(after)), (short, None)]);
        turns.begin(vec![short]);
        assert_eq!(turns.next(), [(short, None)]);
    }
}
