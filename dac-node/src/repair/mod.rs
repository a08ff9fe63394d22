//! Brings back shards that are owed and not held: from another holder of the seat, or rebuilt from
//! any k peers. It is bounded in bytes a second and in batches at a time. Batches that are kept
//! shortest come first, and a batch that fails does not make others wait.

mod backoff;
mod faults;
mod turns;

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use dac_chain::{RegistryView, RegistryWatch, SettledBatch};
use dac_client::{
    Dialer, Directory, EndpointPolicy, Hint, MemberFault, RetrieveError, RetrieveOptions, Retriever, Settled,
    Throttle,
};
use dac_coding::{CheckedRecord, RebuildError};
use dac_proto::reason::Reason;
use dac_runtime::clock::Clock;
use dac_types::{Address, B256, BatchDigest, Transition};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use faults::Fault;

use self::backoff::Backoff;
use self::faults::Faults;
use self::turns::{Turns, WANTED_PER_TURN, in_turn};
use crate::accusations::{Accusations, Charge};
use crate::admit::Identity;
use crate::store::{
    Authority, BadSeat, BatchOnL1, Catalog, Commit, Duties, L1Evidence, StoreError, Stored, Wanted, Writer,
};
use crate::verify::{IntakeError, store_shard};
use dac_runtime::workers::{WorkError, Workers};

/// The longest pause between two looks, also when nothing is reported as missing.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// The number of characters of the last problem that are kept.
const PROBLEM_MAX_CHARS: usize = 500;

/// How much repair may use up, and which peers it may ask.
#[derive(Clone, Debug)]
pub struct RepairSettings {
    /// The number of bytes of shards received in a second.
    pub bytes_per_second: NonZeroU64,
    /// The number of batches at a time.
    pub concurrency: usize,
    /// Connects to peers and decides which ones may be connected to.
    pub dialer: Dialer,
    /// The time limits of requests to peers.
    pub options: RetrieveOptions,
}

impl RepairSettings {
    /// Makes settings with the default time limits and connections of the usual kind.
    pub fn new(bytes_per_second: NonZeroU64, concurrency: usize, policy: EndpointPolicy) -> Self {
        let (dialer, options) = (Dialer::new(policy), RetrieveOptions::default());
        Self { bytes_per_second, concurrency: concurrency.max(1), dialer, options }
    }
}

/// What repair did since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// The number of shards brought back.
    pub repaired: u64,
    /// The number of bytes of these shards.
    pub repaired_bytes: u64,
    /// The number of attempts that failed.
    pub failed: u64,
    /// The batch under way.
    pub current: Option<BatchDigest>,
    /// Why the last failed attempt failed.
    pub last_problem: String,
}

/// The progress of repair, for the other parts of the process.
#[derive(Debug, Default)]
pub struct RepairStatus {
    report: Mutex<RepairReport>,
    faults: Mutex<Faults>,
}

impl RepairStatus {
    /// Returns the progress as of now.
    pub fn report(&self) -> RepairReport {
        self.report.lock().clone()
    }

    /// Returns at most `limit` faults of peers that gave something false or nothing, the most
    /// frequent first.
    pub fn faults(&self, limit: usize) -> Vec<Fault> {
        self.faults.lock().list(limit)
    }
}

/// Why a shard was not brought back.
#[derive(Debug, Error)]
enum RepairError {
    /// Peers did not give what is needed.
    #[error(transparent)]
    Retrieve(#[from] RetrieveError),
    /// The record contradicts what the rollup's contract says of the batch.
    #[error(
        "the record is not that of batch {batch_number} of rollup {rollup} in epoch {epoch}, as the rollup's contract says"
    )]
    Refuted {
        /// The rollup, according to the contract.
        rollup: Address,
        /// The number of the batch, according to the contract.
        batch_number: u64,
        /// The epoch, according to the contract.
        epoch: u64,
    },
    /// The shard cannot be computed from what the peers gave.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// The store failed to read or to note something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The shard could not be checked and written into the store.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The store gave an answer that should not occur here.
    #[error("the store answered {0:?}")]
    Commit(Commit<Stored>),
    /// The computation was lost.
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// The result of a repair that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repaired {
    /// The shard is stored already.
    Held,
    /// The shard was stored. It has this many bytes.
    Stored(usize),
    /// The shard of the seat is not a codeword: it does not match the other shards.
    Bad,
}

