//! `reference-rollup`: keys, deployment, deposits, and the way out. One file a command.

mod commands;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
