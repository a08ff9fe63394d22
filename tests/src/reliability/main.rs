//! Makes the reliability report from the results of the tests and the simulation:
//! `target/reliability/report.json`, and the table in `docs/reliability.md`. Nothing in either is
//! typed by hand. The run fails if no test tried a promise, or if a test found it broken.

mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use dac_tests::measure::{LINES_FILE, Line, Promise};
use dac_tests::{Context, Failure, Result};
use serde::{Deserialize, Serialize};

/// The least number of killed processes in a run, of all kinds together.
const DEATHS_MIN: u64 = 300;
/// The promises of which every try kills a process.
const DEATHS: [Promise; 3] =
    [Promise::SurvivesKills, Promise::EveryFailPoint, Promise::SurvivesDatabaseKills];

#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The folder with the lines of the tests and the summaries of the simulation. The report is
    /// written there, too.
    #[arg(long)]
    folder: PathBuf,
    /// The document with the table.
    #[arg(long)]
    document: PathBuf,
    /// Leaves the document as it is, and fails if its table names other promises or tests than
    /// those that were tried.
    #[arg(long)]
    check: bool,
}

/// A line of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) promise: &'static str,
    pub(crate) test: String,
    pub(crate) tries: u64,
    pub(crate) failures: u64,
    pub(crate) seconds: f64,
}

/// The part of the output of `dac-simulation --json` that is used.
#[derive(Debug, Deserialize)]
struct Simulated {
    n: u16,
    seeds: u64,
    failures: Vec<u64>,
    seconds: f64,
}

impl Simulated {
    fn line(&self) -> Line {
        Line {
            promise: Promise::Simulation,
            test: format!("dac-simulation --n {}", self.n),
            tries: self.seeds,
            failures: self.failures.len() as u64,
            seconds: self.seconds,
        }
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("dac-reliability: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let rows = rows(&read(&arguments.folder)?);
    let report = arguments.folder.join("report.json");
    fs::write(&report, serde_json::to_vec_pretty(&rows)?).context(report.display())?;
    let table = table::of(&rows);
    println!("{table}");
    let document = fs::read_to_string(&arguments.document).context(arguments.document.display())?;
    // The table shows broken promises, too.
    let written = if arguments.check {
        table::check(&document, &table)
    } else {
        table::replace(&document, &table)
            .and_then(|document| fs::write(&arguments.document, document).context("written"))
    };
    judge(&rows)?;
    written.context(arguments.document.display())
}

fn read(folder: &Path) -> Result<Vec<Line>> {
    let path = folder.join(LINES_FILE);
    let text = fs::read_to_string(&path).context(path.display())?;
    let mut lines: Vec<Line> =
        text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context(path.display())?;
    for entry in fs::read_dir(folder).context(folder.display())? {
        let path = entry.context(folder.display())?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("simulation-") && name.ends_with(".json") {
            let text = fs::read_to_string(&path).context(path.display())?;
            lines.push(serde_json::from_str::<Simulated>(&text).context(path.display())?.line());
        }
    }
    Ok(lines)
}

/// Makes the rows in the order of the promises. A test that wrote several lines counts once.
fn rows(lines: &[Line]) -> Vec<Row> {
    let mut sums: BTreeMap<(usize, &str), (u64, u64, f64)> = BTreeMap::new();
    for line in lines {
        let place = Promise::ALL.iter().position(|promise| *promise == line.promise).unwrap_or(usize::MAX);
        let sum = sums.entry((place, &line.test)).or_default();
        *sum = (sum.0 + line.tries, sum.1 + line.failures, sum.2 + line.seconds);
    }
    sums.into_iter()
        .filter_map(|((place, test), (tries, failures, seconds))| {
            let promise = Promise::ALL.get(place)?.words();
            let seconds = (seconds * 10.0).round() / 10.0;
            Some(Row { promise, test: test.to_owned(), tries, failures, seconds })
        })
        .collect()
}

/// Fails with everything that is wrong.
fn judge(rows: &[Row]) -> Result<()> {
    let of = |promise: Promise| rows.iter().filter(move |row| row.promise == promise.words());
    let mut problems = Vec::new();
    for promise in Promise::ALL {
        if of(promise).map(|row| row.tries).sum::<u64>() == 0 {
            problems.push(format!("nothing tried this: {}", promise.words()));
        }
    }
    for row in rows.iter().filter(|row| row.failures > 0) {
        problems.push(format!("broken {} times by {}: {}", row.failures, row.test, row.promise));
    }
    let deaths: u64 = DEATHS.into_iter().flat_map(of).map(|row| row.tries).sum();
    if deaths < DEATHS_MIN {
        problems.push(format!("{deaths} deaths are less than {DEATHS_MIN}"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(problems.join("\n  "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(tries: u64) -> Vec<Line> {
        let line =
            |promise| Line { promise, test: format!("{promise:?}"), tries, failures: 0, seconds: 1.26 };
        Promise::ALL.into_iter().map(line).collect()
    }

    #[test]
    fn a_run_in_which_everything_was_tried_passes() {
        let rows = rows(&lines(100));
        judge(&rows).unwrap();
        assert_eq!(rows.len(), Promise::ALL.len());
        assert_eq!(rows[0].promise, Promise::SurvivesKills.words());
    }

    #[test]
    fn what_was_not_tried_or_broke_fails_the_run() {
        let mut missing = lines(100);
        missing.pop();
        assert!(judge(&rows(&missing)).unwrap_err().to_string().contains("nothing tried"));
        let mut broken = lines(100);
        broken[3].failures = 1;
        broken[5].failures = 2;
        let told = judge(&rows(&broken)).unwrap_err().to_string();
        assert!(told.contains("broken 1 times") && told.contains("broken 2 times"), "{told}");
        assert!(judge(&rows(&lines(99))).unwrap_err().to_string().contains("297 deaths"));
    }

    #[test]
    fn lines_of_one_test_are_added_up() {
        let twice = [lines(50), lines(60)].concat();
        let rows = rows(&twice);
        assert_eq!((rows[0].tries, rows[0].seconds), (110, 2.5));
    }

    #[test]
    fn the_simulation_s_summary_is_read() {
        let text =
            r#"{"n":16,"from":1,"seeds":900,"failures":[7],"seconds":321.5,"posted":1,"faults":{"kill":3}}"#;
        let line = serde_json::from_str::<Simulated>(text).unwrap().line();
        assert_eq!((line.tries, line.failures, line.test.as_str()), (900, 1, "dac-simulation --n 16"));
    }
}
