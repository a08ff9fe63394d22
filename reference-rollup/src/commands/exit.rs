//! `reference-rollup exit`: money out of a frozen rollup.

use std::path::PathBuf;

use clap::Args;
use dac_cli::{Failure, Output};
use reference_rollup::files::ExitFile;
use serde_json::json;

use super::context::SenderArgs;
use super::failure::CliError;
use super::output::sent;

/// Leave a frozen rollup: send an exit proof, which pays the account's balance in the last state to
/// its recipient. Anyone may.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  reference-rollup exit --proof exit.json --rollup-file rollup.json \\
      --key eth.json --password-file eth.password")]
pub(crate) struct Exit {
    /// The proof, written by `reference-rollup rebuild`.
    #[arg(long, value_name = "FILE")]
    proof: PathBuf,
    #[command(flatten)]
    sender: SenderArgs,
}

impl Exit {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        let file = ExitFile::read(&self.proof)?;
        // Damaged on its way here: no need to ask L1.
        file.proof.check(file.state_root)?;
        let (rollup, account) = self.sender.connect(output).await?;
        let here = (rollup.file.chain_id, rollup.settlement());
        if (file.chain_id, file.settlement) != here {
            return Err(Failure::usage(format!(
                "the proof is of rollup {} on chain {}, the rollup file of {} on chain {}",
                file.settlement, file.chain_id, here.1, here.0
            ))
            .into());
        }
        let proof = &file.proof;
        let receipt = account.exit(proof).await?;
        let document = json!({
            "account_index": proof.account_index,
            "recipient": proof.recipient,
            "paid_gwei": proof.balance,
        });
        let text = format!(
            "account {} left: {} gwei paid to {}",
            proof.account_index, proof.balance, proof.recipient
        );
        sent(output, document, &receipt, &text);
        Ok(())
    }
}
