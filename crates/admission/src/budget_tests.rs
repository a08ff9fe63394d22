use proptest::prelude::*;

use super::*;

const QUEUE: QueueLimits = QueueLimits { total: 64, per_party: 32 };

fn budget(capacity: u64) -> Budget<u8> {
    Budget::new(capacity, QUEUE)
}

fn met(budget: &mut Budget<u8>) -> Vec<Ticket> {
    std::iter::from_fn(|| budget.meet_next().map(|(ticket, _)| ticket)).collect()
}

#[test]
fn no_party_holds_more_than_its_share() {
    let mut budget = budget(100);
    let first = budget.take(Claim::new(20, 1, 25)).unwrap();
    let refused = budget.take(Claim::new(6, 1, 25)).unwrap_err();
    assert_eq!(refused, Refused { limit: Limit::Share(1), held: 20, most: 25 });
    budget.take(Claim::new(25, 2, 25)).unwrap();
    budget.give_back(&first);
    budget.take(Claim::new(25, 1, 25)).unwrap();
    assert_eq!((budget.used(), budget.held_by(&1), budget.parties()), (50, 25, 2));
}

#[test]
fn every_party_of_a_claim_counts() {
    // Addresses of one network stay within their own shares but exceed the share of the network.
    let mut budget = budget(100);
    for address in 0..4 {
        budget.take(Claim::new(5, address, 5).and(200, 20)).unwrap();
    }
    let refused = budget.take(Claim::new(5, 4, 5).and(200, 20)).unwrap_err();
    assert_eq!(refused.limit, Limit::Share(200));
    budget.take(Claim::new(5, 4, 5).and(201, 20)).unwrap();
}

#[test]
fn what_is_larger_than_its_share_goes_alone_in_it() {
    let mut budget = budget(100);
    let small = budget.take(Claim::new(1, 1, 75)).unwrap();
    assert_eq!(budget.take(Claim::new(1000, 1, 75)).unwrap_err().limit, Limit::Share(1));
    budget.give_back(&small);
    let large = budget.take(Claim::new(1000, 1, 75)).unwrap();
    assert_eq!((large.amount(), budget.used()), (75, 75));
    // The other party gets the rest of the budget.
    budget.take(Claim::new(25, 2, 75)).unwrap();
    assert_eq!(budget.take(Claim::new(1, 2, 75)).unwrap_err().limit, Limit::Capacity);
    budget.give_back(&large);
    assert_eq!(budget.used(), 25);
}

#[test]
fn what_was_taken_on_before_is_held_whatever_there_is() {
    let mut budget = budget(10);
    let (first, second) =
        (budget.take_anyway(Claim::new(8, 1, 10)), budget.take_anyway(Claim::new(8, 1, 10)));
    assert_eq!(budget.used(), 16);
    assert_eq!(budget.take(Claim::new(1, 2, 10)).unwrap_err().limit, Limit::Capacity);
    budget.give_back(&first);
    budget.give_back(&second);
    assert_eq!((budget.used(), budget.parties()), (0, 0));
}

#[test]
fn small_claims_pass_a_large_one_until_as_much_as_all_has_passed() {
    let mut budget = budget(10);
    let mut held = budget.take(Claim::new(2, 1, 10)).unwrap();
    let large = budget.wait(Claim::new(9, 2, 9)).unwrap().ticket;
    assert_eq!(met(&mut budget), []);
    let mut passed = 0;
    while let Ok(small) = budget.take(Claim::new(2, 3, 10)) {
        passed += small.amount();
        // The next small claim is taken before the last is given back, so that the large claim
        // never fits.
        budget.give_back(&std::mem::replace(&mut held, small));
        assert_eq!(met(&mut budget), []);
    }
    assert_eq!(passed, 10);
    budget.give_back(&held);
    assert_eq!(met(&mut budget), [large]);
}

#[test]
fn a_claim_that_waits_for_its_own_party_keeps_nothing_from_others() {
    let mut budget = budget(10);
    let _held = budget.take(Claim::new(4, 1, 5)).unwrap();
    let own = budget.wait(Claim::new(4, 1, 5)).unwrap().ticket;
    for _ in 0..100 {
        let other = budget.take(Claim::new(6, 2, 6)).unwrap();
        assert_eq!(met(&mut budget), []);
        budget.give_back(&other);
    }
    assert!(budget.cancel(own));
    assert!(!budget.cancel(own));
}

