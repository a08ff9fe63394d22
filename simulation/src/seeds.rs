//! Runs many seeds, each in a process of its own and several at once.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::arguments::Arguments;

/// A seed that takes longer than this is reported as hanging.
const SEED_MAX_SECONDS: f64 = 180.0;
/// How often a process is checked for its end.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The fields of a seed's report that are read.
#[derive(Clone, Debug, Deserialize)]
struct Report {
    breaches: Vec<String>,
    posted: u64,
    signatures: u64,
    liars: u64,
    faults: BTreeMap<String, u64>,
}

/// The sums over all seeds.
#[derive(Debug, Default, Serialize)]
struct Summary {
    n: u16,
    from: u64,
    seeds: u64,
    failures: Vec<u64>,
    seconds: f64,
    posted: u64,
    signatures: u64,
    lying_members: u64,
    faults: BTreeMap<String, u64>,
}

/// Runs the seeds and prints a summary.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let (began, next) = (uptime_seconds(), AtomicU64::new(arguments.from));
    let end = arguments.from.saturating_add(arguments.seeds);
    let summary = Mutex::new(Summary {
        n: arguments.n,
        from: arguments.from,
        seeds: arguments.seeds,
        ..Summary::default()
    });
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= end {
                        return;
                    }
                    let outcome = live_through(arguments, seed);
                    let mut summary = summary.lock().expect("nobody panics with it");
                    note(arguments, &mut summary, seed, outcome);
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("nobody panicked with it");
    summary.failures.sort_unstable();
    summary.seconds = uptime_seconds() - began;
    if arguments.json {
        println!("{}", serde_json::to_string(&summary).expect("a summary is plain data"));
    } else {
        println!(
            "{} seeds of {} members in {:.1} s: {} failed; {} batches on L1, {} signatures, {} lying members, faults {:?}",
            summary.seeds,
            summary.n,
            summary.seconds,
            summary.failures.len(),
            summary.posted,
            summary.signatures,
            summary.lying_members,
            summary.faults
        );
    }
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn note(arguments: &Arguments, summary: &mut Summary, seed: u64, outcome: Result<Report, String>) {
    let problems = match outcome {
        Ok(report) => {
            summary.posted += report.posted;
            summary.signatures += report.signatures;
            summary.lying_members += report.liars;
            for (kind, count) in report.faults {
                *summary.faults.entry(kind).or_default() += count;
            }
            report.breaches
        }
        Err(problem) => vec![problem],
    };
    if problems.is_empty() {
        return;
    }
    summary.failures.push(seed);
    eprintln!("seed {seed} of {} members failed:", arguments.n);
    for problem in problems {
        eprintln!("  {problem}");
    }
    let flaw = flaw_arguments(arguments).join(" ");
    eprintln!(
        "  again: RUST_LOG=simulation=info cargo run -p dac-simulation -- --n {} {flaw}--one {seed}",
        arguments.n
    );
}

fn flaw_arguments(arguments: &Arguments) -> Vec<String> {
    let value = arguments.flaw.and_then(|flaw| flaw.to_possible_value());
    value.map(|value| vec!["--flaw".to_owned(), format!("{} ", value.get_name())]).unwrap_or_default()
}

fn live_through(arguments: &Arguments, seed: u64) -> Result<Report, String> {
    let first = live_once(arguments, seed)?;
    if arguments.twice {
        let second = live_once(arguments, seed)?;
        if first != second {
            return Err(format!("run twice, it is not the same: {first} and {second}"));
        }
    }
    serde_json::from_str(&first).map_err(|error| format!("{error}: {first:?}"))
}

fn live_once(arguments: &Arguments, seed: u64) -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["--n", &arguments.n.to_string(), "--one", &seed.to_string()])
        .args(flaw_arguments(arguments).iter().map(|argument| argument.trim()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let began = uptime_seconds();
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if uptime_seconds() - began > SEED_MAX_SECONDS {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("it did not end within {SEED_MAX_SECONDS} s"));
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a thread of its own for each seed, without a runtime"
        )]
        std::thread::sleep(LOOK_INTERVAL);
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the machine's uptime in seconds. This program's own clock is simulated and does not
/// advance.
fn uptime_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split_whitespace().next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0)
}
