//! `dac-aggregator`: the disperser's process. [`dac_aggregator::program`] says what it starts.

use std::process::ExitCode;

use clap::Parser;
use dac_aggregator::program::AggregatorProgram;
use dac_runtime::allocator::Allocator;
use dac_runtime::service::{self, ServiceArgs};

/// The disperser of the data-availability committee: takes batches from rollups, spreads them over
/// the members, makes certificates and records them on L1.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Stops on SIGTERM or SIGINT: takes nothing new, lets calls under way finish, exits with 0.\n\
The environment variable DAC_LOG overrides the log filter of the configuration."
)]
struct Args {
    #[command(flatten)]
    service: ServiceArgs,
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    service::run::<AggregatorProgram>(Args::parse().service)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn commands_of_the_pages_can_be_copied_into_a_shell() {
        dac_cli::testing::check_pages(&super::Args::command());
    }
}
