//! `reference-rollup deposit`: money in.

use std::path::PathBuf;

use alloy_primitives::B256;
use clap::Args;
use dac_cli::{Failure, Output};
use reference_rollup::account::AccountId;
use reference_rollup::field;
use reference_rollup::files::AccountFile;
use serde_json::json;

use super::context::SenderArgs;
use super::failure::CliError;
use super::output::sent;

/// Deposit ether for an account of the rollup. It opens with its first deposit.
#[derive(Debug, Args)]
#[command(after_help = "\
Example, a tenth of an ether:
  reference-rollup deposit --account-key alice.json --gwei 100000000 --rollup-file rollup.json \\
      --key eth.json --password-file eth.password")]
pub(crate) struct Deposit {
    #[command(flatten)]
    whose: Whose,
    /// How much, in gwei.
    #[arg(long, value_name = "GWEI", value_parser = clap::value_parser!(u64).range(1..))]
    gwei: u64,
    #[command(flatten)]
    sender: SenderArgs,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// The account's file, written by `reference-rollup keygen`.
    #[arg(long, value_name = "FILE")]
    account_key: Option<PathBuf>,
    /// The id of the account to pay into, if it is not your own.
    #[arg(long, value_name = "ID")]
    account_id: Option<B256>,
}

impl Whose {
    fn id(&self) -> Result<AccountId, CliError> {
        if let Some(path) = &self.account_key {
            return Ok(AccountFile::read(path)?.owner().id());
        }
        let id = self.account_id.and_then(field::from_b256);
        Ok(AccountId(id.ok_or_else(|| Failure::usage("--account-id is no element of the field"))?))
    }
}

impl Deposit {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        let id = self.whose.id()?;
        let (_, account) = self.sender.connect(output).await?;
        let receipt = account.deposit(id, self.gwei).await?;
        let id = field::to_b256(id.0);
        let document = json!({ "account_id": id, "gwei": self.gwei });
        let text = format!("{} gwei deposited for account {id}; a batch will take it in", self.gwei);
        sent(output, document, &receipt, &text);
        Ok(())
    }
}
