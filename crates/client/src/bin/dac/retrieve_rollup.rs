//! `dac retrieve --rollup`: retrieves every batch that a rollup has settled from any k members into
//! a folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dac_chain::settlement::SettlementState;
use dac_chain::{SettledBatch, SettlementReader};
use dac_cli::{Exit, Failure, Output, count};
use dac_client::files::{FileError, read_bounded, write_atomically};
use dac_client::{RetrieveOptions, Retriever, Settled, check_payload_of_header};
use dac_types::Address;
use dac_types::limits::PAYLOAD_MAX_BYTES;
use serde_json::{Value, json};

use crate::context::{Chain, DialArgs, directory};
use crate::exit::{CliError, of_settlement};

/// The batches to retrieve, and the folder for them.
pub(crate) struct RollupTask<'a> {
    /// The rollup's settlement contract.
    pub(crate) rollup: Address,
    /// The folder to write to.
    pub(crate) folder: &'a Path,
    /// Whether to fetch batches again whose files exist.
    pub(crate) force: bool,
    /// The block before which no batch settled.
    pub(crate) from_block: Option<u64>,
}

/// Whether a batch was in the folder already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Members,
    Present,
}

/// The result for one batch of the folder.
struct Line {
    batch: SettledBatch,
    file: PathBuf,
    outcome: Result<(Source, usize), CliError>,
}

impl RollupTask<'_> {
    pub(crate) async fn run(
        self,
        chain: &Chain,
        dial: &DialArgs,
        options: RetrieveOptions,
        output: &Output,
    ) -> Result<ExitCode, CliError> {
        let (state, batches) = settled_batches(chain, self.rollup, self.from_block, output).await?;
        let view = chain.view().await?;
        let retriever = Retriever::new(directory(&view)?, dial.for_members(&chain.rpc_url)?, options);
        std::fs::create_dir_all(self.folder)
            .map_err(|source| FileError::Io { path: self.folder.to_owned(), source })?;

        let bar = output.count_bar(batches.len() as u64, "batches");
        let mut lines = Vec::with_capacity(batches.len());
        for batch in batches {
            let file = self.folder.join(format!("{:06}.bin", batch.batch_number));
            let outcome = self.fetch(&retriever, batch, &file, output).await;
            match &outcome {
                Ok((Source::Members, bytes)) => bar.suspend(|| {
                    output.note(format!("batch {}: {bytes} bytes", batch.batch_number));
                }),
                Ok((Source::Present, _)) => {}
                // The other batches are fetched all the same: members may be gone tomorrow.
                Err(error) => {
                    bar.suspend(|| output.warn(format!("batch {}: {}", batch.batch_number, error.0.message)))
                }
            }
            lines.push(Line { batch, file, outcome });
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.end(&state, lines, output)
    }

    async fn fetch(
        &self,
        retriever: &Retriever,
        batch: SettledBatch,
        file: &Path,
        output: &Output,
    ) -> Result<(Source, usize), CliError> {
        let hint = Settled { rollup: self.rollup, batch }.hint();
        if !self.force && file.exists() {
            let payload = read_bounded(file, PAYLOAD_MAX_BYTES)?;
            // The record is small, and bound to the digest that L1 names. The file must match its
            // commitment.
            let record = retriever.find_record(batch.digest, &hint).await?.record;
            match check_payload_of_header(record.header(), record.geometry(), &payload) {
                Ok(()) => return Ok((Source::Present, payload.len())),
                Err(error) => output.warn(format!("{}: {error}; it is fetched again", file.display())),
            }
        }
        let retrieved = retriever.retrieve(batch.digest, &hint, |_| {}).await?;
        write_atomically(file, &retrieved.payload, true)?;
        Ok((Source::Members, retrieved.payload.len()))
    }

    /// Prints the result, or returns the first failure if there is one.
    fn end(self, state: &SettlementState, lines: Vec<Line>, output: &Output) -> Result<ExitCode, CliError> {
        let count = |wanted: Source| {
            lines.iter().filter(|line| matches!(&line.outcome, Ok((source, _)) if *source == wanted)).count()
        };
        let (retrieved, present) = (count(Source::Members), count(Source::Present));
        let failed = lines.len() - retrieved - present;
        let files: Vec<Value> = lines.iter().map(document).collect();
        if failed == 0 {
            let document = json!({
                "rollup": self.rollup,
                "folder": self.folder,
                "batches": lines.len(),
                "retrieved": retrieved,
                "present": present,
                "state_root": state.state_root,
                "inputs_consumed": state.inputs_consumed,
                "frozen": state.frozen,
                "files": files,
            });
            output.result(document, || {
                format!(
                    "{}: all {} settled batches of rollup {}, {retrieved} retrieved, {present} were there; state root {}",
                    self.folder.display(),
                    lines.len(),
                    self.rollup.to_checksum(None),
                    state.state_root
                )
            });
            return Ok(ExitCode::SUCCESS);
        }
        let all = lines.len();
        let first = lines.into_iter().find_map(|line| Some((line.batch.batch_number, line.outcome.err()?)));
        let (number, error) = first.unwrap_or((0, Failure::internal("no batch failed").into()));
        let message =
            format!("{failed} of {all} batches could not be retrieved; batch {number}: {}", error.0.message);
        Err(Failure { message, ..error.0 }.into())
    }
}

