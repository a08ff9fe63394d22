//! The results of an audit: each check, each batch and each seat, with a summary in numbers.

use std::time::Duration;

use dac_types::{Address, BatchDigest, Seat};

use super::verdict::{Findings, SeatsChecked};
use crate::fault::MemberFault;
use crate::retrieve::RetrieveError;

/// The kind of data that a member was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckKind {
    /// The batch's record.
    Record,
    /// Random chunks with their proofs.
    Chunks,
    /// The whole shard, checked by its hash and fingerprint.
    Shard,
}

impl CheckKind {
    /// The name for programs and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Chunks => "chunks",
            Self::Shard => "shard",
        }
    }
}

/// The result of a check.
#[derive(Clone, Debug)]
pub enum CheckResult {
    /// The member served what was asked for, and it is proved.
    Ok {
        /// The number of chunks proved, or 1 for a record or shard.
        proved: usize,
    },
    /// The data is wrong or missing although the seat signed for it.
    Failed(MemberFault),
    /// The member did not answer, so that nothing is known.
    Unreachable(MemberFault),
    /// The seat did not sign this batch and does not have it: it owes nothing.
    NotOwed,
    /// The disperser committed to a shard for this seat that does not match the other shards, and
    /// the seat did not sign.
    BadSeat(MemberFault),
    /// The seat's holder took it over after the batch was signed and does not have it yet; another
    /// holder owes it meanwhile.
    Pending(MemberFault),
}

impl CheckResult {
    /// The name for programs and tables.
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

    /// Returns the fault that a check found, if there is one.
    pub const fn fault(&self) -> Option<&MemberFault> {
        match self {
            Self::Failed(fault) | Self::Unreachable(fault) | Self::BadSeat(fault) | Self::Pending(fault) => {
                Some(fault)
            }
            Self::Ok { .. } | Self::NotOwed => None,
        }
    }
}

/// One check of an audit.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// The seat, in the batch's epoch.
    pub seat: Seat,
    /// The operator that was asked: the seat's newest holder, or an older one if that one does not
    /// serve the batch.
    pub operator: Address,
    /// The URL where the operator was asked.
    pub url: String,
    /// The kind of data that was asked for.
    pub check: CheckKind,
    /// The number of chunks asked for, or 1 for a record or shard.
    pub asked: usize,
    /// The result of the check.
    pub result: CheckResult,
    /// The duration of the check.
    pub latency: Duration,
}

impl AuditRow {
    /// Whether the check proves that the seat's shard is there.
    pub fn proves_chunks(&self) -> bool {
        self.check == CheckKind::Chunks && matches!(self.result, CheckResult::Ok { .. })
    }

    /// Whether the member served wrong data. A missing batch is not wrong data.
    pub(super) fn is_false(&self) -> bool {
        matches!(&self.result, CheckResult::Failed(fault) if !fault.is_unknown_batch())
    }
}

/// A batch of which no member could be audited, because its record was not found.
#[derive(Debug)]
pub struct UnauditedBatch {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// Why the batch could not be audited.
    pub error: RetrieveError,
    /// Whether more members lack the batch than can be excused for not having signed.
    pub is_failure: bool,
}

/// A batch whose record was found, so that every seat could be asked for its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditedBatch {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// The batch's epoch.
    pub epoch: u64,
    /// The last Unix second until which the batch is owed.
    pub expires_at: u64,
    /// The number of seats that proved their part.
    pub seats: SeatsChecked,
}

/// Whether a seat's holder in the current epoch could be reached.
#[derive(Clone, Debug)]
pub struct SeatContact {
    /// The seat, in the current epoch.
    pub seat: Seat,
    /// The seat's operator.
    pub operator: Address,
    /// The URL where the operator was asked.
    pub url: String,
    /// Why the operator could not be reached; none if it answered.
    pub problem: Option<MemberFault>,
}

/// All results of an audit.
#[derive(Debug, Default)]
pub struct AuditReport {
    /// The checks, by batch, seat and kind.
    pub rows: Vec<AuditRow>,
    /// The batches whose seats were asked.
    pub batches: Vec<AuditedBatch>,
    /// The batches whose record no member served.
    pub unaudited: Vec<UnauditedBatch>,
    /// The number of batches that were not audited because their record says that they have
    /// expired.
    pub expired: usize,
    /// All seats of the current epoch; empty if there is no epoch.
    pub seats: Vec<SeatContact>,
}

/// A summary of an audit in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditSummary {
    /// The number of chunks proved.
    pub chunks_ok: usize,
    /// The number of owed chunks that were wrong or missing.
    pub chunks_failed: usize,
    /// The number of whole shards that passed the member's check.
    pub shards_ok: usize,
    /// The number of owed whole shards that did not pass it.
    pub shards_failed: usize,
    /// The number of records served.
    pub records_ok: usize,
    /// The number of records wrong or missing.
    pub records_failed: usize,
    /// The number of checks that could not be made.
    pub unreachable: usize,
    /// The number of checks of seats that owe nothing.
    pub not_owed: usize,
    /// The number of checks of new operators that do not have yet what a former holder owes.
    pub pending: usize,
    /// The number of batches without a record because too many members have nothing to show.
    pub batches_failed: usize,
    /// The number of batches without a record because too few members answered.
    pub batches_unreachable: usize,
    /// The number of seats of the current epoch that could not be reached.
    pub seats_unreachable: usize,
}

impl AuditReport {
    /// Returns the summary in numbers.
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

    /// Returns the findings that decide the verdict.
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
