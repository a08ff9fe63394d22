//! The pure state machine of a budget: what each party holds, which claims wait, and which is met
//! next.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::Hash;

use thiserror::Error;

/// A party in whose name a budget is used: a rollup, a client's address, or the network around an
/// address.
pub trait Party: Clone + Eq + Hash + fmt::Debug {}

impl<T: Clone + Eq + Hash + fmt::Debug> Party for T {}

/// The largest amount of a budget that one party may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<P> {
    /// The party that the share limits.
    pub party: P,
    /// The largest amount that it may hold at a time, in units of the budget.
    pub most: u64,
}

/// A request for an amount, in units of the budget, in the name of one or more parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<P> {
    amount: u64,
    /// The parties that the amount counts for. Among waiting claims, the first party decides whose
    /// turn it is, and which claim leaves a full queue.
    shares: Vec<Share<P>>,
}

impl<P: Party> Claim<P> {
    /// Makes a claim that counts for one party, which may hold at most `most` of the budget.
    pub fn new(amount: u64, party: P, most: u64) -> Self {
        Self { amount, shares: vec![Share { party, most }] }
    }

    /// Lets the amount count for a further party too, for example for a client beside its rollup,
    /// or for the network around an address.
    #[must_use]
    pub fn and(mut self, party: P, most: u64) -> Self {
        self.shares.push(Share { party, most });
        self
    }

    /// Returns the amount. An amount above a share is lowered to the share; see [`Budget`].
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    fn clamped(mut self, capacity: u64) -> Self {
        let most = self.shares.iter().map(|share| share.most).fold(capacity, u64::min);
        self.amount = self.amount.min(most);
        self
    }
}

/// The bound that a claim met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<P> {
    /// The whole budget is given out, or the rest is reserved for a claim that has waited long.
    Capacity,
    /// This party holds its whole share.
    Share(P),
    /// The queue is full.
    Queue,
}

impl<P: fmt::Debug> fmt::Display for Limit<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capacity => formatter.write_str("the whole budget"),
            Self::Share(party) => write!(formatter, "the share of {party:?}"),
            Self::Queue => formatter.write_str("the queue"),
        }
    }
}

/// The error that a claim cannot be met now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{limit} has {held} of {most} in use")]
pub struct Refused<P: fmt::Debug> {
    /// The bound that the claim met.
    pub limit: Limit<P>,
    /// The amount that is in use: units of the budget, or waiting claims.
    pub held: u64,
    /// The largest amount that the bound allows, in the same units.
    pub most: u64,
}

/// The bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Largest number of claims that wait in total. If this number waits, the party that has the
    /// most waiting claims makes room for one that has fewer.
    pub total: usize,
    /// Largest number of claims that wait in the name of one party.
    pub per_party: usize,
}

/// A claim that was put into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The ticket of the claim.
    pub ticket: Ticket,
    /// The ticket of the claim that had to leave the full queue for it. That claim is never met.
    pub displaced: Option<Ticket>,
}

/// Identifies a claim that waits. Later claims have larger tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Waiting<P> {
    claim: Claim<P>,
    /// Sum of the amounts that later, smaller claims got while this one waited for room.
    passed: u64,
}

/// An amount that is given out to parties in shares.
///
/// An amount above the share of its party counts as the whole share. Such a claim is met when the
/// party holds nothing else. Therefore a budget that is smaller than the largest piece of work
/// slows that work down but never blocks it for good.
#[derive(Debug)]
pub struct Budget<P> {
    capacity: u64,
    used: u64,
    /// The amount that each party holds. A party that holds nothing has no entry.
    held: HashMap<P, u64>,
    queue: QueueLimits,
    /// The waiting claims in the order in which they came.
    waiting: BTreeMap<Ticket, Waiting<P>>,
    waiting_by_party: HashMap<P, usize>,
    /// For each party, the value of `met` when it got its last turn, or when it came if it had
    /// none. A party that neither holds nor waits for anything has no entry.
    last_turn: HashMap<P, u64>,
    /// The number of claims that have been met.
    met: u64,
    next_ticket: u64,
}

impl<P: Party> Budget<P> {
    /// Makes a budget of which nothing is given out.
    pub fn new(capacity: u64, queue: QueueLimits) -> Self {
        Self {
            capacity,
            used: 0,
            held: HashMap::new(),
            queue,
            waiting: BTreeMap::new(),
            waiting_by_party: HashMap::new(),
            last_turn: HashMap::new(),
            met: 0,
            next_ticket: 0,
        }
    }

    /// Returns the size of the budget.
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Returns the amount that is given out. [`Budget::take_anyway`] can raise it above the
    /// capacity.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Returns the amount that a party holds.
    pub fn held_by(&self, party: &P) -> u64 {
        self.held.get(party).copied().unwrap_or(0)
    }

    /// Returns the number of parties that hold a part of the budget.
    pub fn parties(&self) -> usize {
        self.held.len()
    }

