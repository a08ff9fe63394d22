//! `reference-rollup refund`: deposits that no batch took.

use clap::Args;
use dac_cli::{Failure, Output};
use serde_json::{Value, json};

use super::context::SenderArgs;
use super::failure::CliError;

/// Have deposits that no batch took paid back to their depositors. Once the rollup is frozen;
/// anyone may.
#[derive(Debug, Args)]
pub(crate) struct Refund {
    /// The deposit's number in the inbox; if not given, all that the sender made.
    #[arg(long, value_name = "NUMBER")]
    number: Option<u64>,
    #[command(flatten)]
    sender: SenderArgs,
}

impl Refund {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        let (rollup, account) = self.sender.connect(output).await?;
        let reader = rollup.reader();
        let mut chosen = Vec::new();
        if let Some(number) = self.number {
            let entry = reader.inbox_entry(number).await?;
            chosen.push((number, entry));
        } else {
            let status = reader.status().await?;
            let bar =
                output.count_bar(status.inbox_length.saturating_sub(status.inputs_consumed), "deposits");
            for number in status.inputs_consumed + 1..=status.inbox_length {
                let entry = reader.inbox_entry(number).await?;
                bar.inc(1);
                if entry.account == account.address() && entry.gwei > 0 {
                    chosen.push((number, entry));
                }
            }
            bar.finish_and_clear();
            if chosen.is_empty() {
                let message = format!("no deposit of {} waits in the inbox", account.address());
                return Err(Failure::usage(message).into());
            }
        }
        let mut refunded: Vec<Value> = Vec::new();
        let mut text = String::new();
        for (number, entry) in chosen {
            let receipt = account.refund_deposit(number).await?;
            refunded.push(json!({
                "number": number,
                "depositor": entry.account,
                "gwei": entry.gwei,
                "transaction": receipt.tx_hash,
                "block": receipt.block,
                "gas_used": receipt.gas_used,
            }));
            text += &format!(
                "deposit {number}: {} gwei paid back to {}, transaction {}, {} gas\n",
                entry.gwei, entry.account, receipt.tx_hash, receipt.gas_used
            );
        }
        output.result(json!({ "refunded": refunded }), || text);
        Ok(())
    }
}
