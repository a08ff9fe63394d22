//! Audits members: checks that every member still serves what it signed for. It asks for random
//! chunks with their Merkle proofs, for the record, and sometimes for a whole shard with its
//! fingerprint. A batch costs each member a few kilobytes, so that audits can run all the time.
//!
//! [`Auditor`] asks, [`AuditReport`] holds the results, [`Findings::verdict`] gives the verdict,
//! and [`sample_owed`] chooses among all the batches that are owed.

mod report;
mod sample;
mod verdict;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dac_coding::{CheckedRecord, ShardChecker};
use dac_proto::reason::Reason;
use dac_types::limits::CHUNKS_PER_CALL_MAX;
use dac_types::{AbsentSeats, Address, BatchDigest, Committee, Geometry, Member, Seat};
use futures::StreamExt as _;
use rand::Rng as _;

use crate::connect::Dialer;
use crate::directory::{Directory, Holder};
use crate::fault::{FaultClass, MemberFault};
use crate::member::{MemberClient, Patience, check_seat};
use crate::retrieve::{Evidence, Hint, RetrieveError, RetrieveOptions, Retriever, check_record};

pub use report::{
    AuditReport, AuditRow, AuditSummary, AuditedBatch, CheckKind, CheckResult, SeatContact, UnauditedBatch,
};
pub use sample::sample_owed;
pub use verdict::{AuditVerdict, Findings, SeatsChecked};

/// The time in seconds before a batch expires from which it is left out: members may delete it
/// during the audit.
const EXPIRY_MARGIN_SECONDS: u64 = 60;

/// The checks of an audit, and their limits.
#[derive(Clone, Copy, Debug)]
pub struct AuditOptions {
    /// The number of chunks of each batch that every member must prove, drawn anew each time.
    pub chunks: usize,
    /// One shard in this many is fetched whole and its fingerprint checked; 0 checks none, 1 every
    /// one.
    pub whole_shard_one_in: u32,
    /// The number of members asked at the same time.
    pub concurrency: usize,
    /// The deadlines for one member's answers.
    pub patience: Patience,
    /// The number of attempts to reach a member.
    pub attempts: u32,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            chunks: 8,
            whole_shard_one_in: 16,
            concurrency: 16,
            patience: Patience::default(),
            attempts: 2,
        }
    }
}

/// A batch to audit.
#[derive(Clone, Debug)]
pub struct AuditTarget {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// What is known of the batch before its record is fetched.
    pub hint: Hint,
    /// The last Unix second until which members owe the batch, by L1: its own end, or a later one
    /// that a renewal promised. If L1 does not say, no member is accused of lacking the batch.
    pub owed_until: Option<u64>,
}

/// The batches and seats to audit.
#[derive(Clone, Debug, Default)]
pub struct AuditPlan {
    /// The current epoch: each of its seats is asked, even if no batch is audited there.
    pub epoch: Option<u64>,
    /// The batches to audit.
    pub targets: Vec<AuditTarget>,
}

/// Audits the members that a directory names.
///
/// # Example
///
/// ```no_run
/// use std::sync::Arc;
///
/// use dac_client::{
///     AuditOptions, AuditPlan, AuditTarget, AuditVerdict, Auditor, Dialer, Directory, EndpointPolicy, Hint,
/// };
/// use dac_types::BatchDigest;
///
/// # async fn example(directory: Arc<Directory>, digest: BatchDigest) {
/// // L1 says which batches are owed and until when; nobody is accused of lacking another one.
/// let target = AuditTarget { digest, hint: Hint::default(), owed_until: Some(1_900_000_000) };
/// let plan = AuditPlan { epoch: Some(1), targets: vec![target] };
/// let dialer = Dialer::new(EndpointPolicy::PublicOnly);
/// let report = Auditor::new(directory, dialer, AuditOptions::default()).audit(&plan, |_| ()).await;
/// assert_eq!(report.findings().verdict(false), AuditVerdict::Passed);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Auditor {
    directory: Arc<Directory>,
    dialer: Dialer,
    options: AuditOptions,
}

impl Auditor {
    /// Makes an auditor of the members that `directory` names.
    pub fn new(directory: Arc<Directory>, dialer: Dialer, options: AuditOptions) -> Self {
        let chunks = options.chunks.clamp(1, CHUNKS_PER_CALL_MAX);
        let concurrency = options.concurrency.max(1);
        Self { directory, dialer, options: AuditOptions { chunks, concurrency, ..options } }
    }

