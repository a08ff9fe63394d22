//! What an audit found: each check, each batch, each seat, and all of it in figures.

use std::time::Duration;

use dac_types::{Address, BatchDigest, Seat};

use super::verdict::{Findings, SeatsChecked};
use crate::fault::MemberFault;
use crate::retrieve::RetrieveError;

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
    /// The disperser committed something to this seat that is not of the code, and the seat did not
    /// sign.
    BadSeat(MemberFault),
    /// The seat's holder took it over after the batch was signed and does not have it yet; another
    /// holder owes it meanwhile.
    Pending(MemberFault),
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
            Self::Pending(_) => "pending",
        }
    }

    /// What went wrong, if something did.
    pub const fn fault(&self) -> Option<&MemberFault> {
        match self {
            Self::Failed(fault) | Self::Unreachable(fault) | Self::BadSeat(fault) | Self::Pending(fault) => {
                Some(fault)
            }
            Self::Ok { .. } | Self::NotOwed => None,
        }
    }
}

/// One line of an audit.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// The batch.
    pub digest: BatchDigest,
    /// The seat, in the batch's epoch.
    pub seat: Seat,
    /// Who was asked for it: each seat's newest holder, and the older ones while that one does not
    /// serve the batch.
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

impl AuditRow {
    /// Whether this shows that the seat's shard is there.
    pub fn proves_chunks(&self) -> bool {
        self.check == CheckKind::Chunks && matches!(self.result, CheckResult::Ok { .. })
    }

    /// Whether something else was served than what was asked for. That a batch is lacking is no
    /// falsehood.
    pub(super) fn is_false(&self) -> bool {
        matches!(&self.result, CheckResult::Failed(fault) if !fault.is_unknown_batch())
    }
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

/// A batch whose record was found, so that every seat could be asked for its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditedBatch {
    /// The batch.
    pub digest: BatchDigest,
    /// Its epoch.
    pub epoch: u64,
    /// Until when it is owed.
    pub expires_at: u64,
    /// How many seats proved their part.
    pub seats: SeatsChecked,
}

/// Whether a seat's holder in the current epoch could be reached.
#[derive(Clone, Debug)]
pub struct SeatContact {
    /// The seat, in the current epoch.
    pub seat: Seat,
    /// Its operator.
    pub operator: Address,
    /// Where it was asked.
    pub url: String,
    /// Why it could not be reached; none where it answered.
    pub problem: Option<MemberFault>,
}

/// An audit's outcome.
#[derive(Debug, Default)]
pub struct AuditReport {
    /// By batch, seat and check.
    pub rows: Vec<AuditRow>,
    /// Batches whose seats were asked.
    pub batches: Vec<AuditedBatch>,
    /// Batches whose record nobody served.
    pub unaudited: Vec<UnauditedBatch>,
    /// Batches that were not looked at, since their record says that they have expired.
    pub expired: usize,
    /// Every seat of the current epoch; empty where there is none.
    pub seats: Vec<SeatContact>,
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
    /// Checks of newcomers that do not have yet what a former holder owes.
    pub pending: usize,
    /// Batches that nobody could be audited for, since too many members have nothing to show.
    pub batches_failed: usize,
    /// Batches that nobody could be audited for, since too few members answered.
    pub batches_unreachable: usize,
    /// Seats of the current epoch that could not be reached.
    pub seats_unreachable: usize,
}

impl AuditReport {
    /// The audit in figures.
    pub fn summary(&self) -> AuditSummary {
        let batches_failed = self.unaudited.iter().filter(|batch| batch.is_failure).count();
        let mut summary = AuditSummary {
            batches_failed,
            batches_unreachable: self.unaudited.len() - batches_failed,
            seats_unreachable: self.seats.iter().filter(|seat| seat.problem.is_some()).count(),
            ..AuditSummary::default()
        };
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
                CheckResult::Pending(_) => summary.pending += 1,
            }
        }
        summary
    }

    /// What matters for the verdict.
    pub fn findings(&self) -> Findings {
        let summary = self.summary();
        let seats = u16::try_from(self.seats.len()).unwrap_or(u16::MAX);
        let unaudited = self.unaudited.iter().map(|_| SeatsChecked { checked: 0, needed: 1 });
        Findings {
            is_wrong: summary.has_failures(),
            is_unreachable: summary.has_unreachable(),
            seats_asked: seats,
            seats,
            batches: self.batches.iter().map(|batch| batch.seats).chain(unaudited).collect(),
        }
    }
}

impl AuditSummary {
    /// Whether something could not be checked.
    pub const fn has_unreachable(&self) -> bool {
        self.unreachable + self.batches_unreachable + self.seats_unreachable > 0
    }

    /// Whether something that was owed is wrong or missing.
    pub const fn has_failures(&self) -> bool {
        self.chunks_failed + self.shards_failed + self.records_failed + self.batches_failed > 0
    }
}
