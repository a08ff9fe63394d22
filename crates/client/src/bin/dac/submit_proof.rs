//! `dac submit-proof`: submits a rollup's validity proof to the aggregator that has the batch.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use dac_cli::{Failure, Output};
use dac_client::files::ProofFile;
use dac_client::{BatchSelector, BatchState, SignedProof, SubmitOptions};
use dac_runtime::config::Period;

use crate::context::ChainArgs;
use crate::deadline::Deadline;
use crate::exit::CliError;
use crate::keys;
use crate::status::{self, BatchArgs, Goal};

/// How far to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WaitFor {
    /// Until the aggregator has the proof on durable storage.
    Received,
    /// Until the batch is certified, too, and both wait for L1.
    Proved,
    /// Until the rollup's contract has settled the batch, as deep as the aggregator asks for.
    Settled,
}

/// Hand in a batch's validity proof, signed by the rollup's poster. The aggregator simulates the
/// settlement, and sends it once the batch is certified.
///
/// It may be handed in as soon as the batch has its digest. A wrong proof costs nothing: the batch
/// then says why, and takes another one. The same proof again changes nothing. A batch that was
/// only recorded is settled from the log.
#[derive(Debug, Args)]
#[command(after_help = "\
The proof is a JSON file, as a prover writes it:
  { \"new_state_root\": \"0x<32 bytes>\", \"inputs_consumed\": 12,
    \"outputs\": \"0x<32 bytes>\", \"proof\": \"0x…\" }

Example:
  dac submit-proof $DIGEST --proof batch-7.proof.json --deployment deployment.json \\
      --aggregator https://aggregator.example.org:7000 \\
      --poster poster.json --poster-password-file poster.password --wait settled")]
pub(crate) struct SubmitProof {
    #[command(flatten)]
    batch: BatchArgs,
    /// The proof file.
    #[arg(long, value_name = "FILE")]
    proof: PathBuf,
    /// Web3 keystore of the rollup's poster.
    #[arg(long, env = "DAC_POSTER", value_name = "FILE")]
    poster: PathBuf,
    /// File with the password of that keystore.
    #[arg(long, env = "DAC_POSTER_PASSWORD_FILE", value_name = "FILE")]
    poster_password_file: PathBuf,
    /// How far to wait.
    #[arg(long, value_enum, default_value = "received")]
    wait: WaitFor,
    /// How long to wait, everything counted.
    #[arg(long, default_value = "10m", value_name = "TIME")]
    timeout: Period,
    /// How long to repeat what fails for a passing reason.
    #[arg(long, default_value = "1m", value_name = "TIME")]
    retry_for: Period,
    #[command(flatten)]
    chain: ChainArgs,
}

impl SubmitProof {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let deadline = Deadline::new(self.timeout);
        let file = ProofFile::read(&self.proof)?;
        let domain = deadline.of("asking L1", self.chain.connect()).await?.domain();
        let client = self.batch.client()?;
        let (selector, mut found) = deadline.of("finding the batch", self.batch.find(&client)).await?;
        if found.digest.is_none() {
            found = client.wait(selector, BatchState::Dispersing, deadline.left(), |_| {}).await?;
        }
        let poster = keys::open_ethereum(&self.poster, &self.poster_password_file, output)?;
        let digest = found.digest.ok_or_else(|| Failure::usage("the batch has no digest yet"))?;
        let signed = SignedProof::sign(&domain, digest, file.transition, file.proof, |hash| {
            keys::sign(&poster, hash)
        })?;
        let options =
            SubmitOptions { retry_for: self.retry_for.0, limit: deadline.left(), ..SubmitOptions::default() };
        let mut status = client.submit_proof(&signed, options).await?;
        output.note(format!("received, proof hash {}", signed.proof_hash()));
        let goal = match self.wait {
            WaitFor::Received => None,
            WaitFor::Proved => Some(Goal::Proved),
            WaitFor::Settled => Some(Goal::Settled),
        };
        if let Some(goal) = goal {
            status =
                status::wait(output, &client, BatchSelector::Batch(digest), goal, deadline.left()).await?;
        }
        output.result(status::document(&status), || status::text(&status));
        Ok(ExitCode::SUCCESS)
    }
}
