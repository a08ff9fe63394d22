//! `dac`: the command line for operators, owners, rollups and auditors of a committee. Each command
//! has a file of its own.

mod admin;
mod aggregator;
mod audit;
mod batches;
mod certificate;
mod committee;
mod context;
mod coverage;
mod deadline;
mod exit;
mod keygen;
mod keys;
mod load;
mod log_search;
mod member;
mod member_identity;
mod member_status;
mod nodes;
mod output;
mod posting;
mod register;
mod retrieve;
mod retrieve_rollup;
mod rotate;
mod status;
mod submit;
mod submit_proof;
mod terms;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dac_cli::Output;

use crate::exit::CliError;

/// The data-availability committee from the outside: keys, registration, administration, batches,
/// audits.
///
/// Rollups submit payloads to an aggregator; the committee's members store them, erasure-coded, and
/// certify that they do; anyone gets them back from any k members and audits that they are still
/// there.
#[derive(Debug, Parser)]
#[command(name = "dac", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Print one JSON document on standard output, for machines. Progress and notes stay on
    /// standard error.
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// No progress and no notes.
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
The committee's chain and contracts are in a deployment file (`dac admin deploy` writes one), named
by --deployment or DAC_DEPLOYMENT. --rpc-url, --registry and --certificate-log override it.
Secrets are never arguments: keys lie in keystores, their passwords in files of their own.

Exit codes:
  0   done
  1   the check failed: a failed audit, a bad certificate, a rejected proof, a failed batch
  2   wrong arguments or files
  3   MALFORMED: the batch is there, but what its disperser committed to is no payload;
      or not ready: a member that does not hold yet all that it owes
  4   out of reach: L1, the aggregator, or too many members; try again
  5   refused: by a contract, by the aggregator, or by L1 because the account cannot pay
  70  a fault of this program or machine
  130 interrupted
With --json, a failure prints an object `error` of `code`, `exit_code`, `message` and `hint`.

For FILE, `-` is standard input or output; all that is not data then goes to standard error.
In examples, words like $ROLLUP stand for your values.

Try:
  dac keygen bls --out bls.json --password-file bls.password --new-password-file
  dac committee --deployment deployment.json
  dac retrieve $DIGEST --out payload.bin --deployment deployment.json";

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(keygen::Keygen),
    Register(register::Register),
    Committee(committee::ShowCommittee),
    Member(member::Member),
    Aggregator(aggregator::Aggregator),
    Admin(admin::Admin),
    Rotate(Box<rotate::Rotate>),
    Submit(Box<submit::Submit>),
    SubmitProof(Box<submit_proof::SubmitProof>),
    Status(status::Status),
    Watch(status::Watch),
    Certificate(certificate::FetchCertificate),
    Retrieve(Box<retrieve::Retrieve>),
    Verify(verify::Verify),
    Audit(Box<audit::Audit>),
    Batches(batches::ListBatches),
    Load(Box<load::Load>),
    Coverage(coverage::ShowCoverage),
}

impl Command {
    fn has_several_results(&self) -> bool {
        match self {
            Self::Submit(command) => command.has_several_results(),
            _ => false,
        }
    }
}

fn main() -> ExitCode {
    let cli: Cli = dac_cli::parse();
    let output = Output::new(cli.json, cli.quiet);
    let output = if cli.command.has_several_results() { output.in_lines() } else { output };
    dac_runtime::tls::install_provider();
    dac_cli::run(&output, run(cli.command, &output))
}

async fn run(command: Command, output: &Output) -> Result<ExitCode, CliError> {
    match command {
        Command::Keygen(command) => command.run(output),
        Command::Register(command) => command.run(output).await,
        Command::Committee(command) => command.run(output).await,
        Command::Member(command) => command.run(output).await,
        Command::Aggregator(command) => command.run(output).await,
        Command::Admin(command) => command.run(output).await,
        Command::Rotate(command) => command.run(output).await,
        Command::Submit(command) => Box::pin(command.run(output)).await,
        Command::SubmitProof(command) => Box::pin(command.run(output)).await,
        Command::Status(command) => command.run(output).await,
        Command::Watch(command) => Box::pin(command.run(output)).await,
        Command::Certificate(command) => command.run(output).await,
        Command::Retrieve(command) => command.run(output).await,
        Command::Verify(command) => command.run(output).await,
        Command::Audit(command) => command.run(output).await,
        Command::Batches(command) => command.run(output).await,
        Command::Load(command) => command.run(output).await,
        Command::Coverage(command) => command.run(output).await,
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
        let hash = format!("0x{}", "a7".repeat(32));
        let variables = [
            ("ROLLUP", &address),
            ("ANOTHER_ROLLUP", &address),
            ("DISPERSER", &address),
            ("POSTER", &address),
            ("OPERATOR", &address),
            ("A", &address),
            ("B", &address),
            ("C", &address),
            ("D", &address),
            ("DIGEST", &hash),
            ("COMMITMENT", &hash),
        ];
        let variables = variables.map(|(name, value)| (name, value.as_str()));
        dac_cli::testing::check_examples(&super::Cli::command(), &["dac"], &variables);
    }

    #[test]
    fn commands_of_the_pages_can_be_copied_into_a_shell() {
        dac_cli::testing::check_pages(&super::Cli::command());
    }
}
