//! What many commands need: where the rollup lives, and an L1 account.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use clap::Args;
use dac_chain::admin::Account;
use dac_chain::{EcdsaKey, Endpoints};
use dac_cli::{Failure, Output};
use reference_rollup::files::RollupFile;
use reference_rollup::l1::{RollupAccount, RollupReader};

use super::failure::CliError;

/// Deadline of one call to L1.
pub(crate) const RPC_TIMEOUT: Duration = Duration::from_secs(20);

/// An argument that is an address.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    dac_cli::address(text)
}

/// Where the rollup lives on L1.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Rollup")]
pub(crate) struct RollupArgs {
    /// File written by `reference-rollup deploy`.
    #[arg(long, env = "ROLLUP_FILE", value_name = "FILE")]
    rollup_file: PathBuf,
    /// JSON-RPC endpoint of L1; goes before the one in the file.
    #[arg(long, visible_alias = "rpc", env = "DAC_RPC_URL", value_name = "URL", hide_env_values = true)]
    rpc_url: Option<String>,
}

/// An L1 account's key.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Key")]
pub(crate) struct EthereumKeyArgs {
    /// Web3 keystore of the L1 account that sends the transaction.
    #[arg(long, value_name = "FILE", env = "DAC_KEY")]
    key: PathBuf,
    /// File with the password of that keystore.
    #[arg(long, value_name = "FILE", env = "DAC_PASSWORD_FILE")]
    password_file: PathBuf,
}

impl EthereumKeyArgs {
    pub(crate) fn open(&self, output: &Output) -> Result<EcdsaKey, CliError> {
        let what = format!("opening the keystore {} …", self.key.display());
        Ok(output.while_slow(&what, || dac_keys::load_ecdsa_keystore(&self.key, &self.password_file))?)
    }
}

/// L1, and the rollup on it.
#[derive(Debug)]
pub(crate) struct Rollup {
    pub(crate) file: RollupFile,
    endpoints: Endpoints,
}

impl RollupArgs {
    /// Connects to L1 and checks that it is the right chain.
    pub(crate) async fn connect(&self) -> Result<Rollup, CliError> {
        let file = RollupFile::read(&self.rollup_file)?;
        let rpc_url = self.rpc_url.as_ref().or(file.rpc_url.as_ref()).ok_or_else(|| {
            Failure::usage("no JSON-RPC endpoint of L1 is given").hint("--rpc-url URL or DAC_RPC_URL")
        })?;
        let endpoints = Endpoints::discover(&[rpc_url], RPC_TIMEOUT).await?;
        let (expected, got) = (file.chain_id, endpoints.chain_id());
        if got != expected {
            let message = format!("the rollup is on chain {expected}, the RPC endpoint serves {got}");
            return Err(Failure::usage(message).into());
        }
        Ok(Rollup { file, endpoints })
    }
}

impl Rollup {
    pub(crate) fn settlement(&self) -> Address {
        self.file.settlement
    }

    pub(crate) fn reader(&self) -> RollupReader {
        RollupReader::new(self.endpoints.clone(), self.file.settlement)
    }

    pub(crate) fn account(&self, key: EcdsaKey) -> RollupAccount {
        RollupAccount::new(Account::new(self.endpoints.clone(), Arc::new(key)), self.file.settlement)
    }
}

/// Who sends to the rollup's contract.
#[derive(Clone, Debug, Args)]
pub(crate) struct SenderArgs {
    #[command(flatten)]
    key: EthereumKeyArgs,
    #[command(flatten)]
    rollup: RollupArgs,
}

impl SenderArgs {
    pub(crate) async fn connect(&self, output: &Output) -> Result<(Rollup, RollupAccount), CliError> {
        // L1 is asked first: opening the key takes seconds.
        let rollup = self.rollup.connect().await?;
        let account = rollup.account(self.key.open(output)?);
        Ok((rollup, account))
    }
}
