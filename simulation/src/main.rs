//! Runs seeds, each in a process of its own, and reports which fail.
//!
//! A process that runs a seed derives from it everything that the C library returns as randomness
//! and time, so that hash keys, for example, depend on the seed too. This works for only one seed
//! in a process.

mod arguments;
mod seeds;

use std::process::ExitCode;

use clap::Parser;
use dac_simulation::Shape;
use rand_of_libc::SeedableRng;
use rand_of_libc::rngs::StdRng;

use self::arguments::Arguments;

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
