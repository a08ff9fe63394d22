//! `dac status` and `dac watch`: a batch's state, as its aggregator reports it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use dac_cli::{Failure, Output, count};
use dac_client::files::{SubmissionFile, read_text};
use dac_client::{
    AggregatorClient, AggregatorError, BatchSelector, BatchState, BatchStatus, DeliveryState, EndpointUrl,
    L1Status, ToldObstacles, Waiting,
};
use dac_proto::reason::Reason;
use dac_runtime::config::Period;
use dac_types::{B256, BatchDigest};
use serde_json::{Value, json};

use crate::context::DialArgs;
use crate::deadline::Deadline;
use crate::exit::CliError;
use crate::output::{show_time, table};

/// The batch, and the aggregator to ask.
#[derive(Clone, Debug, Args)]
pub(crate) struct BatchArgs {
    /// The batch: its digest, its submission's digest, a submission file, or the JSON that
    /// `dac submit` printed.
    #[arg(value_name = "BATCH")]
    batch: String,
    /// URL of the aggregator.
    #[arg(long, env = "DAC_AGGREGATOR", value_name = "URL")]
    pub(crate) aggregator: EndpointUrl,
    #[command(flatten)]
    pub(crate) dial: DialArgs,
}

impl BatchArgs {
    pub(crate) fn client(&self) -> Result<AggregatorClient, CliError> {
        self.dial.aggregator(&self.aggregator)
    }

    /// Finds the batch. A digest may be the batch's or its submission's: both are tried.
    pub(crate) async fn find(
        &self,
        client: &AggregatorClient,
    ) -> Result<(BatchSelector, BatchStatus), CliError> {
        let candidates = match self.batch.parse::<B256>() {
            Ok(digest) => vec![BatchSelector::Batch(BatchDigest(digest)), BatchSelector::Submission(digest)],
            Err(_) => vec![submission_of(Path::new(&self.batch))?],
        };
        let mut unknown = None;
        for selector in candidates {
            match client.batch(selector).await {
                Ok(status) => return Ok((selector, status)),
                Err(error) if error.reason() == Some(Reason::UnknownBatch) => unknown = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        let failure =
            unknown.map_or_else(|| Failure::usage("no batch is named"), |error| CliError::from(error).0);
        Err(failure.hint("is that the aggregator to which the batch was submitted?").into())
    }
}

/// Reads the submission's digest from a submission file or from the output of `dac submit --json`.
fn submission_of(path: &Path) -> Result<BatchSelector, Failure> {
    let text = read_text(path, 1 << 20).map_err(|error| {
        Failure::usage(format!("expected 32 bytes as 0x… or a file, got {}: {error}", path.display()))
    })?;
    if let Ok(file) = SubmissionFile::from_json(&text) {
        return Ok(BatchSelector::Submission(file.signed.submission.digest(&file.domain)));
    }
    let document: Option<Value> = serde_json::from_slice(&text).ok();
    let digest =
        document.as_ref().and_then(|document| document.get("submission_digest")).and_then(Value::as_str);
    digest.and_then(|digest| digest.parse().ok()).map(BatchSelector::Submission).ok_or_else(|| {
        Failure::usage(format!(
            "{} is neither a submission file nor what `dac submit --json` printed",
            path.display()
        ))
    })
}

/// Show a batch as its aggregator tells it: its state, every member's part, its proof, where it was
/// recorded and settled.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dac status $DIGEST --aggregator https://aggregator.example.org:7000
  dac status submission.json --aggregator https://aggregator.example.org:7000 --json")]
pub(crate) struct Status {
    #[command(flatten)]
    batch: BatchArgs,
}

impl Status {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let client = self.batch.client()?;
        let (_, status) = self.batch.find(&client).await?;
        output.result(document(&status), || text(&status));
        Ok(ExitCode::SUCCESS)
    }
}

/// The state to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    /// A quorum signed: from here on the batch is retrievable.
    Certified,
    /// Certified, and its validity proof is there.
    Proved,
    /// Its certificate is recorded on L1; or its settlement is in a block.
    Posted,
    /// Its state transition is final on L1.
    Settled,
}

impl From<Goal> for BatchState {
    fn from(goal: Goal) -> Self {
        match goal {
            Goal::Certified => Self::Certified,
            Goal::Proved => Self::Proved,
            Goal::Posted => Self::Posted,
            Goal::Settled => Self::Settled,
        }
    }
}

