//! The pure state machine: what is held by which party, who waits, and who comes next.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;

use thiserror::Error;

/// A name under which a budget counts what is held: a rollup, a client's address, the network around that address.
pub trait Party: Clone + Eq + Hash + fmt::Debug {}

impl<T: Clone + Eq + Hash + fmt::Debug> Party for T {}

/// The most that one party may hold of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<P> {
    /// The party.
    pub party: P,
    /// The most that it may hold at a time.
    pub most: u64,
}

/// What is asked for: an amount, in the units of the budget, in the name of one or more parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim<P> {
    amount: u64,
    /// The first one decides whose turn it is among claims that wait, and who leaves a full queue.
    shares: Vec<Share<P>>,
}

impl<P: Party> Claim<P> {
    /// An amount that counts for a party, which may hold `most` of the budget.
    pub fn new(amount: u64, party: P, most: u64) -> Self {
        Self { amount, shares: vec![Share { party, most }] }
    }

    /// The amount counts for a further party as well: a client beside a rollup, or the network around an address.
    #[must_use]
    pub fn and(mut self, party: P, most: u64) -> Self {
        self.shares.push(Share { party, most });
        self
    }

    /// The amount, as far as it counts. See [`Budget`] for amounts above a share.
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    fn clamped(mut self, capacity: u64) -> Self {
        let most = self.shares.iter().map(|share| share.most).fold(capacity, u64::min);
        self.amount = self.amount.min(most);
        self
    }
}

/// Which bound a claim met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit<P> {
    /// The whole budget is given out, or what is left is kept for a claim that has waited long.
    Capacity,
    /// This party holds its share.
    Share(P),
    /// As many claims wait as may.
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

/// A claim that is not met now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{limit} has {held} of {most} in use")]
pub struct Refused<P: fmt::Debug> {
    /// The bound that it met.
    pub limit: Limit<P>,
    /// How much of that is in use.
    pub held: u64,
    /// How much there is.
    pub most: u64,
}

/// How many claims may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// All together. Where so many wait, the party that waits most often makes room for one that waits less often.
    pub total: usize,
    /// In the name of one party.
    pub per_party: usize,
}

/// A claim that was taken into the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// By which it is known.
    pub ticket: Ticket,
    /// The claim that had to leave the full queue for it, and is never met.
    pub displaced: Option<Ticket>,
}

/// A claim that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Waiting<P> {
    claim: Claim<P>,
    /// What was given out since this claim began to wait, to claims that came later.
    passed: u64,
}

/// An amount that is given out in shares.
///
/// An amount above the share of its party counts as the whole share: such a claim is met when the party holds nothing
/// else. So a budget that is smaller than the largest piece of work slows that work down, and never ends it.
#[derive(Debug)]
pub struct Budget<P> {
    capacity: u64,
    used: u64,
    /// Parties that hold nothing have no entry.
    held: HashMap<P, u64>,
    queue: QueueLimits,
    /// By arrival.
    waiting: BTreeMap<Ticket, Waiting<P>>,
    waiting_by_party: HashMap<P, usize>,
    next_ticket: u64,
}

impl<P: Party> Budget<P> {
    /// A budget of which nothing is given out.
    pub fn new(capacity: u64, queue: QueueLimits) -> Self {
        Self {
            capacity,
            used: 0,
            held: HashMap::new(),
            queue,
            waiting: BTreeMap::new(),
            waiting_by_party: HashMap::new(),
            next_ticket: 0,
        }
    }

    /// The whole of it.
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// How much is given out. It may exceed the capacity by what [`Budget::take_anyway`] gave.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// How much a party holds.
    pub fn held_by(&self, party: &P) -> u64 {
        self.held.get(party).copied().unwrap_or(0)
    }

    /// How many parties hold anything.
    pub fn parties(&self) -> usize {
        self.held.len()
    }

    /// How many claims wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Meets a claim now or refuses it. It may pass claims that wait, unless one of them was passed too often.
    ///
    /// The claim that comes back is what is to be given to [`Budget::give_back`].
    ///
    /// # Errors
    /// Says which bound the claim met.
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

    /// Meets a claim whether there is room or not: of work that was taken on before a restart.
    pub fn take_anyway(&mut self, claim: Claim<P>) -> Claim<P> {
        let claim = claim.clamped(self.capacity);
        self.hold(&claim);
        claim
    }

