//! What tests measured, for the table of `docs/reliability.md`, and the chance that they draw on.

pub use dac_measure::*;

/// The seed of a run: `DAC_SEED`, else a fresh one. It is printed, so that a failure can be run
/// again.
pub fn seed(test: &str) -> u64 {
    let seed = std::env::var("DAC_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("{test}: DAC_SEED={seed}");
    seed
}