/// Follow a batch until it is where you want it, telling every change. Survives restarts of the
/// aggregator.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dac watch $DIGEST --until posted --timeout 10m --aggregator https://aggregator.example.org:7000")]
pub(crate) struct Watch {
    #[command(flatten)]
    batch: BatchArgs,
    /// What to wait for.
    #[arg(long, value_enum, default_value = "posted")]
    until: Goal,
    /// How long to wait.
    #[arg(long, default_value = "10m", value_name = "TIME")]
    timeout: Period,
}

impl Watch {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let deadline = Deadline::new(self.timeout);
        let client = self.batch.client()?;
        let (selector, _) = deadline.of("finding the batch", self.batch.find(&client)).await?;
        let status = wait(output, &client, selector, self.until, deadline.left()).await?;
        output.result(document(&status), || text(&status));
        Ok(ExitCode::SUCCESS)
    }
}

/// Waits, and prints a line for every change of state and one for every new obstacle.
pub(crate) async fn wait(
    output: &Output,
    client: &AggregatorClient,
    selector: BatchSelector,
    goal: Goal,
    limit: Duration,
) -> Result<BatchStatus, AggregatorError> {
    let waiting = output.spinner("waiting");
    let mut told = None;
    let mut told_obstacles = ToldObstacles::default();
    let outcome = client
        .wait(selector, goal.into(), limit, |status| {
            let line = summary(status);
            if told.as_ref() != Some(&line) {
                waiting.suspend(|| output.note(&line));
                told = Some(line);
            }
            for obstacle in told_obstacles.news(status) {
                waiting.suspend(|| output.note(format!("  {obstacle}")));
            }
        })
        .await;
    waiting.finish_and_clear();
    outcome
}

fn summary(status: &BatchStatus) -> String {
    let has_signed = |state| matches!(state, DeliveryState::Attested);
    let signed = status.members.iter().filter(|member| has_signed(member.state)).count();
    let mut line = status.state.name().to_owned();
    // The certificate's signatures do not change; `dac status` shows members that signed later.
    let in_certificate = status.members.iter().filter(|member| member.in_certificate).count();
    match (in_certificate, status.members.len()) {
        (0, 0) => {}
        (0, all) => _ = write!(line, ", {signed} of {all} members signed"),
        (some, all) => _ = write!(line, ", certificate of {some} of {all} members"),
    }
    if let Some(proof) = &status.proof {
        let _ = write!(line, ", proof {}", proof.state.name());
        if !proof.reason.is_empty() {
            let _ = write!(line, ": {}", proof.reason);
        }
    }
    if !status.failure.is_empty() {
        let _ = write!(line, ": {}", status.failure);
    }
    line
}

/// A batch as JSON.
pub(crate) fn document(status: &BatchStatus) -> Value {
    let submission = &status.submission;
    json!({
        "submission_digest": status.submission_digest,
        "digest": status.digest.map(|digest| digest.to_string()),
        "state": status.state.name(),
        "failure": (!status.failure.is_empty()).then_some(&status.failure),
        "epoch": status.epoch,
        "rollup": submission.rollup,
        "batch_number": submission.batch_number,
        "payload_length": submission.payload_length,
        "hash_kind": submission.hash_kind.name(),
        "batch_hash": submission.batch_hash,
        "expires_at": submission.expires_at,
        "received_at_ms": status.received_at_ms,
        "certified_at_ms": (status.certified_at_ms != 0).then_some(status.certified_at_ms),
        "members": status.members.iter().map(|member| json!({
            "seat": member.seat.0,
            "state": member.state.name(),
            "attempts": member.attempts,
            "reason": (!member.reason.is_empty()).then_some(&member.reason),
            "detail": (!member.detail.is_empty()).then_some(&member.detail),
            "attested_at_ms": (member.attested_at_ms != 0).then_some(member.attested_at_ms),
            "in_certificate": member.in_certificate,
        })).collect::<Vec<_>>(),
        "waiting": status.waiting.as_ref().map(waiting_document),
        "held_up_by": status.obstacles().iter().map(|obstacle| json!({
            "seats": obstacle.seats.iter().map(|seat| seat.0).collect::<Vec<_>>(),
            "reason": obstacle.reason,
            "detail": (!obstacle.detail.is_empty()).then_some(&obstacle.detail),
        })).collect::<Vec<_>>(),
        "posting": status.posting.name(),
        "proof": status.proof.as_ref().map(|proof| json!({
            "state": proof.state.name(),
            "reason": (!proof.reason.is_empty()).then_some(&proof.reason),
            "proof_hash": proof.hash,
            "new_state_root": proof.transition.new_state_root,
            "inputs_consumed": proof.transition.inputs_consumed,
            "outputs": proof.transition.outputs,
            "received_at_ms": proof.received_at_ms,
        })),
        "l1": status.l1.as_ref().map(l1_document),
        "settlement": status.settlement.as_ref().map(l1_document),
        "l1_problem": (!status.l1_problem.is_empty()).then_some(&status.l1_problem),
    })
}

