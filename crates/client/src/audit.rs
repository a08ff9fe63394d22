//! Auditing: does every member still serve what it signed for? Random chunks with their Merkle proofs, the record, and now
//! and then a whole shard with its fingerprint. A batch costs each member a few kilobytes, so audits can run all day.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use dac_coding::{CheckedRecord, ShardChecker};
use dac_types::limits::CHUNKS_PER_CALL_MAX;
use dac_types::{AbsentSeats, Address, BatchDigest, Geometry, Seat};
use futures::StreamExt as _;
use rand::Rng as _;

use crate::connect::Dialer;
use crate::directory::{Directory, Holder};
use crate::fault::{FaultClass, MemberFault};
use crate::member::{MemberClient, Patience, check_seat};
use crate::retrieve::{Evidence, Hint, RetrieveError, RetrieveOptions, Retriever, check_record};

/// What is asked of every member.
#[derive(Clone, Copy, Debug)]
pub struct AuditOptions {
    /// Chunks of each batch that every member must prove, chosen anew each time.
    pub chunks: usize,
    /// One shard in so many is fetched whole and its fingerprint checked; 0: none, 1: every one.
    pub whole_shard_one_in: u32,
    /// Members asked at the same time.
    pub concurrency: usize,
    /// With one answer.
    pub patience: Patience,
    /// How often a member that cannot be reached is asked.
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
    /// The batch.
    pub digest: BatchDigest,
    /// What is known of it.
    pub hint: Hint,
}

/// What a member was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// The batch's record.
    Record,
    /// Random chunks with their proofs.
    Chunks,
    /// The whole shard, hash and fingerprint.
    Shard,
}

impl CheckKind {
    /// For machines and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Chunks => "chunks",
            Self::Shard => "shard",
        }
    }
}

/// How a check came out.
#[derive(Clone, Debug)]
pub enum CheckResult {
    /// Served and proved: so many chunks, or one record or shard.
    Ok {
        /// Things proved.
        proved: usize,
    },
    /// Wrong or missing although signed for.
    Failed(MemberFault),
    /// Nothing is known: the member did not answer.
    Unreachable(MemberFault),
    /// The seat did not sign this batch and does not have it: it owes nothing.
    NotOwed,
    /// The disperser committed something to this seat that is not of the code, and the seat did not sign.
    BadSeat(MemberFault),
}

impl CheckResult {
    /// For machines and tables.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ok { .. } => "ok",
            Self::Failed(_) => "failed",
            Self::Unreachable(_) => "unreachable",
            Self::NotOwed => "not_owed",
            Self::BadSeat(_) => "bad_seat",
        }
    }

    /// What went wrong, if something did.
    pub const fn fault(&self) -> Option<&MemberFault> {
        match self {
            Self::Failed(fault) | Self::Unreachable(fault) | Self::BadSeat(fault) => Some(fault),
            Self::Ok { .. } | Self::NotOwed => None,
        }
    }
}

/// One line of an audit.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// The batch.
    pub digest: BatchDigest,
    /// The seat.
    pub seat: Seat,
    /// Who answered for it.
    pub operator: Address,
    /// Where.
    pub url: String,
    /// What was asked for.
    pub check: CheckKind,
    /// Things asked for: chunks, or 1.
    pub asked: usize,
    /// How it came out.
    pub result: CheckResult,
    /// How long it took.
    pub latency: Duration,
}

/// A batch that nobody could be audited for.
#[derive(Debug)]
pub struct UnauditedBatch {
    /// The batch.
    pub digest: BatchDigest,
    /// Why.
    pub error: RetrieveError,
    /// More members answered, and had nothing to show, than can be excused for not having signed.
    pub is_failure: bool,
}

/// An audit's outcome.
#[derive(Debug, Default)]
pub struct AuditReport {
    /// By batch, seat and check.
    pub rows: Vec<AuditRow>,
    /// Batches whose record nobody served.
    pub unaudited: Vec<UnauditedBatch>,
}

/// An audit in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditSummary {
    /// Chunks proved.
    pub chunks_ok: usize,
    /// Chunks that were owed and were wrong or missing.
    pub chunks_failed: usize,
    /// Whole shards that passed the member's check.
    pub shards_ok: usize,
    /// Whole shards that were owed and did not.
    pub shards_failed: usize,
    /// Records served.
    pub records_ok: usize,
    /// Records wrong or missing.
    pub records_failed: usize,
    /// Checks that could not be made.
    pub unreachable: usize,
    /// Checks of seats that owe nothing.
    pub not_owed: usize,
    /// Batches that nobody could be audited for, since too many members have nothing to show.
    pub batches_failed: usize,
    /// Batches that nobody could be audited for, since too few members answered.
    pub batches_unreachable: usize,
}

impl AuditReport {
    /// In figures.
    pub fn summary(&self) -> AuditSummary {
        let batches_failed = self.unaudited.iter().filter(|batch| batch.is_failure).count();
        let batches_unreachable = self.unaudited.len() - batches_failed;
        let mut summary = AuditSummary { batches_failed, batches_unreachable, ..AuditSummary::default() };
        for row in &self.rows {
            let (ok, failed) = match row.check {
                CheckKind::Chunks => (&mut summary.chunks_ok, &mut summary.chunks_failed),
                CheckKind::Shard => (&mut summary.shards_ok, &mut summary.shards_failed),
                CheckKind::Record => (&mut summary.records_ok, &mut summary.records_failed),
            };
            match &row.result {
                CheckResult::Ok { proved } => *ok += proved,
                CheckResult::Failed(_) => *failed += row.asked,
                CheckResult::Unreachable(_) => summary.unreachable += 1,
                CheckResult::NotOwed | CheckResult::BadSeat(_) => summary.not_owed += 1,
            }
        }
        summary
    }
}

