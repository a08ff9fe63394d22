//! How far L1 was read, and what follows from that: which decisions are possible, and what may be
//! deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dac_chain::BlockRef;
use dac_chain::feed::Origin;
use dac_types::Address;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::store::DutyCounts;

/// The number of failed attempts in a row after which a contract counts as unreadable.
const UNREADABLE_LOOKS: u32 = 3;

/// The progress of reading L1, for the other parts of the process.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    origins: BTreeMap<Origin, Reading>,
    counts: Option<DutyCounts>,
    /// The rollups some of whose claims were left out.
    flooding: BTreeSet<Address>,
    /// Whether everything was read up to L1's head since this process started.
    was_complete: bool,
    /// What another process has read.
    observed: Option<Observed>,
}

/// How far another process has read, compared with L1's head as this process sees it.
#[derive(Clone, Copy, Debug, Default)]
struct Observed {
    read_up_to: u64,
    /// A head that the other process has not read yet, and when it was seen.
    waited_for: Option<(u64, Instant)>,
    /// The time at which the newest head that has been read was seen.
    current_at: Option<Instant>,
}

impl Observed {
    fn look(&mut self, read_up_to: u64, head: Option<(u64, Instant)>) {
        self.read_up_to = read_up_to;
        // If blocks come faster than this is called, the newest one is never read. An older one
        // shows that reading goes on.
        for seen in [self.waited_for, head].into_iter().flatten() {
            if seen.0 <= read_up_to {
                self.current_at = self.current_at.max(Some(seen.1));
                self.waited_for = None;
            }
        }
        self.waited_for = self.waited_for.or(head.filter(|(number, _)| *number > read_up_to));
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    /// The last block read.
    read_up_to: u64,
    head: u64,
    /// When the last attempt found nothing unread, and the time of L1's head then.
    complete: Option<(Instant, u64)>,
    /// The number of attempts that failed since the last one that did not, and when the last of
    /// them failed.
    failed: Option<(u32, Instant)>,
}

impl Reading {
    /// Returns whether it counts as a contract that cannot be read.
    fn is_unreadable(&self) -> bool {
        self.failed.is_some_and(|(looks, _)| looks >= UNREADABLE_LOOKS)
    }
}

impl State {
    /// Returns whether everything was read up to the head, apart from contracts that cannot be read
    /// although L1 can: the log was read after they last failed. An unreadable contract of one
    /// rollup thus makes no other rollup wait.
    fn is_complete(&self) -> bool {
        let is_log = |origin: &Origin| matches!(origin, Origin::Log(_));
        let log =
            self.origins.iter().filter(|(origin, _)| is_log(origin)).map(|(_, reading)| reading.complete);
        let Some(Some((log_read_at, _))) = log.min_by_key(|complete| complete.map(|(at, _)| at)) else {
            return false;
        };
        self.origins.values().all(|reading| {
            let is_set_aside =
                reading.is_unreadable() && reading.failed.is_some_and(|(_, at)| at < log_read_at);
            reading.complete.is_some() || is_set_aside
        })
    }
}

impl Progress {
    /// Sets the contracts that are followed from now on.
    pub fn follow(&self, origins: &[Origin]) {
        let state = &mut *self.0.lock();
        state.origins.retain(|origin, _| origins.contains(origin));
        for origin in origins {
            state.origins.entry(*origin).or_default();
        }
    }

    /// Notes that a contract was read up to a block, and completely if that is the head.
    pub fn read(&self, origin: Origin, read_up_to: u64, head: BlockRef, is_complete: bool) {
        let state = &mut *self.0.lock();
        let Some(reading) = state.origins.get_mut(&origin) else { return };
        reading.read_up_to = read_up_to;
        reading.head = head.number;
        reading.complete = is_complete.then(|| (Instant::now(), head.timestamp));
        reading.failed = None;
        state.was_complete |= state.is_complete();
    }

    /// Notes that a contract could not be read.
    pub fn failed(&self, origin: Origin) {
        if let Some(reading) = self.0.lock().origins.get_mut(&origin) {
            let looks = reading.failed.map_or(0, |(looks, _)| looks);
            reading.failed = Some((looks.saturating_add(1), Instant::now()));
        }
    }

    /// Notes that a rollup's contract claims more batches than are followed.
    pub fn flooded(&self, rollup: Address) {
        self.0.lock().flooding.insert(rollup);
    }