    /// Has a claim wait; [`Budget::meet_next`] says when it is met. Where the queue is full, the last claim of the party
    /// that waits most often leaves it. So a party that does not wait yet finds a place, unless every other party waits
    /// once alone.
    ///
    /// # Errors
    /// Where as many wait as may in the name of one of its parties, or where the queue is full and no party waits more
    /// often than this one would.
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
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, Waiting { claim: claim.clamped(self.capacity), passed: 0 });
        Ok(Queued { ticket, displaced })
    }

    /// What a claim is told that finds no place in the queue, or loses it.
    pub fn queue_is_full(&self) -> Refused<P> {
        Refused { limit: Limit::Queue, held: self.waiting.len() as u64, most: self.queue.total as u64 }
    }

    /// A claim waits no more. Says whether it did.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        self.leave_queue(ticket).is_some()
    }

    /// Gives back what a claim got.
    pub fn give_back(&mut self, claim: &Claim<P>) {
        self.give_back_part(claim, claim.amount);
    }

    /// The next claim that is met, with what it got. To be called until there is none, after each change.
    pub fn meet_next(&mut self) -> Option<(Ticket, Claim<P>)> {
        let ticket = self.choose()?;
        let claim = self.leave_queue(ticket)?;
        self.hold(&claim);
        self.count_as_passing(claim.amount, Some(ticket));
        Some((ticket, claim))
    }

    /// Changes what a claim holds. Where it grows, that is refused as a claim of its own would be.
    ///
    /// # Errors
    /// Says which bound the claim met; it holds then what it held before.
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
        }
    }

    fn hold(&mut self, claim: &Claim<P>) {
        self.used = self.used.saturating_add(claim.amount);
        if claim.amount > 0 {
            for share in &claim.shares {
                *self.held.entry(share.party.clone()).or_insert(0) += claim.amount;
            }
        }
    }

    fn waiting_by(&self, party: &P) -> usize {
        self.waiting_by_party.get(party).copied().unwrap_or(0)
    }

    /// The last claim of the party that waits most often, if that is more often than the newcomer's party would wait.
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

    /// Whether a claim was passed by as much as the whole budget: from then on nothing passes it.
    const fn is_due(&self, waiting: &Waiting<P>) -> bool {
        waiting.passed >= self.capacity
    }

    /// What is kept free for the first claim that is due. One whose own party has used up its share keeps nothing free:
    /// it waits for itself.
    fn kept_for_the_due(&self) -> u64 {
        let due = self
            .waiting
            .values()
            .find(|waiting| self.is_due(waiting) && self.check_shares(&waiting.claim).is_ok());
        due.map_or(0, |waiting| waiting.claim.amount)
    }

    /// Which claim is met next, if any can be.
    fn choose(&self) -> Option<Ticket> {
        let may = |waiting: &Waiting<P>| self.check_shares(&waiting.claim).is_ok();
        let due = self.waiting.iter().find(|(_, waiting)| self.is_due(waiting) && may(waiting));
        if let Some((ticket, waiting)) = due {
            return self.fits(waiting.claim.amount).then_some(*ticket);
        }
        let held =
            |waiting: &Waiting<P>| waiting.claim.shares.first().map_or(0, |share| self.held_by(&share.party));
        self.waiting
            .iter()
            .filter(|(_, waiting)| self.fits(waiting.claim.amount) && may(waiting))
            .min_by_key(|(ticket, waiting)| (held(waiting), **ticket))
            .map(|(ticket, _)| *ticket)
    }

    /// Charges what was given out to the claims that it passed: those that came before it and did not wait for their
    /// own party.
    fn count_as_passing(&mut self, amount: u64, ticket: Option<Ticket>) {
        // An amount of nothing passes as one unit: so nothing passes for ever.
        let amount = amount.max(1);
        let held = &self.held;
        let before = match ticket {
            Some(ticket) => self.waiting.range_mut(..ticket),
            None => self.waiting.range_mut(..),
        };
        for (_, waiting) in before {
            let has_share = waiting.claim.shares.iter().all(|share| {
                let held = held.get(&share.party).copied().unwrap_or(0);
                held.saturating_add(waiting.claim.amount) <= share.most
            });
            if has_share {
                waiting.passed = waiting.passed.saturating_add(amount);
            }
        }
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