#[test]
fn the_party_that_holds_least_comes_first() {
    let mut budget = budget(10);
    let _first = budget.take(Claim::new(2, 1, 10)).unwrap();
    let second = budget.take(Claim::new(8, 9, 10)).unwrap();
    let holder = budget.wait(Claim::new(1, 1, 10)).unwrap().ticket;
    let (newcomer, its_next) = (
        budget.wait(Claim::new(1, 2, 10)).unwrap().ticket,
        budget.wait(Claim::new(1, 2, 10)).unwrap().ticket,
    );
    budget.give_back(&second);
    assert_eq!(met(&mut budget), [newcomer, its_next, holder]);
}

#[test]
fn parties_take_turns_at_a_single_place() {
    let mut budget = Budget::new(1, QueueLimits { total: 300, per_party: 200 });
    let mut held = budget.take(Claim::new(1, 1, 1)).unwrap();
    let crowd: Vec<Ticket> = (0..200).map(|_| budget.wait(Claim::new(1, 1, 1)).unwrap().ticket).collect();
    let others: Vec<Ticket> = (0..4).map(|_| budget.wait(Claim::new(1, 2, 1)).unwrap().ticket).collect();
    let order: Vec<Ticket> = std::iter::from_fn(|| {
        budget.give_back(&held);
        let (ticket, claim) = budget.meet_next()?;
        held = claim;
        Some(ticket)
    })
    .collect();
    let expected = (0..4).flat_map(|turn| [crowd[turn], others[turn]]).chain(crowd[4..].iter().copied());
    assert!(order.iter().copied().eq(expected), "{order:?}");
    assert!(budget.last_turn.is_empty(), "the parties that left are forgotten");
}

#[test]
fn a_queue_is_bounded_in_all_and_by_party() {
    let mut budget = Budget::new(1, QueueLimits { total: 3, per_party: 2 });
    let _all = budget.take(Claim::new(1, 0, 1)).unwrap();
    let first = budget.wait(Claim::new(1, 1, 1)).unwrap().ticket;
    budget.wait(Claim::new(1, 1, 1)).unwrap();
    let refused = budget.wait(Claim::new(1, 1, 1)).unwrap_err();
    assert_eq!(refused, Refused { limit: Limit::Queue, held: 2, most: 2 });
    budget.wait(Claim::new(1, 2, 1)).unwrap();
    assert_eq!(budget.wait(Claim::new(1, 2, 1)).unwrap_err().most, 3, "two wait for the longest, too");
    budget.cancel(first);
    budget.wait(Claim::new(1, 3, 1)).unwrap();
    assert_eq!(budget.wait(Claim::new(1, 4, 1)).unwrap_err().most, 3, "nobody waits more than once");
}

#[test]
fn the_last_of_who_waits_most_often_leaves_a_full_queue() {
    let mut budget = Budget::new(1, QueueLimits { total: 4, per_party: 4 });
    let held = budget.take(Claim::new(1, 0, 1)).unwrap();
    let crowd = [(); 3].map(|()| budget.wait(Claim::new(1, 1, 1)).unwrap().ticket);
    let other = budget.wait(Claim::new(1, 2, 1)).unwrap().ticket;
    let newcomer = budget.wait(Claim::new(1, 3, 1)).unwrap();
    assert_eq!(newcomer.displaced, Some(crowd[2]));
    assert!(!budget.cancel(crowd[2]), "it waits no more");
    assert_eq!(budget.wait(Claim::new(1, 2, 1)).unwrap_err().limit, Limit::Queue, "two would be as many");
    let second = budget.wait(Claim::new(1, 4, 1)).unwrap();
    assert_eq!(second.displaced, Some(crowd[1]));
    assert_eq!(budget.wait(Claim::new(1, 5, 1)).unwrap_err().limit, Limit::Queue, "each waits once");
    budget.give_back(&held);
    let (met, _) = budget.meet_next().unwrap();
    assert_eq!(met, crowd[0]);
    assert!([other, newcomer.ticket, second.ticket].into_iter().all(|ticket| budget.cancel(ticket)));
}

