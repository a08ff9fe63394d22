//! Renewals being looked at. Whoever asks is not known, and looking is work for the disk: each rollup has one turn at a time and a short
//! queue of its own, so that nobody's requests keep those for another rollup waiting for long.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dac_types::Address;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Busy;

/// Looked at side by side, of different rollups.
const TURNS: usize = 2;
/// Requests for one rollup: the one that is being looked at and those behind it.
const REQUESTS_PER_ROLLUP_MAX: u32 = 8;
/// Longest wait for a turn.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// When it is worth asking again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The queues. Rollups with nothing in them are not remembered.
#[derive(Debug)]
pub struct Renewals {
    turns: Arc<Semaphore>,
    queues: Arc<Mutex<HashMap<Address, Queue>>>,
}

#[derive(Debug)]
struct Queue {
    requests: u32,
    turn: Arc<Semaphore>,
}

/// A turn, over when dropped.
#[derive(Debug)]
pub struct RenewalTurn {
    // In this order: the next of the rollup finds its place when this one's is free.
    _turns: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
    _place: Place,
}

/// A place in a rollup's queue, given up when dropped: also by a caller that went away.
#[derive(Debug)]
struct Place {
    queues: Arc<Mutex<HashMap<Address, Queue>>>,
    rollup: Address,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.queues.lock();
        if let Some(queue) = queues.get_mut(&self.rollup) {
            queue.requests -= 1;
            if queue.requests == 0 {
                queues.remove(&self.rollup);
            }
        }
    }
}

impl Default for Renewals {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(TURNS)), queues: Arc::default() }
    }
}

impl Renewals {
    /// Waits for the turn of a request for an admitted rollup.
    ///
    /// # Errors
    /// Where that rollup's queue is full, or the turn does not come in time.
    pub async fn turn(&self, rollup: Address) -> Result<RenewalTurn, Busy> {
        let (place, turn) = self.enter(rollup)?;
        let in_order = async {
            // The rollup's own turn first: so only one of its requests at a time competes with other rollups'.
            let turn = turn.acquire_owned().await.ok()?;
            let turns = Arc::clone(&self.turns).acquire_owned().await.ok()?;
            Some((turn, turns))
        };
        match tokio::time::timeout(WAIT_MAX, in_order).await {
            Ok(Some((turn, turns))) => Ok(RenewalTurn { _turns: turns, _turn: turn, _place: place }),
            Ok(None) | Err(_) => Err(busy(self.requests(rollup))),
        }
    }

    fn enter(&self, rollup: Address) -> Result<(Place, Arc<Semaphore>), Busy> {
        let mut queues = self.queues.lock();
        let queue =
            queues.entry(rollup).or_insert_with(|| Queue { requests: 0, turn: Arc::new(Semaphore::new(1)) });
        if queue.requests >= REQUESTS_PER_ROLLUP_MAX {
            return Err(busy(queue.requests));
        }
        queue.requests += 1;
        Ok((Place { queues: Arc::clone(&self.queues), rollup }, Arc::clone(&queue.turn)))
    }

    fn requests(&self, rollup: Address) -> u32 {
        self.queues.lock().get(&rollup).map_or(0, |queue| queue.requests)
    }
}

fn busy(in_flight: u32) -> Busy {
    Busy {
        what: "renewals of this rollup",
        in_flight: in_flight.into(),
        limit: REQUESTS_PER_ROLLUP_MAX.into(),
        retry_after: RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    const ROLLUP: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    #[tokio::test(start_paused = true)]
    async fn a_flood_for_one_rollup_keeps_no_other_waiting() {
        let renewals = Renewals::default();
        let first = renewals.turn(ROLLUP).await.unwrap();
        let waiting: Vec<_> = (1..REQUESTS_PER_ROLLUP_MAX).map(|_| renewals.enter(ROLLUP).unwrap()).collect();
        let refused = renewals.turn(ROLLUP).await.unwrap_err();
        assert_eq!((refused.in_flight, refused.limit), (8, 8));
        // Without waiting: time stands still here.
        let other = tokio::time::timeout(Duration::ZERO, renewals.turn(OTHER)).await.unwrap().unwrap();
        drop((first, other, waiting));
        assert!(renewals.queues.lock().is_empty(), "nothing is remembered of rollups that are done");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gets_a_turn_or_is_told() {
        let renewals = Renewals::default();
        let all = (0..REQUESTS_PER_ROLLUP_MAX).map(async |_| {
            let turn = renewals.turn(ROLLUP).await?;
            tokio::time::sleep(WAIT_MAX / 4).await;
            drop(turn);
            Ok::<_, Busy>(())
        });
        let (done, told): (Vec<_>, Vec<_>) = join_all(all).await.into_iter().partition(Result::is_ok);
        // Those whose turn comes within the wait, the last of them just so or not.
        assert!((4..=5).contains(&done.len()) && done.len() + told.len() == 8, "{}", done.len());
        assert!(renewals.queues.lock().is_empty());
        renewals.turn(ROLLUP).await.unwrap();
    }
}
