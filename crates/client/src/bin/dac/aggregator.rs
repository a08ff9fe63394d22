//! `dac aggregator status`: an aggregator's description of itself, its delayed batches, and
//! breaches of the protocol that it reports.

use std::fmt::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use dac_chain::amount::{Ether, GWEI};
use dac_cli::{Failure, Output, count, span, unix_now};
use dac_client::{AggregatorDescription, EndpointUrl, ReportedPayer, WaitingBatch};
use serde_json::{Value, json};

use crate::context::DialArgs;
use crate::exit::CliError;
use crate::member_identity::{l1_endpoint_rows, l1_endpoints};
use crate::member_status::{accusations, faults, what_others_did};
use crate::output::{show_time, table};
use crate::status::waiting_document;

/// Ask an aggregator about itself.
#[derive(Debug, Args)]
pub(crate) struct Aggregator {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Status(ShowStatus),
}

/// Show who an aggregator is, whether it posts to L1, which of its batches make no progress or are
/// not recorded, and which members and rollups broke the protocol.
///
/// All of this is the aggregator's own word, since its process started; `proven` marks what the
/// signatures of a rollup's poster show.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 it answered, 4 it cannot be asked.

Example:
  dac aggregator status https://aggregator.example.org:7000 --json")]
struct ShowStatus {
    /// The aggregator's URL.
    #[arg(value_name = "URL")]
    endpoint: Option<EndpointUrl>,
    /// The aggregator's URL as an option, as other commands take it.
    #[arg(long, env = "DAC_AGGREGATOR", value_name = "URL")]
    aggregator: Option<EndpointUrl>,
    #[command(flatten)]
    dial: DialArgs,
}

impl Aggregator {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let Action::Status(ShowStatus { endpoint, aggregator, dial }) = self.action;
        let endpoint = endpoint.or(aggregator).ok_or_else(|| {
            Failure::usage("no aggregator is named").hint("--aggregator URL or DAC_AGGREGATOR")
        })?;
        let aggregator = dial.aggregator(&endpoint)?.describe().await?;
        output.result(document(&endpoint, &aggregator), || text(&endpoint, &aggregator));
        Ok(ExitCode::SUCCESS)
    }
}

fn document(endpoint: &EndpointUrl, aggregator: &AggregatorDescription) -> Value {
    json!({
        "endpoint": endpoint.as_str(),
        "chain_id": aggregator.chain_id,
        "registry": aggregator.registry,
        "disperser": aggregator.disperser,
        "version": aggregator.version,
        "protocols": aggregator.protocols,
        "posts": aggregator.posts,
        "l1_block": aggregator.l1_block,
        "l1_age_seconds": aggregator.l1_age_seconds,
        "l1_endpoints": l1_endpoints(&aggregator.l1_endpoints),
        "tls_certificate_expires_at": aggregator.tls_certificate_expires_at,
        "faults": faults(&aggregator.faults),
        "accusations": accusations(&aggregator.accusations),
        "payer": aggregator.payer.as_ref().map(payer_document),
        "uncertified_batches": aggregator.uncertified_batches,
        "oldest_unencoded": aggregator.oldest_unencoded.as_ref().map(waiting_batch_document),
        "oldest_undelivered": aggregator.oldest_undelivered.as_ref().map(waiting_batch_document),
        "oldest_unrecorded": aggregator.oldest_unrecorded.as_ref().map(unrecorded_batch_document),
    })
}

fn waiting_batch_document(batch: &WaitingBatch) -> Value {
    json!({
        "submission_digest": batch.submission_digest,
        "rollup": batch.rollup,
        "batch_number": batch.batch_number,
        "state": batch.state.name(),
        "received_at_ms": batch.received_at_ms,
        "age_seconds": unix_now().saturating_sub(batch.received_at_ms / 1000),
        "moves": batch.waiting.is_none(),
        "waiting": batch.waiting.as_ref().map(waiting_document),
    })
}

/// A certified batch that was not recorded in time, as JSON.
fn unrecorded_batch_document(batch: &WaitingBatch) -> Value {
    json!({
        "submission_digest": batch.submission_digest,
        "rollup": batch.rollup,
        "batch_number": batch.batch_number,
        "state": batch.state.name(),
        "received_at_ms": batch.received_at_ms,
        "certified_at_ms": batch.certified_at_ms,
        "age_seconds": unix_now().saturating_sub(batch.certified_at_ms / 1000),
        "l1_problem": (!batch.l1_problem.is_empty()).then_some(&batch.l1_problem),
    })
}

fn batch_name(batch: &WaitingBatch) -> String {
    let rollup = batch.rollup.to_checksum(None);
    format!("batch {} of rollup {rollup}, submission {}", batch.batch_number, batch.submission_digest)
}

/// A certified batch in words: its number, since when it is certified, and what posting it waits
/// for.
fn unrecorded_batch_text(batch: &WaitingBatch, now: u64) -> String {
    let age = span(now.saturating_sub(batch.certified_at_ms / 1000));
    let why = match batch.l1_problem.as_str() {
        "" => "no reason is known",
        problem => problem,
    };
    format!("{}, certified {age} ago; NOT RECORDED: {why}", batch_name(batch))
}

