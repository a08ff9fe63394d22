//! `reference-rollup freeze`: stop the rollup for good.

use clap::Args;
use dac_cli::{Output, count};
use serde_json::json;

use super::context::SenderArgs;
use super::failure::CliError;
use super::output::sent;

/// Freeze the rollup, if there is a reason to. Nothing settles any more, and users can leave with
/// the last state.
#[derive(Debug, Args)]
#[command(after_help = "\
Reasons: nothing settled for longer than the freeze delay; an L1 input was not served for longer
than that; the data is promised for less than the exit window and half of the freeze delay.
`reference-rollup status` tells whether one holds.")]
pub(crate) struct Freeze {
    #[command(flatten)]
    sender: SenderArgs,
}

impl Freeze {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        let (rollup, account) = self.sender.connect(output).await?;
        let receipt = account.freeze().await?;
        let status = rollup.reader().status().await?;
        let reason = status.frozen_for;
        let document = json!({
            "reason": reason.map(|reason| reason.name()),
            "batch_count": status.batch_count,
            "state_root": status.state_root,
        });
        let why = reason.map_or("", |reason| reason.describe());
        let text = format!(
            "frozen: {why}\nlast state {} after {}",
            status.state_root,
            count(status.batch_count, "batch")
        );
        sent(output, document, &receipt, &text);
        Ok(())
    }
}
