//! `reference-rollup status`: what L1 says of the rollup.

use clap::Args;
use dac_cli::{Output, distance, unix_now};
use reference_rollup::l1::FreezeReason;
use serde_json::json;

use super::context::RollupArgs;
use super::failure::CliError;
use super::output::fields;

/// What L1 says of the rollup: its state root, how far it has come, and whether users can, or
/// should, leave.
#[derive(Debug, Args)]
pub(crate) struct ShowStatus {
    #[command(flatten)]
    rollup: RollupArgs,
}

impl ShowStatus {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        let rollup = self.rollup.connect().await?;
        let status = rollup.reader().status().await?;
        let document = json!({
            "settlement": rollup.settlement(),
            "chain_id": rollup.file.chain_id,
            "block": status.as_of.number,
            "block_timestamp": status.as_of.timestamp,
            "state_root": status.state_root,
            "batch_count": status.batch_count,
            "inbox_length": status.inbox_length,
            "inputs_consumed": status.inputs_consumed,
            "last_settled_at": status.last_settled_at,
            "coverage_until": (status.batch_count > 0).then_some(status.coverage_until),
            "paused": status.paused,
            "frozen": status.frozen_for.is_some(),
            "frozen_for": status.frozen_for.map(FreezeReason::name),
            "freeze_reason": status.freeze_reason.map(FreezeReason::name),
            "freeze_delay": status.freeze_delay,
            "exit_window": status.exit_window,
            "verifier_delay": status.verifier_delay,
            "owner": status.owner,
            "verifier": status.verifier,
            "registry": status.registry,
            "certificate_log": status.certificate_log,
        });
        output.result(document, || {
            let now = unix_now();
            let condition = match (status.frozen_for, status.freeze_reason, status.paused) {
                (Some(reason), _, _) => format!("FROZEN: {}; users can leave", reason.describe()),
                (None, Some(reason), _) => format!("anyone may freeze it: {}", reason.describe()),
                (None, None, true) => "paused by its owner".to_owned(),
                (None, None, false) => "settling".to_owned(),
            };
            let coverage = if status.batch_count == 0 {
                "nothing to cover".to_owned()
            } else {
                format!("until {} ({})", status.coverage_until, distance(status.coverage_until, now))
            };
            fields(&[
                ("settlement", rollup.settlement().to_string()),
                ("condition", condition),
                ("state root", status.state_root.to_string()),
                (
                    "batches",
                    format!("{}, last {}", status.batch_count, distance(status.last_settled_at, now)),
                ),
                ("inbox", format!("{} of {} taken", status.inputs_consumed, status.inbox_length)),
                ("coverage", coverage),
                (
                    "delays",
                    format!(
                        "freeze {} s, exit {} s, verifier {} s",
                        status.freeze_delay, status.exit_window, status.verifier_delay
                    ),
                ),
                ("owner", status.owner.to_string()),
                ("verifier", status.verifier.to_string()),
            ])
        });
        Ok(())
    }
}
