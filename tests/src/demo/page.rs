//! Prints the demo's page: numbered steps with their times.

use std::time::Instant;

use dac_tests::Result;
use dac_tests::command::CommandLine;
use serde_json::Value;

/// Numbers the steps and measures their times.
pub(crate) struct Page {
    step: usize,
    started: Instant,
    since: Instant,
}

impl Page {
    pub(crate) fn new() -> Self {
        Self { step: 0, started: Instant::now(), since: Instant::now() }
    }

    pub(crate) fn step(&mut self, title: &str) {
        self.step += 1;
        self.since = Instant::now();
        println!("\n{}. {title}", self.step);
    }

    pub(crate) fn say(&self, line: impl AsRef<str>) {
        println!("   {}", line.as_ref());
    }

    /// Returns the seconds since the page began.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub(crate) fn took(&self) {
        println!("   ({:.1} s)", self.since.elapsed().as_secs_f64());
    }
}

/// Runs a command, and prints it as a user would type it.
pub(crate) async fn typed(page: &Page, program: &CommandLine, line: &str) -> Result<Value> {
    page.say(format!("$ {} {line}", program.name()));
    program.expect(line.split_whitespace()).await
}
