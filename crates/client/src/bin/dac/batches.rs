//! `dac batches`: lists the batches that an aggregator knows, or that a member stores.

use std::process::ExitCode;

use clap::Args;
use dac_cli::{Exit, Failure, Output};
use dac_client::{
    BatchStatus, EndpointUrl, ListQuery, MemberClient, MemberFault, Page, Patience, StoredBatch, printable,
};
use dac_types::Address;
use dac_types::limits::PAGE_MAX_ENTRIES;
use serde_json::{Value, json};

use crate::context::{DialArgs, address};
use crate::exit::CliError;
use crate::output::{show_time, table};

/// List batches: those that an aggregator knows, the newest first, or those that a member stores,
/// the oldest first.
///
/// A list is the server's own word. `dac status` shows one batch in full, `dac audit --batch` has
/// it proved.
#[derive(Debug, Args)]
#[command(after_help = "\
Where there are more, the last line names the --page that goes on; in JSON it is next_page_token.

Examples:
  dac batches --rollup $ROLLUP --aggregator https://aggregator.example.org:7000
  dac batches --member https://member.example.org:7002 --limit 500 --json")]
pub(crate) struct ListBatches {
    /// Only this rollup's batches.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    rollup: Option<Address>,
    /// Ask this aggregator.
    #[arg(long, env = "DAC_AGGREGATOR", value_name = "URL", required_unless_present = "member")]
    aggregator: Option<EndpointUrl>,
    /// Ask the member with this retrieval URL instead.
    #[arg(long, value_name = "URL")]
    member: Option<EndpointUrl>,
    /// Batches to list, at most.
    #[arg(long, default_value_t = 50, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Begin where an earlier list ended.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TOKEN")]
    page: String,
    #[command(flatten)]
    dial: DialArgs,
}

/// The part of a list up to the limit.
struct Listed<T> {
    entries: Vec<T>,
    next: Option<String>,
}

impl ListBatches {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        if let Some(endpoint) = &self.member {
            let unavailable =
                |fault: MemberFault| Failure::new(Exit::Unavailable, format!("{endpoint}: {fault}"));
            let dialer = self.dial.for_given_url()?;
            let client = MemberClient::connect(&dialer, endpoint.as_str(), Patience::default())
                .await
                .map_err(unavailable)?;
            let listed = self
                .collect(async |query| Ok(client.clone().list(&query).await.map_err(unavailable)?))
                .await?;
            output.result(document(endpoint, &listed, stored_document), || {
                text(
                    &listed,
                    &["number", "rollup", "batch", "epoch", "seat", "bytes", "expires"],
                    stored_cells,
                )
            });
            return Ok(ExitCode::SUCCESS);
        }
        let endpoint =
            self.aggregator.as_ref().ok_or_else(|| Failure::usage("no aggregator and no member is named"))?;
        let client = self.dial.aggregator(endpoint)?.keeping_its_connection();
        let listed = self.collect(async |query| Ok(client.list(&query).await?)).await?;
        output.result(document(endpoint, &listed, known_document), || {
            text(&listed, &["number", "rollup", "batch", "state", "bytes", "expires"], known_cells)
        });
        Ok(ExitCode::SUCCESS)
    }

    /// Asks for pages until the limit or the end of the list.
    async fn collect<T>(
        &self,
        ask: impl AsyncFn(ListQuery) -> Result<Page<T>, CliError>,
    ) -> Result<Listed<T>, CliError> {
        let mut listed = Listed { entries: Vec::new(), next: Some(self.page.clone()) };
        while let Some(page_token) = listed.next.take() {
            let missing = (self.limit as usize).saturating_sub(listed.entries.len());
            let page_size = u32::try_from(missing).unwrap_or(u32::MAX).min(PAGE_MAX_ENTRIES);
            if page_size == 0 {
                listed.next = Some(page_token);
                break;
            }
            let page = ask(ListQuery { rollup: self.rollup, page_size, page_token }).await?;
            listed.entries.extend(page.entries);
            listed.next = page.next;
        }
        Ok(listed)
    }
}

fn document<T>(endpoint: &EndpointUrl, listed: &Listed<T>, entry: impl Fn(&T) -> Value) -> Value {
    json!({
        "endpoint": endpoint.as_str(),
        "batches": listed.entries.iter().map(entry).collect::<Vec<_>>(),
        "next_page_token": listed.next.as_deref().map(printable),
    })
}

fn text<T>(listed: &Listed<T>, head: &[&str], cells: impl Fn(&T) -> Vec<String>) -> String {
    let rows: Vec<Vec<String>> = listed.entries.iter().map(cells).collect();
    let mut text = if rows.is_empty() { "no batches\n".to_owned() } else { table(head, &rows) };
    if let Some(next) = &listed.next {
        text.push_str(&format!("\nthere are more: --page {}\n", printable(next)));
    }
    text
}

fn stored_document(batch: &StoredBatch) -> Value {
    json!({
        "digest": batch.digest.to_string(),
        "rollup": batch.rollup,
        "batch_number": batch.batch_number,
        "epoch": batch.epoch,
        "seat": batch.seat.0,
        "expires_at": batch.expires_at,
        "payload_bytes": batch.payload_length,
    })
}

fn stored_cells(batch: &StoredBatch) -> Vec<String> {
    vec![
        batch.batch_number.to_string(),
        batch.rollup.to_checksum(None),
        batch.digest.to_string(),
        batch.epoch.to_string(),
        batch.seat.to_string(),
        batch.payload_length.to_string(),
        show_time(batch.expires_at),
    ]
}

fn known_document(batch: &BatchStatus) -> Value {
    let submission = &batch.submission;
    json!({
        "digest": batch.digest.map(|digest| digest.to_string()),
        "submission_digest": batch.submission_digest,
        "rollup": submission.rollup,
        "batch_number": submission.batch_number,
        "epoch": batch.epoch,
        "state": batch.state.name(),
        "failure": (!batch.failure.is_empty()).then_some(&batch.failure),
        "l1_problem": (!batch.l1_problem.is_empty()).then_some(&batch.l1_problem),
        "expires_at": submission.expires_at,
        "payload_bytes": submission.payload_length,
        "received_at_ms": batch.received_at_ms,
    })
}

fn known_cells(batch: &BatchStatus) -> Vec<String> {
    let submission = &batch.submission;
    vec![
        submission.batch_number.to_string(),
        submission.rollup.to_checksum(None),
        batch.digest.map_or_else(|| "not encoded yet".to_owned(), |digest| digest.to_string()),
        batch.state.name().to_owned(),
        submission.payload_length.to_string(),
        show_time(submission.expires_at),
    ]
}
