//! Runs seeds, each in a process of its own, and reports which fail.
//!
//! A process that runs a seed derives from it everything that the C library returns as randomness
//! and time, so that hash keys, for example, depend on the seed too. This works for only one seed
//! in a process.

mod seeds;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use dac_simulation::{Flaw, Shape};
use rand_of_libc::SeedableRng;
use rand_of_libc::rngs::StdRng;

/// Lives through seeds in a simulated world, with the production aggregator and production members
/// in it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Members: 7, 16 or 64.
    #[arg(long, default_value_t = 16)]
    n: u16,
    /// Seeds at once, each in a process of its own.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Runs every seed twice: the traces have to be the same.
    #[arg(long)]
    twice: bool,
    /// Prints a summary as JSON: {n, from, seeds, failures, seconds, posted, signatures,
    /// lying_members, faults}.
    #[arg(long)]
    json: bool,
    /// What is wrong with one member's store, on purpose: the check has to find it.
    #[arg(long, value_enum)]
    flaw: Option<PlantedFlaw>,
    /// Runs this one seed, in this process, and prints its report. `RUST_LOG=simulation=info` tells
    /// the story.
    #[arg(long, value_name = "SEED")]
    one: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PlantedFlaw {
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

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(shape) = Shape::of(arguments.n) else {
        eprintln!("n = {}: 7, 16 or 64", arguments.n);
        return ExitCode::from(2);
    };
    match arguments.one {
        Some(seed) => one(seed, Shape { flaw: arguments.flaw.map(Into::into), ..shape }),
        None => seeds::run(&arguments),
    }
}

fn one(seed: u64, shape: Shape) -> ExitCode {
    // This must happen before any code draws random numbers.
    mad_turmoil::rand::set_rng(StdRng::seed_from_u64(seed));
    let _clocks = mad_turmoil::time::SimClocksGuard::init();
    if let Ok(filter) = std::env::var("RUST_LOG") {
        let format = tracing_subscriber::fmt().without_time().with_env_filter(filter);
        format.with_writer(std::io::stderr).init();
    }
    let report = dac_simulation::run(seed, shape);
    println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
    if report.breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