    /// Returns the rollups whose contracts claimed more than is followed since the process started.
    pub fn flooding_rollups(&self) -> Vec<Address> {
        self.0.lock().flooding.iter().copied().collect()
    }

    /// Returns the rollups whose contracts cannot be read.
    pub fn unreadable_rollups(&self) -> Vec<Address> {
        let state = self.0.lock();
        let unreadable = state.origins.iter().filter(|(_, reading)| reading.is_unreadable());
        unreadable
            .filter_map(|(origin, _)| match origin {
                Origin::Settlement(rollup) => Some(*rollup),
                Origin::Log(_) => None,
            })
            .collect()
    }

    /// Sets the number of shards that are owed and held.
    pub fn count(&self, counts: DutyCounts) {
        self.0.lock().counts = Some(counts);
    }

    /// Notes what another process read, L1's head with the time at which it was seen, and the
    /// number of shards owed and held according to that.
    pub fn observe(&self, read_up_to: u64, head: Option<(u64, Instant)>, counts: DutyCounts) {
        let state = &mut *self.0.lock();
        state.observed.get_or_insert_default().look(read_up_to, head);
        state.counts = Some(counts);
    }

    /// Returns the last count of what is owed and held, once everything was read at least once. If
    /// another process reads, its count must not be older than `limit`, because this process cannot
    /// know whether the other one still runs.
    pub fn counts(&self, limit: Duration) -> Option<DutyCounts> {
        let state = self.0.lock();
        let is_known = match state.observed {
            Some(observed) => observed.current_at.is_some_and(|at| at.elapsed() <= limit),
            None => state.was_complete,
        };
        state.counts.filter(|_| is_known)
    }

    /// Returns how long ago everything that can be read was last seen to be read up to L1's head.
    pub fn age(&self) -> Option<Duration> {
        let state = self.0.lock();
        let at = match state.observed {
            Some(observed) => observed.current_at,
            None => {
                let readable = state.origins.values().filter(|reading| !reading.is_unreadable());
                let read: Option<Vec<Instant>> =
                    readable.map(|reading| reading.complete.map(|(at, _)| at)).collect();
                read.and_then(|read| read.into_iter().min())
            }
        };
        at.map(|at| at.elapsed())
    }

    /// Returns the last count, even if little was read.
    pub fn counts_so_far(&self) -> DutyCounts {
        self.0.lock().counts.unwrap_or_default()
    }

    /// Returns whether a contract was read to L1's head within the last `limit`.
    pub fn is_current(&self, origin: Origin, limit: Duration) -> bool {
        let state = self.0.lock();
        let complete = state.origins.get(&origin).and_then(|reading| reading.complete);
        complete.is_some_and(|(at, _)| at.elapsed() <= limit)
    }

    /// Returns the block up to which all contracts were read, and the largest number of blocks that
    /// a contract is behind L1's head.
    pub fn blocks(&self) -> (u64, u64) {
        let state = self.0.lock();
        let read = state.origins.values().map(|reading| reading.read_up_to).min();
        let read = read.or(state.observed.map(|observed| observed.read_up_to)).unwrap_or(0);
        let behind =
            state.origins.values().map(|reading| reading.head.saturating_sub(reading.read_up_to)).max();
        let waited_for = state.observed.and_then(|observed| observed.waited_for);
        let behind = behind.or(waited_for.map(|(head, _)| head.saturating_sub(read)));
        (read, behind.unwrap_or(0))
    }

    /// Returns the rollups whose renewals may not have been read. Nothing of theirs is deleted. A
    /// contract must have been read to a head that is not older than `now`.
    pub fn unread_rollups(&self, now: u64) -> Vec<Address> {
        let state = self.0.lock();
        let unread = |reading: &Reading| reading.complete.is_none_or(|(_, timestamp)| timestamp < now);
        state
            .origins
            .iter()
            .filter_map(|(origin, reading)| match origin {
                Origin::Settlement(rollup) if unread(reading) => Some(*rollup),
                _ => None,
            })
            .collect()
    }

