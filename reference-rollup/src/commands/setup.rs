//! `reference-rollup setup`: development keys.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use dac_cli::{Failure, Output};
use reference_rollup::circuit::system::Weight;
use reference_rollup::prover::{self, Keys};
use serde_json::{Value, json};

use super::failure::CliError;
use super::output::fields;

/// Make the proving and verifying keys of the circuit from a seed that everybody knows: DEV ONLY.
///
/// Anyone who knows the seed can prove anything, so these keys protect nothing. A real rollup takes
/// its keys from a ceremony: docs/binding.md says how. Keys that are there already are taken as
/// they are, if they are of this very circuit.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  reference-rollup setup --keys-dir target/reference-rollup")]
pub(crate) struct Setup {
    /// Where they are kept.
    #[arg(long, value_name = "DIR")]
    keys_dir: PathBuf,
}

/// What must be said wherever such keys are touched.
pub(crate) const DEV_ONLY: &str =
    "DEV ONLY: these keys come from a seed that everybody knows; anyone can forge proofs for them";

/// The development keys, made if need be, while something turns.
pub(crate) async fn keys(folder: PathBuf, output: &Output) -> Result<Keys, CliError> {
    output.warn(DEV_ONLY);
    let waiting =
        output.timed_spinner("proving and verifying key, DEV ONLY (half a minute unless they are there)");
    let keys = tokio::task::spawn_blocking(move || Keys::cached_development(&folder)).await;
    waiting.finish_and_clear();
    let keys = keys.map_err(|error| Failure::internal(format!("making the keys failed: {error}")))?;
    Ok(keys?)
}

impl Setup {
    pub(crate) async fn run(self, output: &Output) -> Result<(), CliError> {
        let started = Instant::now();
        let keys = keys(self.keys_dir.clone(), output).await?;
        let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let inputs = keys.verifying().ic.len() - 1;
        let report = prover::report();
        let share = |weight: Weight| percent(weight.constraints, report.total.constraints);
        let parts = [
            ("fingerprints", report.fingerprints),
            ("batch hash", report.batch_hash),
            ("transactions", report.transactions),
            ("inbox", report.inbox),
        ];
        let document = json!({
            "dev_only": true,
            "keys_dir": self.keys_dir,
            "elapsed_ms": elapsed,
            "public_inputs": inputs,
            "constraints": report.total.constraints,
            "variables": report.total.variables,
            "entries": report.total.entries,
            "parts": parts.iter().map(|(name, part)| json!({
                "name": name,
                "constraints": part.constraints,
                "entries": part.entries,
            })).collect::<Vec<Value>>(),
            "fingerprint_share_percent": share(report.fingerprints),
        });
        output.result(document, || {
            let weigh =
                |weight: Weight| format!("{} constraints, {} entries", weight.constraints, weight.entries);
            let mut rows = vec![
                ("keys (DEV ONLY)", self.keys_dir.display().to_string()),
                ("public inputs", inputs.to_string()),
                ("circuit", weigh(report.total)),
            ];
            rows.extend(parts.map(|(name, part)| (name, format!("{}: {:.1} %", weigh(part), share(part)))));
            fields(&rows)
        });
        Ok(())
    }
}

/// To one decimal.
fn percent(part: usize, whole: usize) -> f64 {
    let tenths = (part * 1000 + whole / 2).checked_div(whole).unwrap_or(0);
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
}

#[cfg(test)]
mod tests {
    #[test]
    fn shares_are_rounded_to_one_decimal() {
        assert_eq!(super::percent(1, 3).to_string(), "33.3");
        assert_eq!(super::percent(0, 0).to_string(), "0");
    }
}
