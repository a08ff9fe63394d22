//! The figures that benchmarks write and the report collects.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

/// One figure of the report. Ratios are of values measured in the same run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// The figure's name, from the general to the particular: `coding/encode/n=16,k=6/22 MiB/1
    /// thread`.
    pub name: String,
    /// The measured value.
    pub value: f64,
    /// The value's unit: `ms`, `MB/s`, `1/s`, `MiB`, `×`.
    pub unit: String,
    /// The least cost (or, for a rate, the highest rate) that any implementation can have, in the
    /// same unit.
    pub floor: Option<f64>,
    /// The ratio to the floor: value / floor for costs, floor / value for rates. 1 means that the
    /// value is at the floor.
    pub ratio_to_floor: Option<f64>,
    /// The name of the peer (another project) that does the same.
    pub peer: Option<String>,
    /// The peer's value, in the same unit.
    pub peer_value: Option<f64>,
    /// How many times better the value is than the peer's.
    pub ratio_to_peer: Option<f64>,
    /// The goal in words that begin with a comparison: `≤ 1.35 × floor`. A bound in absolute units
    /// depends on the machine, so it only stands behind the goal, or alone, for information.
    pub goal: Option<String>,
    /// Whether the goal was met; `None` if there is no goal or only information.
    pub met: Option<bool>,
    /// The basis of the value: the duration or the number of runs.
    #[serde(default)]
    pub basis: Option<String>,
}

/// A figure in the form that it has in `report.json`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Line<'a> {
    /// The figure as it was measured.
    #[serde(flatten)]
    pub figure: &'a Figure,
    /// The machine of the measurement.
    pub machine: &'a str,
    /// The parts that the figure excludes.
    pub excluded: &'static str,
}

/// A goal for a figure. Goals are for ratios of values of one run, which depend little on the
/// machine.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Goal {
    /// The value is at most this many times the floor.
    TimesFloorAtMost(f64),
    /// The value is at least this many times better than the peer's.
    TimesPeerAtLeast(f64),
}

/// Whether less or more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Less is better: times, bytes, gas.
    Cost,
    /// More is better: rates.
    Rate,
}

impl Figure {
    /// Creates a figure with a value and no comparison.
    pub fn new(name: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            name: name.into(),
            value,
            unit: unit.to_owned(),
            floor: None,
            ratio_to_floor: None,
            peer: None,
            peer_value: None,
            ratio_to_peer: None,
            goal: None,
            met: None,
            basis: None,
        }
    }

    /// Adds the floor and the ratio to it.
    pub fn with_floor(mut self, kind: Kind, floor: f64) -> Self {
        self.floor = Some(floor);
        self.ratio_to_floor = Some(match kind {
            Kind::Cost => self.value / floor,
            Kind::Rate => floor / self.value,
        });
        self
    }

    /// Adds a peer's value and the ratio to it.
    pub fn with_peer(mut self, kind: Kind, peer: impl Into<String>, value: f64) -> Self {
        self.peer = Some(peer.into());
        self.peer_value = Some(value);
        self.ratio_to_peer = Some(match kind {
            Kind::Cost => value / self.value,
            Kind::Rate => self.value / value,
        });
        self
    }

    /// Adds the basis of the value.
    pub fn with_basis(mut self, basis: &str) -> Self {
        self.basis = Some(basis.to_owned());
        self
    }

    /// Marks the goal, if there is one, as not met, for any value.
    pub fn not_met(mut self) -> Self {
        self.met = self.met.map(|_| false);
        self
    }

    /// Adds a bound in the figure's own unit, such as `≥ 50`, for information only: it does not
    /// change whether the goal is met.
    pub fn with_information(mut self, comparison: char, bound: f64) -> Self {
        let words = format!("for information {comparison} {bound} {}", self.unit);
        self.goal = Some(self.goal.map_or_else(|| words.clone(), |goal| format!("{goal}, {words}")));
        self
    }

    /// Adds a goal, and whether the figure meets it. A goal relative to a floor or peer that the
    /// figure lacks is not met.
    pub fn with_goal(mut self, goal: Goal) -> Self {
        let (words, met) = match goal {
            Goal::TimesFloorAtMost(limit) => {
                (format!("≤ {limit} × floor"), self.ratio_to_floor.is_some_and(|ratio| ratio <= limit))
            }
            Goal::TimesPeerAtLeast(limit) => {
                (format!("≥ {limit} × peer"), self.ratio_to_peer.is_some_and(|ratio| ratio >= limit))
            }
        };
        self.goal = Some(words);
        self.met = Some(met);
        self
    }
}

/// Returns the folder of the benchmarks' figures: `DAC_BENCH_DIR`, or `target/bench/parts`.
pub fn folder() -> PathBuf {
    std::env::var_os("DAC_BENCH_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench"), PathBuf::from)
}