    /// Returns whether it is known which contracts exist.
    pub fn is_following(&self) -> bool {
        !self.0.lock().origins.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use dac_types::B256;

    use super::*;

    fn block(number: u64) -> BlockRef {
        BlockRef { number, hash: B256::ZERO, timestamp: 1000 + number }
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_process_read_is_believed_for_so_long() {
        let (progress, limit, second) =
            (Progress::default(), Duration::from_secs(10), Duration::from_secs(1));
        let look = |read_up_to, head: u64| {
            progress.observe(read_up_to, Some((head, Instant::now())), DutyCounts::default());
        };
        look(5, 9);
        assert_eq!((progress.counts(limit), progress.age(), progress.blocks()), (None, None, (5, 4)));
        look(9, 9);
        assert!(progress.counts(limit).is_some());
        // The process that reads has died.
        for head in 10..20 {
            tokio::time::advance(second * 2).await;
            look(9, head);
        }
        assert_eq!((progress.counts(limit), progress.age()), (None, Some(second * 20)));
        // It runs again, always a block behind. The head seen a second ago has been read.
        for head in 20..40 {
            tokio::time::advance(second).await;
            look(head - 1, head);
        }
        assert!(
            progress.counts(limit).is_some() && progress.age().unwrap() <= second * 2,
            "{:?}",
            progress.age()
        );
        // L1 itself is not seen any more, so what was read by then gets old.
        tokio::time::advance(limit + second).await;
        progress.observe(39, None, DutyCounts::default());
        assert_eq!(progress.counts(limit), None);
    }

    #[test]
    fn one_contract_that_cannot_be_read_keeps_nobody_waiting() {
        let (log, rollup) = (Origin::Log(Address::ZERO), Origin::Settlement(Address::repeat_byte(1)));
        let progress = Progress::default();
        progress.count(DutyCounts::default());
        progress.follow(&[log, rollup]);
        progress.read(log, 9, block(9), true);
        for looks in 1..=UNREADABLE_LOOKS {
            progress.failed(rollup);
            assert_eq!(progress.unreadable_rollups().is_empty(), looks < UNREADABLE_LOOKS);
        }
        // L1 may be down as a whole, because the log was read earlier.
        assert_eq!(progress.counts(Duration::MAX), None);
        #[expect(
            clippy::disallowed_methods,
            reason = "a test without a runtime, in which real time must pass"
        )]
        std::thread::sleep(Duration::from_millis(1));
        progress.read(log, 9, block(9), true);
        assert_eq!(progress.counts(Duration::MAX), Some(DutyCounts::default()));
        assert_eq!(progress.unreadable_rollups(), [Address::repeat_byte(1)]);
        assert!(!progress.is_current(rollup, Duration::MAX));
        assert_eq!(progress.unread_rollups(0), [Address::repeat_byte(1)], "nothing of it is deleted");
        progress.read(rollup, 9, block(9), true);
        assert!(progress.unreadable_rollups().is_empty());
    }

    #[test]
    fn nothing_counts_before_everything_was_read() {
        let (log, rollup) = (Origin::Log(Address::ZERO), Origin::Settlement(Address::repeat_byte(1)));
        let progress = Progress::default();
        progress.count(DutyCounts::default());
        assert!(!progress.is_following() && progress.counts(Duration::MAX).is_none());
        progress.follow(&[log, rollup]);
        progress.read(log, 9, block(9), true);
        assert_eq!((progress.counts(Duration::MAX), progress.blocks()), (None, (0, 0)));
        progress.read(rollup, 3, block(10), false);
        assert_eq!((progress.counts(Duration::MAX), progress.blocks()), (None, (3, 7)));
        assert_eq!(progress.unread_rollups(0), [Address::repeat_byte(1)]);
        assert!(!progress.is_current(rollup, Duration::MAX));
        progress.read(rollup, 10, block(10), true);
        assert_eq!(
            (progress.counts(Duration::MAX), progress.blocks()),
            (Some(DutyCounts::default()), (9, 0))
        );
        assert!(progress.is_current(rollup, Duration::MAX));
        // A head that is older than `now` does not show what was renewed since.
        assert!(progress.unread_rollups(1010).is_empty());
        assert_eq!(progress.unread_rollups(1011), [Address::repeat_byte(1)]);
        // Falling behind again takes back what may be decided, but duties are still known.
        progress.read(rollup, 10, block(99), false);
        assert!(!progress.is_current(rollup, Duration::MAX) && progress.counts(Duration::MAX).is_some());
        progress.follow(&[log]);
        assert!(progress.unread_rollups(u64::MAX).is_empty());
    }
}
