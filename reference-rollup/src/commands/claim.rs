//! `reference-rollup claim`: withdrawals that a batch granted.

use std::path::PathBuf;

use clap::Args;
use dac_cli::{Failure, Output, count};
use reference_rollup::files::WithdrawalsFile;
use serde_json::{Value, json};

use super::context::SenderArgs;
use super::failure::CliError;

/// Have withdrawals that a settled batch granted paid out. Anyone may: they pay their recipients.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  reference-rollup claim --withdrawals withdrawals-000002.json --rollup-file rollup.json \\
      --key eth.json --password-file eth.password")]
pub(crate) struct Claim {
    /// All withdrawals of the batch, in order, as `reference-rollup rebuild --withdrawals-out`
    /// writes them.
    #[arg(long, value_name = "FILE")]
    withdrawals: PathBuf,
    /// Which of them, counted from 0; if not given, all that pay the sender and are not paid yet.
    #[arg(long, value_name = "NUMBER")]
    which: Option<usize>,
    #[command(flatten)]
    sender: SenderArgs,
}

impl Claim {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        let file = WithdrawalsFile::read(&self.withdrawals)?;
        let (all, batch) = (file.withdrawals(), file.batch_number);
        let (rollup, account) = self.sender.connect(output).await?;
        let reader = rollup.reader();
        let mut chosen = Vec::new();
        match self.which {
            Some(which) if which >= all.len() => {
                return Err(Failure::usage(format!(
                    "the file has {}, no {which}",
                    count(all.len(), "withdrawal")
                ))
                .into());
            }
            Some(which) => chosen.push(which),
            None => {
                let own = all.iter().enumerate().filter(|(_, of)| of.recipient == account.address());
                for (which, _) in own {
                    if !reader.claimed(batch, which as u64).await? {
                        chosen.push(which);
                    }
                }
            }
        }
        if chosen.is_empty() {
            let message = format!("batch {batch} grants {} nothing that is not paid", account.address());
            return Err(Failure::usage(message).hint("--which NUMBER claims for somebody else").into());
        }
        let mut paid: Vec<Value> = Vec::new();
        let mut text = String::new();
        for which in chosen {
            let receipt = account.claim_withdrawal(batch, &all, which as u64).await?;
            let withdrawal = &all[which];
            paid.push(json!({
                "which": which,
                "recipient": withdrawal.recipient,
                "gwei": withdrawal.amount,
                "transaction": receipt.tx_hash,
                "block": receipt.block,
                "gas_used": receipt.gas_used,
            }));
            text += &format!(
                "{} gwei paid to {}, transaction {}, {} gas\n",
                withdrawal.amount, withdrawal.recipient, receipt.tx_hash, receipt.gas_used
            );
        }
        output.result(json!({ "batch_number": batch, "paid": paid }), || text);
        Ok(())
    }
}
