//! `dac retrieve`: retrieves a payload from any k members, or all payloads that a rollup has
//! settled.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use dac_cli::{Failure, Output, count};
use dac_client::files::{CommitteeFile, refuse_existing, write_atomically};
use dac_client::{
    Dialer, Directory, Evidence, Hint, Progress, RetrieveOptions, Retrieved, Retriever, ShardOutcome,
};
use dac_runtime::config::Period;
use dac_types::{Address, BatchDigest};
use serde_json::{Value, json};

use crate::context::{ChainArgs, DialArgs, address, directory};
use crate::exit::CliError;
use crate::output::{millis, show_latency, stdout_taken_by, table};
use crate::retrieve_rollup::RollupTask;

/// Get a batch's payload back from any k members. No aggregator is needed, and no single member is
/// trusted.
///
/// The registry says which operator has which seat; a member's record is bound to the digest, a
/// certificate shows that a quorum signed; shards are taken from the fastest k members and each is
/// checked; the payload is decoded and checked once more. Members that fail are named. A batch
/// whose disperser committed to something that is no payload ends with exit code 3 for everyone who
/// retrieves it.
///
/// With --rollup, all batches that the rollup's contract has settled are retrieved: they are enough
/// to rebuild its state when the rollup's operator is gone. The contract's own events say which
/// these are, and that a quorum signed each.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dac retrieve $DIGEST --out payload.bin --deployment deployment.json
  dac retrieve $DIGEST --out payload.bin --committee committee.json   # without L1
  # writes batches/000001.bin, 000002.bin and so on; run it again and it goes on where it was
  dac retrieve --rollup $ROLLUP --out-dir batches --deployment deployment.json")]
pub(crate) struct Retrieve {
    /// The batch's digest.
    #[arg(value_name = "DIGEST", requires = "out")]
    digest: Option<BatchDigest>,
    /// The file to write; `-` is standard output. A file appears whole or not at all.
    #[arg(long, value_name = "FILE", conflicts_with = "rollup")]
    out: Option<PathBuf>,
    /// Overwrite that file; or fetch what is in the folder once more.
    #[arg(long)]
    force: bool,
    /// All settled batches of the rollup with this settlement contract.
    #[arg(long, value_name = "ADDRESS", value_parser = address, requires = "out_dir", conflicts_with_all = ["digest", "committee", "epoch"])]
    rollup: Option<Address>,
    /// The folder to write them to, one file a batch, named by its number. Made if it is not there;
    /// files that are there are checked and kept.
    #[arg(long, value_name = "FOLDER", requires = "rollup")]
    out_dir: Option<PathBuf>,
    /// Block before which no batch of that rollup settled; that of the committee's deployment if
    /// not given.
    #[arg(long, value_name = "BLOCK", requires = "rollup")]
    from_block: Option<u64>,
    /// Take the committee from this file instead of L1.
    #[arg(long, value_name = "FILE")]
    committee: Option<PathBuf>,
    /// Ask the members of this epoch only.
    #[arg(long, value_name = "NUMBER")]
    epoch: Option<u64>,
    /// Give up on a batch after this time.
    #[arg(long, default_value = "15m", value_name = "TIME")]
    timeout: Period,
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    dial: DialArgs,
}

