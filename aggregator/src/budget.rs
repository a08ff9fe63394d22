//! Budgets of bytes, places and turns that rollups share. No rollup may hold more than a part of a
//! budget, so that something is always left for the others.

use dac_admission::{Admission, Claim, Permit, QueueLimits, Refused};
use dac_types::Address;

/// The part of a budget that one rollup may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One half, for budgets where members or clients decide how long something is held.
    Half,
    /// Three quarters, for budgets where something is held for the time of a call or an encoding.
    ThreeQuarters,
    /// The whole, for budgets where something is held only while this process computes. Rollups
    /// take turns.
    Whole,
}

impl Part {
    fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Half => capacity.div_ceil(2),
            Self::ThreeQuarters => capacity - capacity / 4,
            Self::Whole => capacity,
        }
    }
}

/// A rollup's hold on a part of a budget. Dropping it gives the part back.
pub type Held = Permit<Address>;

/// A number of bytes or places that rollups share. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget {
    admission: Admission<Address>,
    share: u64,
}

impl Budget {
    /// Makes a budget without a queue: requests that do not fit are refused at once.
    pub fn new(capacity: u64, part: Part) -> Self {
        Self { admission: Admission::without_queue(capacity), share: part.of(capacity) }
    }

    /// Makes a budget with a queue of limited length for requests that do not fit.
    pub fn with_queue(capacity: u64, part: Part, queue: QueueLimits) -> Self {
        Self { admission: Admission::new(capacity, queue), share: part.of(capacity) }
    }

    /// Takes an amount now, or returns which limit stands in the way. An amount above the rollup's
    /// share counts as the whole share.
    pub fn try_take(&self, rollup: Address, amount: u64) -> Result<Held, Refused<Address>> {
        self.admission.try_admit(self.claim(rollup, amount))
    }

    /// Takes an amount as soon as it is this rollup's turn.
    ///
    /// # Errors
    /// Fails if the queue is full.
    pub async fn take(&self, rollup: Address, amount: u64) -> Result<Held, Refused<Address>> {
        self.admission.admit(self.claim(rollup, amount)).await
    }

    /// Takes an amount even if the budget is exceeded: for a batch that was accepted before a
    /// restart.
    pub fn take_anyway(&self, rollup: Address, amount: u64) -> Held {
        self.admission.admit_anyway(self.claim(rollup, amount))
    }

    /// Changes the amount that `held` holds. Growing fails if the budget has no room.
    pub fn resize(&self, held: &mut Held, amount: u64) -> Result<(), Refused<Address>> {
        held.resize(amount.min(self.share))
    }

    /// Returns the size of the budget.
    pub fn capacity(&self) -> u64 {
        self.admission.capacity()
    }

    /// Returns how much of the budget is held.
    pub fn used(&self) -> u64 {
        self.admission.used()
    }

    /// Returns how many requests wait in the queue.
    pub fn waiting(&self) -> usize {
        self.admission.waiting()
    }

    fn claim(&self, rollup: Address, amount: u64) -> Claim<Address> {
        Claim::new(amount, rollup, self.share)
    }
}

/// A limit on how many tasks do something at once, with a queue in which rollups take turns. Clones
/// are the same limit.
///
/// The queue has no limit of its own: the number of batches under way is limited, and each asks for
/// few turns at a time.
#[derive(Clone, Debug)]
pub struct Turns(Budget);

impl Turns {
    /// Makes `at_once` turns, of which one rollup may have the given part.
    pub fn new(at_once: usize, part: Part) -> Self {
        let everyone = QueueLimits { total: usize::MAX, per_party: usize::MAX };
        Self(Budget::with_queue(at_once as u64, part, everyone))
    }

    /// Waits until it is this rollup's turn. The turn ends when the permit is dropped.
    pub async fn take(&self, rollup: Address) -> Held {
        self.0.take(rollup, 1).await.expect("a queue without bounds refuses nobody")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const ONE: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    #[test]
    fn one_rollup_leaves_something_to_the_others() {
        for part in [Part::Half, Part::ThreeQuarters] {
            let budget = Budget::new(100, part);
            let _all = budget.try_take(ONE, 1000).unwrap();
            assert!(budget.try_take(ONE, 1).is_err());
            let rest = 100 - budget.used();
            assert!(rest >= 25);
            drop(budget.try_take(OTHER, rest).unwrap());
        }
        // Even the smallest budget has room for one place.
        let _place = Budget::new(1, Part::Half).try_take(ONE, 1).unwrap();
    }

    #[tokio::test]
    async fn a_rollup_whose_turns_never_end_holds_up_no_other() {
        let turns = Turns::new(4, Part::ThreeQuarters);
        let mut crowd: Vec<_> = (0..100).map(|_| Box::pin(turns.take(ONE))).collect();
        let hung: Vec<_> = crowd.iter_mut().filter_map(|turn| turn.now_or_never()).collect();
        assert_eq!(hung.len(), 3);
        for _ in 0..10 {
            drop(turns.take(OTHER).now_or_never().expect("the fourth turn is left to the others"));
        }
    }

    #[tokio::test]
    async fn rollups_take_turns_at_what_one_may_have_whole() {
        let turns = Turns::new(1, Part::Whole);
        let first = turns.take(ONE).await;
        let mut crowd: Vec<_> = (0..100).map(|_| Box::pin(turns.take(ONE))).collect();
        assert!(crowd.iter_mut().all(|turn| turn.now_or_never().is_none()));
        let mut other = Box::pin(turns.take(OTHER));
        assert!((&mut other).now_or_never().is_none());
        drop(first);
        let next = crowd.remove(0).now_or_never().expect("it waited longest");
        drop(next);
        assert!(other.now_or_never().is_some(), "a hundred of one rollup do not come before one of another");
    }

    #[test]
    fn what_comes_is_counted_up_to_the_share() {
        let budget = Budget::new(100, Part::Half);
        let mut upload = budget.try_take(ONE, 0).unwrap();
        budget.resize(&mut upload, 40).unwrap();
        let small = budget.try_take(ONE, 10).unwrap();
        assert!(budget.resize(&mut upload, 41).is_err());
        drop(small);
        budget.resize(&mut upload, 80).unwrap();
        assert_eq!(
            budget.used(),
            50,
            "a payload above the share is taken where its rollup holds nothing else"
        );
        drop(upload);
        assert_eq!(budget.used(), 0);
    }
}
