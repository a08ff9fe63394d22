//! The page that the demo prints: numbered steps, each timed.

use std::time::Instant;

use dac_tests::Result;
use dac_tests::command::CommandLine;
use serde_json::Value;

/// Numbers the page and times each step.
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

    /// Since the page began, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub(crate) fn took(&self) {
        println!("   ({:.1} s)", self.since.elapsed().as_secs_f64());
    }
}

/// Runs a command, and shows it as one would type it.
pub(crate) async fn typed(page: &Page, program: &CommandLine, line: &str) -> Result<Value> {
    page.say(format!("$ {} {line}", program.name()));
    program.expect(line.split_whitespace()).await
}
