//! Measures the system's capacity, and the cost of a payload byte at capacity.
//!
//! It is measured in two ways. In closed loop, the same number of batches is always in flight; this
//! gives the highest rate of certificates and their cost. In open loop, batches are due by the
//! clock; falling rates are tried until the system sustains one. Latencies are then measured at
//! shares of the sustained rate, because at shares of the closed-loop rate a queue could grow
//! without end.

use std::time::Duration;

use dac_client::load::{Rate, Summary};
use dac_database::Backend;
use dac_tests::Result;

use super::arena::{Arena, Load};
use super::floor::Floor;
use super::plan::Times;
use super::room::make_room;
use super::setting::show_bytes;
use super::usage::{Usage, loopback_bytes};
use crate::machine;
use crate::report::{Figure, Goal, Kind};

/// A mebibyte.
const MIB: f64 = 1_048_576.0;
/// The goal of the rate of payload bytes in large batches. The floor is the rate that the
/// processors reach if they do only the work that any implementation needs; the measured rate may
/// be this many times lower.
const CAPACITY_TIMES_FLOOR: f64 = 12.0;
/// The goal of the rate of certificates of small batches, as a number of times below the floor. It
/// is a goal of its own because the work per call counts more there.
const CERTIFICATES_TIMES_FLOOR: f64 = 6.5;
/// The goal of peak memory. The floor is the memory of the process before the load plus the bytes
/// in flight; the peak may be this many times as much, because a payload exists as it arrives,
/// encoded, and on its way.
const MEMORY_TIMES_FLOOR: f64 = 3.0;
/// The aggregator's default number of simultaneous deliveries to one member.
const DELIVERIES_PER_MEMBER: usize = 8;
/// The shares of the closed-loop rate that are tried in open loop, in percent.
const STEPS_PERCENT: [u32; 8] = [100, 90, 80, 70, 60, 50, 35, 20];
/// The share of the batches due in a step that must be certified by its end. The others may be in
/// flight or lost to the clock's granularity.
const KEPT_UP_SHARE: f64 = 0.97;
/// The median latency must be at most the window divided by this. Otherwise there is a queue, even
/// if as many batches leave it as arrive.
const KEPT_UP_WAITS: u32 = 5;
/// The number of batches that may still be in flight at the end of a step, independent of its
/// length.
const KEPT_UP_BATCHES: f64 = 2.0;
/// The largest number of bytes in flight in open loop. The aggregator starts to refuse batches not
/// far above it.
const IN_FLIGHT_MAX_BYTES: usize = 384 << 20;

/// Returns the number of batches that are kept in flight to find the capacity: enough that no
/// process waits for work, but bounded in bytes.
pub fn in_flight(bytes: usize) -> usize {
    ((96 << 20) / bytes).clamp(3, 48)
}

/// Returns how many batches may be in flight in open loop. At this number the sender drops the next
/// batch and counts it; at a rate that the system sustains there are far fewer.
pub(super) fn in_flight_max(bytes: usize) -> usize {
    (IN_FLIGHT_MAX_BYTES / bytes).clamp(8, 512)
}