    /// Audits every seat for each batch and passes each check's result to the callback. Then asks
    /// the seats of the current epoch that have none of the batches, so that every one of them was
    /// asked.
    pub async fn audit(&self, plan: &AuditPlan, mut told: impl FnMut(&AuditRow) + Send) -> AuditReport {
        let mut report = AuditReport::default();
        for target in &plan.targets {
            self.audit_batch(target, &mut report, &mut told).await;
        }
        let order: HashMap<BatchDigest, usize> =
            plan.targets.iter().enumerate().map(|(place, target)| (target.digest, place)).collect();
        // The sort is stable: holders of a seat stay in the order in which they were asked.
        report.rows.sort_by_key(|row| (order.get(&row.digest).copied(), row.seat));
        if let Some(entry) = plan.epoch.and_then(|epoch| self.directory.epoch(epoch)) {
            report.seats = self.contacts(&entry.committee, &report.rows).await;
        }
        report
    }

    async fn audit_batch(
        &self,
        target: &AuditTarget,
        report: &mut AuditReport,
        told: &mut (impl FnMut(&AuditRow) + Send),
    ) {
        let options = RetrieveOptions { patience: self.options.patience, ..RetrieveOptions::default() };
        let retriever = Retriever::new(self.directory.clone(), self.dialer.clone(), options);
        let found = match &target.hint.absent {
            Some(_) => retriever.find_record(target.digest, &target.hint).await,
            None => retriever.find_certificate(target.digest, &target.hint).await,
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let is_failure = self.is_failure(target, &error);
                report.unaudited.push(UnauditedBatch { digest: target.digest, error, is_failure });
                return;
            }
        };
        let header = found.record.header();
        let (epoch, expires_at) = (header.epoch, header.expires_at);
        let expires_at = target.owed_until.map_or(expires_at, |owed| owed.max(expires_at));
        if !is_owed(expires_at) {
            report.expired += 1;
            return;
        }
        let absent = match (&target.hint.absent, &found.evidence) {
            (Some(absent), _) => Some(absent.clone()),
            (None, Evidence::Certificate(certificate)) => Some(certificate.aggregate.absent.clone()),
            (None, Evidence::RecordedOnL1 { .. } | Evidence::SettledOnL1 { .. }) => None,
        };
        let subject = Arc::new(Subject { digest: target.digest, record: found.record, absent });
        let geometry = subject.record.geometry();
        let mut answers =
            futures::stream::iter(Seat::all(geometry.n()).map(|seat| self.audit_seat(subject.clone(), seat)))
                .buffer_unordered(self.options.concurrency);
        let mut rows = Vec::new();
        while let Some(of_seat) = answers.next().await {
            of_seat.iter().for_each(&mut *told);
            rows.extend(of_seat);
        }
        if let Some(entry) = self.directory.epoch(epoch) {
            subject.excuse(&mut rows, entry.committee.quorum().absent_max());
        }
        let proved: BTreeSet<Seat> =
            rows.iter().filter(|row| row.proves_chunks()).map(|row| row.seat).collect();
        let checked = u16::try_from(proved.len()).unwrap_or(u16::MAX);
        let seats = SeatsChecked { checked, needed: geometry.k() };
        report.batches.push(AuditedBatch { digest: target.digest, epoch, expires_at, seats });
        report.rows.extend(rows);
    }

    /// Whether it is a failure that no member served a batch's record. A wrong record always is a
    /// failure. A missing one is a failure if L1 says that the members owe the batch, and if more
    /// of those that may have signed lack it than the n − q that need not have signed.
    fn is_failure(&self, target: &AuditTarget, error: &RetrieveError) -> bool {
        let RetrieveError::NoRecord { faults, .. } = error else { return false };
        let failed = faults.iter().filter(|fault| fault.fault.class() == FaultClass::Failed);
        if failed.clone().any(|fault| !fault.fault.is_unknown_batch()) {
            return true;
        }
        let entry = target.hint.epoch.and_then(|epoch| self.directory.epoch(epoch));
        let (Some(entry), Some(_)) = (entry, target.owed_until) else { return false };
        let committee = &entry.committee;
        let lacking = failed
            .filter(|fault| committee.members().iter().any(|member| member.operator == fault.operator))
            .count();
        lacking > usize::from(committee.quorum().absent_max())
    }

    /// Asks a seat's holders, the newest first, until one of them answers for the batch, rightly or
    /// wrongly.
    async fn audit_seat(&self, subject: Arc<Subject>, seat: Seat) -> Vec<AuditRow> {
        let epoch = subject.record.header().epoch;
        let mut rows: Vec<AuditRow> = Vec::new();
        for holder in self.directory.holders(epoch, seat) {
            let of_holder = self.audit_holder(&subject, seat, &holder).await;
            let is_answered = of_holder.iter().any(|row| row.proves_chunks() || row.is_false());
            rows.extend(of_holder);
            if is_answered {
                break;
            }
        }
        let signer = self.directory.epoch(epoch).and_then(|entry| entry.committee.member(seat));
        if let Some(signer) = signer {
            excuse_successors(&mut rows, signer.operator);
        }
        rows
    }

    /// Finds out whether each seat of the current epoch could be reached: by its holder's answers,
    /// or, for a seat without audited batches, by asking the holder for its description.
    async fn contacts(&self, committee: &Committee, rows: &[AuditRow]) -> Vec<SeatContact> {
        let ask = committee.seats().map(|(seat, member)| async move {
            let mut of_member = rows.iter().filter(|row| row.operator == member.operator).peekable();
            let problem = if of_member.peek().is_none() {
                self.ask_who(member).await.err()
            } else {
                let mut problem = None;
                for row in of_member {
                    match &row.result {
                        CheckResult::Unreachable(fault) => problem = Some(fault.clone()),
                        _ => {
                            problem = None;
                            break;
                        }
                    }
                }
                problem
            };
            let (operator, url) = (member.operator, member.retrieval_url.clone());
            SeatContact { seat, operator, url, problem }
        });
        let mut contacts: Vec<SeatContact> =
            futures::stream::iter(ask).buffer_unordered(self.options.concurrency).collect().await;
        contacts.sort_by_key(|contact| contact.seat);
        contacts
    }

    /// Asks a member for its description. The seat's holder must have the seat's key.
    async fn ask_who(&self, member: &Member) -> Result<(), MemberFault> {
        let url = &member.retrieval_url;
        let patience = self.options.patience;
        let answer = self
            .patiently(|| async move {
                MemberClient::connect(&self.dialer, url, patience).await?.describe().await
            })
            .await?;
        if answer.public_key == member.public_key {
            return Ok(());
        }
        let problem = format!(
            "the node there has key {}, the registry gives the seat to {}",
            answer.public_key, member.public_key
        );
        Err(MemberFault::Unreachable { problem, cause: None })
    }

    async fn audit_holder(&self, subject: &Subject, seat: Seat, holder: &Holder) -> Vec<AuditRow> {
        let mut rows = Vec::new();
        let whole = match self.options.whole_shard_one_in {
            0 => false,
            one_in => rand::rng().random_range(0..one_in) == 0,
        };
        let mut checks = vec![CheckKind::Record, CheckKind::Chunks];
        if whole {
            checks.push(CheckKind::Shard);
        }
        for check in checks {
            let indices = if check == CheckKind::Chunks { self.draw(&subject.record) } else { Vec::new() };
            let asked = indices.len().max(1);
            let start = Instant::now();
            let answer =
                self.patiently(|| self.check_once(subject, seat, &holder.url, check, &indices)).await;
            let result = match answer {
                Ok(()) => CheckResult::Ok { proved: asked },
                Err(fault) if fault.class() == FaultClass::Unreachable => CheckResult::Unreachable(fault),
                Err(fault) => CheckResult::Failed(fault),
            };
            let is_gone = matches!(&result, CheckResult::Unreachable(fault) if is_connection_fault(fault));
            rows.push(AuditRow {
                digest: subject.digest,
                seat,
                operator: holder.operator,
                url: holder.url.clone(),
                check,
                asked,
                result,
                latency: start.elapsed(),
            });
            if is_gone {
                break;
            }
        }
        rows
    }

    /// Tries again while the member cannot be reached, within the number of attempts.
    async fn patiently<T, F: Future<Output = Result<T, MemberFault>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<T, MemberFault> {
        let mut attempt = 1;
        loop {
            match ask().await {
                Err(fault) if fault.is_retryable() && attempt < self.options.attempts => {
                    tokio::time::sleep(Duration::from_millis(500) * attempt).await;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn check_once(
        &self,
        subject: &Subject,
        seat: Seat,
        url: &str,
        check: CheckKind,
        indices: &[u32],
    ) -> Result<(), MemberFault> {
        let mut member = MemberClient::connect(&self.dialer, url, self.options.patience).await?;
        match check {
            CheckKind::Record => {
                let (record, answered) = member.record(subject.digest).await?;
                check_seat(seat, answered.0.into())?;
                check_record(&self.directory, subject.digest, record)?;
            }
            CheckKind::Chunks => {
                let geometry = subject.record.geometry();
                for chunk in member.chunks(subject.digest, seat, indices).await? {
                    chunk.proof.check(subject.record.header(), geometry, seat, chunk.index, &chunk.bytes)?;
                }
            }
            CheckKind::Shard => {
                let mut checker = ShardChecker::new(subject.record.clone(), seat)?;
                let length = subject.record.shard_length();
                let progress = AtomicU64::new(0);
                member
                    .stream_shard(subject.digest, length, &progress, |piece| Ok(checker.update(&piece)?))
                    .await?;
                checker.finish()?;
            }
        }
        Ok(())
    }

    /// Draws chunks without repetition; all chunks if the shard has no more than are asked for.
    fn draw(&self, record: &CheckedRecord) -> Vec<u32> {
        let count = Geometry::chunk_count(record.shard_length());
        rand::seq::index::sample(&mut rand::rng(), count, self.options.chunks.min(count))
            .into_iter()
            .map(|index| u32::try_from(index).expect("a shard has at most 2^14 chunks"))
            .collect()
    }
}

/// A batch under audit.
#[derive(Debug)]
struct Subject {
    digest: BatchDigest,
    record: Arc<CheckedRecord>,
    absent: Option<AbsentSeats>,
}

impl Subject {
    /// Excuses seats that did not sign and have nothing, since they owe nothing. If the signers are
    /// not known, at most n − q seats can be excused; if more have nothing, some of them signed,
    /// and none is excused.
    fn excuse(&self, rows: &mut [AuditRow], absent_max: u16) {
        let excusable = |row: &AuditRow| matches!(&row.result, CheckResult::Failed(fault) if fault.is_unknown_batch() || is_bad_seat(fault));
        if self.absent.is_none() {
            let claimants: BTreeSet<Seat> =
                rows.iter().filter(|row| excusable(row)).map(|row| row.seat).collect();
            if claimants.len() > usize::from(absent_max) {
                return;
            }
        }
        for row in rows {
            let signed = self.absent.as_ref().is_some_and(|absent| !absent.contains(row.seat));
            let is_pending = self.absent.is_some() && matches!(row.result, CheckResult::Pending(_));
            if signed || !(excusable(row) || is_pending) {
                continue;
            }
            if let CheckResult::Failed(fault) = std::mem::replace(&mut row.result, CheckResult::NotOwed)
                && is_bad_seat(&fault)
            {
                row.result = CheckResult::BadSeat(fault);
            }
        }
    }
}

/// Whether the member could not be connected to, so that further questions are pointless.
const fn is_connection_fault(fault: &MemberFault) -> bool {
    matches!(fault, MemberFault::Endpoint(_) | MemberFault::Unreachable { .. } | MemberFault::TimedOut { .. })
}

/// Whether the disperser committed to a shard for this seat that does not match the other shards,
/// by the bytes themselves or by the word of a member that could not rebuild its shard. Only a seat
/// that did not sign is excused by it.
fn is_bad_seat(fault: &MemberFault) -> bool {
    fault.accuses_disperser() || matches!(fault, MemberFault::Status { reason: Some(Reason::SeatBad), .. })
}

/// Excuses operators that took a seat over after the batch was signed: they repair what the seat
/// owes, and lack it until then. The lack is a failure of `signer` alone, and of no operator if
/// another holder of the seat proves the batch's chunks.
fn excuse_successors(rows: &mut [AuditRow], signer: Address) {
    let server = rows.iter().find(|row| row.proves_chunks()).map(|row| row.operator);
    for row in rows {
        let is_served_by_another = server.is_some_and(|server| server != row.operator);
        if (is_served_by_another || row.operator != signer)
            && matches!(&row.result, CheckResult::Failed(fault) if fault.is_unknown_batch())
            && let CheckResult::Failed(fault) = std::mem::replace(&mut row.result, CheckResult::NotOwed)
        {
            row.result = CheckResult::Pending(fault);
        }
    }
}

/// Whether a batch that is owed until `expires_at` will be owed throughout the audit.
pub fn is_owed(expires_at: u64) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "the client has no `Clock`, and the margin forgives a clock that is a little wrong"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    expires_at > now.saturating_add(EXPIRY_MARGIN_SECONDS)
}
