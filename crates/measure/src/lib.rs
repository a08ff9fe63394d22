//! What tests measured of the service's promises, for the table of `docs/reliability.md`: each test appends a line to a folder, and
//! `dac-reliability` makes the report of all lines. A crate of its own, since tests of every kind and crate write such lines.

mod promise;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use promise::Promise;

/// The folder that lines go to; without it nothing is written.
pub const FOLDER_VARIABLE: &str = "DAC_RELIABILITY_DIR";
/// The file in it.
pub const LINES_FILE: &str = "lines.jsonl";
/// How many times as much is tried as in CI's run.
pub const SCALE_VARIABLE: &str = "DAC_RELIABILITY_SCALE";

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
    ///
    /// # Panics
    /// Where its line cannot be written: a test of which no report tells has not passed.
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

/// A test that tells by its end alone how its tries went: `let _counted = counted!(Retention, 4);`. For tests that panic where they
/// fail: of an error that is returned a guard sees nothing.
#[derive(Debug)]
pub struct Counted(Option<Measure>);

impl Counted {
    /// Begins; `place` is the type's name of an item in the test's own body. Use [`counted!`](crate::counted!).
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

/// The function in whose body an item of this path stands: `a::test::{{closure}}::here` is in `a::test`.
fn test_around(place: &'static str) -> &'static str {
    let mut path = place;
    for end in ["::here", "::{{closure}}", "::body"] {
        while let Some(rest) = path.strip_suffix(end) {
            path = rest;
        }
    }
    path
}

/// Counts the tries of the test that it stands in for a promise; how the test ends says how they went.
#[macro_export]
macro_rules! counted {
    ($promise:ident, $tries:expr) => {{
        const fn here() {}
        $crate::Counted::begin($crate::Promise::$promise, ::std::any::type_name_of_val(&here), $tries)
    }};
}

/// Appends a line to the folder's file. Lines are short: each is one write, so those of several processes do not mix.
///
/// # Errors
/// Where the folder cannot be made or the file not be written.
pub fn append(folder: &Path, line: &Line) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = File::options().create(true).append(true).open(folder.join(LINES_FILE))?;
    let text = format!("{}\n", serde_json::to_string(line)?);
    file.write_all(text.as_bytes())
}

/// How much is tried: once in CI's run, more often where `DAC_RELIABILITY_SCALE` says so.
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
