//! `dac member`: a node's description of itself.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dac_cli::{Failure, Output};
use dac_client::EndpointUrl;

use crate::context::DialArgs;
use crate::exit::CliError;
use crate::member_identity::{ask, identity, identity_rows};
use crate::member_status::ShowStatus;
use crate::output::table;

/// Ask a node who it is: its key, seats, versions, storage, and how far it has read L1.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  dac member https://member.example.org:7002
  dac member status https://member.example.org:7002 --watch"
)]
pub(crate) struct Member {
    #[command(subcommand)]
    action: Option<Action>,
    /// The node's retrieval URL.
    #[arg(required = true)]
    endpoint: Option<EndpointUrl>,
    #[command(flatten)]
    dial: DialArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    Status(ShowStatus),
}

impl Member {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        if let Some(Action::Status(status)) = self.action {
            return status.run(output).await;
        }
        let endpoint = self.endpoint.ok_or_else(|| Failure::usage("no node is named"))?;
        let member = ask(&self.dial, &endpoint).await?;
        output.result(identity(&endpoint, &member), || {
            table(&[endpoint.as_str(), ""], &identity_rows(&member))
        });
        Ok(ExitCode::SUCCESS)
    }
}
