//! `dac audit`: checks that every member still serves what it signed for.

mod targets;
mod text;

use std::process::ExitCode;

use clap::Args;
use dac_cli::{Exit, Output};
use dac_client::{
    AuditOptions, AuditPlan, AuditReport, AuditVerdict, Auditor, MemberFault, SeatContact, printable,
};
use serde_json::{Value, json};

use crate::context::{ChainArgs, DialArgs, directory};
use crate::exit::CliError;
use crate::output::millis;
use targets::{Choice, Chosen};

/// Audit the members: random chunks of recorded batches from every seat with their Merkle proofs,
/// the record, and now and then a whole shard with its fingerprint.
///
/// Batches come from the certificate log on L1. By default 20 of all that are owed are looked at:
/// the 5 newest, and one at random of each of 15 equal parts of the others, from the oldest to the
/// newest. Each seat's newest holder is asked; where a newcomer does not serve a batch yet, the
/// holder before it owes the batch and is asked too.
#[derive(Debug, Args)]
#[command(after_help = "\
Verdicts and exit codes:
  PASSED          0  every seat of the current epoch was asked, and of each batch looked at
                     at least k seats proved their part; seats out of reach are named, and
                     fail the audit only with --strict
  FAILED          1  a member served wrong bytes, or lacks what it signed for
  NOTHING TO SAY  4  nothing was wrong, but there is no batch, or of some batch fewer than
                     k seats could be checked
With --quiet nothing is printed when all is well; otherwise what is wrong or out of reach, and
the verdict.

Examples:
  dac audit --deployment deployment.json
  dac audit --deployment deployment.json --sample 200 --chunks 32
  dac audit --deployment deployment.json --last 20 --rows
  dac audit --deployment deployment.json --rollup $ROLLUP
  dac audit --deployment deployment.json --from-block 21000000 --to-block 21010000
  dac audit --deployment deployment.json --batch $DIGEST --whole-shards --strict")]
pub(crate) struct Audit {
    #[command(flatten)]
    choice: Choice,
    /// Chunks that each member must prove of each batch.
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    chunks: u8,
    /// Fetch the whole shard from one seat in this many; 0: from none.
    #[arg(long, default_value_t = 16, value_name = "COUNT")]
    whole_shard_one_in: u32,
    /// Fetch whole shards from every seat.
    #[arg(long, conflicts_with = "whole_shard_one_in")]
    whole_shards: bool,
    /// Count members that cannot be reached as failures, too.
    #[arg(long)]
    strict: bool,
    /// Print each check, not only a line for each member.
    #[arg(long, visible_alias = "verbose")]
    rows: bool,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    dial: DialArgs,
}

/// The result of a run of the command.
struct Outcome {
    chosen: Chosen,
    report: AuditReport,
    verdict: AuditVerdict,
}

impl Audit {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let chain = self.chain.connect().await?;
        let view = chain.view().await?;
        let dialer = self.dial.for_members(&chain.rpc_url)?;
        let mut chosen = self.choice.choose(&chain, &view, output).await?;
        let options = AuditOptions {
            chunks: self.chunks.into(),
            whole_shard_one_in: if self.whole_shards { 1 } else { self.whole_shard_one_in },
            ..AuditOptions::default()
        };
        let auditor = Auditor::new(directory(&view)?, dialer, options);
        let plan = AuditPlan { epoch: view.current_epoch, targets: std::mem::take(&mut chosen.targets) };
        let bar = output.count_bar(plan.targets.len() as u64, "batches");
        let mut last = None;
        let report = auditor
            .audit(&plan, |row| {
                if last.replace(row.digest) != Some(row.digest) {
                    bar.inc(1);
                }
            })
            .await;
        bar.finish_and_clear();
        chosen.expired += report.expired;
        let verdict = report.findings().verdict(self.strict);
        let outcome = Outcome { chosen, report, verdict };
        if !(output.is_quiet() && outcome.is_unremarkable()) || output.is_json() {
            output.result(outcome.document(), || outcome.text(self.rows, output.is_quiet()));
        }
        Ok(match verdict {
            AuditVerdict::Passed => ExitCode::SUCCESS,
            AuditVerdict::Failed => Exit::Failed.into(),
            AuditVerdict::NothingToSay => Exit::Unavailable.into(),
        })
    }
}

impl Outcome {
    /// Whether the audit passed without anything to report, so that `--quiet` prints nothing.
    fn is_unremarkable(&self) -> bool {
        self.verdict == AuditVerdict::Passed && !self.report.findings().is_unreachable
    }

    fn out_of_reach(&self) -> impl Iterator<Item = (&SeatContact, &MemberFault)> {
        self.report.seats.iter().filter_map(|seat| Some((seat, seat.problem.as_ref()?)))
    }

    /// The result as JSON. `passed` is older than the three verdicts.
    fn document(&self) -> Value {
        let Self { chosen, report, verdict } = self;
        let summary = report.summary();
        let fault =
            |fault: Option<&MemberFault>| (fault.map(MemberFault::code), fault.map(ToString::to_string));
        json!({
            "verdict": verdict.name(),
            "passed": *verdict == AuditVerdict::Passed,
            "reason": self.reason(),
            "batches": report.batches.len() + report.unaudited.len(),
            "batches_owed": chosen.owed,
            "batches_expired": chosen.expired,
            "searched_from_block": chosen.searched_from,
            "seed": chosen.seed,
            "batches_audited": report.batches.iter().map(|batch| json!({
                "digest": batch.digest.to_string(),
                "epoch": batch.epoch,
                "expires_at": batch.expires_at,
                "seats_checked": batch.seats.checked,
                "seats_needed": batch.seats.needed,
            })).collect::<Vec<_>>(),
            "batches_unaudited": report.unaudited.iter().map(|batch| json!({
                "digest": batch.digest.to_string(),
                "result": if batch.is_failure { "failed" } else { "unreachable" },
                "problem": batch.error.to_string(),
            })).collect::<Vec<_>>(),
            "seats_asked": report.seats.len(),
            "seats_unreachable": self.out_of_reach().map(|(seat, _)| seat.seat.0).collect::<Vec<_>>(),
            "seats": report.seats.iter().map(|seat| {
                let (reason, detail) = fault(seat.problem.as_ref());
                json!({
                    "seat": seat.seat.0,
                    "operator": seat.operator,
                    "url": printable(&seat.url),
                    "reached": seat.problem.is_none(),
                    "reason": reason,
                    "detail": detail,
                })
            }).collect::<Vec<_>>(),
            "summary": {
                "chunks_ok": summary.chunks_ok,
                "chunks_failed": summary.chunks_failed,
                "shards_ok": summary.shards_ok,
                "shards_failed": summary.shards_failed,
                "records_ok": summary.records_ok,
                "records_failed": summary.records_failed,
                "unreachable": summary.unreachable,
                "not_owed": summary.not_owed,
                "pending": summary.pending,
                "seats_unreachable": summary.seats_unreachable,
                "batches_failed": summary.batches_failed,
                "batches_unreachable": summary.batches_unreachable,
            },
            "rows": report.rows.iter().map(|row| {
                let (reason, detail) = fault(row.result.fault());
                json!({
                    "digest": row.digest.to_string(),
                    "seat": row.seat.0,
                    "operator": row.operator,
                    "url": printable(&row.url),
                    "check": row.check.name(),
                    "asked": row.asked,
                    "result": row.result.name(),
                    "reason": reason,
                    "detail": detail,
                    "latency_ms": millis(row.latency),
                })
            }).collect::<Vec<_>>(),
        })
    }
}
