//! `dac admin`: the commands of the registry's owner.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use dac_chain::admin::{Account, RegistryAdmin};
use dac_chain::{Endpoints, Receipt};
use dac_cli::{Failure, Output};
use dac_client::assessment::Assessment;
use dac_client::files::{Deployment, refuse_existing, write_atomically};
use dac_runtime::config::{ByteSize, Period};
use dac_types::{Address, AdmittedRollup, Quorum};
use serde_json::{Value, json};

use crate::context::{ChainArgs, RPC_TIMEOUT, address};
use crate::exit::CliError;
use crate::keys::{self, EthereumKeyArgs};
use crate::output::stdout_taken_by;
use crate::terms;

/// Deploy the contracts, admit rollups, open epochs, pause: the owner's part.
///
/// The owner is meant to be a timelock that leaves users time to exit; this command is for
/// deployments and for owners that are plain accounts.
#[derive(Debug, Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Deploy(Deploy),
    AdmitRollup(AdmitRollup),
    RemoveRollup(RemoveRollup),
    OpenEpoch(OpenEpoch),
    Pause(Pause),
    Unpause(Unpause),
}

impl Admin {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        match self.action {
            Action::Deploy(action) => action.run(output).await?,
            Action::AdmitRollup(action) => action.run(output).await?,
            Action::RemoveRollup(action) => action.run(output).await?,
            Action::OpenEpoch(action) => action.run(output).await?,
            Action::Pause(Pause { owner }) => {
                let receipt = owner.registry(output).await?.pause().await?;
                tell(
                    output,
                    "paused: members take no new batches, what was signed is served on",
                    &receipt,
                    json!({}),
                );
            }
            Action::Unpause(Unpause { owner }) => {
                let receipt = owner.registry(output).await?.unpause().await?;
                tell(output, "unpaused", &receipt, json!({}));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The owner's key, and the committee's chain and contracts.
#[derive(Debug, Args)]
struct Owner {
    #[command(flatten)]
    key: EthereumKeyArgs,
    #[command(flatten)]
    chain: ChainArgs,
}

impl Owner {
    /// Connects to L1 first, because opening the key takes seconds.
    async fn registry(&self, output: &Output) -> Result<RegistryAdmin, CliError> {
        let chain = self.chain.connect().await?;
        Ok(keys::registry_admin(&chain, self.key.open(output)?).registry)
    }
}

/// Deploy a committee registry and its certificate log, and write a deployment file.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dac admin deploy --rpc-url http://127.0.0.1:8545 \\
      --key owner.json --password-file owner.password \\
      --activation-delay 7d --grace 3d --out deployment.json")]
struct Deploy {
    #[command(flatten)]
    key: EthereumKeyArgs,
    /// JSON-RPC endpoint of L1; also written into the deployment file.
    #[arg(long, visible_alias = "rpc", env = "DAC_RPC_URL", value_name = "URL", hide_env_values = true)]
    rpc_url: String,
    /// The registry's owner, preferably a timelock; the sender if not given.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    registry_owner: Option<Address>,
    /// Time between opening an epoch and its beginning, in which users can leave if they do not
    /// trust the new committee.
    #[arg(long, default_value = "7d", value_name = "TIME")]
    activation_delay: Period,
    /// Time for which certificates of a replaced epoch are still taken.
    #[arg(long, default_value = "3d", value_name = "TIME")]
    grace: Period,
    /// The deployment file to write.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite that file.
    #[arg(long, requires = "out")]
    force: bool,
}

impl Deploy {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        // Fail before any gas is spent.
        if let Some(out) = self.out.as_ref().filter(|_| !self.force) {
            refuse_existing(out)?;
        }
        let endpoints = Endpoints::discover(&[&self.rpc_url], RPC_TIMEOUT).await?;
        let key = self.key.open(output)?;
        let sender = key.address();
        let chain_id = endpoints.chain_id();
        let owner = self.registry_owner.unwrap_or(sender);
        let account = Account::new(endpoints, std::sync::Arc::new(key));
        let waiting = output.spinner("deploying");
        let deployed =
            account.deploy(owner, self.activation_delay.0.as_secs(), self.grace.0.as_secs()).await?;
        waiting.finish_and_clear();
        let deployment = Deployment {
            rpc_url: Some(self.rpc_url),
            chain_id,
            registry: deployed.registry,
            certificate_log: deployed.log,
            deployed_at_block: deployed.block,
        };
        let document = deployment.to_json();
        let value = serde_json::from_str(&document).unwrap_or(Value::Null);
        let output = &self.out.as_deref().map_or(*output, |out| stdout_taken_by(out, *output));
        if let Some(out) = &self.out {
            write_atomically(out, document.as_bytes(), self.force)?;
        }
        let json =
            json!({ "deployment": value, "owner": owner, "gas_used": deployed.gas_used, "file": self.out });
        output.result(json, || {
            let file = self
                .out
                .as_ref()
                .map_or_else(|| document.clone(), |out| format!("deployment file: {}", out.display()));
            format!(
                "registry {}\ncertificate log {}\nowner {owner}, {} gas\n{file}",
                deployed.registry.to_checksum(None),
                deployed.log.to_checksum(None),
                deployed.gas_used,
            )
        });
        Ok(())
    }
}

/// Admit a rollup, or change its terms: whose signature authorises its batches, how long and how
/// much is kept.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dac admin admit-rollup --deployment deployment.json \\
      --key owner.json --password-file owner.password \\
      --rollup $ROLLUP --poster $POSTER --retention 30d --daily-bytes 2GiB")]
struct AdmitRollup {
    /// The rollup's settlement contract.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    rollup: Address,
    /// The account whose signature authorises the rollup's batches.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    poster: Address,
    /// The longest time for which members promise to keep a batch.
    #[arg(long, default_value = "30d", value_name = "TIME")]
    retention: Period,
    /// Payload bytes taken in one UTC day.
    #[arg(long, default_value = "1GiB", value_name = "SIZE")]
    daily_bytes: ByteSize,
    #[command(flatten)]
    owner: Owner,
}

impl AdmitRollup {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let rollup = AdmittedRollup {
            rollup: self.rollup,
            poster: self.poster,
            retention_max_seconds: self.retention.0.as_secs(),
            daily_payload_bytes: self.daily_bytes.0,
        };
        let chain = self.owner.chain.connect().await?;
        if matches!(terms::is_contract(&chain, self.rollup).await, Ok(false)) {
            output.note(format!(
                "note: there is no settlement contract at {}: its batches can be recorded, none of them settles",
                self.rollup
            ));
        }
        let receipt = self.owner.registry(output).await?.admit_rollup(&rollup).await?;
        let document = json!({
            "rollup": rollup.rollup,
            "poster": rollup.poster,
            "retention_max_seconds": rollup.retention_max_seconds,
            "daily_payload_bytes": rollup.daily_payload_bytes,
        });
        tell(output, &format!("rollup {} is admitted", self.rollup), &receipt, document);
        Ok(())
    }
}

/// Stop taking a rollup's batches. What was signed is kept until it expires.
#[derive(Debug, Args)]
struct RemoveRollup {
    /// The rollup's settlement contract.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    rollup: Address,
    #[command(flatten)]
    owner: Owner,
}

impl RemoveRollup {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let receipt = self.owner.registry(output).await?.remove_rollup(self.rollup).await?;
        tell(
            output,
            &format!("rollup {} is removed", self.rollup),
            &receipt,
            json!({ "rollup": self.rollup }),
        );
        Ok(())
    }
}

