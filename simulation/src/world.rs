//! The world of one seed, from its start to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_aggregator::batch::Phase;
use dac_types::{Quorum, Seat};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};
use serde::Serialize;

use crate::auditor::Auditor;
use crate::byzantine::{Liar, Lie};
use crate::cast::{AGGREGATOR, AUDITOR, Cast, SEQUENCER, host};
use crate::checker::{self, History};
use crate::clock::SimulatedClock;
use crate::disperser::{CONFIRMATIONS, Disperser, Order, sequence};
use crate::faults::{self, FAULTS_END, Fault};
use crate::l1::{BLOCK_TIME, Chain, ChainView};
use crate::member::Member;
use crate::panics;
use crate::store::{AggregatorMemory, Flaw, MemberMemory};
use crate::trace::{self, TraceHash};
use crate::witness::Witness;

/// One step of the simulation.
const TICK: Duration = Duration::from_millis(10);
/// Latest end of a healthy history. Without lost stores it ends much earlier.
const DEADLINE: Duration = Duration::from_secs(45);
/// Shortest time that the simulation runs after the last fault, so that its consequences are seen.
const QUIET: Duration = Duration::from_secs(2);
/// Longest duration of a retrieval over the network.
const AUDIT_MAX: Duration = Duration::from_secs(10);
/// Largest number of breaches that are reported for one seed.
const BREACHES_MAX: usize = 40;
/// Shortest latency of a message.
const LATENCY_MIN: Duration = Duration::from_millis(1);

/// The parameters of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The numbers n, k and q of the committee.
    pub quorum: Quorum,
    /// The fault of one member's store, which the check must find.
    pub flaw: Option<Flaw>,
}

impl Shape {
    /// Returns the shape with n members, of which there are three: 7, 16 and 64.
    pub fn of(n: u16) -> Option<Self> {
        let (k, q) = match n {
            7 => (3, 5),
            16 => (6, 11),
            64 => (22, 43),
            _ => return None,
        };
        Some(Self { quorum: Quorum::new(n, k, q).ok()?, flaw: None })
    }
}

/// The result of a seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The seed that was run.
    pub seed: u64,
    /// Number n of members.
    pub n: u16,
    /// Hash of everything that happened.
    pub trace: TraceHash,
    /// The rules that were broken. It is empty if all is well.
    pub breaches: Vec<String>,
    /// Number of batches on L1.
    pub posted: usize,
    /// Number of signatures by honest members.
    pub signatures: usize,
    /// Number of members that lied.
    pub liars: usize,
    /// Number of faults by kind.
    pub faults: BTreeMap<&'static str, usize>,
    /// Length of the history in simulated milliseconds.
    pub simulated_ms: u64,
}

/// Runs the history of one seed.
///
/// A second run is the same only in a process that takes its randomness from [`mad_turmoil`] and
/// has run nothing before; see `main.rs`.
pub fn run(seed: u64, shape: Shape) -> Report {
    trace::begin();
    panics::watch();
    World::new(seed, shape).run()
}

