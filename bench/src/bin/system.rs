//! `dac-bench-system` measures the whole system under load, with real processes on this machine,
//! and the CPU work that any implementation needs for the same batches.
//!
//! ```sh
//! cargo build --release -p dac-node -p dac-aggregator
//! tools/with-postgres cargo run --release -p dac-bench --bin dac-bench-system -- [--full]
//! ```
//!
//! If one part fails, the others are still measured. The report lists the failed parts, and the
//! program ends with an error code.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use dac_bench::excluded;
use dac_bench::report::{self, Figure};
use dac_bench::system::arena::{self, Arena};
use dac_bench::system::plan::{self, Cell, Times};
use dac_bench::system::setting::{Setting, show_bytes};
use dac_bench::system::{capacity, latency, repair, retrieval};
use dac_database::Backend;
use dac_tests::{Context, Failure, Result};
use futures::FutureExt as _;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// The name of this benchmark, under which its figures and failures are written.
const BENCHMARK: &str = "system";
/// The longest time for one cell (one system with payloads of one size). After it the cell is given
/// up, so that the others are measured.
const CELL_LIMIT: Duration = Duration::from_secs(20 * 60);
/// The longest time for the measurement of repair.
const REPAIR_LIMIT: Duration = Duration::from_secs(2 * 60 * 60);

#[derive(Debug, Parser)]
#[command(version, about = "Measures the whole system under load, on this machine")]
struct Arguments {
    /// Measure every committee, payload and store, with TLS and without, and for longer; this takes
    /// some hours. Without this option, only the systems that have goals and one system of each
    /// kind are measured, in less than half an hour
    #[arg(long)]
    full: bool,
    /// Measure only systems whose name contains this text, for example `n=4,k=2/SQLite/plain`. The
    /// name of the repair is `repair` and the name of its system
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Measure only payloads of this size, in KiB
    #[arg(long, value_name = "KIB")]
    payload: Option<usize>,
    /// MiB of shards that a member loses and repairs; 0 leaves this measurement out
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    repair: usize,
    /// Measure only the capacity, neither latencies nor retrieval
    #[arg(long)]
    capacity_only: bool,
    /// Seconds for which the capacity and each rate below it are measured
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

impl Arguments {
    /// Returns the cells to measure, in order.
    fn cells(&self) -> Vec<Cell> {
        let mut cells = if self.full { plan::full() } else { plan::short() };
        cells.retain(|cell| cell.setting.to_string().contains(&self.only));
        if let Some(kib) = self.payload {
            cells.dedup_by_key(|cell| cell.setting);
            for cell in &mut cells {
                *cell = Cell { bytes: kib * KIB, latency: true, retrieval: true, ..*cell };
            }
        }
        if self.capacity_only {
            for cell in &mut cells {
                *cell = Cell { latency: false, retrieval: false, ..*cell };
            }
        }
        cells
    }

    fn times(&self, bytes: usize) -> Times {
        let seconds = self.seconds.map(Duration::from_secs);
        seconds.map_or_else(|| Times::of(self.full, bytes), Times::all)
    }

