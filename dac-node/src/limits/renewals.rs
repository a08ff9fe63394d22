//! Gives turns to the checks of renewals. The client that asks is not known, and each check is work
//! for the disk. So each rollup has one turn at a time, and turns go round between rollups, between
//! known callers of a rollup and strangers, and between the clients of each. A request therefore
//! waits for at most one check of each of the others, even if some of them ask without end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dac_admission::FairQueue;
use dac_types::Address;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Busy, ClientKey, Group};

/// The number of rollups whose batches are checked at the same time.
const TURNS: usize = 2;
/// The largest number of waiting requests, of all rollups.
const WAITING_MAX: usize = 128;
/// The longest wait for a turn.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// The time after which a client should ask again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct State {
    waiting: FairQueue<Group, ClientKey, oneshot::Sender<RenewalTurn>>,
    /// The rollups whose batches are being checked.
    looked_at: HashSet<Address>,
}

/// The turns. Rollups and clients without a request are not remembered.
#[derive(Clone, Debug)]
pub struct Renewals(Arc<Mutex<State>>);

/// A turn. It ends when it is dropped.
#[derive(Debug)]
pub struct RenewalTurn {
    renewals: Renewals,
    rollup: Address,
}

impl Drop for RenewalTurn {
    fn drop(&mut self) {
        self.renewals.0.lock().looked_at.remove(&self.rollup);
        self.renewals.give_out();
    }
}

impl Default for Renewals {
    fn default() -> Self {
        let state = State { waiting: FairQueue::new(WAITING_MAX), looked_at: HashSet::new() };
        Self(Arc::new(Mutex::new(state)))
    }
}

impl Renewals {
    /// Waits for the turn of a request of `group`, which names an admitted rollup.
    ///
    /// # Errors
    /// It fails if the queue is full and this client's share of it is the longest, or if the turn
    /// does not come in time.
    pub async fn turn(&self, group: Group, client: ClientKey) -> Result<RenewalTurn, Busy> {
        let (reply, turn) = oneshot::channel();
        self.0.lock().waiting.push(group, client, reply).map_err(|full| busy(full.waiting))?;
        self.give_out();
        match tokio::time::timeout(WAIT_MAX, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            // The request made room for another one, or its turn did not come.
            Ok(Err(_)) | Err(_) => Err(busy(self.waiting())),
        }
    }

    /// Gives free turns to the requests that are next.
    fn give_out(&self) {
        loop {
            let mut state = self.0.lock();
            // A caller that went away gets no turn.
            state.waiting.retain(|reply| !reply.is_closed());
            let State { waiting, looked_at } = &mut *state;
            if looked_at.len() >= TURNS {
                return;
            }
            let is_free = |group: Group| group.rollup.is_some_and(|rollup| !looked_at.contains(&rollup));
            let Some((Group { rollup: Some(rollup), .. }, _, reply)) = waiting.pop(is_free) else { return };
            looked_at.insert(rollup);
            drop(state);
            // If the caller went away just now, the turn comes back and is dropped here, after the
            // lock.
            let _ = reply.send(RenewalTurn { renewals: self.clone(), rollup });
        }
    }

    fn waiting(&self) -> usize {
        self.0.lock().waiting.len()
    }
}

fn busy(waiting: usize) -> Busy {
    Busy {
        what: "requests for renewals",
        in_flight: waiting as u64,
        limit: WAITING_MAX as u64,
        retry_after: RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use futures::future::join_all;

    use super::*;

    const ROLLUP: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    fn known(rollup: Address) -> Group {
        Group { rollup: Some(rollup), is_known: true }
    }

    fn strangers(rollup: Address) -> Group {
        Group { is_known: false, ..known(rollup) }
    }

    fn client(last: u8) -> ClientKey {
        ClientKey::V4([10, 0, 0, last])
    }

    #[tokio::test]
    async fn a_flood_for_one_rollup_keeps_nobody_waiting_for_more_than_a_turn() {
        let renewals = Renewals::default();
        let first = renewals.turn(strangers(ROLLUP), client(1)).await.unwrap();
        let requests = (0..=u8::MAX).map(|number| renewals.turn(strangers(ROLLUP), client(number)));
        let mut flood: Vec<_> = requests.map(Box::pin).collect();
        flood.retain_mut(|turn| turn.now_or_never().is_none());
        assert_eq!(renewals.waiting(), WAITING_MAX, "the queue is bounded");
        // Another rollup does not wait at all, and a known client of this one waits for one turn.
        drop(renewals.turn(known(OTHER), client(200)).now_or_never().unwrap().unwrap());
        let mut honest = Box::pin(renewals.turn(known(ROLLUP), client(201)));
        assert!((&mut honest).now_or_never().is_none());
        drop(first);
        let taken = flood.iter_mut().find_map(|turn| turn.now_or_never()?.ok());
        let honest = match (&mut honest).now_or_never() {
            Some(turn) => turn.unwrap(),
            None => {
                drop(taken.expect("a stranger has the turn"));
                honest.now_or_never().expect("the next one").unwrap()
            }
        };
        drop((honest, flood));
        let state = renewals.0.lock();
        assert!(state.looked_at.is_empty(), "{state:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_gets_a_turn_or_is_told() {
        let renewals = Renewals::default();
        let all = (0..8).map(async |number| {
            let turn = renewals.turn(known(ROLLUP), client(number)).await?;
            tokio::time::sleep(WAIT_MAX / 4).await;
            drop(turn);
            Ok::<_, Busy>(())
        });
        let (done, told): (Vec<_>, Vec<_>) = join_all(all).await.into_iter().partition(Result::is_ok);
        // The last turn may come just within the wait or just after it.
        assert!((4..=5).contains(&done.len()) && done.len() + told.len() == 8, "{}", done.len());
        renewals.turn(known(ROLLUP), client(1)).await.unwrap();
        let state = renewals.0.lock();
        assert!(state.looked_at.is_empty() && state.waiting.is_empty(), "nothing is remembered");
    }

    #[tokio::test]
    async fn a_request_that_goes_away_takes_no_turn() {
        let renewals = Renewals::default();
        let first = renewals.turn(known(ROLLUP), client(1)).await.unwrap();
        let mut gone = Box::pin(renewals.turn(known(ROLLUP), client(2)));
        assert!((&mut gone).now_or_never().is_none());
        drop(gone);
        drop(first);
        let _next = renewals.turn(known(ROLLUP), client(3)).now_or_never().unwrap().unwrap();
        assert!(renewals.turn(known(OTHER), client(3)).now_or_never().unwrap().is_ok());
    }
}
