//! A bounded queue that is fair at two levels: between groups, and between the members of a group.
//!
//! Groups take turns, and within a group its members take turns. If the queue is full, the last
//! item of the longest share makes room. So a group or member that pushes items without end delays
//! only itself; any other waits for at most one turn of each of the others.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The error that the queue is full and no other share is longer than the one that the item would
/// join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full<T> {
    /// The item that was refused.
    pub item: T,
    /// Number of items that wait.
    pub waiting: usize,
}

#[derive(Debug)]
struct Waiting<G, M, T> {
    group: G,
    member: M,
    item: T,
}

/// The queue. It keeps no state about groups and members without waiting items.
#[derive(Debug)]
pub struct FairQueue<G, M, T> {
    capacity: usize,
    /// The waiting items in the order in which they came.
    waiting: Vec<Waiting<G, M, T>>,
    /// The groups that have waiting items. The group at the front has the next turn.
    groups: VecDeque<G>,
    /// The members of all groups that have waiting items, in the order of their turns.
    members: VecDeque<M>,
}

impl<G: Copy + Eq + Hash, M: Copy + Eq + Hash, T> FairQueue<G, M, T> {
    /// Makes a queue for at most `capacity` items.
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, waiting: Vec::new(), groups: VecDeque::new(), members: VecDeque::new() }
    }

    /// Returns the number of items that wait.
    pub const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether no item waits.
    pub const fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds an item. If another item had to make room for it, returns that one.
    ///
    /// # Errors
    /// It fails if the queue is full and the new item would itself be the last of the longest
    /// share.
    pub fn push(&mut self, group: G, member: M, item: T) -> Result<Option<T>, Full<T>> {
        let displaced = match self.waiting.len() < self.capacity {
            true => None,
            false => match self.last_of_the_longest(group, member) {
                Some(place) => Some(self.waiting.remove(place).item),
                None => return Err(Full { item, waiting: self.waiting.len() }),
            },
        };
        self.waiting.push(Waiting { group, member, item });
        if !self.groups.contains(&group) {
            self.groups.push_back(group);
        }
        if !self.members.contains(&member) {
            self.members.push_back(member);
        }
        self.forget();
        Ok(displaced)
    }

    /// Returns the index of the item that makes room for one more item of this group and member.
    /// Returns `None` if the new item itself would be the last of the longest share.
    fn last_of_the_longest(&self, group: G, member: M) -> Option<usize> {
        let newcomer = std::iter::once((group, member));
        let all = self.waiting.iter().map(|waiting| (waiting.group, waiting.member)).chain(newcomer);
        let groups = counts(all.clone().map(|(group, _)| group));
        let most = groups.values().copied().max()?;
        // Among shares of the same length, the one that grew last loses an item. The new item
        // counts as the last growth.
        let (longest, _) = all.clone().rfind(|(group, _)| groups.get(group) == Some(&most))?;
        let members = counts(all.clone().filter(|(group, _)| *group == longest).map(|(_, member)| member));
        let most = members.values().copied().max()?;
        let is_last = |(group, member): &(G, M)| *group == longest && members.get(member) == Some(&most);
        let place = all.collect::<Vec<_>>().iter().rposition(is_last)?;
        (place < self.waiting.len()).then_some(place)
    }

    /// Removes and returns the item whose turn it is, from the groups for which `may` returns true.
    pub fn pop(&mut self, mut may: impl FnMut(G) -> bool) -> Option<(G, M, T)> {
        let group = *self.groups.iter().find(|group| may(**group))?;
        let is_next = |member: &M| {
            self.waiting.iter().position(|waiting| waiting.group == group && waiting.member == *member)
        };
        let place = self.members.iter().find_map(is_next)?;
        let Waiting { member, item, .. } = self.waiting.remove(place);
        to_the_end(&mut self.groups, group);
        to_the_end(&mut self.members, member);
        self.forget();
        Some((group, member, item))
    }

    /// Removes up to `limit` more items of one member, from any group, for which `fit` returns
    /// true. They are returned in the order in which they came.
    pub fn pop_more(&mut self, member: M, limit: usize, mut fit: impl FnMut(G, &T) -> bool) -> Vec<T> {
        let mut room = limit;
        let taken = self.waiting.extract_if(.., |waiting| {
            let is_one = room > 0 && waiting.member == member && fit(waiting.group, &waiting.item);
            room -= usize::from(is_one);
            is_one
        });
        let items = taken.map(|waiting| waiting.item).collect();
        self.forget();
        items
    }

    /// Removes the items for which `keep` returns false.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.waiting.retain(|waiting| keep(&waiting.item));
        self.forget();
    }

    /// Returns the number of waiting items of one group.
    pub fn count(&self, group: G) -> usize {
        self.waiting.iter().filter(|waiting| waiting.group == group).count()
    }

    fn forget(&mut self) {
        let waiting = &self.waiting;
        self.groups.retain(|group| waiting.iter().any(|waiting| waiting.group == *group));
        self.members.retain(|member| waiting.iter().any(|waiting| waiting.member == *member));
    }
}

