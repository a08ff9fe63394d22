//! Budgets that rollups share: of each, no rollup has more than a part, so that the others always
//! find something left.

use dac_admission::{Admission, Claim, Permit, QueueLimits, Refused};
use dac_types::Address;

/// The part of a budget that one rollup may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One half: of what is held for as long as others please, members or clients.
    Half,
    /// Three quarters: of what is held for the time of a call or an encoding.
    ThreeQuarters,
    /// All of it: of what is held only while this process computes. Rollups take turns at it.
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

/// What one batch or upload holds, until it is dropped.
pub type Held = Permit<Address>;

/// Bytes or places. Clones are the same budget.
#[derive(Clone, Debug)]
pub struct Budget {
    admission: Admission<Address>,
    share: u64,
}

impl Budget {
    /// A budget for which nobody waits.
    pub fn new(capacity: u64, part: Part) -> Self {
        Self { admission: Admission::without_queue(capacity), share: part.of(capacity) }
    }

    /// A budget for which so many may wait.
    pub fn with_queue(capacity: u64, part: Part, queue: QueueLimits) -> Self {
        Self { admission: Admission::new(capacity, queue), share: part.of(capacity) }
    }

    /// Some of it now, or the bound that was met. An amount above the rollup's share counts as the
    /// whole share.
    pub fn try_take(&self, rollup: Address, amount: u64) -> Result<Held, Refused<Address>> {
        self.admission.try_admit(self.claim(rollup, amount))
    }

    /// Some of it, as soon as it is this rollup's turn.
    ///
    /// # Errors
    /// Where too many wait.
    pub async fn take(&self, rollup: Address, amount: u64) -> Result<Held, Refused<Address>> {
        self.admission.admit(self.claim(rollup, amount)).await
    }

    /// Some of it, whether it is there or not: for a batch that was taken before a restart.
    pub fn take_anyway(&self, rollup: Address, amount: u64) -> Held {
        self.admission.admit_anyway(self.claim(rollup, amount))
    }

    /// What is held becomes so much.
    pub fn resize(&self, held: &mut Held, amount: u64) -> Result<(), Refused<Address>> {
        held.resize(amount.min(self.share))
    }

    /// How much there is.
    pub fn capacity(&self) -> u64 {
        self.admission.capacity()
    }

    /// How much is given out.
    pub fn used(&self) -> u64 {
        self.admission.used()
    }

    /// How many wait for some.
    pub fn waiting(&self) -> usize {
        self.admission.waiting()
    }

    fn claim(&self, rollup: Address, amount: u64) -> Claim<Address> {
        Claim::new(amount, rollup, self.share)
    }
}

/// Turns to do something, of which several may be under way at once. Clones are the same turns.
///
/// Each batch asks for few turns at a time and the batches under way are bounded, so the queue is
/// not.
#[derive(Clone, Debug)]
pub struct Turns(Budget);

impl Turns {
    /// Makes turns of which so many may be under way at once, and one rollup may have this part.
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
        // The smallest budgets have room for one at least.
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