/// Reads the contract's state, and its batches without a gap from the first one on.
pub(crate) async fn settled_batches(
    chain: &Chain,
    rollup: Address,
    from_block: Option<u64>,
    output: &Output,
) -> Result<(SettlementState, Vec<SettledBatch>), CliError> {
    let reader = SettlementReader::new(chain.endpoints.clone(), rollup);
    let state = reader.state().await.map_err(of_settlement)?;
    if state.registry != chain.registry {
        let message = format!(
            "rollup {} belongs to the committee of registry {}, not to {}",
            rollup.to_checksum(None),
            state.registry.to_checksum(None),
            chain.registry.to_checksum(None)
        );
        return Err(Failure::usage(message).into());
    }
    let head = reader.head().await?.number;
    let from = from_block.unwrap_or(chain.deployed_at_block).min(head);
    let reading = output.spinner("reading what has settled");
    let progress = |next: u64, found: usize| {
        reading.set_message(format!("block {next} of {head}: {}", count(found, "batch")));
    };
    let batches = reader.settled_events(from, head, progress).await;
    reading.finish_and_clear();
    let batches = batches?;
    // Batches that settled after the state was read do no harm.
    let gap = (1..).zip(&batches).find(|(number, batch)| batch.batch_number != *number);
    let found = batches.len() as u64;
    if gap.is_some() || found < state.batch_count {
        let message = format!(
            "the rollup has settled {}, from block {from} on the events of {found} were found",
            count(state.batch_count, "batch")
        );
        return Err(Failure::new(Exit::Unavailable, message)
            .hint("--from-block, not later than the contract's deployment; or another --rpc-url")
            .into());
    }
    Ok((state, batches))
}

fn document(line: &Line) -> Value {
    let batch = &line.batch;
    let (source, bytes) = match &line.outcome {
        Ok((Source::Members, bytes)) => (Some("members"), Some(bytes)),
        Ok((Source::Present, bytes)) => (Some("present"), Some(bytes)),
        Err(_) => (None, None),
    };
    json!({
        "batch_number": batch.batch_number,
        "digest": batch.digest.to_string(),
        "file": line.file,
        "source": source,
        "payload_bytes": bytes,
        "epoch": batch.epoch,
        "expires_at": batch.expires_at,
        "new_state_root": batch.transition.new_state_root,
        "inputs_consumed": batch.transition.inputs_consumed,
        "outputs": batch.transition.outputs,
        "block": batch.block,
        "transaction": batch.tx,
    })
}