    /// Returns the number of claims that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Meets a claim now, or refuses it. The claim may pass waiting claims, unless one of them was
    /// passed too often.
    ///
    /// The caller must later hand the claim that is returned to [`Budget::give_back`].
    ///
    /// # Errors
    /// The error names the bound that the claim met.
    pub fn take(&mut self, claim: Claim<P>) -> Result<Claim<P>, Refused<P>> {
        let claim = claim.clamped(self.capacity);
        self.check_shares(&claim)?;
        let kept = self.kept_for_the_due();
        if self.used.saturating_add(claim.amount).saturating_add(kept) > self.capacity {
            return Err(self.full());
        }
        self.hold(&claim);
        self.count_as_passing(claim.amount, None);
        Ok(claim)
    }

    /// Meets a claim even if there is no room, for work that was accepted before a restart.
    pub fn take_anyway(&mut self, claim: Claim<P>) -> Claim<P> {
        let claim = claim.clamped(self.capacity);
        self.hold(&claim);
        claim
    }

    /// Puts a claim into the queue. [`Budget::meet_next`] returns it when it is met.
    ///
    /// If the queue is full, the last claim of the party that has the most waiting claims leaves
    /// it. So a party without waiting claims finds a place, unless every other party has only one.
    ///
    /// # Errors
    /// It fails if one of the claim's parties may have no more waiting claims, or if the queue is
    /// full and no party has more waiting claims than this one would have.
    pub fn wait(&mut self, claim: Claim<P>) -> Result<Queued, Refused<P>> {
        let queue = self.queue;
        let full =
            |held: usize, most: usize| Refused { limit: Limit::Queue, held: held as u64, most: most as u64 };
        for share in &claim.shares {
            let waiting = self.waiting_by(&share.party);
            if waiting >= queue.per_party {
                return Err(full(waiting, queue.per_party));
            }
        }
        let displaced = if self.waiting.len() < queue.total {
            None
        } else {
            let Some(last) = self.last_of_the_longest(&claim) else { return Err(self.queue_is_full()) };
            self.leave_queue(last);
            Some(last)
        };
        for share in &claim.shares {
            *self.waiting_by_party.entry(share.party.clone()).or_insert(0) += 1;
        }
        if let Some(first) = claim.shares.first() {
            self.last_turn.entry(first.party.clone()).or_insert(self.met);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, Waiting { claim: claim.clamped(self.capacity), passed: 0 });
        Ok(Queued { ticket, displaced })
    }

    /// Returns the error for a claim that finds no place in the queue or loses its place.
    pub fn queue_is_full(&self) -> Refused<P> {
        Refused { limit: Limit::Queue, held: self.waiting.len() as u64, most: self.queue.total as u64 }
    }