#[test]
fn a_claim_grows_by_what_has_come() {
    let mut budget = budget(10);
    let mut upload = budget.take(Claim::new(1, 1, 6)).unwrap();
    budget.resize(&mut upload, 6).unwrap();
    let refused = budget.resize(&mut upload, 7).unwrap_err();
    assert_eq!((upload.amount(), refused.limit), (6, Limit::Share(1)));
    let other = budget.take(Claim::new(4, 2, 6)).unwrap();
    budget.resize(&mut upload, 3).unwrap();
    assert_eq!((budget.used(), budget.held_by(&1)), (7, 3));
    budget.give_back(&other);
    budget.give_back(&upload);
    assert_eq!(budget.used(), 0);
}

/// The moves that an adversary can make in one step.
#[derive(Clone, Copy, Debug)]
enum Move {
    Take { party: u8, amount: u64 },
    Wait { party: u8, amount: u64 },
    Cancel { nth: usize },
    GiveBack { nth: usize },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    // The moves are in the name of a few parties that come again, or of as many new ones as an
    // adversary has addresses.
    let party = || prop_oneof![1_u8..5, 1_u8..250];
    let one = prop_oneof![
        (party(), 0_u64..40).prop_map(|(party, amount)| Move::Take { party, amount }),
        (party(), 0_u64..40).prop_map(|(party, amount)| Move::Wait { party, amount }),
        (0_usize..8).prop_map(|nth| Move::Cancel { nth }),
        (0_usize..8).prop_map(|nth| Move::GiveBack { nth }),
    ];
    proptest::collection::vec(one, 1..400)
}

const CAPACITY: u64 = 32;
const MOST: u64 = 24;
/// After this number of steps, the adversary loses what it holds, as a deadline on each piece of
/// work ensures.
const HELD_FOR: usize = 8;

/// Plays an adversary's moves. Each claim that it holds is given back after at most `HELD_FOR`
/// steps.
struct Game {
    budget: Budget<u8>,
    held: Vec<(usize, Claim<u8>)>,
    waiting: Vec<Ticket>,
    step: usize,
}

impl Game {
    fn new() -> Self {
        let (held, waiting) = (Vec::new(), Vec::new());
        Self { budget: budget(CAPACITY), held, waiting, step: 0 }
    }

    /// Plays one move and its consequences. Returns whether the honest ticket was met.
    fn play(&mut self, next: Move, honest: Option<Ticket>) -> bool {
        self.step += 1;
        match next {
            Move::Take { party, amount } => {
                let taken = self.budget.take(Claim::new(amount, party, MOST));
                self.held.extend(taken.ok().map(|claim| (self.step, claim)));
            }
            Move::Wait { party, amount } => {
                if let Ok(Queued { ticket, displaced }) = self.budget.wait(Claim::new(amount, party, MOST)) {
                    assert!(honest.is_none() || displaced != honest, "an honest claim lost its place");
                    self.waiting.retain(|waiting| Some(*waiting) != displaced);
                    self.waiting.push(ticket);
                }
            }
            Move::Cancel { nth } => {
                if nth < self.waiting.len() {
                    self.budget.cancel(self.waiting.swap_remove(nth));
                }
            }
            Move::GiveBack { nth } => {
                if nth < self.held.len() {
                    let (_, claim) = self.held.swap_remove(nth);
                    self.budget.give_back(&claim);
                }
            }
        }
        let over = self.step.saturating_sub(HELD_FOR);
        let (ended, held) = self.held.drain(..).partition(|(since, _)| *since <= over);
        self.held = held;
        for (_, claim) in &ended as &Vec<(usize, Claim<u8>)> {
            self.budget.give_back(claim);
        }
        let mut is_met = false;
        while let Some((ticket, claim)) = self.budget.meet_next() {
            if Some(ticket) == honest {
                is_met = true;
                self.budget.give_back(&claim);
            } else {
                self.waiting.retain(|waiting| *waiting != ticket);
                self.held.push((self.step, claim));
            }
        }
        is_met
    }
}

