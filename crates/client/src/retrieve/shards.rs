//! Fetches k checked shards: k members are asked at once, and more if these fail or are slow.
//!
//! Memory: at most k + spares shards are held at a time. A member that makes no progress while
//! another seat waits is dropped for it and, if need be, asked again at the end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dac_coding::{CheckedRecord, CheckedShard};
use dac_types::{Address, BatchDigest, Seat};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;

use super::options::{Progress, RetrieveOptions};
use super::record::RecordSource;
use super::report::{MemberReport, ShardOutcome};
use crate::connect::Dialer;
use crate::directory::{Directory, Holder};
use crate::fault::MemberFault;
use crate::member::MemberClient;
use crate::pace::{Pace, WatchedPace};
use crate::work::work;

/// The pause before a member that could not be reached is asked again; it is multiplied by the
/// number of attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often the progress of members is checked.
const TICK: Duration = Duration::from_millis(250);

/// A batch's shards and the members to fetch them from.
pub(super) struct Race<'a> {
    pub(super) directory: &'a Arc<Directory>,
    pub(super) dialer: &'a Dialer,
    pub(super) options: &'a RetrieveOptions,
    pub(super) record: &'a Arc<CheckedRecord>,
    pub(super) digest: BatchDigest,
    /// An operator that is not asked.
    pub(super) without: Option<Address>,
    /// A seat that is not asked.
    pub(super) spared: Option<Seat>,
    pub(super) pace: Option<Arc<WatchedPace>>,
}

/// A seat that is waiting to be asked.
#[derive(Clone, Copy)]
struct Candidate {
    seat: Seat,
    attempt: u32,
    /// Whether the seat was dropped once for others; it is not dropped again.
    was_dropped: bool,
}

/// A seat that is being asked.
struct Runner {
    candidate: Candidate,
    received: Arc<AtomicU64>,
    started_at: Instant,
    /// The bytes received when this runner was last seen to advance, and the time of that.
    mark: u64,
    advanced_at: Instant,
    abort: AbortHandle,
}

/// The result of a runner: the shard of a seat, or the fault of each of its holders.
struct Finish {
    shard: Option<CheckedShard>,
    reports: Vec<MemberReport>,
}

