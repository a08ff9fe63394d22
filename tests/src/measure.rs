//! Measurements of tests for the table of `docs/reliability.md`, and the seeds of their random
//! choices.

pub use dac_measure::*;

/// Returns the seed of a run: `DAC_SEED`, or else a random one. It is printed, so that a failure
/// can be repeated.
pub fn seed(test: &str) -> u64 {
    let seed = std::env::var("DAC_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("{test}: DAC_SEED={seed}");
    seed
}
