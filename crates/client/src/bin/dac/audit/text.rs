//! An audit's result in words: a line for each member, then what is wrong, and the verdict last.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use dac_cli::count;
use dac_client::{AuditRow, AuditVerdict, CheckKind, CheckResult, MemberFault, SeatContact, printable};
use dac_types::{Address, BatchDigest};

use super::Outcome;
use crate::output::{show_latency, table};

/// The most failures that are listed; `--rows` shows every check.
const FAILURES_MAX: usize = 100;

impl Outcome {
    /// Returns the reason for the verdict.
    pub(super) fn reason(&self) -> String {
        let findings = self.report.findings();
        let summary = self.report.summary();
        match self.verdict {
            AuditVerdict::Failed if findings.is_wrong => {
                let checks =
                    self.report.rows.iter().filter(|row| matches!(row.result, CheckResult::Failed(_)));
                let members: BTreeSet<Address> = checks.clone().map(|row| row.operator).collect();
                let failed = format!(
                    "{} failed, of {}",
                    count(checks.count(), "check"),
                    count(members.len(), "member")
                );
                match summary.batches_failed {
                    0 => failed,
                    1 => format!("{failed}; 1 batch is with nobody"),
                    lost => format!("{failed}; {lost} batches are with nobody"),
                }
            }
            AuditVerdict::Failed => "members are out of reach, and --strict was given".to_owned(),
            AuditVerdict::NothingToSay if findings.seats == 0 => "no epoch signs now".to_owned(),
            AuditVerdict::NothingToSay if findings.batches.is_empty() => {
                "there is no batch that is owed".to_owned()
            }
            AuditVerdict::NothingToSay => format!(
                "of {} of {} fewer than k seats could be checked",
                findings.batches_short(),
                count(findings.batches.len(), "batch")
            ),
            AuditVerdict::Passed => {
                let fewest = findings.batches.iter().map(|batch| batch.checked).min().unwrap_or(0);
                format!(
                    "{}, at least {} of each checked, {} asked",
                    count(findings.batches.len(), "batch"),
                    count(fewest, "seat"),
                    count(findings.seats_asked, "seat")
                )
            }
        }
    }

    pub(super) fn text(&self, with_rows: bool, quiet: bool) -> String {
        let mut text = String::new();
        if with_rows {
            let rows: Vec<Vec<String>> = self.report.rows.iter().map(row).collect();
            text.push_str(&table(&["batch", "seat", "member", "check", "latency", "result"], &rows));
            text.push('\n');
        }
        if !quiet {
            let rows: Vec<Vec<String>> = self.members().iter().map(MemberLine::cells).collect();
            text.push_str(&table(&["seat", "member", "proved", "result"], &rows));
            text.push('\n');
        }
        self.write_troubles(&mut text);
        if !quiet {
            self.write_figures(&mut text);
        }
        let verdict = match self.verdict {
            AuditVerdict::Passed => "PASSED",
            AuditVerdict::Failed => "FAILED",
            AuditVerdict::NothingToSay => "NOTHING TO SAY",
        };
        let _ = writeln!(text, "{verdict}: {}", self.reason());
        text
    }

    /// Writes what is wrong, and which members could not be reached.
    fn write_troubles(&self, text: &mut String) {
        let mut lines: Vec<String> = self.report.rows.iter().filter_map(failure).collect();
        for batch in &self.report.unaudited {
            let result = if batch.is_failure { "FAILED" } else { "not checked" };
            let problem = batch.error.to_string();
            // The lines after the first one name each member; those that could not be reached are
            // listed below.
            let shown = if batch.is_failure { &problem } else { problem.lines().next().unwrap_or_default() };
            lines.push(format!("{result}: batch {}: {shown}", batch.digest));
        }
        let more = lines.len().saturating_sub(FAILURES_MAX);
        lines.truncate(FAILURES_MAX);
        if more > 0 {
            lines.push(format!("… and {more} more; --rows shows each check"));
        }
        for (seat, problem) in self.out_of_reach() {
            lines.push(format!("seat {} ({}) {}", seat.seat, printable(&seat.url), unreachable(problem)));
        }
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }

    fn write_figures(&self, text: &mut String) {
        let (chosen, summary) = (&self.chosen, self.report.summary());
        let looked_at = self.report.batches.len() + self.report.unaudited.len();
        let of_owed = chosen.owed.map_or(String::new(), |owed| format!(" of {owed} that are owed"));
        let seed = chosen.seed.map_or(String::new(), |seed| format!(", --seed {seed}"));
        let _ = writeln!(
            text,
            "{}{of_owed}{seed}; expired and left out: {}",
            count(looked_at, "batch"),
            chosen.expired
        );
        let _ = writeln!(
            text,
            "chunks {} ok, {} failed; shards {} ok, {} failed; records {} ok, {} failed; {} not made, {} not owed",
            summary.chunks_ok,
            summary.chunks_failed,
            summary.shards_ok,
            summary.shards_failed,
            summary.records_ok,
            summary.records_failed,
            count(summary.unreachable, "check"),
            summary.not_owed
        );
    }