impl AuditSummary {
    /// Something could not be checked.
    pub const fn has_unreachable(&self) -> bool {
        self.unreachable + self.batches_unreachable > 0
    }

    /// Something that was owed is wrong or missing.
    pub const fn has_failures(&self) -> bool {
        self.chunks_failed + self.shards_failed + self.records_failed + self.batches_failed > 0
    }
}

/// Audits members.
#[derive(Clone, Debug)]
pub struct Auditor {
    directory: Arc<Directory>,
    dialer: Dialer,
    options: AuditOptions,
}

impl Auditor {
    /// Of the members that `directory` names.
    pub fn new(directory: Arc<Directory>, dialer: Dialer, options: AuditOptions) -> Self {
        let chunks = options.chunks.clamp(1, CHUNKS_PER_CALL_MAX);
        let concurrency = options.concurrency.max(1);
        Self { directory, dialer, options: AuditOptions { chunks, concurrency, ..options } }
    }

    /// Audits every seat for each batch, telling each line as it comes.
    pub async fn audit(
        &self,
        targets: &[AuditTarget],
        mut told: impl FnMut(&AuditRow) + Send,
    ) -> AuditReport {
        let mut report = AuditReport::default();
        for target in targets {
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
                    continue;
                }
            };
            let absent = match (&target.hint.absent, &found.evidence) {
                (Some(absent), _) => Some(absent.clone()),
                (None, Evidence::Certificate(certificate)) => Some(certificate.aggregate.absent.clone()),
                (None, Evidence::RecordedOnL1 { .. } | Evidence::SettledOnL1 { .. }) => None,
            };
            let subject = Arc::new(Subject { digest: target.digest, record: found.record, absent });
            let n = subject.record.geometry().n();
            let first_row = report.rows.len();
            let mut answers =
                futures::stream::iter(Seat::all(n).map(|seat| self.audit_seat(subject.clone(), seat)))
                    .buffer_unordered(self.options.concurrency);
            while let Some(rows) = answers.next().await {
                for row in rows {
                    told(&row);
                    report.rows.push(row);
                }
            }
            if let Some(entry) = self.directory.epoch(subject.record.header().epoch) {
                subject.excuse(&mut report.rows[first_row..], entry.committee.quorum().absent_max());
            }
        }
        let order: std::collections::HashMap<BatchDigest, usize> =
            targets.iter().enumerate().map(|(place, target)| (target.digest, place)).collect();
        report.rows.sort_by_key(|row| (order.get(&row.digest).copied(), row.seat, row.check as u8));
        report
    }

    /// Of a batch whose record nobody served: members that could not be reached may well hold it, and n − q need not.
    fn is_failure(&self, target: &AuditTarget, error: &RetrieveError) -> bool {
        let RetrieveError::NoRecord { faults, .. } = error else { return false };
        let excused = target
            .hint
            .epoch
            .and_then(|epoch| self.directory.epoch(epoch))
            .map_or(0, |entry| usize::from(entry.committee.quorum().absent_max()));
        faults.iter().filter(|fault| fault.fault.class() == FaultClass::Failed).count() > excused
    }

    /// Asks a seat's holders, the newest first, until one of them has the batch.
    async fn audit_seat(&self, subject: Arc<Subject>, seat: Seat) -> Vec<AuditRow> {
        let holders = self.directory.holders(subject.record.header().epoch, seat);
        let last = holders.len().saturating_sub(1);
        for (position, holder) in holders.iter().enumerate() {
            let rows = self.audit_holder(&subject, seat, holder).await;
            let has_nothing = rows.iter().all(|row| row.result.fault().is_some_and(may_be_at_another_holder));
            if position == last || !has_nothing {
                return rows;
            }
        }
        Vec::new()
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
            let answer = self.check_patiently(subject, seat, &holder.url, check, &indices).await;
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

    /// Asks again where the member could not be reached.
    async fn check_patiently(
        &self,
        subject: &Subject,
        seat: Seat,
        url: &str,
        check: CheckKind,
        indices: &[u32],
    ) -> Result<(), MemberFault> {
        let mut attempt = 1;
        loop {
            match self.check_once(subject, seat, url, check, indices).await {
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

    /// Chunks drawn without repetition; all of them where there are no more.
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
    /// A seat that did not sign owes nothing: that it has nothing is no failure. Where nobody can say who signed, at most
    /// n − q seats may claim so; beyond that some of them lie, and all are held to it.
    fn excuse(&self, rows: &mut [AuditRow], absent_max: u16) {
        let excusable = |row: &AuditRow| matches!(&row.result, CheckResult::Failed(fault) if fault.is_unknown_batch() || fault.accuses_disperser());
        if self.absent.is_none() {
            let claimants: BTreeSet<Seat> =
                rows.iter().filter(|row| excusable(row)).map(|row| row.seat).collect();
            if claimants.len() > usize::from(absent_max) {
                return;
            }
        }
        for row in rows {
            let signed = self.absent.as_ref().is_some_and(|absent| !absent.contains(row.seat));
            if signed || !excusable(row) {
                continue;
            }
            if let CheckResult::Failed(fault) = std::mem::replace(&mut row.result, CheckResult::NotOwed)
                && fault.accuses_disperser()
            {
                row.result = CheckResult::BadSeat(fault);
            }
        }
    }
}

/// Not there at all, so further questions are of no use.
const fn is_connection_fault(fault: &MemberFault) -> bool {
    matches!(fault, MemberFault::Endpoint(_) | MemberFault::Unreachable { .. } | MemberFault::TimedOut { .. })
}

fn may_be_at_another_holder(fault: &MemberFault) -> bool {
    fault.is_unknown_batch() || fault.class() == FaultClass::Unreachable
}
