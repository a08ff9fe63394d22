//! A budget for async tasks. Permits return their amount when they are dropped; futures that wait
//! may be dropped.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::budget::{Budget, Claim, Party, QueueLimits, Queued, Refused, Ticket};

#[derive(Debug)]
struct State<P> {
    budget: Budget<P>,
    /// The channels on which waiting claims learn that they are met.
    replies: HashMap<Ticket, oneshot::Sender<Claim<P>>>,
}

impl<P: Party> State<P> {
    /// Notifies all claims that are met now. If the future of one was dropped, its amount is given
    /// back at once.
    fn settle(&mut self) {
        while let Some((ticket, claim)) = self.budget.meet_next() {
            let told = self.replies.remove(&ticket).map_or(Err(claim.clone()), |reply| reply.send(claim));
            if let Err(claim) = told {
                self.budget.give_back(&claim);
            }
        }
    }
}

/// A budget that tasks share. Clones refer to the same budget.
pub struct Admission<P: Party>(Arc<Mutex<State<P>>>);

impl<P: Party> Clone for Admission<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Party> fmt::Debug for Admission<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        formatter
            .debug_struct("Admission")
            .field("used", &state.budget.used())
            .field("capacity", &state.budget.capacity())
            .field("waiting", &state.budget.waiting())
            .finish()
    }
}

impl<P: Party> Admission<P> {
    /// Makes a budget of which nothing is given out.
    pub fn new(capacity: u64, queue: QueueLimits) -> Self {
        let budget = Budget::new(capacity, queue);
        Self(Arc::new(Mutex::new(State { budget, replies: HashMap::new() })))
    }

    /// Makes a budget without a queue: claims are met at once or refused.
    pub fn without_queue(capacity: u64) -> Self {
        Self::new(capacity, QueueLimits { total: 0, per_party: 0 })
    }

    /// Meets a claim now, or refuses it.
    ///
    /// # Errors
    /// The error names the bound that the claim met.
    pub fn try_admit(&self, claim: Claim<P>) -> Result<Permit<P>, Refused<P>> {
        let claim = self.0.lock().budget.take(claim)?;
        Ok(self.permit(claim))
    }

    /// Meets a claim even if there is no room, for work that was accepted before a restart.
    pub fn admit_anyway(&self, claim: Claim<P>) -> Permit<P> {
        let claim = self.0.lock().budget.take_anyway(claim);
        self.permit(claim)
    }

    /// Meets a claim now if there is room for it, and otherwise waits until there is. Dropping the
    /// future removes the claim from the queue.
    ///
    /// # Errors
    /// It fails if the queue is full. It also fails while the claim waits, if the claim has to make
    /// room for one of a party with fewer waiting claims.
    pub async fn admit(&self, claim: Claim<P>) -> Result<Permit<P>, Refused<P>> {
        let mut waiting = {
            let mut state = self.0.lock();
            // A claim that is met at once needs no place in the queue, so a full queue is no reason
            // to refuse it.
            if let Ok(claim) = state.budget.take(claim.clone()) {
                return Ok(self.permit(claim));
            }
            let Queued { ticket, displaced } = state.budget.wait(claim)?;
            let (reply, met) = oneshot::channel();
            state.replies.insert(ticket, reply);
            // Without its sender, the future of the displaced claim ends with an error.
            displaced.map(|displaced| state.replies.remove(&displaced));
            state.settle();
            Waits { admission: self.clone(), ticket, met }
        };
        match (&mut waiting.met).await {
            Ok(claim) => Ok(self.permit(claim)),
            Err(_) => Err(self.0.lock().budget.queue_is_full()),
        }
    }

    /// Returns the size of the budget.
    pub fn capacity(&self) -> u64 {
        self.0.lock().budget.capacity()
    }

    /// Returns the amount that is given out.
    pub fn used(&self) -> u64 {
        self.0.lock().budget.used()
    }

    /// Returns the amount that a party holds.
    pub fn held_by(&self, party: &P) -> u64 {
        self.0.lock().budget.held_by(party)
    }

    /// Returns the number of claims that wait.
    pub fn waiting(&self) -> usize {
        self.0.lock().budget.waiting()
    }

    fn permit(&self, claim: Claim<P>) -> Permit<P> {
        Permit { admission: self.clone(), claim }
    }

    fn give_back(&self, claim: &Claim<P>) {
        let mut state = self.0.lock();
        state.budget.give_back(claim);
        state.settle();
    }
}

/// A place in the queue. When it is dropped, the claim leaves the queue, and an amount that it got
/// meanwhile is given back.
struct Waits<P: Party> {
    admission: Admission<P>,
    ticket: Ticket,
    met: oneshot::Receiver<Claim<P>>,
}

impl<P: Party> Drop for Waits<P> {
    fn drop(&mut self) {
        let mut state = self.admission.0.lock();
        state.replies.remove(&self.ticket);
        if state.budget.cancel(self.ticket) {
            // Claims that this one held up may be met now.
            state.settle();
        } else if let Ok(claim) = self.met.try_recv() {
            state.budget.give_back(&claim);
            state.settle();
        }
    }
}

