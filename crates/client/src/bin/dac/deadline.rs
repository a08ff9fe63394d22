//! One deadline for all steps of a command, as `--timeout` sets it.

use std::time::Duration;

use dac_cli::{Exit, Failure};
use dac_runtime::config::Period;
use tokio::time::Instant;

use crate::exit::CliError;

/// The deadline of a command, counted from its beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    start: Instant,
    limit: Duration,
}

impl Deadline {
    pub(crate) fn new(limit: Period) -> Self {
        Self { start: Instant::now(), limit: limit.0 }
    }

    /// Returns the time that is left.
    pub(crate) fn left(self) -> Duration {
        // The time is shown in error messages: whole milliseconds are easier to read.
        let left = self.limit.saturating_sub(self.start.elapsed()).as_millis();
        Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX))
    }

    /// Runs a step that has no deadline of its own.
    pub(crate) async fn of<T, E: Into<CliError>>(
        self,
        step: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CliError> {
        match tokio::time::timeout(self.left(), work).await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(_) => {
                let message = format!("{step} was not done {:?} after the beginning", self.limit);
                Err(Failure::new(Exit::Unavailable, message).hint("a longer --timeout").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_ends_with_the_time_of_all() {
        let deadline = Deadline::new(Period(Duration::from_millis(50)));
        let endless = std::future::pending::<Result<(), CliError>>();
        let error = deadline.of("asking L1", endless).await.unwrap_err().0;
        assert_eq!((error.exit, deadline.left()), (Exit::Unavailable, Duration::ZERO));
        assert!(error.message.starts_with("asking L1 was not done 50ms"), "{}", error.message);
    }
}