/// Saturates the system. Returns the bytes a second and the figures.
#[allow(clippy::cast_precision_loss)] // Sizes and counts far below 2^52.
pub async fn saturate(arena: &mut Arena, bytes: usize, times: Times) -> Result<(f64, Vec<Figure>)> {
    let (setting, cores) = (arena.setting, machine::cores());
    let name = |what: &str| format!("system/{what}/{setting}/{}", show_bytes(bytes));
    let (n, k) = (setting.geometry.n(), setting.geometry.k());
    let floor = Floor::measure(setting.geometry, bytes);
    let in_flight = in_flight(bytes);

    let load =
        Load { rate: Rate::Saturate, bytes, warm_up: times.warm_up, measured: times.capacity, in_flight };
    make_room(arena, &load).await?;
    let idle_memory = arena.peak_memory_bytes()?;
    let before = (arena.aggregator_usage()?, arena.members_usage()?, arena.server_usage().await?);
    let (sender, loopback) = (Usage::of(std::process::id())?, loopback_bytes()?);
    let summary = arena.load(load).await?;
    let sender = Usage::of(std::process::id())?.since(sender);
    // The work after a batch's certificate counts too.
    arena.settle().await?;
    let loopback = loopback_bytes()?.saturating_sub(loopback);
    let aggregator = arena.aggregator_usage()?.since(before.0);
    let members = arena.members_usage()?.since(before.1);
    let server = arena.server_usage().await?.zip(before.2).map(|(now, before)| now.since(before));
    refuse_faults(&summary)?;

    let basis = format!(
        "{} batches in {} s, always {in_flight} in flight",
        (summary.certificates_per_second * summary.window.as_secs_f64()).round(),
        summary.window.as_secs()
    );
    let mut figures = Vec::new();
    let mut note = |figure: Figure| figures.push(figure.with_basis(&basis));
    let floor_rate = floor.batches_per_second(cores) * bytes as f64 / 1e6;
    let capacity = Figure::new(name("capacity"), summary.bytes_per_second / 1e6, "MB/s")
        .with_floor(Kind::Rate, floor_rate);
    // Only the plain system (SQLite without TLS) has goals.
    let is_plain = setting.is_plain();
    let goal = Goal::TimesFloorAtMost(CAPACITY_TIMES_FLOOR);
    note(match (n, bytes) {
        (4, 1_048_576..) if is_plain => capacity.with_goal(goal).with_information('≥', 50.0),
        (16, 1_048_576..) if is_plain => capacity.with_goal(goal).with_information('≥', 20.0),
        _ => capacity,
    });
    let certificates = Figure::new(name("certificates"), summary.certificates_per_second, "1/s")
        .with_floor(Kind::Rate, floor.batches_per_second(cores));
    let is_small = is_plain && n == 4 && bytes <= 64 << 10;
    let goal = Goal::TimesFloorAtMost(CERTIFICATES_TIMES_FLOOR);
    note(if is_small { certificates.with_goal(goal).with_information('≥', 150.0) } else { certificates });

    let payload_mib = summary.all_bytes as f64 / MIB;
    let cpu = |what: &str, cpu: Duration| {
        Figure::new(name(what), cpu.as_secs_f64() * 1e3 / payload_mib, "CPU ms/MiB")
    };
    let of_floor = |floor: Duration| floor.as_secs_f64() * 1e3 / (bytes as f64 / MIB);
    note(cpu("aggregator CPU", aggregator.cpu).with_floor(Kind::Cost, of_floor(floor.aggregator)));
    note(cpu("node CPU", members.cpu / u32::from(n)).with_floor(Kind::Cost, of_floor(floor.member)));
    note(cpu("load sender CPU", sender.cpu));
    let per_mib =
        |what: &str, bytes: u64| Figure::new(name(what), bytes as f64 / MIB / payload_mib, "MiB/MiB");
    match setting.backend {
        Backend::Sqlite => {
            // The floor is writing the payload once at the aggregator, and a k-th of it at a
            // member.
            let node = members.written_bytes / u64::from(n);
            note(per_mib("aggregator writes", aggregator.written_bytes).with_floor(Kind::Cost, 1.0));
            note(per_mib("node writes", node).with_floor(Kind::Cost, 1.0 / f64::from(k)));
        }
        // One server writes for all processes, so the aggregator's part of its writes cannot be
        // told from the members' parts.
        Backend::Postgres => {
            if let Some(server) = server {
                let all = 1.0 + f64::from(n) / f64::from(k);
                note(cpu("PostgreSQL CPU", server.cpu));
                note(per_mib("PostgreSQL writes", server.written_bytes).with_floor(Kind::Cost, all));
            }
        }
    }
    let sent = 1.0 + f64::from(n) / f64::from(k);
    note(per_mib("loopback bytes", loopback).with_floor(Kind::Cost, sent));

    let (aggregator, member) = arena.peak_memory_bytes()?;
    let memory = |what: &str, peak: u64, idle: u64, in_flight_bytes: usize| {
        let floor = (idle as f64 + in_flight_bytes as f64) / MIB;
        let goal = Goal::TimesFloorAtMost(MEMORY_TIMES_FLOOR);
        Figure::new(name(what), peak as f64 / MIB, "MiB").with_floor(Kind::Cost, floor).with_goal(goal)
    };
    note(memory("aggregator memory", aggregator, idle_memory.0, in_flight * bytes));
    let shards = in_flight.min(DELIVERIES_PER_MEMBER) * bytes / usize::from(k);
    note(memory("node memory", member, idle_memory.1, shards));
    Ok((summary.bytes_per_second, figures))
}

