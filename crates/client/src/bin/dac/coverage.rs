//! `dac coverage`: until when a rollup's settled batches are kept, and the consequences if that is
//! not renewed.

use std::process::ExitCode;

use clap::Args;
use dac_chain::SettlementReader;
use dac_chain::contracts::FreezeReason;
use dac_chain::settlement::CoverageState;
use dac_cli::{Exit, Failure, Output};
use dac_types::Address;
use serde_json::json;

use crate::context::{ChainArgs, address};
use crate::exit::{CliError, of_settlement};
use crate::output::{show_time, table};

/// Show until when a rollup's settled batches are kept, when that becomes too short to settle, and
/// when anyone may freeze the rollup.
///
/// State outlives batches: members renew their promise for all settled batches together (the
/// aggregator collects and posts renewals). Nothing settles once coverage is shorter than freeze
/// delay and exit window together, and users may freeze the rollup and leave half a freeze delay
/// later.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 settling; 1 coverage is too short to settle, or the rollup is frozen or may be.

Example:
  dac coverage $ROLLUP --deployment deployment.json")]
pub(crate) struct ShowCoverage {
    /// The rollup's settlement contract.
    #[arg(value_parser = address)]
    rollup: Address,
    #[command(flatten)]
    chain: ChainArgs,
}

impl ShowCoverage {
    pub(crate) async fn run(self, output: &Output) -> Result<ExitCode, CliError> {
        let chain = self.chain.connect().await?;
        let reader = SettlementReader::new(chain.endpoints.clone(), self.rollup);
        let state = reader.coverage().await.map_err(of_settlement)?;
        if state.registry != chain.registry {
            return Err(Failure::usage(format!(
                "rollup {} belongs to the committee of registry {}, not {}",
                self.rollup, state.registry, chain.registry
            ))
            .into());
        }
        let now = state.block.timestamp;
        let settles = state.settles_until().is_none_or(|until| now <= until);
        let is_well = settles && state.frozen_for.is_none() && state.freezable_for.is_none();
        let document = json!({
            "rollup": self.rollup,
            "block": state.block.number,
            "block_timestamp": now,
            "batch_count": state.batch_count,
            "last_settled_at": state.last_settled_at,
            "coverage_until": state.until,
            "mark": state.mark,
            "settles": settles,
            "settling_stops_after": state.settles_until(),
            "coverage_freezable_after": state.freezable_after(),
            "idle_freezable_after": state.idle_after(),
            "freeze_delay_seconds": state.freeze_delay,
            "exit_window_seconds": state.exit_window,
            "frozen_for": state.frozen_for.map(FreezeReason::name),
            "freezable_for": state.freezable_for.map(FreezeReason::name),
        });
        output.result(document, || text(self.rollup, &state, settles));
        Ok(if is_well { ExitCode::SUCCESS } else { Exit::Failed.into() })
    }
}

fn text(rollup: Address, state: &CoverageState, settles: bool) -> String {
    let condition = match (state.frozen_for, state.freezable_for, settles) {
        (Some(reason), _, _) => format!("FROZEN: {}", reason.name()),
        (None, Some(reason), _) => format!("ANYONE MAY FREEZE IT: {}", reason.name()),
        (None, None, false) => "NOTHING SETTLES: coverage is too short; members must renew it".to_owned(),
        (None, None, true) => "settling".to_owned(),
    };
    let time = |time: Option<u64>| time.map_or("nothing to cover".to_owned(), show_time);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (name, value) in [
        ("condition", condition),
        ("batches settled", format!("{}, last {}", state.batch_count, show_time(state.last_settled_at))),
        ("covered until", time(state.until)),
        ("settling stops after", time(state.settles_until())),
        ("freezable after", time(state.freezable_after())),
        ("or, if nothing settles", show_time(state.idle_after())),
        ("renewals must reach", format!("batch {}", state.mark)),
        ("delays", format!("freeze {} s, exit {} s", state.freeze_delay, state.exit_window)),
        ("as of", format!("block {}, {}", state.block.number, show_time(state.block.timestamp))),
    ] {
        rows.push(vec![name.to_owned(), value]);
    }
    table(&[&rollup.to_checksum(None), ""], &rows)
}