impl Race<'_> {
    /// Runs until there are k shards or no member is left to ask. The reports say what each member
    /// did.
    pub(super) async fn run(
        &self,
        sources: &[RecordSource],
        progress: &mut (impl FnMut(Progress) + Send),
    ) -> (Vec<CheckedShard>, Vec<MemberReport>) {
        let k = usize::from(self.record.geometry().k());
        let mut queue = self.order(sources);
        let mut running: HashMap<Id, Runner> = HashMap::new();
        let mut tasks: JoinSet<Finish> = JoinSet::new();
        let mut shards: Vec<CheckedShard> = Vec::with_capacity(k);
        let mut reports = Vec::new();
        let mut spares = 0;
        let mut last_success = Instant::now();
        let mut best_rate: f64 = 0.0;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while shards.len() < k {
            while running.len() < k - shards.len() + spares
                && let Some(candidate) = queue.pop_front()
            {
                self.start(candidate, &mut tasks, &mut running);
            }
            if running.is_empty() {
                break;
            }
            tokio::select! {
                finished = tasks.join_next_with_id() => {
                    let (id, finish) = match finished {
                        Some(Ok((id, finish))) => (id, Some(finish)),
                        Some(Err(error)) => (error.id(), None),
                        None => break,
                    };
                    let Some(runner) = running.remove(&id) else { continue };
                    let Some(finish) = finish else { continue };
                    if let Some(shard) = finish.shard {
                        best_rate = best_rate.max(runner.rate());
                        shards.push(shard);
                        last_success = Instant::now();
                        spares = spares.saturating_sub(1);
                    } else if let Some(again) = self.again(runner.candidate, &finish.reports) {
                        queue.push_back(again);
                    }
                    note(&mut reports, finish.reports);
                }
                _ = tick.tick() => {
                    for runner in running.values_mut() {
                        runner.look();
                        best_rate = best_rate.max(runner.rate());
                    }
                    // A member is not late while the pace holds its bytes back.
                    if self.pace.as_ref().is_some_and(|pace| pace.is_holding()) {
                        last_success = Instant::now();
                    }
                    if last_success.elapsed() >= self.options.hedge_after {
                        last_success = Instant::now();
                        if spares < self.options.spares_max {
                            spares += 1;
                        } else {
                            self.drop_stalled(&mut running, &mut queue, best_rate);
                        }
                    }
                }
            }
            self.tell(&shards, &running, progress);
        }
        for runner in running.into_values() {
            runner.abort.abort();
            let overtaken = self.overtaken(&runner);
            // The report of an earlier attempt says more.
            if !reports.iter().any(|former| is_same_member(former, &overtaken)) {
                reports.push(overtaken);
            }
        }
        tasks.abort_all();
        (shards, reports)
    }

    /// Orders the seats: those that answered first for the record come first, then the others at
    /// random.
    fn order(&self, sources: &[RecordSource]) -> VecDeque<Candidate> {
        use rand::seq::SliceRandom;
        let n = self.record.geometry().n();
        let quickness: HashMap<Seat, Duration> =
            sources.iter().map(|source| (source.seat, source.latency)).collect();
        let mut seats: Vec<Seat> = Seat::all(n).filter(|seat| Some(*seat) != self.spared).collect();
        seats.shuffle(&mut rand::rng());
        seats.sort_by_key(|seat| quickness.get(seat).copied().unwrap_or(Duration::MAX));
        seats.into_iter().map(|seat| Candidate { seat, attempt: 0, was_dropped: false }).collect()
    }

    /// Asks each holder of one seat once for the seat's shard.
    pub(super) async fn ask_seat(&self, seat: Seat) -> (Option<CheckedShard>, Vec<MemberReport>) {
        let candidate = Candidate { seat, attempt: 0, was_dropped: false };
        let Finish { shard, reports } = self.job(candidate, Arc::new(AtomicU64::new(0))).run().await;
        (shard, reports)
    }

    fn holders(&self, seat: Seat) -> Vec<Holder> {
        let mut holders = self.directory.holders(self.record.header().epoch, seat);
        holders.retain(|holder| Some(holder.operator) != self.without);
        holders
    }

    fn job(&self, candidate: Candidate, received: Arc<AtomicU64>) -> Job {
        Job {
            holders: self.holders(candidate.seat),
            dialer: self.dialer.clone(),
            patience: self.options.patience,
            pace: self.pace.clone(),
            record: self.record.clone(),
            digest: self.digest,
            candidate,
            received,
        }
    }

    fn start(&self, candidate: Candidate, tasks: &mut JoinSet<Finish>, running: &mut HashMap<Id, Runner>) {
        let received = Arc::new(AtomicU64::new(0));
        let abort = tasks.spawn(self.job(candidate, received.clone()).run());
        let now = Instant::now();
        let runner = Runner { candidate, received, started_at: now, mark: 0, advanced_at: now, abort };
        running.insert(runner.abort.id(), runner);
    }

    /// Returns a seat for another attempt if none of its holders could be reached. A holder that
    /// lied or lacks the shard is not asked again.
    fn again(&self, candidate: Candidate, reports: &[MemberReport]) -> Option<Candidate> {
        let attempt = candidate.attempt + 1;
        let worth = reports
            .iter()
            .any(|report| matches!(&report.outcome, ShardOutcome::Failed(fault) if fault.is_retryable()));
        (worth && attempt < self.options.attempts_max).then_some(Candidate { attempt, ..candidate })
    }

    /// Drops members that make no progress, or that are far slower than others, for members not yet
    /// asked. It applies when every spare is in use and none finishes. Each seat is dropped once;
    /// after that it is waited for, so that a slow network is no failure.
    fn drop_stalled(
        &self,
        running: &mut HashMap<Id, Runner>,
        queue: &mut VecDeque<Candidate>,
        best_rate: f64,
    ) {
        let stalled: Vec<Id> = running
            .iter()
            .filter(|(_, runner)| !runner.candidate.was_dropped)
            .filter(|(_, runner)| {
                runner.advanced_at.elapsed() >= self.options.hedge_after || runner.rate() < best_rate / 16.0
            })
            .map(|(id, _)| *id)
            .take(queue.len())
            .collect();
        for id in stalled {
            let Some(runner) = running.remove(&id) else { continue };
            runner.abort.abort();
            queue.push_back(Candidate { was_dropped: true, ..runner.candidate });
        }
    }

    fn overtaken(&self, runner: &Runner) -> MemberReport {
        let holder = self.holders(runner.candidate.seat).into_iter().next();
        MemberReport {
            seat: runner.candidate.seat,
            operator: holder.as_ref().map(|holder| holder.operator).unwrap_or_default(),
            url: holder.map(|holder| holder.url).unwrap_or_default(),
            outcome: ShardOutcome::Overtaken,
            attempts: 1,
            latency: runner.started_at.elapsed(),
        }
    }

    fn tell(
        &self,
        shards: &[CheckedShard],
        running: &HashMap<Id, Runner>,
        progress: &mut (impl FnMut(Progress) + Send),
    ) {
        let mut partial: Vec<u64> =
            running.values().map(|runner| runner.received.load(Ordering::Relaxed)).collect();
        partial.sort_unstable_by(|a, b| b.cmp(a));
        let missing = usize::from(self.record.geometry().k()).saturating_sub(shards.len());
        let bytes =
            (shards.len() * self.record.shard_length()) as u64 + partial.iter().take(missing).sum::<u64>();
        let checked = u16::try_from(shards.len()).unwrap_or(u16::MAX);
        progress(Progress::Shards { bytes, checked });
    }
}

