//! Capacity, latencies below it, and what a payload byte costs.

use std::time::Duration;

use dac_client::load::{Rate, Summary};
use dac_tests::Result;

use super::arena::{Arena, Load};
use super::floor::Floor;
use super::setting::show_bytes;
use super::usage::Usage;
use crate::report::{Figure, Goal, Kind};

/// A mebibyte.
const MIB: f64 = 1_048_576.0;
/// Memory of a process that is not there for payloads, in MiB.
const BASE_MIB: f64 = 64.0;
/// Memory for a payload in flight, in payloads: arriving, encoded, on its way.
const TIMES_PAYLOAD: f64 = 3.0;
/// Deliveries at once to one member, as the aggregator has it by default.
const DELIVERIES_PER_MEMBER: usize = 8;

/// How long things are measured.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Before anything is measured.
    pub warm_up: Duration,
    /// At capacity.
    pub capacity: Duration,
    /// At each of the rates below it; none: not at all.
    pub latency: Duration,
}

/// Batches kept in flight to find the capacity: enough that nobody waits for work, bounded in bytes.
pub fn in_flight(bytes: usize) -> usize {
    ((96 << 20) / bytes).clamp(3, 48)
}

/// Measures it for payloads of one size.
#[allow(clippy::cast_precision_loss)] // Sizes and counts far below 2^52.
pub async fn measure(arena: &mut Arena, bytes: usize, times: Times) -> Result<Vec<Figure>> {
    let (setting, cores) = (arena.setting, std::thread::available_parallelism().map_or(1, usize::from));
    let name = |what: &str| format!("system/{what}/{setting}/{}", show_bytes(bytes));
    let (n, k) = (setting.geometry.n(), setting.geometry.k());
    let floor = Floor::measure(setting.geometry, bytes);
    let in_flight = in_flight(bytes);

    let load = |rate, measured| Load { rate, bytes, warm_up: times.warm_up, measured, in_flight };
    let before = (arena.aggregator_usage()?, arena.members_usage()?);
    let sender = Usage::of(std::process::id())?;
    let summary = arena.load(load(Rate::Saturate, times.capacity)).await?;
    let aggregator = arena.aggregator_usage()?.since(before.0);
    let members = arena.members_usage()?.since(before.1);
    let sender = Usage::of(std::process::id())?.since(sender);
    let payload_mib = summary.all_bytes as f64 / MIB;
    let mut figures = Vec::new();

    let floor_rate = floor.batches_per_second(cores) * bytes as f64 / 1e6;
    let capacity = Figure::new(name("capacity"), summary.bytes_per_second / 1e6, "MB/s")
        .with_floor(Kind::Rate, floor_rate);
    figures.push(match (n, bytes) {
        (4, 1_048_576..) => capacity.with_goal(Goal::AtLeast(50.0)),
        (16, 1_048_576..) => capacity.with_goal(Goal::AtLeast(20.0)),
        _ => capacity,
    });
    let certificates = Figure::new(name("certificates"), summary.certificates_per_second, "1/s")
        .with_floor(Kind::Rate, floor.batches_per_second(cores));
    let is_small = n == 4 && bytes <= 64 << 10;
    figures.push(if is_small { certificates.with_goal(Goal::AtLeast(150.0)) } else { certificates });

    let cpu = |what: &str, cpu: Duration, floor: Duration| {
        Figure::new(name(what), cpu.as_secs_f64() * 1e3 / payload_mib, "CPU ms/MiB")
            .with_floor(Kind::Cost, floor.as_secs_f64() * 1e3 / (bytes as f64 / MIB))
    };
    figures.push(cpu("aggregator CPU", aggregator.cpu, floor.aggregator));
    figures.push(cpu("node CPU", members.cpu / u32::from(n), floor.member));
    let sender_ms = sender.cpu.as_secs_f64() * 1e3 / payload_mib;
    figures.push(Figure::new(name("load sender CPU"), sender_ms, "CPU ms/MiB"));
    // Once for the aggregator; a k-th for a member.
    let written = |what: &str, bytes: u64, floor: f64| {
        Figure::new(name(what), bytes as f64 / MIB / payload_mib, "MiB/MiB").with_floor(Kind::Cost, floor)
    };
    figures.push(written("aggregator writes", aggregator.written_bytes, 1.0));
    figures.push(written("node writes", members.written_bytes / u64::from(n), 1.0 / f64::from(k)));

    let (aggregator, member) = arena.peak_memory_bytes()?;
    let memory = |what: &str, peak: u64, in_flight_bytes: f64| {
        let limit = (BASE_MIB + TIMES_PAYLOAD * in_flight_bytes / MIB).ceil();
        Figure::new(name(what), peak as f64 / MIB, "MiB").with_goal(Goal::AtMost(limit))
    };
    figures.push(memory("aggregator memory", aggregator, (in_flight * bytes) as f64));
    let shards = in_flight.min(DELIVERIES_PER_MEMBER) * bytes / usize::from(k);
    figures.push(memory("node memory", member, shards as f64));

    if !times.latency.is_zero() {
        for percent in [10_u32, 50, 90] {
            let rate = Rate::Bytes(summary.bytes_per_second.max(1.0) * f64::from(percent) / 100.0);
            let summary = arena.load(load(rate, times.latency)).await?;
            let of = |what: &str| name(&format!("certificate latency {what} at {percent} %"));
            figures.extend(latencies(&summary, of, n == 7 && percent == 50 && bytes == 1 << 20));
        }
    }
    Ok(figures)
}

fn latencies(summary: &Summary, name: impl Fn(&str) -> String, has_goal: bool) -> Vec<Figure> {
    let latency = summary.certificate_latency;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let p99 = Figure::new(name("p99"), ms(latency.p99), "ms");
    vec![
        Figure::new(name("p50"), ms(latency.p50), "ms"),
        if has_goal { p99.with_goal(Goal::AtMost(250.0)) } else { p99 },
        Figure::new(name("p99.9"), ms(latency.p999), "ms"),
    ]
}
