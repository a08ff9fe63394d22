//! What goes wrong, and when: drawn from the seed before anything happens.

use std::time::Duration;

use dac_types::Seat;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use crate::cast::{AGGREGATOR, SEQUENCER, host};
use crate::disperser::CONFIRMATIONS;

/// Nothing goes wrong any more from then on: what is pending has to come to its end.
pub(crate) const FAULTS_END: Duration = Duration::from_secs(7);
/// Longest time that one fault lasts.
const FAULT_MAX_MS: u64 = 2000;

/// Blocks replaced at once: one more, and what counts as final would not be.
const REORGANISED_MAX: usize = (CONFIRMATIONS - 1) as usize;

/// Stores that are lost in one seed.
const LOSSES_MAX: usize = 2;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// A host loses power.
    Kill(String),
    /// A host loses power, and its disk with it.
    Lose(String),
    /// It starts again.
    Start(String),
    /// No message passes between the two, either way; those under way are lost.
    Cut(String, String),
    /// Messages pass again.
    Mend(String, String),
    /// No message passes from the first to the second.
    CutOneWay(String, String),
    /// Messages pass again.
    MendOneWay(String, String),
    /// Messages between the two wait.
    Hold(String, String),
    /// They arrive, all at once.
    Release(String, String),
    /// The newest blocks are replaced.
    Reorganise(usize),
    /// Blocks drop this share of waiting transactions for good.
    DropTransactions(f64),
    /// L1 does not answer a host, or does again.
    L1Down(String, bool),
}

/// The events in their order. Of these members so many may lose their stores.
pub(crate) fn draw(
    chance: &mut impl Rng,
    n: u16,
    honest: &[Seat],
    losses_max: usize,
) -> Vec<(Duration, Fault)> {
    let mut faults = Schedule { chance, events: Vec::new() };
    let mut members: Vec<Seat> = Seat::all(n).collect();
    members.shuffle(faults.chance);
    // How rough it gets: from a quiet day to a bad one.
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
    // In a stable order: of two at the same moment the one drawn first.
    events.sort_by_key(|(at, _)| *at);
    events
}

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
