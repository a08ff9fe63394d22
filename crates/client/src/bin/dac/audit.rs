//! `dac audit`: does every member still serve what it signed for?

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use dac_chain::{CertificateLogReader, ChainError, RecordedCertificate};
use dac_cli::{Exit, Output, unix_now};
use dac_client::{AuditOptions, AuditReport, AuditRow, AuditTarget, Auditor, CheckResult, Hint, MemberFault};
use dac_types::BatchDigest;
use serde_json::{Value, json};

use crate::context::{Chain, ChainArgs, DialArgs, directory};
use crate::exit::CliError;
use crate::output::{millis, show_latency, table};

/// Blocks of one step back in search of the newest batches.
const BLOCKS_PER_STEP: u64 = 5_000;
/// Steps back at most.
const STEPS_MAX: u64 = 200;

/// Audit the members: random chunks of recorded batches from every seat with their Merkle proofs, the record, and now and
/// then a whole shard with its fingerprint.
///
/// Batches come from the certificate log on L1. A check fails when a member serves wrong bytes, or lacks what it signed for;
/// a member that cannot be reached is reported apart, since nothing is known of what it holds. Exit code 1 on any failed check.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dac audit --deployment deployment.json                        the 20 newest batches
  dac audit --deployment deployment.json --last 200 --chunks 32
  dac audit --deployment deployment.json --from-block 21000000 --to-block 21010000
  dac audit --deployment deployment.json --batch 0x<digest> --whole-shards --strict")]
pub(crate) struct Audit {
    /// Audit these batches; may be repeated.
    #[arg(long = "batch", value_name = "DIGEST", conflicts_with_all = ["last", "from_block", "to_block"])]
    batches: Vec<BatchDigest>,
    /// Audit so many of the newest recorded batches.
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    last: u32,
    /// Audit what was recorded from this block on.
    #[arg(long, value_name = "BLOCK", conflicts_with = "last")]
    from_block: Option<u64>,
    /// … up to this block, included; the newest one if not given.
    #[arg(long, value_name = "BLOCK", requires = "from_block")]
    to_block: Option<u64>,
    /// Chunks that each member must prove of each batch.
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=64))]
    chunks: u8,
    /// Fetch whole shards from one in so many seats; 0: never.
    #[arg(long, default_value_t = 16, value_name = "COUNT")]
    whole_shard_one_in: u32,
    /// Fetch whole shards from every seat.
    #[arg(long, conflicts_with = "whole_shard_one_in")]
    whole_shards: bool,
    /// Unreachable members are failures, too.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    dial: DialArgs,
}

impl Audit {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let chain = self.chain.connect().await?;
        let view = chain.view().await?;
        let dialer = self.dial.for_members(&chain.rpc_url)?;
        let (targets, expired) = self.targets(&chain, output).await?;
        let options = AuditOptions {
            chunks: self.chunks.into(),
            whole_shard_one_in: if self.whole_shards { 1 } else { self.whole_shard_one_in },
            ..AuditOptions::default()
        };
        let auditor = Auditor::new(directory(&view)?, dialer, options);
        let bar = output.count_bar(targets.len() as u64, "batches");
        let mut last = None;
        let report = auditor
            .audit(&targets, |row| {
                if last.replace(row.digest) != Some(row.digest) {
                    bar.inc(1);
                }
            })
            .await;
        bar.finish_and_clear();
        let summary = report.summary();
        let failed = summary.has_failures() || (self.strict && summary.has_unreachable());
        output.result(document(&report, targets.len(), expired, failed), || {
            text(&report, targets.len(), expired, failed)
        });
        Ok(if failed { Exit::Failed.into() } else { ExitCode::SUCCESS })
    }

    /// The batches, and how many were left out because nobody owes them any more.
    async fn targets(&self, chain: &Chain, output: &Output) -> Result<(Vec<AuditTarget>, usize), CliError> {
        if !self.batches.is_empty() {
            let log = chain.log().await?;
            let mut targets = Vec::new();
            for digest in &self.batches {
                let recorded_at = match &log {
                    Some(log) => log.recorded_at(*digest).await?,
                    None => None,
                };
                targets.push(AuditTarget { digest: *digest, hint: Hint { recorded_at, ..Hint::default() } });
            }
            return Ok((targets, 0));
        }
        let log = chain.required_log().await?;
        let head = log.head().await?.number;
        let searching = output.spinner("reading the certificate log");
        let recorded = match self.from_block {
            Some(from) => log.recorded_events(from, self.to_block.unwrap_or(head)).await?,
            None => newest(&log, head, chain.deployed_at_block, self.last as usize).await?,
        };
        searching.finish_and_clear();
        let now = unix_now();
        let mut targets = Vec::new();
        let mut expired = 0;
        for event in &recorded {
            if event.expires_at < now {
                expired += 1;
                continue;
            }
            let recorded_at = log.recorded_at(event.digest).await?;
            let hint = Hint { epoch: Some(event.epoch), recorded_at, ..Hint::default() };
            targets.push(AuditTarget { digest: event.digest, hint });
        }
        Ok((targets, expired))
    }
}