/// The reason why a batch waits, as JSON.
pub(crate) fn waiting_document(waiting: &Waiting) -> Value {
    json!({
        "reason": waiting.reason,
        "detail": (!waiting.detail.is_empty()).then_some(&waiting.detail),
        "since_ms": (waiting.since_ms != 0).then_some(waiting.since_ms),
    })
}

fn l1_document(l1: &L1Status) -> Value {
    json!({
        "transaction": l1.transaction,
        "block": l1.block,
        "gas_used": l1.gas_used,
        "by_this_aggregator": l1.by_us,
    })
}

fn l1_text(l1: &L1Status) -> String {
    let by = if l1.by_us { "by this aggregator" } else { "by another sender" };
    let transaction = l1.transaction.map_or("unknown".to_owned(), |transaction| transaction.to_string());
    format!("block {}, {} gas, {by}, transaction {transaction}", l1.block, l1.gas_used)
}

/// A batch as text.
pub(crate) fn text(status: &BatchStatus) -> String {
    let submission = &status.submission;
    let mut text = String::new();
    let _ =
        writeln!(text, "batch {} of rollup {}", submission.batch_number, submission.rollup.to_checksum(None));
    let _ = writeln!(text, "state              {}", summary(status));
    for obstacle in status.obstacles() {
        let _ = writeln!(text, "held up by         {obstacle}");
    }
    if let Some(since) = status.waiting.as_ref().map(|waiting| waiting.since_ms / 1000).filter(|at| *at != 0)
    {
        let _ = writeln!(text, "waits since        {}", show_time(since));
    }
    let _ = writeln!(
        text,
        "digest             {}",
        status.digest.map_or("not encoded yet".to_owned(), |digest| digest.to_string())
    );
    let _ = writeln!(text, "submission digest  {}", status.submission_digest);
    let _ = writeln!(
        text,
        "payload            {}, {} {}",
        count(submission.payload_length, "byte"),
        submission.hash_kind.name(),
        submission.batch_hash
    );
    let _ = writeln!(text, "served until       {}", show_time(submission.expires_at));
    if status.certified_at_ms != 0 {
        let took = status.certified_at_ms.saturating_sub(status.received_at_ms);
        let _ = writeln!(text, "certified          {took} ms after it was received");
    }
    if let Some(l1) = &status.l1 {
        let _ = writeln!(text, "recorded on L1     {}", l1_text(l1));
    }
    if let Some(proof) = &status.proof {
        let _ = writeln!(
            text,
            "validity proof     {} to state root {}, {} in all",
            proof.state.name(),
            proof.transition.new_state_root,
            count(proof.transition.inputs_consumed, "input")
        );
    }
    if let Some(l1) = &status.settlement {
        let final_or_not = if status.state == BatchState::Settled { "" } else { ", not deep enough yet" };
        let _ = writeln!(text, "settled on L1      {}{final_or_not}", l1_text(l1));
    }
    if !status.members.is_empty() {
        let rows: Vec<Vec<String>> = status
            .members
            .iter()
            .map(|member| {
                vec![
                    member.seat.to_string(),
                    member.state.name().to_owned(),
                    if member.in_certificate { "yes" } else { "no" }.to_owned(),
                    member.attempts.to_string(),
                    [member.reason.as_str(), member.detail.as_str()].join(" ").trim().to_owned(),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&table(&["seat", "state", "in certificate", "attempts", "last failure"], &rows));
    }
    text
}