/// Finds the largest share of `bytes_per_second` that the system sustains in open loop. Returns it
/// as a rate and as a figure.
pub async fn sustain(
    arena: &mut Arena,
    bytes: usize,
    times: Times,
    bytes_per_second: f64,
) -> Result<(f64, Figure)> {
    let name = format!("system/sustained rate/{}/{}", arena.setting, show_bytes(bytes));
    let mut tried = Vec::new();
    for percent in STEPS_PERCENT {
        let rate = bytes_per_second.max(1.0) * f64::from(percent) / 100.0;
        let load = Load {
            rate: Rate::Bytes(rate),
            bytes,
            warm_up: times.warm_up,
            measured: times.step,
            in_flight: in_flight_max(bytes),
        };
        make_room(arena, &load).await?;
        let summary = arena.load_evenly(load).await?;
        arena.settle().await?;
        tried.push(format!("{percent} %"));
        if keeps_up(&summary) {
            let basis = format!(
                "open loop, equal pauses, {} s at each of {} of the closed-loop rate; the last was kept up with",
                summary.window.as_secs(),
                tried.join(", ")
            );
            return Ok((rate, Figure::new(name, rate / 1e6, "MB/s").with_basis(&basis)));
        }
    }
    let tried = tried.join(", ");
    Err(dac_tests::Failure::new(format!("none of {tried} of the closed-loop rate was kept up with")))
}

/// Returns whether the system sustained the rate: within the window it certified as many batches as
/// were due, except for a few in flight; the median latency was short; and no batch was dropped,
/// refused or lost.
#[allow(clippy::cast_precision_loss)] // Counts far below 2^52.
fn keeps_up(summary: &Summary) -> bool {
    let certified = summary.certificates_per_second * summary.window.as_secs_f64();
    let due = summary.due as f64;
    let has_no_queue = summary.certificate_latency.p50 * KEPT_UP_WAITS <= summary.window;
    turned_away(summary) == 0 && has_no_queue && certified + KEPT_UP_BATCHES >= due * KEPT_UP_SHARE
}

/// Counts the batches without a certificate, for all reasons.
pub(super) fn turned_away(summary: &Summary) -> u64 {
    let counted = |counts: &std::collections::BTreeMap<String, u64>| counts.values().sum::<u64>();
    summary.dropped + counted(&summary.refused) + counted(&summary.failed) + summary.unfinished
}

/// Returns an error if batches were lost or none was certified, because then the rate is not a
/// capacity.
fn refuse_faults(summary: &Summary) -> Result<()> {
    if turned_away(summary) == 0 && summary.certified > 0 {
        return Ok(());
    }
    Err(dac_tests::Failure::new(format!(
        "{} certified, {} dropped, refused {:?}, failed {:?}, {} unfinished",
        summary.certified, summary.dropped, summary.refused, summary.failed, summary.unfinished
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dac_client::load::Latencies;

    use super::*;

    fn summary(due: u64, certificates_per_second: f64) -> Summary {
        Summary {
            window: Duration::from_secs(10),
            due,
            due_bytes: due,
            certified: due,
            certificates_per_second,
            bytes_per_second: certificates_per_second,
            all_bytes: due,
            certificate_latency: Latencies::default(),
            receipt_latency: Latencies::default(),
            sender_lateness: Latencies::default(),
            dropped: 0,
            refused: BTreeMap::new(),
            failed: BTreeMap::new(),
            unfinished: 0,
        }
    }

    #[test]
    fn a_rate_is_kept_up_with_when_certificates_come_as_fast_as_batches() {
        assert!(keeps_up(&summary(1000, 100.0)));
        assert!(keeps_up(&summary(1000, 97.0)));
        assert!(!keeps_up(&summary(1000, 90.0)), "a queue grows by a tenth");
        assert!(keeps_up(&summary(4, 0.2)), "two of four are in flight");
        assert!(!keeps_up(&summary(8, 0.2)));
        let p50 = Duration::from_secs(3);
        let waiting = Latencies { p50, ..Latencies::default() };
        assert!(
            !keeps_up(&Summary { certificate_latency: waiting, ..summary(1000, 100.0) }),
            "there is a queue"
        );
        let dropping = Summary { dropped: 1, ..summary(1000, 100.0) };
        assert!(!keeps_up(&dropping), "what is dropped is not kept up with");
    }

    #[test]
    fn faults_are_no_capacity() {
        assert!(refuse_faults(&summary(10, 1.0)).is_ok());
        assert!(refuse_faults(&summary(0, 0.0)).is_err(), "nothing was certified");
        let refused = BTreeMap::from([("BUSY".to_owned(), 2)]);
        assert!(refuse_faults(&Summary { refused, ..summary(10, 1.0) }).is_err());
    }

    #[test]
    fn in_flight_is_bounded_in_bytes_and_number() {
        assert_eq!([16 << 10, 1 << 20, 8 << 20, 64 << 20].map(in_flight), [48, 48, 12, 3]);
    }
}