/// Returns the folder of parts, which is created if it is missing.
fn parts() -> io::Result<PathBuf> {
    let folder = folder().join("parts");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Deletes the failures that an earlier run of this benchmark noted.
pub fn forget_failures(benchmark: &str) -> io::Result<()> {
    match fs::remove_file(parts()?.join(benchmark).with_extension("failures")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Notes that a part of a benchmark failed. The report lists it; the other parts are still
/// measured.
pub fn note_failure(benchmark: &str, what: &str) -> io::Result<()> {
    let file = parts()?.join(benchmark).with_extension("failures");
    let line = format!("{}\n", what.split_whitespace().collect::<Vec<_>>().join(" "));
    io::Write::write_all(&mut fs::File::options().append(true).create(true).open(file)?, line.as_bytes())
}

/// Returns the figures of all benchmarks whose results are in `folder`, and the parts that failed
/// or never ran.
///
/// # Errors
/// If no benchmark has run, or a file of figures does not parse.
pub fn collect(folder: &Path, expected: &[&str]) -> io::Result<(Vec<Figure>, Vec<String>)> {
    let folder = folder.join("parts");
    let named = |error: io::Error, path: &Path| io::Error::other(format!("{}: {error}", path.display()));
    let entries = fs::read_dir(&folder).map_err(|error| named(error, &folder))?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    files.sort();
    let (mut figures, mut failures) = (Vec::new(), Vec::new());
    for file in &files {
        let benchmark = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("json") => {
                let read: Vec<Figure> =
                    serde_json::from_slice(&fs::read(file)?).map_err(|error| named(error.into(), file))?;
                figures.extend(read);
            }
            Some("failures") => {
                let text = fs::read_to_string(file)?;
                failures.extend(text.lines().map(|line| format!("{benchmark}: {line}")));
            }
            _ => {}
        }
    }
    for benchmark in expected {
        let has = |extension: &str| files.contains(&folder.join(benchmark).with_extension(extension));
        if !has("json") && !has("failures") {
            failures.push(format!("{benchmark}: was not run"));
        }
    }
    Ok((figures, failures))
}

/// Writes one benchmark's figures to the folder from which the report reads them.
pub fn write(benchmark: &str, figures: &[Figure]) -> io::Result<()> {
    fs::write(parts()?.join(benchmark).with_extension("json"), serde_json::to_vec_pretty(figures)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_say_how_far_from_the_floor_and_how_much_better_than_the_peer() {
        let cost =
            Figure::new("a", 30.0, "ms").with_floor(Kind::Cost, 20.0).with_peer(Kind::Cost, "X", 300.0);
        assert_eq!((cost.ratio_to_floor, cost.ratio_to_peer), (Some(1.5), Some(10.0)));
        let rate =
            Figure::new("a", 50.0, "MB/s").with_floor(Kind::Rate, 400.0).with_peer(Kind::Rate, "X", 25.0);
        assert_eq!((rate.ratio_to_floor, rate.ratio_to_peer), (Some(8.0), Some(2.0)));
    }

    #[test]
    fn goals_are_met_or_not() {
        let cost =
            Figure::new("a", 30.0, "ms").with_floor(Kind::Cost, 20.0).with_peer(Kind::Cost, "X", 300.0);
        for (goal, met, words) in [
            (Goal::TimesFloorAtMost(1.5), true, "≤ 1.5 × floor"),
            (Goal::TimesFloorAtMost(1.35), false, "≤ 1.35 × floor"),
            (Goal::TimesPeerAtLeast(6.0), true, "≥ 6 × peer"),
        ] {
            let figure = cost.clone().with_goal(goal);
            assert_eq!((figure.met, figure.goal.as_deref()), (Some(met), Some(words)));
            assert_eq!(figure.not_met().met, Some(false));
        }
        let bare = Figure::new("a", 1.0, "ms");
        assert_eq!(bare.clone().with_goal(Goal::TimesFloorAtMost(9.0)).met, Some(false), "there is no floor");
        assert_eq!(bare.clone().not_met().met, None, "nor a goal");
        let told = bare.with_information('≤', 0.5);
        assert_eq!((told.met, told.goal.as_deref()), (None, Some("for information ≤ 0.5 ms")));
        assert_eq!(told.not_met().met, None, "an absolute figure is no goal");
        let both = cost.with_goal(Goal::TimesFloorAtMost(2.0)).with_information('≤', 20.0);
        assert_eq!(
            (both.met, both.goal.as_deref()),
            (Some(true), Some("≤ 2 × floor, for information ≤ 20 ms"))
        );
    }

    #[test]
    fn the_report_has_the_fields_that_readers_were_told_of() {
        let figure = Figure::new("a", 1.0, "ms").with_basis("3 runs");
        let line = Line { figure: &figure, machine: "a machine", excluded: "network" };
        let line = serde_json::to_value(line).unwrap();
        let mut fields: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        let mut told = "name value unit floor ratio_to_floor peer peer_value ratio_to_peer goal met machine basis excluded"
            .split(' ')
            .collect::<Vec<_>>();
        told.sort_unstable();
        assert_eq!(fields, told);
        assert_eq!((&line["value"], &line["floor"]), (&1.0.into(), &serde_json::Value::Null));
    }

    #[test]
    fn what_failed_and_what_never_ran_is_told_beside_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let parts = folder.path().join("parts");
        assert!(collect(folder.path(), &[]).is_err(), "no benchmark has run");
        fs::create_dir(&parts).unwrap();
        let figure = Figure::new("coding/encode/n=4 k=2 1 MiB", 1.0, "ms");
        fs::write(parts.join("coding.json"), serde_json::to_vec(&[figure]).unwrap()).unwrap();
        fs::write(parts.join("system.json"), "[]").unwrap();
        fs::write(parts.join("system.failures"), "n=64: no room\n").unwrap();
        fs::write(parts.join("peers.failures"), "ended with an error\n").unwrap();
        let (figures, failures) = collect(folder.path(), &["coding", "signatures", "system"]).unwrap();
        assert_eq!(figures.len(), 1);
        let told = ["peers: ended with an error", "system: n=64: no room", "signatures: was not run"];
        assert_eq!(failures, told);
        fs::write(parts.join("coding.json"), "{").unwrap();
        assert!(collect(folder.path(), &[]).unwrap_err().to_string().contains("coding.json"));
    }
}
