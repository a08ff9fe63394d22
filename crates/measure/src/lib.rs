#![doc = include_str!("../README.md")]

mod promise;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use promise::Promise;

/// The environment variable with the folder for the lines. If it is not set, nothing is written.
pub const FOLDER_VARIABLE: &str = "DAC_RELIABILITY_DIR";
/// The name of the file in that folder.
pub const LINES_FILE: &str = "lines.jsonl";
/// The environment variable with a factor for the number of tries: 1 means as many as in CI.
pub const SCALE_VARIABLE: &str = "DAC_RELIABILITY_SCALE";

/// The result of one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The promise that was tested.
    pub promise: Promise,
    /// The test's name, as `cargo test` prints it.
    pub test: String,
    /// The number of tries.
    pub tries: u64,
    /// The number of tries that broke the promise.
    pub failures: u64,
    /// The duration of the test in seconds.
    pub seconds: f64,
}

/// A test that reports its result. If it is dropped before [`Measure::passed`], it reports one
/// failure.
#[derive(Debug)]
pub struct Measure {
    promise: Promise,
    test: &'static str,
    began: Instant,
    tries: u64,
    told: bool,
}

impl Measure {
    /// Starts to measure the test `test`; the name is the one that `cargo test` prints.
    pub fn begin(promise: Promise, test: &'static str) -> Self {
        Self { promise, test, began: Instant::now(), tries: 0, told: false }
    }

    /// Adds `times` tries.
    pub fn tried(&mut self, times: u64) {
        self.tries += times;
    }

    /// Returns the number of tries so far.
    pub fn tries(&self) -> u64 {
        self.tries
    }

    /// Reports that all tries passed.
    ///
    /// # Panics
    /// It panics if the line cannot be written: a test that is missing in the report has not
    /// passed.
    pub fn passed(mut self) {
        self.told = true;
        println!("{}: {} tries, {:.1} s", self.test, self.tries, self.began.elapsed().as_secs_f64());
        self.write(0).unwrap_or_else(|error| panic!("{}: its line was not written: {error}", self.test));
    }

    fn write(&self, failures: u64) -> io::Result<()> {
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

/// A guard that reports the test's result by how the test ends: `let _counted = counted!(Retention,
/// 4);`.
///
/// It suits tests that panic when they fail. The guard does not notice an error that is returned.
#[derive(Debug)]
pub struct Counted(Option<Measure>);

impl Counted {
    /// Starts the guard. `place` is the type name of an item in the test's own body. Use
    /// [`counted!`](crate::counted!) instead of calling this.
    pub fn begin(promise: Promise, place: &'static str, tries: u64) -> Self {
        let mut measure = Measure::begin(promise, test_around(place));
        measure.tried(tries);
        Self(Some(measure))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(measure) = self.0.take()
            && !std::thread::panicking()
        {
            measure.passed();
        }
    }
}

/// Returns the path of the function whose body contains an item with this path, for example
/// `a::test` for `a::test::{{closure}}::here`.
fn test_around(place: &'static str) -> &'static str {
    let mut path = place;
    for end in ["::here", "::{{closure}}", "::body"] {
        while let Some(rest) = path.strip_suffix(end) {
            path = rest;
        }
    }
    path
}

/// Counts tries of the surrounding test for a promise. If the test panics, it reports a failure.
#[macro_export]
macro_rules! counted {
    ($promise:ident, $tries:expr) => {{
        const fn here() {}
        $crate::Counted::begin($crate::Promise::$promise, ::std::any::type_name_of_val(&here), $tries)
    }};
}

/// Appends a line to the folder's file. A line is short enough for a single write, so lines of
/// several processes do not mix.
///
/// # Errors
/// It fails if the folder cannot be created or the file cannot be written.
pub fn append(folder: &Path, line: &Line) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = File::options().create(true).append(true).open(folder.join(LINES_FILE))?;
    let text = format!("{}\n", serde_json::to_string(line)?);
    file.write_all(text.as_bytes())
}

/// Returns the factor by which more is tried than in CI: the value of `DAC_RELIABILITY_SCALE`, or
/// 1.
pub fn scale() -> u64 {
    std::env::var(SCALE_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_named_by_its_path() {
        const fn here() {}
        let name = test_around(std::any::type_name_of_val(&here));
        assert_eq!(name, "dac_measure::tests::a_test_is_named_by_its_path");
        assert_eq!(test_around("a::b::body::{{closure}}::here"), "a::b");
    }

    #[test]
    fn promises_have_words_of_their_own() {
        let words: std::collections::BTreeSet<_> =
            Promise::ALL.iter().map(|promise| promise.words()).collect();
        assert_eq!(words.len(), Promise::ALL.len());
        assert!(words.iter().all(|words| !words.contains('|')), "they stand in a table");
    }

    #[test]
    fn lines_are_added_to_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let line =
            Line { promise: Promise::Schema, test: "a::test".into(), tries: 2, failures: 1, seconds: 0.5 };
        for _ in 0..2 {
            append(folder.path(), &line).unwrap();
        }
        let text = fs::read_to_string(folder.path().join(LINES_FILE)).unwrap();
        let lines: Vec<Line> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, [line.clone(), line]);
    }
}