/// Seat registered operators as the next epoch.
///
/// The first epoch begins at once, later ones after the activation delay. With unchanged n and k at
/// most q − k seats change hands from one epoch to the next (one at least), so that batches stay
/// retrievable while newcomers repair.
#[derive(Debug, Args)]
#[command(after_help = "\
Example: 4 members, any 2 rebuild, 3 signatures certify
  dac admin open-epoch --deployment deployment.json \\
      --key owner.json --password-file owner.password \\
      --k 2 --q 3 --operators $A,$B,$C,$D")]
struct OpenEpoch {
    /// Shards that rebuild a batch.
    #[arg(long)]
    k: u16,
    /// Signatures that make a certificate.
    #[arg(long)]
    q: u16,
    /// The operators in seat order, registered before.
    #[arg(long, value_delimiter = ',', required = true, num_args = 1.., value_name = "ADDRESS", value_parser = address)]
    operators: Vec<Address>,
    #[command(flatten)]
    owner: Owner,
}

impl OpenEpoch {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let n = u16::try_from(self.operators.len()).unwrap_or(u16::MAX);
        let quorum = Quorum::new(n, self.k, self.q).map_err(Failure::usage)?;
        let assessment = Assessment::of(quorum);
        for warning in &assessment.warnings {
            output.warn(warning);
        }
        let (epoch, receipt) =
            self.owner.registry(output).await?.open_epoch(&self.operators, self.k, self.q).await?;
        let document =
            json!({ "epoch": epoch, "n": n, "k": self.k, "q": self.q, "warnings": assessment.warnings });
        let safety = &assessment.safety;
        let text = format!(
            "epoch {epoch} is open: n = {n}, k = {}, q = {}\n{} may withhold, {} may be silent",
            self.k, self.q, safety.withholders_tolerated, safety.silent_tolerated
        );
        tell(output, &text, &receipt, document);
        Ok(())
    }
}

/// Pause the committee: members take no new batches, the log no new certificates. Retrieval goes
/// on.
#[derive(Debug, Args)]
struct Pause {
    #[command(flatten)]
    owner: Owner,
}

/// Take batches and certificates again.
#[derive(Debug, Args)]
struct Unpause {
    #[command(flatten)]
    owner: Owner,
}

fn tell(output: &Output, text: &str, receipt: &Receipt, mut document: Value) {
    if let Value::Object(fields) = &mut document {
        fields.insert("transaction".into(), json!(receipt.tx_hash));
        fields.insert("block".into(), json!(receipt.block));
        fields.insert("gas_used".into(), json!(receipt.gas_used));
    }
    output.result(document, || {
        format!(
            "{text}\ntransaction {} in block {}, {} gas",
            receipt.tx_hash, receipt.block, receipt.gas_used
        )
    });
}
