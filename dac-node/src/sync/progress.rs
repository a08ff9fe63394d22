//! How far L1 was read, and what follows from that: what may be decided by it, and what may be deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use dac_chain::BlockRef;
use dac_chain::feed::Origin;
use dac_types::Address;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::store::DutyCounts;

/// What the reader of L1 tells everybody else.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    origins: BTreeMap<Origin, Reading>,
    counts: Option<DutyCounts>,
    /// Whether everything was read up to L1's head since this process started.
    was_complete: bool,
    /// The block up to which another process has read.
    observed: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    /// The last block read.
    read_up_to: u64,
    head: u64,
    /// When the last look found nothing unread, and the time of L1's head then.
    complete: Option<(Instant, u64)>,
}

impl Progress {
    /// These contracts are followed from now on, and no others.
    pub fn follow(&self, origins: &[Origin]) {
        let state = &mut *self.0.lock();
        state.origins.retain(|origin, _| origins.contains(origin));
        for origin in origins {
            state.origins.entry(*origin).or_default();
        }
    }

    /// A contract was read up to a block, and all of it where that is the head.
    pub fn read(&self, origin: Origin, read_up_to: u64, head: BlockRef, is_complete: bool) {
        let state = &mut *self.0.lock();
        let Some(reading) = state.origins.get_mut(&origin) else { return };
        reading.read_up_to = read_up_to;
        reading.head = head.number;
        reading.complete = is_complete.then(|| (Instant::now(), head.timestamp));
        state.was_complete |=
            !state.origins.is_empty() && state.origins.values().all(|reading| reading.complete.is_some());
    }

    /// What is owed and held, as last counted.
    pub fn count(&self, counts: DutyCounts) {
        self.0.lock().counts = Some(counts);
    }

    /// What another process read and counted.
    pub fn observe(&self, read_up_to: u64, counts: DutyCounts) {
        let state = &mut *self.0.lock();
        (state.observed, state.counts, state.was_complete) = (Some(read_up_to), Some(counts), true);
    }

    /// What is owed and held, as last counted, once everything was read at least once.
    pub fn counts(&self) -> Option<DutyCounts> {
        let state = self.0.lock();
        state.counts.filter(|_| state.was_complete)
    }

    /// The last count, however little was read.
    pub fn counts_so_far(&self) -> DutyCounts {
        self.0.lock().counts.unwrap_or_default()
    }

    /// Whether a contract was read to L1's head within the last `limit`.
    pub fn is_current(&self, origin: Origin, limit: Duration) -> bool {
        let state = self.0.lock();
        let complete = state.origins.get(&origin).and_then(|reading| reading.complete);
        complete.is_some_and(|(at, _)| at.elapsed() <= limit)
    }

    /// The block up to which all contracts were read, and how many blocks some are behind.
    pub fn blocks(&self) -> (u64, u64) {
        let state = self.0.lock();
        let read = state.origins.values().map(|reading| reading.read_up_to).min();
        let read = read.or(state.observed).unwrap_or(0);
        let behind =
            state.origins.values().map(|reading| reading.head.saturating_sub(reading.read_up_to)).max();
        (read, behind.unwrap_or(0))
    }

    /// Rollups whose renewals may not have been read: nothing of theirs is deleted. `now` is what counts as the time; a contract must
    /// have been read to a head that is not older.
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

    /// Whether it is known which contracts there are.
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

    #[test]
    fn nothing_counts_before_everything_was_read() {
        let (log, rollup) = (Origin::Log(Address::ZERO), Origin::Settlement(Address::repeat_byte(1)));
        let progress = Progress::default();
        progress.count(DutyCounts::default());
        assert!(!progress.is_following() && progress.counts().is_none());
        progress.follow(&[log, rollup]);
        progress.read(log, 9, block(9), true);
        assert_eq!((progress.counts(), progress.blocks()), (None, (0, 0)));
        progress.read(rollup, 3, block(10), false);
        assert_eq!((progress.counts(), progress.blocks()), (None, (3, 7)));
        assert_eq!(progress.unread_rollups(0), [Address::repeat_byte(1)]);
        assert!(!progress.is_current(rollup, Duration::MAX));
        progress.read(rollup, 10, block(10), true);
        assert_eq!((progress.counts(), progress.blocks()), (Some(DutyCounts::default()), (9, 0)));
        assert!(progress.is_current(rollup, Duration::MAX));
        // A head that is older than what counts as now does not show what was renewed since.
        assert!(progress.unread_rollups(1010).is_empty());
        assert_eq!(progress.unread_rollups(1011), [Address::repeat_byte(1)]);
        // Falling behind again takes back what may be decided, not that duties are known.
        progress.read(rollup, 10, block(99), false);
        assert!(!progress.is_current(rollup, Duration::MAX) && progress.counts().is_some());
        progress.follow(&[log]);
        assert!(progress.unread_rollups(u64::MAX).is_empty());
    }
}
