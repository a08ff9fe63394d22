//! `dac-bench-report`: from what the benchmarks left in `target/bench/parts` to `target/bench/report.json`, the page and its plots.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use dac_bench::plot::{self, Curve};
use dac_bench::report::{self, Figure};
use dac_bench::{machine, page};
use serde::Serialize;

#[derive(Debug, Parser)]
#[command(version, about = "Collects what the benchmarks measured")]
struct Arguments {
    /// The document whose made part is replaced; plots go beside it, into `plots/`.
    #[arg(long, value_name = "FILE")]
    document: Option<PathBuf>,
}

/// A figure as the report has it.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    figure: &'a Figure,
    machine: &'a str,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dac-bench-report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let folder = report::folder();
    let mut parts: Vec<PathBuf> = fs::read_dir(folder.join("parts"))
        .map_err(|error| format!("{}: {error}: no benchmark has run yet", folder.join("parts").display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    parts.sort();
    let mut figures: Vec<Figure> = Vec::new();
    for part in parts.iter().filter(|part| part.extension().is_some_and(|extension| extension == "json")) {
        let read: Vec<Figure> = serde_json::from_slice(&fs::read(part)?)
            .map_err(|error| format!("{}: {error}", part.display()))?;
        figures.extend(read);
    }
    let machine = machine::describe();
    let lines: Vec<_> = figures.iter().map(|figure| Line { figure, machine: &machine }).collect();
    let file = folder.join("report.json");
    fs::write(&file, serde_json::to_vec_pretty(&lines)?)?;
    println!("{} figures in {}", figures.len(), file.display());
    for figure in figures.iter().filter(|figure| figure.met == Some(false)) {
        let goal = figure.goal.as_deref().unwrap_or_default();
        println!("not met: {}: {} {}, {goal}", figure.name, page::short(figure.value), figure.unit);
    }
    if let Some(document) = &arguments.document {
        let plots = draw(document, &figures)?;
        let text = fs::read_to_string(document)?;
        let made = page::page(&machine, &figures, &plots);
        let text = page::replace(&text, &made)
            .ok_or_else(|| format!("{}: the marks of the made part are missing", document.display()))?;
        fs::write(document, text)?;
    }
    Ok(())
}

/// Cost of encoding and of a shard's check against seats, ours and others'.
fn draw(document: &Path, figures: &[Figure]) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let plots = document.parent().unwrap_or(Path::new(".")).join("plots");
    fs::create_dir_all(&plots)?;
    let mut drawn = Vec::new();
    for (operation, title, name) in [
        ("encode", "Encode and commit 22 MiB, one thread", "encode.svg"),
        ("check of a shard", "A member's check of its shard, 22 MiB, one thread", "check.svg"),
        ("decode from the last k", "Decode 22 MiB from the last k shards, one thread", "decode.svg"),
    ] {
        let curves = curves(operation, figures);
        if plot::draw(&plots.join(name), title, "seats n", "ms", &curves)? {
            drawn.push((title.to_owned(), format!("plots/{name}")));
        }
    }
    Ok(drawn)
}

/// Seats of a committee that stores at about three times the payload; others would make a curve of two things.
fn seats(name: &str) -> Option<f64> {
    let group = name.split('/').nth(2)?;
    let n = group.strip_prefix("n=")?.split(' ').next()?.parse().ok()?;
    (!group.contains("k=11") && group.ends_with("22 MiB")).then_some(n)
}

fn curves(operation: &str, figures: &[Figure]) -> Vec<Curve> {
    let prefix = format!("coding/{operation}/");
    let of_operation: Vec<&Figure> =
        figures.iter().filter(|figure| figure.name.starts_with(&prefix)).collect();
    let curve = |name: &str, value: &dyn Fn(&Figure) -> Option<f64>| {
        let points = of_operation.iter().filter_map(|figure| Some((seats(&figure.name)?, value(figure)?)));
        Curve { name: name.to_owned(), points: points.collect() }
    };
    let ours = curve("this", &|figure| figure.peer.is_none().then_some(figure.value));
    let floor = curve("floor", &|figure| figure.floor);
    let mut curves = vec![ours, floor];
    let mut peers: Vec<&str> = of_operation.iter().filter_map(|figure| figure.peer.as_deref()).collect();
    peers.sort_unstable();
    peers.dedup();
    curves.extend(peers.into_iter().filter(|peer| !peer.contains("published")).map(|peer| {
        curve(peer, &|figure| figure.peer_value.filter(|_| figure.peer.as_deref() == Some(peer)))
    }));
    curves
}