    /// Removes a claim from the queue. Returns whether it was still waiting.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        self.leave_queue(ticket).is_some()
    }

    /// Returns the amount of a claim to the budget.
    pub fn give_back(&mut self, claim: &Claim<P>) {
        self.give_back_part(claim, claim.amount);
    }

    /// Meets the next waiting claim that can be met and returns it. After each change of the
    /// budget, call this until it returns `None`.
    pub fn meet_next(&mut self) -> Option<(Ticket, Claim<P>)> {
        let ticket = self.choose()?;
        let claim = self.leave_queue(ticket)?;
        self.hold(&claim);
        self.count_as_passing(claim.amount, Some(ticket));
        Some((ticket, claim))
    }

    /// Changes the amount that a claim holds. Growth is refused on the same grounds as a new claim.
    ///
    /// # Errors
    /// The error names the bound that the claim met. The claim then holds what it held before.
    pub fn resize(&mut self, claim: &mut Claim<P>, amount: u64) -> Result<(), Refused<P>> {
        if amount <= claim.amount {
            self.give_back_part(claim, claim.amount - amount);
            claim.amount = amount;
        } else {
            let more = Claim { amount: amount - claim.amount, shares: claim.shares.clone() };
            claim.amount += self.take(more)?.amount;
        }
        Ok(())
    }

    fn give_back_part(&mut self, claim: &Claim<P>, amount: u64) {
        self.used = self.used.saturating_sub(amount);
        for share in &claim.shares {
            if let Some(held) = self.held.get_mut(&share.party) {
                *held = held.saturating_sub(amount);
                if *held == 0 {
                    self.held.remove(&share.party);
                }
            }
            self.forget_if_absent(&share.party);
        }
    }

    /// Forgets when a party had its last turn once it neither holds nor waits for anything, so that
    /// the table has no more entries than there are present parties.
    fn forget_if_absent(&mut self, party: &P) {
        if !self.held.contains_key(party) && !self.waiting_by_party.contains_key(party) {
            self.last_turn.remove(party);
        }
    }

    fn hold(&mut self, claim: &Claim<P>) {
        self.used = self.used.saturating_add(claim.amount);
        self.met += 1;
        if let Some(first) = claim.shares.first() {
            self.last_turn.insert(first.party.clone(), self.met);
        }
        if claim.amount > 0 {
            for share in &claim.shares {
                *self.held.entry(share.party.clone()).or_insert(0) += claim.amount;
            }
        }
    }

    fn waiting_by(&self, party: &P) -> usize {
        self.waiting_by_party.get(party).copied().unwrap_or(0)
    }

    /// Returns the last claim of the party that has the most waiting claims, if it has more than
    /// the party of `newcomer` would have.
    fn last_of_the_longest(&self, newcomer: &Claim<P>) -> Option<Ticket> {
        let waiting =
            |claim: &Claim<P>| claim.shares.first().map_or(0, |share| self.waiting_by(&share.party));
        let (ticket, longest) =
            self.waiting.iter().max_by_key(|(ticket, other)| (waiting(&other.claim), **ticket))?;
        (waiting(&longest.claim) > waiting(newcomer) + 1).then_some(*ticket)
    }

    fn leave_queue(&mut self, ticket: Ticket) -> Option<Claim<P>> {
        let claim = self.waiting.remove(&ticket)?.claim;
        for share in &claim.shares {
            if let Some(waiting) = self.waiting_by_party.get_mut(&share.party) {
                *waiting -= 1;
                if *waiting == 0 {
                    self.waiting_by_party.remove(&share.party);
                }
            }
            self.forget_if_absent(&share.party);
        }
        Some(claim)
    }

    fn check_shares(&self, claim: &Claim<P>) -> Result<(), Refused<P>> {
        for share in &claim.shares {
            let held = self.held_by(&share.party);
            if held.saturating_add(claim.amount) > share.most {
                let limit = Limit::Share(share.party.clone());
                return Err(Refused { limit, held, most: share.most });
            }
        }
        Ok(())
    }

    const fn full(&self) -> Refused<P> {
        Refused { limit: Limit::Capacity, held: self.used, most: self.capacity }
    }

    fn fits(&self, amount: u64) -> bool {
        self.used.saturating_add(amount) <= self.capacity
    }

    /// Returns whether later claims that together are as large as the whole budget have passed this
    /// claim. From then on no claim passes it.
    const fn is_due(&self, waiting: &Waiting<P>) -> bool {
        waiting.passed >= self.capacity
    }

    /// Returns the amount that is reserved for the first claim that is due. Nothing is reserved for
    /// a claim whose own party has used up its share, because it waits for its own party.
    fn kept_for_the_due(&self) -> u64 {
        let due = self
            .waiting
            .values()
            .find(|waiting| self.is_due(waiting) && self.check_shares(&waiting.claim).is_ok());
        due.map_or(0, |waiting| waiting.claim.amount)
    }

    /// Returns the claim that is met next, or `None` if none can be met.
    fn choose(&self) -> Option<Ticket> {
        let may = |waiting: &Waiting<P>| self.check_shares(&waiting.claim).is_ok();
        let due = self.waiting.iter().find(|(_, waiting)| self.is_due(waiting) && may(waiting));
        if let Some((ticket, waiting)) = due {
            return self.fits(waiting.claim.amount).then_some(*ticket);
        }
        // Among parties that hold equally little, the one whose last turn is longest ago comes
        // first. For a party without a turn, the time when it came counts, so that new parties do
        // not pass those that wait.
        let standing = |waiting: &Waiting<P>| {
            waiting.claim.shares.first().map_or((0, 0), |share| {
                let last_turn = self.last_turn.get(&share.party).copied().unwrap_or(self.met);
                (self.held_by(&share.party), last_turn)
            })
        };
        self.waiting
            .iter()
            .filter(|(_, waiting)| self.fits(waiting.claim.amount) && may(waiting))
            .min_by_key(|(ticket, waiting)| (standing(waiting), **ticket))
            .map(|(ticket, _)| *ticket)
    }

    /// Adds an amount that was just given out to the counters of the claims that it passed. These
    /// are claims that came earlier, did not wait for their own party, and were too large for the
    /// room that there was. Only the first claim of each party is counted: otherwise a party with
    /// many claims would get as many turns in a row once they are due.
    fn count_as_passing(&mut self, amount: u64, ticket: Option<Ticket>) {
        // An amount of zero counts as one unit; otherwise claims of zero could pass for ever.
        let room = self.capacity.saturating_sub(self.used.saturating_sub(amount));
        let amount = amount.max(1);
        let held = &self.held;
        let before = match ticket {
            Some(ticket) => self.waiting.range_mut(..ticket),
            None => self.waiting.range_mut(..),
        };
        let mut parties = HashSet::new();
        for (_, waiting) in before {
            let is_first = waiting.claim.shares.first().is_none_or(|share| parties.insert(&share.party));
            if !is_first {
                continue;
            }
            let has_share = waiting.claim.shares.iter().all(|share| {
                let held = held.get(&share.party).copied().unwrap_or(0);
                held.saturating_add(waiting.claim.amount) <= share.most
            });
            if has_share && waiting.claim.amount > room {
                waiting.passed = waiting.passed.saturating_add(amount);
            }
        }
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
