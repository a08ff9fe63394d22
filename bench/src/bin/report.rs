//! `dac-bench-report` makes `target/bench/report.json`, the page and its plots from the figures
//! that the benchmarks wrote to `target/bench/parts`.
//!
//! If a part of the run failed or is missing, it writes everything else and then ends with an
//! error.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use dac_bench::model::{self, Model, scale};
use dac_bench::page::{self, Material};
use dac_bench::report::{self, Figure, Line};
use dac_bench::{curves, excluded, gas, machine, plot};

/// The benchmarks of a complete run.
const BENCHMARKS: [&str; 3] = ["coding", "signatures", "system"];

#[derive(Debug, Parser)]
#[command(version, about = "Makes the report and the plots from the figures of the benchmarks")]
struct Arguments {
    /// The document whose generated part is replaced. Plots are written to `plots/` beside it
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(failures) if failures.is_empty() => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!(
                "dac-bench-report: everything is written, but these parts of the run failed or are missing:"
            );
            failures.iter().for_each(|failure| eprintln!("  {failure}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("dac-bench-report: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the report and returns the failures of the run.
fn run(arguments: &Arguments) -> Result<Vec<String>, Box<dyn Error>> {
    let (mut figures, mut failures) = report::collect(&report::folder(), &BENCHMARKS)?;
    match gas::read(&gas::folder()) {
        Ok(gas) => figures.extend(gas),
        Err(error) => failures.push(format!("gas: {error}")),
    }
    let points = model::points(&figures);
    let record_gas = gas::of_record(&figures, scale::N, scale::ABSENT);
    if let Some((model, gas)) = Model::fit(points.iter()).zip(record_gas) {
        figures.extend(scale::figures(&scale::lines(&model, gas)));
    }

    let machine = machine::describe();
    let lines: Vec<_> = figures
        .iter()
        .map(|figure| Line { figure, machine: &machine, excluded: excluded::of(&figure.name) })
        .collect();
    let file = report::folder().join("report.json");
    fs::write(&file, serde_json::to_vec_pretty(&lines)?)?;
    println!("{} figures in {}", figures.len(), file.display());
    for figure in figures.iter().filter(|figure| figure.met == Some(false)) {
        let goal = figure.goal.as_deref().unwrap_or_default();
        println!("not met: {}: {} {}, {goal}", figure.name, page::short(figure.value), figure.unit);
    }
    if let Some(document) = &arguments.document {
        let text =
            fs::read_to_string(document).map_err(|error| format!("{}: {error}", document.display()))?;
        let made = page::page(&Material {
            machine: &machine,
            cores: machine::cores(),
            figures: &figures,
            plots: &draw(document, &figures)?,
            failures: &failures,
            points: &points,
            record_gas,
        });
        let text = page::replace(&text, &made)
            .ok_or_else(|| format!("{}: the marks of the made part are missing", document.display()))?;
        fs::write(document, text)?;
    }
    Ok(failures)
}

/// Draws each plot that has points, and returns their titles and files.
fn draw(document: &Path, figures: &[Figure]) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let folder = document.parent().unwrap_or(Path::new(".")).join("plots");
    fs::create_dir_all(&folder)?;
    let mut drawn = Vec::new();
    for plot in curves::all(figures) {
        let file = format!("{}.svg", plot.file);
        if plot::draw(&folder.join(&file), plot.title, plot.x, plot.y, &plot.curves)? {
            drawn.push((plot.title.to_owned(), format!("plots/{file}")));
        }
    }
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    /// `make` refuses a missing document before it measures anything, not an hour later.
    #[test]
    fn a_document_that_is_not_there_is_refused_at_once() {
        let top = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let make = |document: &str| {
            let mut command = Command::new("make");
            command.current_dir(top).args(["bench-document", &format!("BENCH_DOCUMENT={document}")]);
            command.env_remove("MAKEFLAGS").output().unwrap()
        };
        assert!(make("docs/performance.md").status.success());
        assert!(make("").status.success(), "no document is wanted");
        for missing in ["docs/none.md", "docs/glossary.md"] {
            let refused = make(missing);
            let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(!refused.status.success() && stderr.contains(missing), "{missing}: {stderr}");
        }
    }
}