impl Retrieve {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let options = RetrieveOptions { deadline: self.timeout.0, ..RetrieveOptions::default() };
        if let (Some(rollup), Some(folder)) = (self.rollup, &self.out_dir) {
            let chain = self.chain.connect().await?;
            let task = RollupTask { rollup, folder, force: self.force, from_block: self.from_block };
            return task.run(&chain, &self.dial, options, output).await;
        }
        let (Some(digest), Some(out)) = (self.digest, &self.out) else {
            return Err(
                Failure::usage("a batch's digest and a file for it, or --rollup and --out-dir").into()
            );
        };
        // Fail before any member is asked.
        if !self.force {
            refuse_existing(out)?;
        }
        let output = &stdout_taken_by(out, *output);
        let (directory, dialer, recorded_at) = self.committee(digest).await?;
        let retriever = Retriever::new(directory, dialer, options);
        let hint = Hint { epoch: self.epoch, recorded_at, ..Hint::default() };
        let bar = output.bytes_bar(0, "record");
        let outcome = retriever
            .retrieve(digest, &hint, |progress| match progress {
                Progress::Record { shards, shard_bytes } => {
                    bar.set_length(u64::from(shards) * shard_bytes as u64);
                    bar.set_message("shards");
                }
                Progress::Shards { bytes, .. } => bar.set_position(bytes),
                Progress::Decoding => bar.set_message("decoding"),
            })
            .await;
        bar.finish_and_clear();
        let retrieved = outcome?;
        write_atomically(out, &retrieved.payload, self.force)?;
        for seat in retrieved.report.bad_seats() {
            output.warn(format!(
                "the disperser of this batch committed a bad shard for seat {seat}; the payload is good all the same"
            ));
        }
        output.result(document(digest, out, &retrieved), || text(out, &retrieved));
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the directory of members, a dialer for them, and when L1 recorded the batch.
    async fn committee(
        &self,
        digest: BatchDigest,
    ) -> Result<(std::sync::Arc<Directory>, Dialer, Option<u64>), CliError> {
        if let Some(path) = &self.committee {
            let file = CommitteeFile::read(path)?;
            let directory = Directory::new(file.domain, [std::sync::Arc::new(file.committee)])
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            // Only with a loopback L1 are private addresses allowed by default. Without L1 they
            // need the option.
            return Ok((std::sync::Arc::new(directory), self.dial.for_members("")?, None));
        }
        let chain = self.chain.connect().await?;
        let view = chain.view().await?;
        let recorded_at = match chain.log().await? {
            Some(log) => log.recorded_at(digest).await?,
            None => None,
        };
        Ok((directory(&view)?, self.dial.for_members(&chain.rpc_url)?, recorded_at))
    }
}

fn document(digest: BatchDigest, out: &Path, retrieved: &Retrieved) -> Value {
    let header = retrieved.header();
    let members: Vec<Value> = retrieved
        .report
        .members
        .iter()
        .map(|member| {
            let (outcome, fault) = match &member.outcome {
                ShardOutcome::Served { .. } => ("served", None),
                ShardOutcome::Failed(fault) => ("failed", Some(fault)),
                ShardOutcome::Overtaken => ("overtaken", None),
            };
            json!({
                "seat": member.seat.0,
                "operator": member.operator,
                "url": dac_client::printable(&member.url),
                "outcome": outcome,
                "reason": fault.map(dac_client::MemberFault::code),
                "detail": fault.map(ToString::to_string),
                "attempts": member.attempts,
                "latency_ms": millis(member.latency),
            })
        })
        .collect();
    let (evidence, recorded_at) = match &retrieved.evidence {
        Evidence::Certificate(_) => ("certificate", None),
        Evidence::RecordedOnL1 { at } => ("recorded_on_l1", Some(at)),
        Evidence::SettledOnL1 { .. } => ("settled_on_l1", None),
    };
    json!({
        "digest": digest.to_string(),
        "file": out,
        "payload_bytes": retrieved.payload.len(),
        "rollup": header.rollup,
        "batch_number": header.batch_number,
        "epoch": header.epoch,
        "hash_kind": header.hash_kind.name(),
        "batch_hash": header.batch_hash,
        "expires_at": header.expires_at,
        "evidence": evidence,
        "recorded_at": recorded_at,
        "bad_seats": retrieved.report.bad_seats().iter().map(|seat| seat.0).collect::<Vec<_>>(),
        "members": members,
        "elapsed_ms": millis(retrieved.elapsed),
    })
}

fn text(out: &Path, retrieved: &Retrieved) -> String {
    let header = retrieved.header();
    let rows: Vec<Vec<String>> = retrieved
        .report
        .members
        .iter()
        .map(|member| {
            let outcome = match &member.outcome {
                ShardOutcome::Served { bytes } => format!("served {}", count(*bytes, "byte")),
                ShardOutcome::Failed(fault) => format!("FAILED: {fault}"),
                ShardOutcome::Overtaken => "overtaken by faster ones".to_owned(),
            };
            vec![
                member.seat.to_string(),
                dac_client::printable(&member.url),
                show_latency(member.latency),
                outcome,
            ]
        })
        .collect();
    format!(
        "{}: {} bytes, batch {} of rollup {}, in {}\n\n{}",
        out.display(),
        retrieved.payload.len(),
        header.batch_number,
        header.rollup.to_checksum(None),
        show_latency(retrieved.elapsed),
        table(&["seat", "member", "latency", "outcome"], &rows)
    )
}
