//! The program's command line.

use clap::{Parser, ValueEnum};
use dac_simulation::Flaw;

/// Lives through seeds in a simulated world, with the production aggregator and production members
/// in it.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 20)]
    pub(crate) seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    pub(crate) from: u64,
    /// Members: 7, 16 or 64.
    #[arg(long, default_value_t = 16)]
    pub(crate) n: u16,
    /// Seeds at once, each in a process of its own.
    #[arg(long, default_value_t = 2)]
    pub(crate) jobs: usize,
    /// Runs every seed twice: the traces have to be the same.
    #[arg(long)]
    pub(crate) twice: bool,
    /// Prints a summary as JSON: {n, from, seeds, failures, seconds, posted, signatures,
    /// lying_members, faults}.
    #[arg(long)]
    pub(crate) json: bool,
    /// What is wrong with one member's store, on purpose: the check has to find it.
    #[arg(long, value_enum)]
    pub(crate) flaw: Option<PlantedFlaw>,
    /// Runs this one seed, in this process, and prints its report. `RUST_LOG=simulation=info` tells
    /// the story.
    #[arg(long, value_name = "SEED")]
    pub(crate) one: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PlantedFlaw {
    /// It forgets its last commit when its member is killed.
    ForgetsLastCommit,
    /// It says that a batch is stored before it is.
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