    /// The lines of the current epoch's seats, then those of former holders that were asked.
    fn members(&self) -> Vec<MemberLine<'_>> {
        let current = &self.report.seats;
        let mut lines: Vec<MemberLine<'_>> = current
            .iter()
            .map(|seat| {
                let label = seat.seat.to_string();
                MemberLine {
                    label,
                    url: &seat.url,
                    operator: seat.operator,
                    contact: Some(seat),
                    rows: Vec::new(),
                }
            })
            .collect();
        for row in &self.report.rows {
            let place = lines.iter().position(|line| line.operator == row.operator).unwrap_or_else(|| {
                let label = format!("{} before", row.seat);
                let (url, operator) = (&row.url, row.operator);
                lines.push(MemberLine { label, url, operator, contact: None, rows: Vec::new() });
                lines.len() - 1
            });
            lines[place].rows.push(row);
        }
        lines
    }
}

/// One member and its checks.
struct MemberLine<'a> {
    label: String,
    url: &'a str,
    operator: Address,
    contact: Option<&'a SeatContact>,
    rows: Vec<&'a AuditRow>,
}

impl MemberLine<'_> {
    fn cells(&self) -> Vec<String> {
        let proved = |kind: CheckKind| -> usize {
            let of_kind = self.rows.iter().filter(|row| row.check == kind);
            of_kind.map(|row| if let CheckResult::Ok { proved } = row.result { proved } else { 0 }).sum()
        };
        let proof = format!(
            "{}: {}, {}",
            count(self.batches(|result| matches!(result, CheckResult::Ok { .. })), "batch"),
            count(proved(CheckKind::Chunks), "chunk"),
            count(proved(CheckKind::Shard), "shard")
        );
        vec![self.label.clone(), printable(self.url), proof, self.result()]
    }

    /// Counts the batches with a check whose result is `wanted`.
    fn batches(&self, wanted: impl Fn(&CheckResult) -> bool) -> usize {
        let batches: BTreeSet<BatchDigest> =
            self.rows.iter().filter(|row| wanted(&row.result)).map(|row| row.digest).collect();
        batches.len()
    }

    fn result(&self) -> String {
        let mut parts = Vec::new();
        let mut say = |batches: usize, what: &str| {
            if batches > 0 {
                parts.push(format!("{what} ({})", count(batches, "batch")));
            }
        };
        say(self.batches(|result| matches!(result, CheckResult::Failed(_))), "FAILED");
        say(self.batches(|result| matches!(result, CheckResult::Unreachable(_))), "unreachable");
        say(self.batches(|result| matches!(result, CheckResult::Pending(_))), "not taken over yet");
        say(
            self.batches(|result| matches!(result, CheckResult::BadSeat(_))),
            "bad seat, its disperser's doing",
        );
        say(self.batches(|result| matches!(result, CheckResult::NotOwed)), "not owed");
        if !parts.is_empty() {
            return parts.join(", ");
        }
        match (self.rows.is_empty(), self.contact.and_then(|contact| contact.problem.as_ref())) {
            (false, _) => "ok".to_owned(),
            (true, None) => "answers; no batch led to it".to_owned(),
            (true, Some(_)) => "unreachable".to_owned(),
        }
    }
}

/// Describes a fault that shows nothing about what the member holds.
fn unreachable(fault: &MemberFault) -> String {
    match fault {
        MemberFault::Unreachable { .. } => fault.to_string(),
        fault => format!("unreachable: {fault}"),
    }
}

fn result(row: &AuditRow) -> String {
    match &row.result {
        CheckResult::Ok { proved } if row.asked > 1 => format!("ok, {proved} proved"),
        CheckResult::Ok { .. } => "ok".to_owned(),
        CheckResult::Failed(fault) => format!("FAILED: {fault}"),
        CheckResult::Unreachable(fault) => unreachable(fault),
        CheckResult::NotOwed => "did not sign, owes nothing".to_owned(),
        CheckResult::BadSeat(fault) => format!("bad seat, its disperser's doing: {fault}"),
        CheckResult::Pending(fault) => format!("newcomer, has not taken it over yet: {fault}"),
    }
}

/// The line of a check that failed, or that shows a fault of the disperser.
fn failure(row: &AuditRow) -> Option<String> {
    matches!(row.result, CheckResult::Failed(_) | CheckResult::BadSeat(_)).then(|| {
        format!(
            "seat {} ({}), batch {}, {}: {}",
            row.seat,
            printable(&row.url),
            row.digest,
            row.check.name(),
            result(row)
        )
    })
}

fn row(row: &AuditRow) -> Vec<String> {
    vec![
        format!("{}…", &row.digest.to_string()[..10]),
        row.seat.to_string(),
        printable(&row.url),
        row.check.name().to_owned(),
        show_latency(row.latency),
        result(row),
    ]
}