    /// Returns the number of bytes that a member loses and repairs, if repair is measured.
    fn repair(&self) -> Option<usize> {
        let is_wanted = format!("repair {}", repair_setting()).contains(&self.only);
        (self.repair > 0 && is_wanted && self.payload.is_none()).then_some(self.repair * MIB)
    }
}

fn repair_setting() -> Setting {
    Setting::new(4, 2, Backend::Sqlite, false)
}

fn main() -> ExitCode {
    dac_tests::install_tls_provider();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&arguments)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("{failed} parts failed");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Measures all parts and returns the number of those that failed.
async fn run(arguments: &Arguments) -> Result<usize> {
    println!("{}\n", excluded::SYSTEM);
    report::forget_failures(BENCHMARK)?;
    let mut results = Results::default();
    for cell in arguments.cells() {
        let name = format!("{}, {}", cell.setting, show_bytes(cell.bytes));
        results.part(&name, CELL_LIMIT, Box::pin(measure(cell, arguments.times(cell.bytes)))).await?;
    }
    if let Some(bytes) = arguments.repair() {
        let name = format!("repair of {} by {}", show_bytes(bytes), repair_setting());
        let measured = Box::pin(async {
            let measured =
                repair::measure(Arena::start(repair_setting(), arena::OFTEN).await?, bytes).await?;
            Ok((measured, None))
        });
        results.part(&name, REPAIR_LIMIT, measured).await?;
    }
    Ok(results.failed)
}

/// Measures one cell. Returns its figures, and the failure that prevented the others, if any.
async fn measure(cell: Cell, times: Times) -> Result<(Vec<Figure>, Option<Failure>)> {
    let mut arena = Arena::start(cell.setting, arena::SELDOM).await.context("starting")?;
    let mut figures = Vec::new();
    let measured = measure_in(&mut arena, cell, times, &mut figures).await;
    let finished = arena.finish().await.context("clearing up");
    Ok((figures, measured.err().or(finished.err())))
}

async fn measure_in(arena: &mut Arena, cell: Cell, times: Times, figures: &mut Vec<Figure>) -> Result<()> {
    let (closed_loop, measured) = capacity::saturate(arena, cell.bytes, times).await.context("capacity")?;
    figures.extend(measured);
    // Retrieval is measured even if the measurement of latencies failed.
    let latencies = if cell.latency { below(arena, cell, times, closed_loop, figures).await } else { Ok(()) };
    if cell.retrieval {
        figures.extend(retrieval::measure(arena, cell.bytes).await.context("retrieval")?);
    }
    latencies
}

/// Measures latencies at shares of a rate that the system sustains.
async fn below(
    arena: &mut Arena,
    cell: Cell,
    times: Times,
    closed_loop: f64,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let sustained = capacity::sustain(arena, cell.bytes, times, closed_loop).await;
    let (rate, figure) = sustained.context("a rate that is kept up with")?;
    figures.push(figure);
    figures.extend(latency::measure(arena, cell.bytes, times, rate).await.context("latencies")?);
    Ok(())
}

/// The results of all parts so far.
#[derive(Default)]
struct Results {
    figures: Vec<Figure>,
    failed: usize,
}

impl Results {
    /// Runs one part. If the part fails, the failure is written to the report's folder; the result
    /// is an error only if that is not possible.
    async fn part(
        &mut self,
        name: &str,
        limit: Duration,
        part: impl Future<Output = Result<(Vec<Figure>, Option<Failure>)>>,
    ) -> Result<()> {
        let start = Instant::now();
        println!("{name}");
        // The test harness panics if it cannot continue. Such a panic ends only this part.
        let part = AssertUnwindSafe(part).catch_unwind();
        let failure = match tokio::time::timeout(limit, part).await {
            Ok(Ok(Ok((figures, failure)))) => {
                figures.iter().for_each(show);
                self.figures.extend(figures);
                failure
            }
            Ok(Ok(Err(failure))) => Some(failure),
            Ok(Err(_)) => Some(Failure::new("a panic, whose message is above")),
            Err(_) => Some(Failure::new(format!("given up after {} s", limit.as_secs()))),
        };
        if let Some(failure) = failure {
            eprintln!("  FAILED: {failure}");
            self.failed += 1;
            report::note_failure(BENCHMARK, &format!("{name}: {failure}"))?;
        }
        println!("  ({:.0} s)", start.elapsed().as_secs_f64());
        // The figures are written after each part, so that a run that is interrupted leaves those
        // that it has.
        report::write(BENCHMARK, &self.figures).context("the figures")
    }
}

fn show(figure: &Figure) {
    let floor = figure.floor.zip(figure.ratio_to_floor);
    let floor = floor.map_or_else(String::new, |(floor, ratio)| format!("   floor {floor:.3}, {ratio:.2}×"));
    let goal = figure.goal.as_ref().map_or_else(String::new, |goal| {
        format!("   goal {goal}: {}", if figure.met == Some(true) { "met" } else { "NOT met" })
    });
    let basis = figure.basis.as_ref().map_or_else(String::new, |basis| format!("   ({basis})"));
    let short = figure.name.split('/').nth(1).unwrap_or(&figure.name);
    println!("  {short:<34} {:10.2} {}{floor}{goal}{basis}", figure.value, figure.unit);
}