fn counts<K: Eq + Hash>(keys: impl Iterator<Item = K>) -> HashMap<K, usize> {
    let mut counts = HashMap::new();
    for key in keys {
        *counts.entry(key).or_insert(0) += 1;
    }
    counts
}

fn to_the_end<K: Copy + Eq>(order: &mut VecDeque<K>, key: K) {
    if let Some(place) = order.iter().position(|known| *known == key) {
        order.remove(place);
        order.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Queue = FairQueue<u8, u8, u32>;

    fn drain(queue: &mut Queue) -> Vec<(u8, u8, u32)> {
        std::iter::from_fn(|| queue.pop(|_| true)).collect()
    }

    #[test]
    fn turns_go_round_between_groups_and_between_members() {
        let mut queue = Queue::new(100);
        for item in 0..4 {
            queue.push(1, 1, item).unwrap();
        }
        queue.push(2, 3, 10).unwrap();
        queue.push(1, 2, 20).unwrap();
        queue.push(2, 3, 11).unwrap();
        let order: Vec<_> = drain(&mut queue).into_iter().map(|(_, _, item)| item).collect();
        assert_eq!(order, [0, 10, 20, 11, 1, 2, 3]);
        assert!(queue.groups.is_empty() && queue.members.is_empty(), "nothing is remembered");
    }

    #[test]
    fn the_longest_share_makes_room() {
        let mut queue = Queue::new(4);
        for item in 0..4 {
            assert_eq!(queue.push(1, 1, item), Ok(None));
        }
        assert_eq!(queue.push(1, 1, 4), Err(Full { item: 4, waiting: 4 }));
        assert_eq!(queue.push(1, 2, 5), Ok(Some(3)), "another member of the same group");
        assert_eq!(queue.push(2, 1, 6), Ok(Some(2)), "another group, by the same member");
        assert_eq!(queue.push(2, 2, 7), Ok(Some(1)));
        // The shares are two and two. One more item of either group is refused, but another member
        // of a group with room is accepted.
        assert_eq!(queue.push(1, 1, 8), Err(Full { item: 8, waiting: 4 }));
        assert_eq!(queue.push(3, 9, 9).map(|displaced| displaced.is_some()), Ok(true));
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn what_fits_goes_together_and_only_who_may_has_a_turn() {
        let mut queue = Queue::new(10);
        for item in 0..6 {
            queue.push(u8::from(item > 3), 1, item).unwrap();
        }
        queue.push(0, 2, 6).unwrap();
        assert_eq!(queue.pop(|group| group == 1), Some((1, 1, 4)));
        assert_eq!(queue.pop(|_| false), None);
        assert_eq!(queue.pop_more(1, 3, |_, item| item % 2 == 0 || *item > 4), [0, 2, 5]);
        queue.retain(|item| *item != 1);
        // The first member has had its turn, so the second member comes first now.
        assert_eq!(drain(&mut queue), [(0, 2, 6), (0, 1, 3)]);
    }

    /// Pushes an item of `honest` among those of an adversary. Returns the turns until it was
    /// served.
    fn turns_until_served(
        honest: (u8, u8),
        before: Vec<(u8, u8)>,
        during: Vec<Vec<(u8, u8)>>,
    ) -> Result<usize, TestCaseError> {
        let mut queue = Queue::new(32);
        for (group, member) in before {
            let _ = queue.push(group, member, 0);
        }
        let taken = queue.push(honest.0, honest.1, 1);
        prop_assert!(taken.is_ok(), "a party with nothing in the queue found no room");
        for (turn, pushed) in (1..).zip(during) {
            for (group, member) in pushed {
                let displaced = queue.push(group, member, 0);
                prop_assert!(displaced != Ok(Some(1)), "the only item of a party was displaced");
            }
            prop_assert!(queue.len() <= 32);
            let popped = queue.pop(|_| true).map(|(_, _, item)| item);
            prop_assert!(popped.is_some(), "the item was lost");
            if popped == Some(1) {
                return Ok(turn);
            }
        }
        Err(TestCaseError::fail("the item was never served"))
    }

    proptest! {
        #[test]
        fn a_group_waits_for_one_turn_of_each_other_group(
            before in prop::collection::vec((0_u8..6, 0_u8..9), 0..200),
            during in prop::collection::vec(prop::collection::vec((0_u8..6, 0_u8..9), 0..40), 80),
        ) {
            prop_assert!(turns_until_served((100, 0), before, during)? <= 7);
        }

        #[test]
        fn a_member_waits_for_one_turn_of_each_other_member(
            before in prop::collection::vec((0_u8..1, 0_u8..9), 0..200),
            during in prop::collection::vec(prop::collection::vec((0_u8..1, 0_u8..9), 0..40), 80),
        ) {
            prop_assert!(turns_until_served((0, 100), before, during)? <= 10);
        }
    }
}
