//! The command line.

mod claim;
mod context;
mod deploy;
mod deposit;
mod exit;
mod failure;
mod freeze;
mod keygen;
mod output;
mod rebuild;
mod refund;
mod request_exit;
mod setup;
mod status;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dac_cli::Output;

use self::failure::CliError;

/// A small payments validium from its users' side: keys, deposits, and the way out when everyone is
/// gone.
///
/// The rollup's batches are kept by a data-availability committee (`dac`) and settle on L1 with a
/// validity proof. If operator and aggregator vanish, payloads from any k members and L1
/// are enough to leave: freeze, rebuild, exit.
#[derive(Debug, Parser)]
#[command(name = "reference-rollup", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Print one JSON document on standard output, for machines. Progress and warnings stay on
    /// standard error.
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// No progress.
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Where the rollup lives is said once, in a rollup file (`reference-rollup deploy` writes one), named
by --rollup-file or ROLLUP_FILE. Secrets are never arguments: L1 keys lie in keystores (`dac keygen
ethereum`), keys of the rollup in files that only their owner may read.

Exit codes:
  0   done
  1   checked and found wanting: payloads or a proof that do not lead to the settled root
  2   wrong arguments or files
  4   out of reach: L1; try again
  5   refused: by the contract, or by L1 because the account cannot pay
  70  a fault of this program or machine
  130 interrupted
With --json, a failure prints an object `error` of `code`, `exit_code`, `message` and `hint`.

In examples, words like $ROLLUP stand for values of yours.

Example, leaving when everyone is gone:
  reference-rollup freeze --rollup-file rollup.json --key eth.json --password-file eth.password
  dac retrieve --rollup $ROLLUP --out-dir batches --deployment deployment.json
  reference-rollup rebuild batches --rollup-file rollup.json \\
      --account-key alice.json --proof-out exit.json
  reference-rollup exit --proof exit.json --rollup-file rollup.json \\
      --key eth.json --password-file eth.password";

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(keygen::Keygen),
    Setup(setup::Setup),
    Deploy(deploy::Deploy),
    Status(status::ShowStatus),
    Deposit(deposit::Deposit),
    RequestExit(request_exit::RequestExit),
    Claim(claim::Claim),
    Freeze(freeze::Freeze),
    Rebuild(rebuild::Rebuild),
    Exit(exit::Exit),
    Refund(refund::Refund),
}

/// The program.
pub(crate) fn main() -> ExitCode {
    let cli: Cli = dac_cli::parse();
    let output = Output::new(cli.json, cli.quiet);
    dac_runtime::tls::install_provider();
    dac_cli::run(&output, run(cli.command, &output))
}

async fn run(command: Command, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Keygen(command) => command.run(output),
        Command::Setup(command) => command.run(output).await,
        Command::Deploy(command) => command.run(output).await,
        Command::Status(command) => command.run(output).await,
        Command::Deposit(command) => command.run(output).await,
        Command::RequestExit(command) => command.run(output).await,
        Command::Claim(command) => command.run(output).await,
        Command::Freeze(command) => command.run(output).await,
        Command::Rebuild(command) => command.run(output).await,
        Command::Exit(command) => command.run(output).await,
        Command::Refund(command) => command.run(output).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn examples_can_be_copied_into_a_shell() {
        let address = format!("0x{}", "5f".repeat(20));
        let variables = [("ROLLUP", address.as_str()), ("RECIPIENT", &address)];
        let programs = ["reference-rollup", "dac"];
        dac_cli::testing::check_examples(&super::Cli::command(), &programs, &variables);
    }
}