/// The running simulation of one seed.
struct World {
    seed: u64,
    shape: Shape,
    cast: Arc<Cast>,
    chance: StdRng,
    witness: Witness,
    chain: Chain,
    sim: turmoil::Sim<'static>,
    /// Stores of the honest members.
    stores: BTreeMap<Seat, MemberMemory>,
    liars: BTreeSet<Seat>,
    /// Members whose stores were lost.
    lost: BTreeSet<Seat>,
    /// Each host's view of L1, by the host's name.
    views: BTreeMap<String, ChainView>,
    /// The aggregator's store.
    books: AggregatorMemory,
    orders: Arc<Vec<Order>>,
    /// Whether each host is running.
    running: BTreeMap<String, bool>,
    auditor: Auditor,
    /// The number of faults by kind.
    counts: BTreeMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64, shape: Shape) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let cast = Arc::new(Cast::new(seed, shape.quorum));
        let chain = Chain::new(Arc::clone(&cast), seed);
        let sim = turmoil::Builder::new()
            .rng_seed(chance.next_u64())
            .tick_duration(TICK)
            .simulation_duration(DEADLINE + AUDIT_MAX * 2)
            .min_message_latency(LATENCY_MIN)
            .max_message_latency(Duration::from_millis(chance.random_range(5..60)))
            .tcp_capacity(4096)
            .enable_random_order()
            .build();
        let orders = Arc::new(orders(&mut chance, shape.quorum.geometry().n()));
        let auditor = Auditor::new(Arc::clone(&cast));
        let mut world = Self {
            seed,
            shape,
            cast,
            chance,
            witness: Witness::default(),
            chain,
            sim,
            stores: BTreeMap::new(),
            liars: BTreeSet::new(),
            lost: BTreeSet::new(),
            views: BTreeMap::new(),
            books: AggregatorMemory::default(),
            orders,
            running: BTreeMap::new(),
            auditor,
            counts: BTreeMap::new(),
        };
        world.populate();
        world
    }

    fn view(&mut self, name: &str) -> ChainView {
        let view = ChainView::new(self.chain.clone());
        self.views.insert(name.to_owned(), view.clone());
        self.running.insert(name.to_owned(), true);
        view
    }

    fn clock(&mut self) -> SimulatedClock {
        SimulatedClock { ahead_ms: self.chance.random_range(0..1500) }
    }

    fn populate(&mut self) {
        let quorum = self.shape.quorum;
        let n = quorum.geometry().n();
        let mut seats: Vec<Seat> = Seat::all(n).collect();
        seats.shuffle(&mut self.chance);
        // With a flawed store, no other member may be at fault.
        let liars = match self.shape.flaw {
            None if self.chance.random_bool(0.6) => self.chance.random_range(1..=quorum.absent_max()),
            _ => 0,
        };
        self.liars = seats.iter().copied().take(usize::from(liars)).collect();
        let mut flaw = self.shape.flaw;
        for seat in Seat::all(n) {
            let name = host(seat);
            let cast = Arc::clone(&self.cast);
            if self.liars.contains(&seat) {
                let lie = Lie::draw(&mut self.chance);
                self.running.insert(name.clone(), true);
                let liar = Liar { seat, lie, cast, records: Arc::default() };
                self.sim.host(name.as_str(), move || liar.clone().run());
                continue;
            }
            let store = MemberMemory::new(flaw.take());
            self.stores.insert(seat, store.clone());
            let (l1, clock, witness) = (self.view(&name), self.clock(), self.witness.clone());
            let member = Member { seat, cast, store, l1, witness, clock };
            self.sim.host(name.as_str(), move || member.clone().run());
        }
        let disperser = Disperser {
            cast: Arc::clone(&self.cast),
            store: self.books.clone(),
            l1: self.view(AGGREGATOR),
            clock: self.clock(),
        };
        self.sim.host(AGGREGATOR, move || disperser.clone().run());
        let (cast, orders, witness) =
            (Arc::clone(&self.cast), Arc::clone(&self.orders), self.witness.clone());
        self.sim.host(SEQUENCER, move || sequence(Arc::clone(&cast), Arc::clone(&orders), witness.clone()));
        let auditor = self.auditor.clone();
        self.sim.host(AUDITOR, move || auditor.clone().run());
    }

    fn run(mut self) -> Report {
        let quorum = self.shape.quorum;
        let honest: Vec<Seat> = self.stores.keys().copied().collect();
        // Lost shards must exist elsewhere: even if all liars are signers, k honest ones are left.
        let losses_max = match self.shape.flaw {
            None => usize::from(quorum.q() - quorum.geometry().k()).saturating_sub(self.liars.len()),
            Some(_) => 0,
        };
        let mut faults = faults::draw(&mut self.chance, quorum.geometry().n(), &honest, losses_max);
        if self.shape.flaw.is_some() {
            faults.extend(kill_the_flawed(&self.stores, &mut self.chance));
            faults.sort_by_key(|(at, _)| *at);
        }
        let mut faults = faults.into_iter().peekable();
        while self.sim.elapsed() < DEADLINE {
            while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= self.sim.elapsed()) {
                self.apply(&fault);
            }
            self.step();
            if faults.peek().is_none() && self.sim.elapsed() >= FAULTS_END + QUIET && self.is_done() {
                break;
            }
        }
        self.audit();
        self.report()
    }

    fn step(&mut self) {
        let block = BLOCK_TIME.as_millis();
        if self.sim.elapsed().as_millis() / block != (self.sim.elapsed() + TICK).as_millis() / block {
            self.chain.mine(self.sim.elapsed());
        }
        if let Err(error) = self.sim.step() {
            self.witness.broken(format!("a process ended by itself: {error}"));
        }
    }

    /// Returns whether all batches are on L1 and all members have repaired what they lost.
    fn is_done(&self) -> bool {
        let batches = self.books.batches();
        let posted = batches.iter().filter(|batch| batch.phase == Phase::Posted);
        posted.count() == self.orders.len()
            && self.chain.recorded(confirmed()).len() == self.orders.len()
            && self.is_healed()
    }

    /// Returns whether members that lost their stores have everything again that they signed.
    fn is_healed(&self) -> bool {
        let signatures = self.witness.signatures();
        signatures.iter().filter(|signature| self.lost.contains(&signature.seat)).all(|signature| {
            self.stores.get(&signature.seat).is_none_or(|store| store.holds(signature.digest))
        })
    }

    fn apply(&mut self, fault: &Fault) {
        trace::event("fault", &[format!("{fault:?}").as_bytes()]);
        tracing::info!(target: "simulation", at = ?self.sim.elapsed(), ?fault);
        let kind = match fault {
            Fault::Kill(name) => {
                if !std::mem::replace(self.running.entry(name.clone()).or_default(), false) {
                    return;
                }
                self.sim.crash(name.as_str());
                for (seat, store) in self.stores.iter().filter(|(seat, _)| host(**seat) == *name) {
                    store.killed();
                    // A member that lost its store is checked at the end, when it has had time to
                    // repair.
                    if !self.lost.contains(seat) {
                        self.witness.killed(*seat, store);
                    }
                }
                "kills"
            }
            Fault::Lose(name) => {
                if std::mem::replace(self.running.entry(name.clone()).or_default(), false) {
                    self.sim.crash(name.as_str());
                }
                for (seat, store) in self.stores.iter().filter(|(seat, _)| host(**seat) == *name) {
                    store.lose_everything();
                    self.lost.insert(*seat);
                }
                "lost stores"
            }
            Fault::Start(name) => {
                if !std::mem::replace(self.running.entry(name.clone()).or_default(), true) {
                    self.sim.bounce(name.as_str());
                }
                return;
            }
            Fault::Cut(a, b) => {
                self.sim.partition(a.as_str(), b.as_str());
                "partitions"
            }
            Fault::CutOneWay(from, to) => {
                self.sim.partition_oneway(from.as_str(), to.as_str());
                "one-way cuts"
            }
            Fault::Hold(a, b) => {
                self.sim.hold(a.as_str(), b.as_str());
                "delays"
            }
            Fault::Mend(a, b) => {
                self.sim.repair(a.as_str(), b.as_str());
                return;
            }
            Fault::MendOneWay(from, to) => {
                self.sim.repair_oneway(from.as_str(), to.as_str());
                return;
            }
            Fault::Release(a, b) => {
                self.sim.release(a.as_str(), b.as_str());
                return;
            }
            Fault::Reorganise(depth) => {
                self.chain.reorganise(*depth, self.sim.elapsed());
                "reorganisations"
            }
            Fault::DropTransactions(rate) => {
                self.chain.set_drop_rate(*rate);
                if *rate == 0.0 {
                    return;
                }
                "dropped transactions"
            }
            Fault::L1Down(name, down) => {
                if let Some(view) = self.views.get(name) {
                    view.set_down(*down);
                }
                if !down {
                    return;
                }
                "L1 outages"
            }
        };
        *self.counts.entry(kind).or_default() += 1;
    }

    /// Retrieves one batch with the production client, after as many of its signers as the protocol
    /// tolerates were removed.
    fn audit(&mut self) {
        let recorded = self.chain.recorded(confirmed());
        if recorded.is_empty() {
            return;
        }
        let chosen = &recorded[self.chance.random_range(0..recorded.len())];
        let quorum = self.shape.quorum;
        let spare = usize::from(quorum.q() - quorum.geometry().k());
        let (lying, mut honest): (Vec<Seat>, Vec<Seat>) = chosen
            .certificate
            .aggregate
            .absent
            .signers(quorum.geometry().n())
            .partition(|seat| self.liars.contains(seat));
        honest.shuffle(&mut self.chance);
        honest.truncate(spare.saturating_sub(lying.len()));
        for seat in honest {
            self.sim.crash(host(seat).as_str());
        }
        self.auditor.ask(chosen.digest);
        let until = self.sim.elapsed() + AUDIT_MAX;
        let answer = loop {
            if let Some(answer) = self.auditor.answer() {
                break answer;
            }
            if self.sim.elapsed() >= until {
                break Err("it took too long".to_owned());
            }
            self.step();
        };
        let checked = answer.and_then(|(submission, payload): (_, Bytes)| {
            let payloads = self.witness.payloads();
            match payloads.get(&submission) {
                Some(expected) if *expected != payload => Err("its bytes are other ones".to_owned()),
                _ => Ok(()),
            }
        });
        if let Err(problem) = checked {
            self.witness.broken(format!("{} was not retrieved from those left: {problem}", chosen.digest));
        }
    }

    fn report(mut self) -> Report {
        let stores: BTreeMap<Seat, _> =
            self.stores.iter().map(|(seat, store)| (*seat, store.held())).collect();
        let recorded = self.chain.recorded(confirmed());
        let signatures = self.witness.signatures();
        let history = History {
            cast: &self.cast,
            liars: &self.liars,
            stores: &stores,
            signatures: &signatures,
            accepted: &self.witness.payloads(),
            batches: &self.books.batches(),
            recorded: &recorded,
            reverted: self.chain.reverted(),
        };
        let mut breaches = self.witness.breaches();
        breaches.extend(checker::check(&history, &mut self.chance));
        let missing = self.orders.len() - history.accepted.len().min(self.orders.len());
        if missing > 0 {
            breaches.push(format!("{missing} batches were never taken"));
        }
        breaches.extend(panics::seen());
        breaches.truncate(BREACHES_MAX);
        Report {
            seed: self.seed,
            n: self.shape.quorum.geometry().n(),
            trace: trace::finish(),
            breaches,
            posted: recorded.len(),
            signatures: signatures.len(),
            liars: self.liars.len(),
            faults: self.counts,
            simulated_ms: u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Returns the number of blocks that must be on top of the one with a record.
fn confirmed() -> usize {
    usize::from(CONFIRMATIONS) - 1
}

fn orders(chance: &mut impl Rng, n: u16) -> Vec<Order> {
    let count = if n > 16 { chance.random_range(2..=3) } else { chance.random_range(3..=6) };
    let last = u64::try_from(FAULTS_END.as_millis()).expect("a few seconds");
    (1..=count)
        .map(|number| {
            let mut payload = vec![0; chance.random_range(100..6000)];
            chance.fill_bytes(&mut payload);
            Order {
                at: Duration::from_millis(chance.random_range(100..last)),
                number,
                payload: payload.into(),
                is_checked: chance.random_bool(0.3),
            }
        })
        .collect()
}

/// Draws times at which the member with the flawed store is killed and started again.
fn kill_the_flawed(stores: &BTreeMap<Seat, MemberMemory>, chance: &mut impl Rng) -> Vec<(Duration, Fault)> {
    let Some(seat) = stores.keys().next() else { return Vec::new() };
    let name = host(*seat);
    (1..7)
        .flat_map(|second| {
            let at = Duration::from_millis(second * 1000 + chance.random_range(0..700));
            let again = at + Duration::from_millis(100);
            [(at, Fault::Kill(name.clone())), (again.min(FAULTS_END), Fault::Start(name.clone()))]
        })
        .collect()
}