proptest! {
    #[test]
    fn books_are_right_after_any_moves(moves in moves()) {
        let mut game = Game::new();
        for next in moves {
            game.play(next, None);
            let held: u64 = game.held.iter().map(|(_, claim)| claim.amount()).sum();
            prop_assert_eq!(game.budget.used(), held);
            prop_assert!(held <= CAPACITY);
            prop_assert_eq!(game.budget.waiting(), game.waiting.len());
            for party in 1..250 {
                prop_assert!(game.budget.held_by(&party) <= MOST);
            }
        }
        for (_, claim) in std::mem::take(&mut game.held) {
            game.budget.give_back(&claim);
        }
        prop_assert_eq!((game.budget.used(), game.budget.parties()), (0, 0));
        while !game.waiting.is_empty() {
            game.budget.cancel(game.waiting.remove(0));
        }
        prop_assert!(game.budget.last_turn.is_empty(), "a party that is gone is remembered");
    }

    /// An adversary has any number of claims that wait for a budget with room for one. No party
    /// passes the honest party twice.
    #[test]
    fn turns_go_round(crowd in proptest::collection::vec(1_u8..5, 1..60), honest in 1_usize..4) {
        let mut budget = Budget::new(1, QueueLimits { total: 64, per_party: 64 });
        let mut held = budget.take(Claim::new(1, 9, 1)).unwrap();
        for party in crowd {
            budget.wait(Claim::new(1, party, 1)).unwrap();
        }
        for _ in 0..honest {
            budget.wait(Claim::new(1, 0, 1)).unwrap();
        }
        let mut since = Vec::new();
        let mut left = honest;
        while left > 0 {
            budget.give_back(&held);
            held = budget.meet_next().unwrap().1;
            let party = held.shares[0].party;
            if party == 0 {
                (left, since) = (left - 1, Vec::new());
            } else {
                prop_assert!(!since.contains(&party), "{party} had two turns while the honest party waited");
                since.push(party);
            }
        }
    }

    /// Each claim is held for at most HELD_FOR steps. Before an honest claim is due, claims of at
    /// most the capacity pass it; afterwards none does, and what is held is given back.
    #[test]
    fn no_party_starves_whatever_the_others_do(before in moves(), amount in 1_u64..=MOST, after in moves()) {
        let mut game = Game::new();
        for next in before {
            game.play(next, None);
        }
        let queued = game.budget.wait(Claim::new(amount, 0, MOST));
        prop_assert!(queued.is_ok(), "a party that does not wait yet found no place in the queue");
        let Queued { ticket: honest, displaced } = queued.unwrap();
        game.waiting.retain(|waiting| Some(*waiting) != displaced);
        // The moves are repeated without end, as by an adversary that never stops.
        let mut waited = 0;
        for next in after.iter().cycle() {
            if game.play(*next, Some(honest)) {
                break;
            }
            waited += 1;
            // Earlier claims that are due go first, each at most once for each place in the queue.
            let bound = (usize::try_from(CAPACITY).unwrap() + QUEUE.total + 1) * (HELD_FOR + 1);
            prop_assert!(waited <= bound, "waited for {waited} steps");
        }
    }

    #[test]
    fn a_party_within_its_share_is_served_at_once_while_there_is_room(moves in moves(), amount in 1_u64..=8) {
        // Three adversaries with a share of a quarter each leave a quarter for the honest party.
        let mut budget: Budget<u8> = budget(CAPACITY);
        let mut held: Vec<Claim<u8>> = Vec::new();
        for next in moves {
            match next {
                Move::Take { party, amount } | Move::Wait { party, amount } => {
                    held.extend(budget.take(Claim::new(amount, party % 3 + 1, CAPACITY / 4)));
                }
                Move::Cancel { nth } | Move::GiveBack { nth } => {
                    if nth < held.len() {
                        budget.give_back(&held.swap_remove(nth));
                    }
                }
            }
            let honest = budget.take(Claim::new(amount, 0, CAPACITY / 4));
            prop_assert!(honest.is_ok());
            budget.give_back(&honest.unwrap());
        }
    }
}
