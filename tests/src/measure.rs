//! What tests measured, for the table of `docs/reliability.md`: each test appends a line to a folder, and `dac-reliability`
//! makes the report of all lines.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::failure::{Context, Result};

/// The folder that lines go to; without it nothing is written.
pub const FOLDER_VARIABLE: &str = "DAC_RELIABILITY_DIR";
/// The file in it.
pub const LINES_FILE: &str = "lines.jsonl";

/// What the service promises, and a report shows tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// A killed process loses nothing.
    SurvivesKills,
    /// The same of a killed database server.
    SurvivesDatabaseKills,
    /// Every place where a process may die was tried.
    EveryFailPoint,
    /// The history checker sees what it is there for.
    CheckerSees,
    /// What rots on a disk is found, never served, and repaired.
    RotIsFound,
    /// A torn write-ahead log takes nothing that was signed.
    TornLog,
    /// A full disk is told, and takes nothing.
    FullDisk,
    /// Loss, delay and one-way cuts.
    BadNetwork,
    /// Clocks that are a day wrong.
    WrongClock,
    /// L1 takes blocks back, a nonce is stuck, transactions are dropped.
    UnreliableL1,
    /// Aggregator and members in the deterministic simulation.
    Simulation,
    /// Lying members, aggregators and rollups.
    Byzantine,
}

impl Promise {
    /// All of them, in the report's order.
    pub const ALL: [Self; 12] = [
        Self::SurvivesKills,
        Self::EveryFailPoint,
        Self::SurvivesDatabaseKills,
        Self::CheckerSees,
        Self::RotIsFound,
        Self::TornLog,
        Self::FullDisk,
        Self::BadNetwork,
        Self::WrongClock,
        Self::UnreliableL1,
        Self::Simulation,
        Self::Byzantine,
    ];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SurvivesKills => {
                "kill −9 of members and aggregator, at any time: what was accepted reaches L1 once, what was signed is served"
            }
            Self::EveryFailPoint => "the same with each durable step as the place of death",
            Self::SurvivesDatabaseKills => {
                "kill −9 of PostgreSQL, its backends, an immediate stop: the same holds"
            }
            Self::CheckerSees => "the checker of histories sees each fault that it is there for, planted",
            Self::RotIsFound => "bytes that changed on a member's disk are found, never served, and repaired",
            Self::TornLog => {
                "a write-ahead log that is torn or garbled at its end takes nothing that was signed"
            }
            Self::FullDisk => "a full disk is told and takes nothing; with room again the service goes on",
            Self::BadNetwork => "loss, delay and cuts, one-way ones too, delay batches and lose none",
            Self::WrongClock => {
                "a clock that is a day wrong deletes nothing early and signs nothing wrong; set right, all goes on"
            }
            Self::UnreliableL1 => {
                "blocks taken back, a stuck nonce, dropped transactions: recorded once in the end"
            }
            Self::Simulation => {
                "the production code of aggregator and members over simulated time, crashes, partitions and liars"
            }
            Self::Byzantine => {
                "lying members, aggregators and rollups: refused by name, attributed, and no harm done"
            }
        }
    }
}

/// What one test found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What was put to the test.
    pub promise: Promise,
    /// By what, as `cargo test` names it.
    pub test: String,
    /// How many times.
    pub tries: u64,
    /// How many of them broke it.
    pub failures: u64,
    /// How long it took.
    pub seconds: f64,
}

/// A test that measures itself. Dropped before [`Measure::passed`], it tells of a failure.
#[derive(Debug)]
pub struct Measure {
    promise: Promise,
    test: &'static str,
    began: Instant,
    tries: u64,
    told: bool,
}

impl Measure {
    /// Begins.
    pub fn begin(promise: Promise, test: &'static str) -> Self {
        Self { promise, test, began: Instant::now(), tries: 0, told: false }
    }

    /// One more thing was done to the service.
    pub fn tried(&mut self, times: u64) {
        self.tries += times;
    }

    /// How many times, so far.
    pub fn tries(&self) -> u64 {
        self.tries
    }

    /// All went well.
    pub fn passed(mut self) -> Result<()> {
        self.told = true;
        let seconds = self.began.elapsed().as_secs_f64();
        println!("{}: {} tries, {seconds:.1} s", self.test, self.tries);
        self.write(0)
    }

    fn write(&self, failures: u64) -> Result<()> {
        let Some(folder) = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from) else { return Ok(()) };
        let line = Line {
            promise: self.promise,
            test: self.test.to_owned(),
            tries: self.tries.max(failures),
            failures,
            seconds: self.began.elapsed().as_secs_f64(),
        };
        append(&folder, &line)
    }
}

impl Drop for Measure {
    fn drop(&mut self) {
        if !self.told
            && let Err(failure) = self.write(1)
        {
            eprintln!("{}: its failure could not be noted: {failure}", self.test);
        }
    }
}

/// Appends a line to the folder's file. Lines are short: each is one write, so those of several processes do not mix.
pub fn append(folder: &std::path::Path, line: &Line) -> Result<()> {
    fs::create_dir_all(folder).context(folder.display())?;
    let path = folder.join(LINES_FILE);
    let mut file = File::options().create(true).append(true).open(&path).context(path.display())?;
    let text = format!("{}\n", serde_json::to_string(line)?);
    file.write_all(text.as_bytes()).context(path.display())
}

/// How much is tried: once in CI's run, more often where `DAC_RELIABILITY_SCALE` says so.
pub fn scale() -> u64 {
    std::env::var("DAC_RELIABILITY_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// The seed of a run: `DAC_SEED`, else a fresh one. It is printed, so that a failure can be run again.
pub fn seed(test: &str) -> u64 {
    let seed = std::env::var("DAC_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    println!("{test}: DAC_SEED={seed}");
    seed
}
