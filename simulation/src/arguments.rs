//! The program's command line.

use clap::{Parser, ValueEnum};
use dac_simulation::Flaw;

/// Runs the production aggregator and production members in a simulated world, once for each seed.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// The number of seeds
    #[arg(long, default_value_t = 20)]
    pub(crate) seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    pub(crate) from: u64,
    /// The number of members: 7, 16 or 64
    #[arg(long, default_value_t = 16)]
    pub(crate) n: u16,
    /// The number of seeds that run at the same time, each in a process of its own
    #[arg(long, default_value_t = 2)]
    pub(crate) jobs: usize,
    /// Runs every seed twice and checks that both traces are the same
    #[arg(long)]
    pub(crate) twice: bool,
    /// Prints a summary as JSON: {n, from, seeds, failures, seconds, posted, signatures,
    /// lying_members, faults}.
    #[arg(long)]
    pub(crate) json: bool,
    /// Gives one member's store a fault on purpose, which the check must find
    #[arg(long, value_enum)]
    pub(crate) flaw: Option<PlantedFlaw>,
    /// Runs only this seed, in this process, and prints its report. `RUST_LOG=simulation=info` logs
    /// what happens
    #[arg(long, value_name = "SEED")]
    pub(crate) one: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PlantedFlaw {
    /// The store forgets its last commit when its member is killed
    ForgetsLastCommit,
    /// The store says that a batch is stored before it is
    AnswersBeforeCommit,
}

impl From<PlantedFlaw> for Flaw {
    fn from(planted: PlantedFlaw) -> Self {
        match planted {
            PlantedFlaw::ForgetsLastCommit => Self::ForgetsLastCommit,
            PlantedFlaw::AnswersBeforeCommit => Self::AnswersBeforeCommit,
        }
    }
}