/// The newest recorded batches, the newest last.
async fn newest(
    log: &CertificateLogReader,
    head: u64,
    oldest: u64,
    count: usize,
) -> Result<Vec<RecordedCertificate>, ChainError> {
    let mut found: Vec<RecordedCertificate> = Vec::new();
    let mut last = head;
    for _ in 0..STEPS_MAX {
        let first = last.saturating_sub(BLOCKS_PER_STEP - 1).max(oldest.min(last));
        let mut page = log.recorded_events(first, last).await?;
        page.append(&mut found);
        found = page;
        if found.len() >= count || first <= oldest {
            break;
        }
        last = first - 1;
    }
    Ok(found.split_off(found.len().saturating_sub(count)))
}

fn document(report: &AuditReport, batches: usize, expired: usize, failed: bool) -> Value {
    let summary = report.summary();
    json!({
        "passed": !failed,
        "batches": batches,
        "batches_expired": expired,
        "batches_unaudited": report.unaudited.iter().map(|batch| json!({
            "digest": batch.digest.to_string(),
            "result": if batch.is_failure { "failed" } else { "unreachable" },
            "problem": batch.error.to_string(),
        })).collect::<Vec<_>>(),
        "summary": {
            "chunks_ok": summary.chunks_ok,
            "chunks_failed": summary.chunks_failed,
            "shards_ok": summary.shards_ok,
            "shards_failed": summary.shards_failed,
            "records_ok": summary.records_ok,
            "records_failed": summary.records_failed,
            "unreachable": summary.unreachable,
            "not_owed": summary.not_owed,
        },
        "rows": report.rows.iter().map(|row| json!({
            "digest": row.digest.to_string(),
            "seat": row.seat.0,
            "operator": row.operator,
            "url": dac_client::printable(&row.url),
            "check": row.check.name(),
            "asked": row.asked,
            "result": row.result.name(),
            "reason": row.result.fault().map(MemberFault::code),
            "detail": row.result.fault().map(ToString::to_string),
            "latency_ms": millis(row.latency),
        })).collect::<Vec<_>>(),
    })
}

fn text(report: &AuditReport, batches: usize, expired: usize, failed: bool) -> String {
    let summary = report.summary();
    let rows: Vec<Vec<String>> = report.rows.iter().map(line).collect();
    let mut text = table(&["batch", "seat", "member", "check", "latency", "result"], &rows);
    for batch in &report.unaudited {
        let result = if batch.is_failure { "FAILED" } else { "unreachable" };
        let _ = writeln!(text, "\n{result}: batch {}: {}", batch.digest, batch.error);
    }
    let _ = writeln!(
        text,
        "\n{batches} batches ({expired} expired ones left out): chunks {} ok, {} failed; shards {} ok, {} failed; records {} ok, {} failed",
        summary.chunks_ok,
        summary.chunks_failed,
        summary.shards_ok,
        summary.shards_failed,
        summary.records_ok,
        summary.records_failed
    );
    if summary.unreachable > 0 {
        let _ = writeln!(text, "{} checks could not be made: members unreachable", summary.unreachable);
    }
    if summary.not_owed > 0 {
        let _ = writeln!(text, "{} checks of seats that did not sign and hold nothing", summary.not_owed);
    }
    let _ = writeln!(text, "{}", if failed { "FAILED" } else { "PASSED" });
    text
}

fn line(row: &AuditRow) -> Vec<String> {
    let result = match &row.result {
        CheckResult::Ok { proved } if row.asked > 1 => format!("ok, {proved} proved"),
        CheckResult::Ok { .. } => "ok".to_owned(),
        CheckResult::Failed(fault) => format!("FAILED: {fault}"),
        CheckResult::Unreachable(fault) => format!("unreachable: {fault}"),
        CheckResult::NotOwed => "did not sign, owes nothing".to_owned(),
        CheckResult::BadSeat(fault) => format!("bad seat, the disperser's doing: {fault}"),
    };
    vec![
        format!("{}…", &row.digest.to_string()[..10]),
        row.seat.to_string(),
        dac_client::printable(&row.url),
        row.check.name().to_owned(),
        show_latency(row.latency),
        result,
    ]
}