/// The amount that a claim got. It is given back when the permit is dropped.
#[must_use = "a permit that is dropped gives back at once"]
pub struct Permit<P: Party> {
    admission: Admission<P>,
    claim: Claim<P>,
}

impl<P: Party> Permit<P> {
    /// Returns the amount that the permit holds.
    pub const fn amount(&self) -> u64 {
        self.claim.amount()
    }

    /// Changes the amount. It grows only if there is room. An upload uses this to be counted by the
    /// bytes that have arrived.
    ///
    /// # Errors
    /// The error names the bound that was met. The permit then holds what it held before.
    pub fn resize(&mut self, amount: u64) -> Result<(), Refused<P>> {
        let mut state = self.admission.0.lock();
        state.budget.resize(&mut self.claim, amount)?;
        state.settle();
        Ok(())
    }
}

impl<P: Party> fmt::Debug for Permit<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Permit").field(&self.claim).finish()
    }
}

impl<P: Party> Drop for Permit<P> {
    fn drop(&mut self) {
        self.admission.give_back(&self.claim);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;
    use crate::budget::Limit;

    const QUEUE: QueueLimits = QueueLimits { total: 8, per_party: 4 };

    fn claim(amount: u64, party: char) -> Claim<char> {
        Claim::new(amount, party, 6)
    }

    #[tokio::test]
    async fn a_permit_gives_back_to_the_claim_that_waits() {
        let admission = Admission::new(10, QUEUE);
        let first = admission.try_admit(claim(6, 'a')).unwrap();
        let mut second = Box::pin(admission.admit(claim(5, 'b')));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        let second = tokio::time::timeout(Duration::from_secs(5), second).await.unwrap().unwrap();
        assert_eq!((second.amount(), admission.used(), admission.held_by(&'b')), (5, 5, 5));
        drop(second);
        assert_eq!((admission.used(), admission.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn a_future_that_is_dropped_leaves_nothing_behind() {
        let admission = Admission::new(10, QUEUE);
        let all = admission.try_admit(Claim::new(10, 'a', 10)).unwrap();
        let mut dropped_in_the_queue = Box::pin(admission.admit(claim(5, 'b')));
        assert!((&mut dropped_in_the_queue).now_or_never().is_none());
        drop(dropped_in_the_queue);
        assert_eq!(admission.waiting(), 0);

        let mut dropped_when_met = Box::pin(admission.admit(claim(5, 'b')));
        assert!((&mut dropped_when_met).now_or_never().is_none());
        drop(all);
        assert_eq!(admission.used(), 5, "it is met although nobody polled it");
        drop(dropped_when_met);
        assert_eq!((admission.used(), admission.0.lock().replies.len()), (0, 0));
    }

    #[tokio::test]
    async fn what_there_is_room_for_needs_no_place_in_a_full_queue() {
        let admission = Admission::new(10, QueueLimits { total: 1, per_party: 1 });
        let _most = admission.try_admit(claim(6, 'a')).unwrap();
        let waits = admission.admit(claim(1, 'a'));
        tokio::pin!(waits);
        assert!((&mut waits).now_or_never().is_none(), "its party holds its share");
        let small = admission.admit(claim(4, 'b')).now_or_never();
        assert!(small.is_some_and(|admitted| admitted.is_ok()), "there is room for it");
    }

    #[tokio::test]
    async fn who_waits_most_often_makes_room_and_is_told() {
        let admission = Admission::new(10, QueueLimits { total: 3, per_party: 3 });
        let all = admission.try_admit(Claim::new(10, 'a', 10)).unwrap();
        let mut crowd: Vec<_> = (0..3).map(|_| Box::pin(admission.admit(claim(1, 'b')))).collect();
        assert!(crowd.iter_mut().all(|waits| waits.now_or_never().is_none()));
        let newcomer = admission.admit(claim(1, 'c'));
        tokio::pin!(newcomer);
        assert!((&mut newcomer).now_or_never().is_none());
        let displaced = crowd.pop().unwrap().now_or_never().expect("the last of the crowd is told at once");
        assert_eq!(displaced.unwrap_err(), Refused { limit: Limit::Queue, held: 3, most: 3 });
        drop(all);
        assert!(newcomer.now_or_never().is_some_and(|admitted| admitted.is_ok()));
        assert!(crowd.into_iter().all(|waits| waits.now_or_never().is_some_and(|admitted| admitted.is_ok())));
    }

    #[tokio::test]
    async fn a_permit_grows_and_shrinks_within_its_share() {
        let admission = Admission::new(10, QUEUE);
        let mut upload = admission.try_admit(claim(1, 'a')).unwrap();
        upload.resize(6).unwrap();
        assert!(upload.resize(7).is_err(), "beyond the share");
        let other = admission.try_admit(claim(4, 'b')).unwrap();
        let waiting = admission.admit(claim(2, 'c'));
        tokio::pin!(waiting);
        assert!((&mut waiting).now_or_never().is_none());
        upload.resize(2).unwrap();
        assert!(waiting.now_or_never().unwrap().is_ok());
        drop((upload, other));
        assert_eq!(admission.used(), 0);
    }
}
