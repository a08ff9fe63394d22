//! The faults of a history and their times, all drawn from the seed before the start.

use std::time::Duration;

use dac_types::Seat;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::cast::{AGGREGATOR, SEQUENCER, host};
use crate::disperser::CONFIRMATIONS;

/// Time since the start after which there are no more faults, so that pending work can finish.
pub(crate) const FAULTS_END: Duration = Duration::from_secs(7);
/// Longest duration of one fault, in milliseconds.
const FAULT_MAX_MS: u64 = 2000;

/// Largest number of blocks that are replaced at once. One more would replace a final block.
const REORGANISED_MAX: usize = (CONFIRMATIONS - 1) as usize;

/// Largest number of stores that are lost in one history.
const LOSSES_MAX: usize = 2;

/// One fault, or the end of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// A host loses power.
    Kill(String),
    /// A host loses power and the content of its store.
    Lose(String),
    /// A host starts again.
    Start(String),
    /// No message passes between the two hosts. Messages on the way are lost.
    Cut(String, String),
    /// Messages between the two hosts pass again.
    Mend(String, String),
    /// No message passes from the first host to the second.
    CutOneWay(String, String),
    /// Messages from the first host to the second pass again.
    MendOneWay(String, String),
    /// Messages between the two hosts are held back.
    Hold(String, String),
    /// Messages that were held back arrive, all at once.
    Release(String, String),
    /// This number of the newest blocks is replaced.
    Reorganise(usize),
    /// From now on, each block drops this share of the waiting transactions for good.
    DropTransactions(f64),
    /// L1 stops answering a host if the flag is true, and answers again if it is false.
    L1Down(String, bool),
}

/// Draws the faults in the order of their times. At most `losses_max` of the honest members lose
/// their stores.
pub(crate) fn draw(
    chance: &mut impl Rng,
    n: u16,
    honest: &[Seat],
    losses_max: usize,
) -> Vec<(Duration, Fault)> {
    let mut faults = Schedule { chance, events: Vec::new() };
    let mut members: Vec<Seat> = Seat::all(n).collect();
    members.shuffle(faults.chance);
    // The share of members with a fault differs from history to history.
    let share = faults.chance.random_range(0.0..0.8);
    for seat in members {
        if !faults.chance.random_bool(share) {
            continue;
        }
        let member = host(seat);
        match faults.chance.random_range(0..6) {
            0 | 1 => faults.pair(Fault::Kill(member.clone()), Fault::Start(member)),
            2 => {
                let ends = || (member.clone(), AGGREGATOR.to_owned());
                faults.pair(Fault::Cut(ends().0, ends().1), Fault::Mend(ends().0, ends().1));
            }
            3 => {
                let mut ends = (member.clone(), AGGREGATOR.to_owned());
                if faults.chance.random_bool(0.5) {
                    ends = (ends.1, ends.0);
                }
                let (from, to) = ends;
                faults.pair(Fault::CutOneWay(from.clone(), to.clone()), Fault::MendOneWay(from, to));
            }
            4 => {
                let ends = || (member.clone(), AGGREGATOR.to_owned());
                faults.pair(Fault::Hold(ends().0, ends().1), Fault::Release(ends().0, ends().1));
            }
            _ => faults.pair(Fault::L1Down(member.clone(), true), Fault::L1Down(member, false)),
        }
    }
    let losses = faults.chance.random_range(0..=losses_max.min(LOSSES_MAX));
    let unlucky: Vec<Seat> = honest.choose_multiple(faults.chance, losses).copied().collect();
    for seat in unlucky {
        faults.pair(Fault::Lose(host(seat)), Fault::Start(host(seat)));
    }
    for _ in 0..faults.chance.random_range(0..3) {
        let name = AGGREGATOR.to_owned();
        faults.pair(Fault::Kill(name.clone()), Fault::Start(name));
    }
    if faults.chance.random_bool(0.3) {
        let ends = || (SEQUENCER.to_owned(), AGGREGATOR.to_owned());
        faults.pair(Fault::Cut(ends().0, ends().1), Fault::Mend(ends().0, ends().1));
    }
    if faults.chance.random_bool(0.4) {
        let name = AGGREGATOR.to_owned();
        faults.pair(Fault::L1Down(name.clone(), true), Fault::L1Down(name, false));
    }
    if faults.chance.random_bool(0.5) {
        let rate = faults.chance.random_range(0.1..0.9);
        faults.pair(Fault::DropTransactions(rate), Fault::DropTransactions(0.0));
    }
    for _ in 0..faults.chance.random_range(0..4) {
        let (depth, at) = (faults.chance.random_range(1..=REORGANISED_MAX), faults.moment());
        faults.events.push((at, Fault::Reorganise(depth)));
    }
    let mut events = faults.events;
    // The sort is stable: of two events at the same time, the one that was drawn first comes first.
    events.sort_by_key(|(at, _)| *at);
    events
}

/// The faults drawn so far, with the times at which they happen.
struct Schedule<'a, R: Rng> {
    chance: &'a mut R,
    events: Vec<(Duration, Fault)>,
}

impl<R: Rng> Schedule<'_, R> {
    fn moment(&mut self) -> Duration {
        let last = u64::try_from(FAULTS_END.as_millis()).expect("a few seconds");
        Duration::from_millis(self.chance.random_range(200..last - 100))
    }

    fn pair(&mut self, begin: Fault, end: Fault) {
        let from = self.moment();
        let lasting = Duration::from_millis(self.chance.random_range(30..FAULT_MAX_MS));
        self.events.push((from, begin));
        self.events.push(((from + lasting).min(FAULTS_END), end));
    }
}
