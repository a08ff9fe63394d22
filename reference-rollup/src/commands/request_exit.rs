//! `reference-rollup request-exit`: out through the inbox.

use std::path::PathBuf;

use clap::Args;
use dac_cli::{Failure, Output};
use reference_rollup::account::AccountIndex;
use reference_rollup::files::AccountFile;
use serde_json::json;

use super::context::SenderArgs;
use super::failure::CliError;
use super::output::sent;

/// Ask on L1 for your whole balance, without the operator's help.
///
/// The operator must take the request with one of its next batches: if it does not within the
/// freeze delay, anyone may freeze the rollup. Send it from the account's recipient. A wrong index
/// is taken without effect.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  reference-rollup request-exit --account-key alice.json --index 1 --rollup-file rollup.json \\
      --key eth.json --password-file eth.password")]
pub(crate) struct RequestExit {
    /// The account's file, written by `reference-rollup keygen`.
    #[arg(long, value_name = "FILE")]
    account_key: PathBuf,
    /// Where the account is in the tree; `reference-rollup rebuild` shows it.
    #[arg(long, value_name = "NUMBER")]
    index: u32,
    #[command(flatten)]
    sender: SenderArgs,
}

impl RequestExit {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        let owner = AccountFile::read(&self.account_key)?.owner();
        let (_, account) = self.sender.connect(output).await?;
        let sender = account.address();
        if sender != owner.recipient {
            // The contract would take it as a request of another account, without effect.
            let message = format!("the account's recipient is {}, the sender {sender}", owner.recipient);
            return Err(Failure::usage(message).hint("send it with the recipient's key").into());
        }
        let receipt = account.request_exit(owner.key, AccountIndex(self.index)).await?;
        let document = json!({ "account_index": self.index, "recipient": owner.recipient });
        let text = format!("exit of account {} requested; a batch must take it in", self.index);
        sent(output, document, &receipt, &text);
        Ok(())
    }
}
