//! `dac-bench-system`: the whole system under load, real processes on this machine, beside the CPU work that nobody can do without.
//!
//! ```sh
//! cargo build --release -p dac-node -p dac-aggregator
//! tools/with-postgres cargo run --release -p dac-bench --bin dac-bench-system -- [--full]
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use dac_bench::report::{self, Figure};
use dac_bench::system::rates::Times;
use dac_bench::system::setting::{Setting, show_bytes};
use dac_bench::system::{arena::Arena, rates, repair, retrieval};
use dac_database::Backend;
use dac_tests::{Context, Result};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Committees of the goals: seats, and shards that rebuild a batch.
const COMMITTEES: [(u16, u16); 4] = [(4, 2), (7, 3), (16, 6), (64, 22)];
/// Payloads of the full form.
const PAYLOADS: [usize; 4] = [16 * KIB, MIB, 8 * MIB, 32 * MIB];

#[derive(Debug, Parser)]
#[command(version, about = "The whole system under load, on this machine")]
struct Arguments {
    /// Every committee, payload and store, with TLS and without, for longer: an hour or two. Without it the settings of the goals and
    /// one of each kind, in some minutes.
    #[arg(long)]
    full: bool,
    /// Only settings whose name contains this, as `n=4,k=2/SQLite/plain`.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Only this payload, in KiB.
    #[arg(long, value_name = "KIB")]
    payload: Option<usize>,
    /// MiB that a member loses and repairs; 0: none. 1024 in the full form.
    #[arg(long, value_name = "MIB")]
    repair: Option<usize>,
    /// No latencies and no retrieval, only the capacity.
    #[arg(long)]
    capacity_only: bool,
    /// Seconds at capacity, and at each rate below it.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

impl Arguments {
    /// What is measured, in order.
    fn cells(&self) -> Vec<(Setting, Vec<usize>)> {
        use Backend::{Postgres, Sqlite};
        let mut cells = Vec::new();
        if self.full {
            for (n, k) in COMMITTEES {
                for backend in [Sqlite, Postgres] {
                    for tls in [false, true] {
                        cells.push((Setting::new(n, k, backend, tls), PAYLOADS.to_vec()));
                    }
                }
            }
        } else {
            cells = vec![
                (Setting::new(4, 2, Sqlite, false), vec![16 * KIB, 64 * KIB, MIB, 8 * MIB]),
                (Setting::new(4, 2, Sqlite, true), vec![MIB]),
                (Setting::new(4, 2, Postgres, false), vec![64 * KIB, MIB]),
                (Setting::new(7, 3, Sqlite, false), vec![MIB]),
                (Setting::new(16, 6, Sqlite, false), vec![MIB, 8 * MIB]),
            ];
        }
        cells.retain(|(setting, _)| setting.to_string().contains(&self.only));
        if let Some(kib) = self.payload {
            for (_, payloads) in &mut cells {
                *payloads = vec![kib * KIB];
            }
        }
        cells
    }

    fn times(&self) -> Times {
        let seconds = Duration::from_secs(self.seconds.unwrap_or(if self.full { 20 } else { 5 }));
        Times {
            warm_up: Duration::from_secs(2),
            capacity: seconds,
            latency: if self.capacity_only { Duration::ZERO } else { seconds },
        }
    }
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
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    println!(
        "Included: submission over gRPC, durable storage by aggregator and members, encoding, checks, signatures, certificates back to \
         members. The sender of the load runs on the same machine and takes its share.\n\
         Excluded: L1 (nothing is posted, but for repair), real networks, hash kinds that send members the whole payload; of a PostgreSQL \
         store what the server uses up.\n\
         Floor: encoding with commitment, each member's check of its shard, one signature each and the verification of their sum, on all cores.\n"
    );
    let mut figures = Vec::new();
    for (setting, payloads) in arguments.cells() {
        for bytes in payloads {
            let start = Instant::now();
            let mut arena = Arena::start(setting).await?;
            println!("{setting}, {}", show_bytes(bytes));
            let mut measured = rates::measure(&mut arena, bytes, arguments.times()).await?;
            if !arguments.capacity_only {
                measured.extend(retrieval::measure(&mut arena, bytes).await?);
            }
            measured.iter().for_each(show);
            println!("  ({:.0} s)", start.elapsed().as_secs_f64());
            figures.extend(measured);
            // After each: a run that is broken off has measured something.
            report::write("system", &figures).context("the figures")?;
        }
    }
    let repair_mib = arguments.repair.unwrap_or(if arguments.full { 1024 } else { 64 });
    let setting = Setting::new(4, 2, Backend::Sqlite, false);
    if repair_mib > 0 && setting.to_string().contains(&arguments.only) {
        let measured = repair::measure(Arena::start(setting).await?, repair_mib * MIB).await?;
        measured.iter().for_each(show);
        figures.extend(measured);
        report::write("system", &figures).context("the figures")?;
    }
    Ok(())
}

fn show(figure: &Figure) {
    let floor = figure.floor.zip(figure.ratio_to_floor);
    let floor = floor.map_or_else(String::new, |(floor, ratio)| format!("   floor {floor:.3}, {ratio:.2}×"));
    let goal = figure.goal.as_ref().map_or_else(String::new, |goal| {
        format!("   goal {goal}: {}", if figure.met == Some(true) { "met" } else { "NOT met" })
    });
    let short = figure.name.split('/').nth(1).unwrap_or(&figure.name);
    println!("  {short:<34} {:10.2} {}{floor}{goal}", figure.value, figure.unit);
}
