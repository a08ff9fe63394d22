#![doc = include_str!("../README.md")]

mod arguments;
mod failure;
mod help;
mod output;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod words;

use std::process::{ExitCode, Termination};
use std::time::{SystemTime, UNIX_EPOCH};

pub use arguments::{address, parse};
pub use failure::{Exit, Failure};
pub use help::keep_examples;
pub use output::Output;
pub use words::{count, distance, span};

/// Runs a command until it ends or the user stops it. Prints the failure, if there is one.
pub fn run<T: Termination, E: Into<Failure>>(
    output: &Output,
    command: impl Future<Output = Result<T, E>>,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return output.fail(&Failure::internal(format!("the runtime does not start: {error}")));
        }
    };
    let command = Box::pin(command);
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = command => outcome.map_err(Into::into),
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
        }
    });
    // Work that still runs on other threads has no reader any more.
    runtime.shutdown_background();
    match outcome {
        Ok(done) => done.report(),
        Err(failure) => output.fail(&failure),
    }
}

/// Returns the time in Unix seconds.
#[expect(clippy::disallowed_methods, reason = "here commands ask the machine")]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}
