//! `dac-node`: a member's process. [`dac_node::program`] says what it starts.

use std::process::ExitCode;

use clap::Parser;
use dac_node::program::NodeProgram;
use dac_runtime::allocator::Allocator;
use dac_runtime::service::{self, ServiceArgs};

/// A member of the data-availability committee: checks, stores, signs and serves its shards
#[derive(Debug, Parser)]
#[command(
    name = "dac-node",
    version,
    after_help = "\
Stops on SIGTERM or SIGINT: takes no new uploads, lets those under way finish, exits with 0.\n\
The environment variable DAC_LOG overrides the log filter of the configuration."
)]
struct Arguments {
    #[command(flatten)]
    service: ServiceArgs,
}

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    service::run::<NodeProgram>(Arguments::parse().service)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn commands_of_the_pages_can_be_copied_into_a_shell() {
        dac_cli::testing::check_pages(&super::Arguments::command());
    }
}