/// The task that repairs.
pub struct Repairer {
    /// The books of what is held.
    pub catalog: Arc<dyn Catalog>,
    /// The books of what is owed.
    pub duties: Arc<dyn Duties>,
    /// Writes shards into the store.
    pub writer: Writer,
    /// The committees and their endpoints.
    pub registry: RegistryWatch,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The member's identity.
    pub identity: Identity,
    /// The threads on which coding runs.
    pub workers: Workers,
    /// The bounds of repair.
    pub settings: RepairSettings,
    /// Counts what dispersers and rollups did wrong.
    pub accusations: Arc<Accusations>,
    /// The progress, for others to read.
    pub status: Arc<RepairStatus>,
    /// Wakes this task when a shard is missing.
    pub wanted: Arc<Notify>,
    /// Notified when the stored shards have changed.
    pub recount: Arc<Notify>,
}

/// The committees in which peers are looked up, with the snapshot that they were made from.
type Known = Option<(Arc<RegistryView>, Arc<Directory>)>;

impl Repairer {
    /// Repairs what is wanted until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let pace = Arc::new(Throttle::new(self.settings.bytes_per_second));
        let (mut backoff, mut known, mut turns) = (Backoff::default(), None, Turns::default());
        loop {
            let round = self.round(&mut backoff, &mut known, &mut turns, &pace);
            tokio::select! {
                () = stop.cancelled() => return,
                result = round => if let Err(error) = result {
                    tracing::error!(%error, "the shards to repair could not be looked up");
                },
            }
            let now = Instant::now();
            backoff.forget_old(now);
            let next = backoff.next_due(now).unwrap_or(now + IDLE_MAX).min(now + IDLE_MAX);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.wanted.notified() => {}
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Goes once through all that is wanted.
    async fn round(
        &self,
        backoff: &mut Backoff,
        known: &mut Known,
        turns: &mut Turns,
        pace: &Arc<Throttle>,
    ) -> Result<(), StoreError> {
        turns.begin(self.duties.wanted_rollups().await?);
        loop {
            // The earlier time counts, so that no batch is over early if a clock runs ahead.
            let Some(view) = self.registry.latest() else { return Ok(()) };
            let now = self.clock.now_unix_seconds().min(view.head.timestamp);
            let mut pages = Vec::new();
            for (rollup, after) in turns.next() {
                let page = self.duties.wanted(now, rollup, after, WANTED_PER_TURN).await?;
                turns.took(rollup, page.last().map(Wanted::place));
                pages.push(page);
            }
            let page = in_turn(pages);
            if page.is_empty() {
                return Ok(());
            }
            let Some(directory) = self.directory(known).await else { return Ok(()) };
            let mut due =
                page.into_iter().filter(|wanted| backoff.is_due(wanted.batch.digest, Instant::now()));
            let mut running = FuturesUnordered::new();
            let mut outcomes = Vec::new();
            loop {
                while running.len() < self.settings.concurrency
                    && let Some(wanted) = due.next()
                {
                    running.push(self.attempt(wanted, Arc::clone(&directory), Arc::clone(pace)));
                }
                match running.next().await {
                    Some(outcome) => outcomes.push(outcome),
                    None => break,
                }
            }
            drop(running);
            drop(due);
            for (digest, is_resolved) in outcomes {
                if is_resolved {
                    backoff.resolved(digest);
                } else {
                    backoff.failed(digest, Instant::now());
                }
            }
        }
    }

    /// Tries to repair one batch, and reports the result.
    async fn attempt(
        &self,
        wanted: Wanted,
        directory: Arc<Directory>,
        pace: Arc<Throttle>,
    ) -> (BatchDigest, bool) {
        let digest = wanted.batch.digest;
        self.status.report.lock().current = Some(digest);
        let result = self.repair(&wanted, directory, pace).await;
        let mut report = self.status.report.lock();
        report.current = None;
        let is_resolved = result.is_ok();
        let outcome = match &result {
            Ok(Repaired::Stored(bytes)) => {
                tracing::info!(%digest, seat = %wanted.seat, bytes, "repaired");
                report.repaired += 1;
                report.repaired_bytes += *bytes as u64;
                metrics::counter!("dac_node_repaired_bytes_total").increment(*bytes as u64);
                "repaired"
            }
            Ok(Repaired::Held) => "held",
            Ok(Repaired::Bad) => {
                tracing::error!(%digest, seat = %wanted.seat, "BAD: the disperser committed to bytes for this seat that are not a codeword");
                "bad"
            }
            Err(error) => {
                tracing::warn!(%digest, seat = %wanted.seat, %error, "not repaired; trying again later");
                report.failed += 1;
                report.last_problem = error.to_string().chars().take(PROBLEM_MAX_CHARS).collect();
                "failed"
            }
        };
        drop(report);
        metrics::counter!("dac_node_repairs_total", "outcome" => outcome).increment(1);
        if is_resolved {
            self.recount.notify_one();
        }
        (digest, is_resolved)
    }

    async fn repair(
        &self,
        wanted: &Wanted,
        directory: Arc<Directory>,
        pace: Arc<Throttle>,
    ) -> Result<Repaired, RepairError> {
        let (batch, seat) = (wanted.batch, wanted.seat);
        // A stored record that still passes its check need not be asked for.
        let record = match self.catalog.find(batch.digest).await {
            Ok(Some(held)) if !held.is_corrupt => return Ok(Repaired::Held),
            Ok(held) => held.map(|held| held.record),
            Err(StoreError::Corrupt { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let retriever = Retriever::new(directory, self.settings.dialer.clone(), self.settings.options);
        let ask = dac_client::Wanted {
            digest: batch.digest,
            seat,
            hint: hint(wanted),
            by: self.operator(),
            record,
            pace: Some(pace),
        };
        let collected = match retriever.collect(ask).await {
            Ok(collected) => collected,
            Err(error) => {
                if self.is_doubtful(wanted, &error) {
                    if self.duties.doubt(batch.digest, batch.rollup).await? {
                        metrics::counter!("dac_node_doubted_duties_total").increment(1);
                        self.accuse_rollup(wanted, "DOUBTED_CLAIM", false);
                        tracing::warn!(
                            digest = %batch.digest, rollup = %batch.rollup,
                            "a rollup's contract claims a batch that too many members do not know"
                        );
                        self.recount.notify_one();
                    }
                    return Err(error.into());
                }
                self.attribute(error.faults());
                if let RetrieveError::OtherRollup { .. } = error {
                    return Err(self.refute(wanted).await?);
                }
                return Err(error.into());
            }
        };
        self.attribute(collected.report.faults());
        let record = Arc::clone(&collected.record);
        let header = record.header();
        if (header.rollup, header.batch_number, header.epoch)
            != (batch.rollup, batch.batch_number, batch.epoch)
        {
            return Err(self.refute(wanted).await?);
        }
        match self.workers.run(move || collected.into_shard()).await? {
            Ok(shard) => {
                let bytes = shard.bytes().len();
                let submission = record.record().submission.submission.digest(&self.identity.domain);
                let authority = Authority::Certificate { submission };
                match store_shard(&self.writer, shard, batch.digest, record, authority).await? {
                    Commit::Stored(_) => Ok(Repaired::Stored(bytes)),
                    other => Err(RepairError::Commit(other)),
                }
            }
            Err(RebuildError::BadSeat { .. } | RebuildError::Malformed(_)) => {
                self.bad(wanted, record).await?;
                Ok(Repaired::Bad)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn bad(&self, wanted: &Wanted, record: Arc<CheckedRecord>) -> Result<(), StoreError> {
        let found_at = self.clock.now_unix_seconds();
        let (rollup, disperser) = (record.header().rollup, record.record().submission.submission.disperser);
        self.accusations.know(rollup, disperser);
        let detail = format!("batch {}, seat {}", wanted.batch.digest, wanted.seat);
        let charge = Charge { kind: "BAD_SEAT", is_proven: true, detail: &detail };
        self.accusations.add(Some(rollup), Some(disperser), charge, found_at);
        let bad = BadSeat { digest: wanted.batch.digest, seat: wanted.seat, found_at, record };
        metrics::counter!("dac_node_bad_seats_total").increment(1);
        self.catalog.add_bad_seat(bad).await
    }

    /// Returns whether so many members contradict a contract's claim that fewer than a quorum can
    /// ever have stored the batch. This member itself may have signed it and lost it.
    fn is_doubtful(&self, wanted: &Wanted, error: &RetrieveError) -> bool {
        let RetrieveError::NoRecord { faults, .. } = error else { return false };
        let Some(L1Evidence::Settled { .. }) = wanted.evidence else { return false };
        let Some(view) = self.registry.latest() else { return false };
        let Some(committee) = view.committee(wanted.batch.epoch) else { return false };
        let operators: BTreeSet<Address> = faults
            .iter()
            .filter(|fault| {
                matches!(fault.fault, MemberFault::Status { reason: Some(Reason::UnknownBatch), .. })
            })
            .map(|fault| fault.operator)
            .filter(|operator| committee.seats().any(|(_, member)| member.operator == *operator))
            .collect();
        let quorum = committee.quorum();
        operators.len() > usize::from(quorum.geometry().n() - quorum.q())
    }

    async fn refute(&self, wanted: &Wanted) -> Result<RepairError, StoreError> {
        let BatchOnL1 { rollup, batch_number, epoch, .. } = wanted.batch;
        self.duties.refute(wanted.batch.digest, rollup).await?;
        self.accuse_rollup(wanted, "FALSE_CLAIM", true);
        metrics::counter!("dac_node_refuted_duties_total").increment(1);
        Ok(RepairError::Refuted { rollup, batch_number, epoch })
    }

    /// Counts that a rollup's contract claimed something of a batch that is refuted or doubted.
    fn accuse_rollup(&self, wanted: &Wanted, kind: &'static str, is_proven: bool) {
        let BatchOnL1 { digest, rollup, batch_number, epoch, .. } = wanted.batch;
        let detail = format!("its contract claims batch {digest} as number {batch_number} of epoch {epoch}");
        let charge = Charge { kind, is_proven, detail: &detail };
        self.accusations.add(Some(rollup), None, charge, self.clock.now_unix_seconds());
    }

    fn attribute<'a>(&self, faults: impl IntoIterator<Item = (Address, &'a MemberFault)>) {
        let (own, now) = (self.operator(), self.clock.now_unix_seconds());
        let mut table = self.status.faults.lock();
        for (operator, fault) in faults {
            // A BAD seat is the disperser's doing, and a member that says so is honest.
            let honest = matches!(fault, MemberFault::Status { reason: Some(Reason::SeatBad), .. });
            if Some(operator) != own && !honest && !fault.accuses_disperser() {
                table.add(operator, fault.code(), now, &fault.to_string());
            }
        }
    }

    fn operator(&self) -> Option<Address> {
        let view = self.registry.latest()?;
        let key = &self.identity.public_key;
        view.committees
            .values()
            .rev()
            .find_map(|committee| committee.member(committee.seat_of(key)?).map(|member| member.operator))
    }

    /// Checks the committees' keys, once for each snapshot of the registry that differs.
    async fn directory(&self, known: &mut Known) -> Option<Arc<Directory>> {
        let view = self.registry.latest()?;
        if let Some((of, directory)) = known
            && of.committees == view.committees
        {
            return Some(Arc::clone(directory));
        }
        let checked = Arc::clone(&view);
        match self.workers.run(move || Directory::from_view(&checked)).await {
            Ok(Ok(directory)) => {
                let directory = Arc::new(directory);
                *known = Some((view, Arc::clone(&directory)));
                Some(directory)
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "a committee's keys are not valid: the L1 endpoint cannot be trusted");
                None
            }
            Err(_) => None,
        }
    }
}

/// Makes the hint for retrieval out of what L1 says of the batch. Times and transactions are not
/// kept with duties.
fn hint(wanted: &Wanted) -> Hint {
    let batch = wanted.batch;
    let epoch = Some(batch.epoch);
    match wanted.evidence {
        None => Hint { epoch, ..Hint::default() },
        Some(L1Evidence::Recorded { .. }) => Hint { epoch, recorded_at: Some(0), ..Hint::default() },
        Some(L1Evidence::Settled { block }) => {
            let transition =
                Transition { new_state_root: B256::ZERO, inputs_consumed: 0, outputs: B256::ZERO };
            let settled = SettledBatch {
                digest: batch.digest,
                batch_number: batch.batch_number,
                epoch: batch.epoch,
                expires_at: batch.expires_at,
                transition,
                block,
                tx: B256::ZERO,
            };
            Hint { epoch, settled: Some(Settled { rollup: batch.rollup, batch: settled }), ..Hint::default() }
        }
    }
}
