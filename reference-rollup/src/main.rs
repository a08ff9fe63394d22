//! `reference-rollup`: keys, deployment, deposits, and the way out. Each command has its own file.

mod commands;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::main()
}