/// Adds reports. A member that was asked again has one entry: its last attempt, with the number of
/// all attempts.
fn note(reports: &mut Vec<MemberReport>, finished: Vec<MemberReport>) {
    for mut report in finished {
        if let Some(place) = reports.iter().position(|former| is_same_member(former, &report)) {
            report.attempts += reports.remove(place).attempts;
        }
        reports.push(report);
    }
}

fn is_same_member(one: &MemberReport, other: &MemberReport) -> bool {
    (one.seat, one.operator) == (other.seat, other.operator)
}

impl Runner {
    fn look(&mut self) {
        let received = self.received.load(Ordering::Relaxed);
        if received != self.mark {
            self.mark = received;
            self.advanced_at = Instant::now();
        }
    }

    /// Returns the bytes a second since the start.
    fn rate(&self) -> f64 {
        self.received.load(Ordering::Relaxed) as f64 / self.started_at.elapsed().as_secs_f64().max(0.001)
    }
}

/// Asks the holders of one seat, the newest first.
struct Job {
    holders: Vec<Holder>,
    dialer: Dialer,
    patience: crate::member::Patience,
    pace: Option<Arc<WatchedPace>>,
    record: Arc<CheckedRecord>,
    digest: BatchDigest,
    candidate: Candidate,
    received: Arc<AtomicU64>,
}

impl Job {
    async fn run(self) -> Finish {
        if self.candidate.attempt > 0 {
            tokio::time::sleep(RETRY_PAUSE * self.candidate.attempt).await;
        }
        let mut reports = Vec::new();
        for holder in &self.holders {
            let start = Instant::now();
            self.received.store(0, Ordering::Relaxed);
            let answer = self.fetch(&holder.url).await;
            let outcome = match &answer {
                Ok(shard) => ShardOutcome::Served { bytes: shard.bytes().len() },
                Err(fault) => ShardOutcome::Failed(fault.clone()),
            };
            reports.push(MemberReport {
                seat: self.candidate.seat,
                operator: holder.operator,
                url: holder.url.clone(),
                outcome,
                attempts: 1,
                latency: start.elapsed(),
            });
            if let Ok(shard) = answer {
                return Finish { shard: Some(shard), reports };
            }
        }
        Finish { shard: None, reports }
    }

    async fn fetch(&self, url: &str) -> Result<CheckedShard, MemberFault> {
        let pace = self.pace.clone().map(|pace| pace as Arc<dyn Pace>);
        let mut member = MemberClient::connect(&self.dialer, url, self.patience).await?.paced(pace);
        let bytes = member.shard(self.digest, self.record.shard_length(), &self.received).await?;
        let (record, seat) = (self.record.clone(), self.candidate.seat);
        match work(move || CheckedShard::check(&record, seat, bytes)).await {
            Some(checked) => Ok(checked?),
            None => {
                let problem = "the check was interrupted".to_owned();
                Err(MemberFault::Unreachable { problem, cause: None })
            }
        }
    }
}
