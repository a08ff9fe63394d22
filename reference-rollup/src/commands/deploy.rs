//! `reference-rollup deploy`: the rollup's contracts.

use std::path::PathBuf;
use std::sync::Arc;

use alloy_primitives::Address;
use clap::Args;
use dac_chain::admin::Account;
use dac_chain::{Endpoints, RpcRegistryReader};
use dac_cli::{Exit, Failure, Output};
use dac_client::files::{Deployment, refuse_existing, write_atomically};
use dac_runtime::config::Period;
use reference_rollup::files::RollupFile;
use reference_rollup::l1::{self, Terms};
use serde_json::json;

use super::context::{EthereumKeyArgs, RPC_TIMEOUT, address};
use super::failure::CliError;
use super::output::fields;
use super::setup;

/// Deploy the verifier and the rollup's contract, and write a rollup file. DEV ONLY keys.
///
/// The committee's activation delay and the verifier delay must both be longer than freeze delay
/// and exit window together: users who do not trust a new committee or verifier have time to leave.
/// Afterwards the committee's owner admits the rollup:
/// `dac admin admit-rollup --rollup <settlement>`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  reference-rollup deploy --deployment deployment.json --keys-dir target/reference-rollup \\
      --key owner.json --password-file owner.password --out rollup.json")]
pub(crate) struct Deploy {
    #[command(flatten)]
    key: EthereumKeyArgs,
    /// The committee's deployment file, written by `dac admin deploy`.
    #[arg(long, env = "DAC_DEPLOYMENT", value_name = "FILE")]
    deployment: PathBuf,
    /// JSON-RPC endpoint of L1; goes before the one in the deployment file, and is written into the
    /// rollup file.
    #[arg(long, visible_alias = "rpc", env = "DAC_RPC_URL", value_name = "URL", hide_env_values = true)]
    rpc_url: Option<String>,
    /// Where the keys are, or are made: see `reference-rollup setup`.
    #[arg(long, value_name = "DIR")]
    keys_dir: PathBuf,
    /// The contract's owner, a timelock for choice; the sender if not given.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    owner: Option<Address>,
    /// Without service for so long, anyone may freeze the rollup.
    #[arg(long, default_value = "2d", value_name = "TIME")]
    freeze_delay: Period,
    /// How long users have to leave a frozen rollup while the members keep the data.
    #[arg(long, default_value = "4d", value_name = "TIME")]
    exit_window: Period,
    /// Between proposing another verifier and accepting it.
    #[arg(long, default_value = "7d", value_name = "TIME")]
    verifier_delay: Period,
    /// The rollup file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Overwrite that file.
    #[arg(long)]
    force: bool,
}

impl Deploy {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        // Before any gas is spent.
        if !self.force {
            refuse_existing(&self.out)?;
        }
        let committee = Deployment::read(&self.deployment)?;
        let rpc_url = self.rpc_url.or_else(|| committee.rpc_url.clone()).ok_or_else(|| {
            Failure::usage("no JSON-RPC endpoint of L1 is given").hint("--rpc-url URL or DAC_RPC_URL")
        })?;
        let endpoints = Endpoints::discover(&[&rpc_url], RPC_TIMEOUT).await?;
        let (chain_id, expected) = (endpoints.chain_id(), committee.chain_id);
        if chain_id != expected {
            let message = format!("the committee is on chain {expected}, the RPC endpoint serves {chain_id}");
            return Err(Failure::usage(message).into());
        }
        let registry = RpcRegistryReader::new(endpoints.clone(), committee.registry).terms().await?;
        let leaving = self.freeze_delay.0.as_secs().saturating_add(self.exit_window.0.as_secs());
        check_delays(registry.activation_delay, self.verifier_delay.0.as_secs(), leaving)?;
        let key = self.key.open(output)?;
        let owner = self.owner.unwrap_or(key.address());
        let keys = setup::keys(self.keys_dir, output).await?;

        let terms = Terms {
            owner,
            certificate_log: committee.certificate_log,
            freeze_delay: self.freeze_delay.0.as_secs(),
            exit_window: self.exit_window.0.as_secs(),
            verifier_delay: self.verifier_delay.0.as_secs(),
        };
        let account = Account::new(endpoints, Arc::new(key));
        let waiting = output.timed_spinner("deploying");
        let progress = |what| waiting.set_message(format!("deploying {what}"));
        let deployed = l1::deploy(&account, &terms, &keys.verifying(), progress).await;
        waiting.finish_and_clear();
        let deployed = deployed?;

        let contracts = [committee.registry, committee.certificate_log];
        let file = RollupFile::new(Some(rpc_url), chain_id, contracts, &deployed);
        write_atomically(&self.out, file.to_json().as_bytes(), self.force)?;
        let document = json!({
            "rollup": file,
            "owner": owner,
            "dev_only": true,
            "gas_used": deployed.gas_used,
            "file": self.out,
        });
        output.result(document, || {
            fields(&[
                ("settlement", deployed.settlement.to_string()),
                ("verifier (DEV ONLY)", deployed.verifier.to_string()),
                ("owner", owner.to_string()),
                ("gas", deployed.gas_used.to_string()),
                ("rollup file", self.out.display().to_string()),
            ])
        });
        Ok(())
    }
}

/// What the contract's constructor would refuse, before minutes are spent on keys.
fn check_delays(activation_delay: u64, verifier_delay: u64, leaving: u64) -> Result<(), Failure> {
    let delays = [
        (
            "the committee's activation delay",
            activation_delay,
            "another committee, or shorter delays of the rollup",
        ),
        ("--verifier-delay", verifier_delay, "a longer one, or shorter --freeze-delay and --exit-window"),
    ];
    match delays.iter().find(|(_, delay, _)| *delay <= leaving) {
        Some((name, delay, hint)) => Err(Failure::new(
            Exit::Refused,
            format!(
                "{name} must be longer than freeze delay and exit window: {delay} s is not above {leaving} s"
            ),
        )
        .hint(*hint)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_too_short_to_leave_in_are_named() {
        assert!(check_delays(11, 11, 10).is_ok());
        let refused = check_delays(20, 600, 518_400).unwrap_err();
        assert!(refused.message.starts_with("the committee's activation delay"), "{}", refused.message);
        assert!(refused.message.ends_with("20 s is not above 518400 s"), "{}", refused.message);
        assert!(check_delays(11, 10, 10).unwrap_err().message.starts_with("--verifier-delay"));
    }
}