/// A batch in words: its number, its age, and why it waits.
fn waiting_batch_text(batch: &WaitingBatch, now: u64) -> String {
    let age = |since_ms: u64| span(now.saturating_sub(since_ms / 1000));
    let mut text = format!("{}, received {} ago", batch_name(batch), age(batch.received_at_ms));
    let Some(waiting) = &batch.waiting else { return text + ", moves" };
    let _ = write!(text, "; DOES NOT MOVE");
    if waiting.since_ms != 0 {
        let _ = write!(text, " for {}", age(waiting.since_ms));
    }
    let _ = write!(text, ": {}", waiting.reason);
    if !waiting.detail.is_empty() {
        let _ = write!(text, ": {}", waiting.detail);
    }
    text
}

fn payer_document(payer: &ReportedPayer) -> Value {
    json!({
        "account": payer.account,
        "balance_gwei": payer.balance_gwei,
        "next_gwei": payer.next_gwei,
        "hour_gwei": payer.hour_gwei,
        "hour_max_gwei": payer.hour_max_gwei,
        "problem": (!payer.problem.is_empty()).then_some(&payer.problem),
        "low": payer.is_low,
        "stopped": payer.stopped,
    })
}

fn payer_text(payer: &ReportedPayer) -> String {
    let ether = |gwei: u64| Ether::from(u128::from(gwei) * GWEI);
    let balance =
        payer.balance_gwei.map_or("not known yet".to_owned(), |gwei| format!("{} ether", ether(gwei)));
    let low = if payer.is_low { ", which is little" } else { "" };
    let mut text = format!(
        "{} with {balance}{low}; the next transaction may cost {} ether, those of the last hour {} of {} ether",
        payer.account.to_checksum(None),
        ether(payer.next_gwei),
        ether(payer.hour_gwei),
        ether(payer.hour_max_gwei),
    );
    if payer.stopped != 0 {
        let _ = write!(
            text,
            "; stopped, since what was spent on them had no effect: {}",
            count(payer.stopped, "posting")
        );
    }
    if !payer.problem.is_empty() {
        let _ = write!(text, "; HELD UP: {}", payer.problem);
    }
    text
}

fn text(endpoint: &EndpointUrl, aggregator: &AggregatorDescription) -> String {
    let posts =
        if aggregator.posts { "this one" } else { "another one that shares its database, or nobody yet" };
    let payer = aggregator.payer.as_ref().map(|payer| ("pays", payer_text(payer)));
    let now = unix_now();
    let oldest = [
        ("oldest not encoded", &aggregator.oldest_unencoded),
        ("oldest without quorum", &aggregator.oldest_undelivered),
    ];
    let oldest = oldest.into_iter().filter_map(|(name, batch)| Some((name, batch.as_ref()?)));
    let unrecorded = aggregator.oldest_unrecorded.as_ref();
    let unrecorded = unrecorded.map(|batch| ("oldest not recorded", unrecorded_batch_text(batch, now)));
    let uncertified = ("not certified yet", count(aggregator.uncertified_batches, "batch"));
    let expiry = aggregator
        .tls_certificate_expires_at
        .map(|at| ("TLS certificate", format!("expires {}", show_time(at))));
    let mut rows: Vec<Vec<String>> = [
        ("disperser", aggregator.disperser.to_checksum(None)),
        ("chain, registry", format!("{}, {}", aggregator.chain_id, aggregator.registry.to_checksum(None))),
        ("posts to L1", posts.to_owned()),
        ("version", format!("{} ({})", aggregator.version, aggregator.protocols.join(", "))),
        ("L1", format!("block {}, read {} s ago", aggregator.l1_block, aggregator.l1_age_seconds)),
    ]
    .into_iter()
    .chain([uncertified])
    .chain(oldest.map(|(name, batch)| (name, waiting_batch_text(batch, now))))
    .chain(unrecorded)
    .chain(payer)
    .chain(expiry)
    .map(|(name, value)| vec![name.to_owned(), value])
    .collect();
    rows.extend(l1_endpoint_rows(&aggregator.l1_endpoints));
    table(&[endpoint.as_str(), ""], &rows) + &what_others_did(&aggregator.faults, &aggregator.accusations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_proto::v1;

    #[test]
    fn the_expiry_of_the_certificate_is_shown_where_there_is_one() {
        let endpoint: EndpointUrl = "https://aggregator.example.org".parse().unwrap();
        let told = |expires_at| -> AggregatorDescription {
            v1::GetAggregatorResponse {
                registry: vec![1; 20].into(),
                disperser: vec![2; 20].into(),
                tls_certificate_expires_at: expires_at,
                ..v1::GetAggregatorResponse::default()
            }
            .try_into()
            .unwrap()
        };
        assert!(!text(&endpoint, &told(0)).contains("TLS certificate"));
        assert!(document(&endpoint, &told(0))["tls_certificate_expires_at"].is_null());
        let shown = text(&endpoint, &told(4_000_000_000));
        let line = shown.lines().find(|line| line.contains("TLS certificate")).unwrap();
        assert!(line.contains(&format!("expires {}", show_time(4_000_000_000))), "{line}");
        assert_eq!(
            document(&endpoint, &told(4_000_000_000))["tls_certificate_expires_at"],
            4_000_000_000_u64
        );
    }
}
