//! Measures latencies to the certificate in open loop, below the rate that the system sustains.
//!
//! Batches are due by the clock with random pauses, as those of many independent rollups are. A
//! latency counts from the time when its batch was due, so that a stalled sender is counted too.

use std::time::Duration;

use dac_client::load::{Rate, Summary};
use dac_tests::Result;

use super::arena::{Arena, Load};
use super::capacity::{in_flight_max, turned_away};
use super::floor::Floor;
use super::plan::Times;
use super::room::make_room;
use super::setting::show_bytes;
use crate::report::{Figure, Goal, Kind};

/// The measured shares of the sustained rate, in percent.
const LOADS_PERCENT: [u32; 3] = [10, 50, 90];
/// A share is measured until this number of batches were due, unless that takes too long.
/// Percentiles of fewer batches mean little.
const BATCHES_WANTED: f64 = 100.0;
/// The longest measurement of a share, in multiples of the usual window.
const WINDOWS_MAX: u32 = 2;
/// The goal of the 99th percentile of latency, as a multiple of the CPU work that all processes
/// together do for one batch.
const P99_TIMES_FLOOR: f64 = 50.0;

/// Measures latencies for payloads of one size, at shares of `bytes_per_second`.
#[allow(clippy::cast_precision_loss)] // Sizes far below 2^52.
pub async fn measure(
    arena: &mut Arena,
    bytes: usize,
    times: Times,
    bytes_per_second: f64,
) -> Result<Vec<Figure>> {
    let setting = arena.setting;
    let mut figures = Vec::new();
    for percent in LOADS_PERCENT {
        let of_goal = setting.is_plain() && setting.geometry.n() == 7 && bytes == 1 << 20 && percent == 50;
        let rate = bytes_per_second.max(1.0) * f64::from(percent) / 100.0;
        let least = if of_goal { times.latency_of_goal } else { times.latency };
        let measured = window(least, rate / bytes as f64);
        let load = Load {
            rate: Rate::Bytes(rate),
            bytes,
            warm_up: times.warm_up,
            measured,
            in_flight: in_flight_max(bytes),
        };
        make_room(arena, &load).await?;
        let summary = arena.load(load).await?;
        arena.settle().await?;
        let name = |what: &str| {
            format!("system/certificate latency {what} at {percent} %/{setting}/{}", show_bytes(bytes))
        };
        let floor = of_goal.then(|| Floor::measure(setting.geometry, bytes).total);
        figures.extend(latencies(&summary, rate, name, floor));
    }
    Ok(figures)
}

/// Returns a window that is long enough for the wanted batches, within bounds.
fn window(least: Duration, batches_per_second: f64) -> Duration {
    let wanted = BATCHES_WANTED / batches_per_second.max(f64::MIN_POSITIVE);
    let longest = least * WINDOWS_MAX;
    Duration::try_from_secs_f64(wanted.ceil()).unwrap_or(longest).clamp(least, longest)
}

fn latencies(
    summary: &Summary,
    bytes_per_second: f64,
    name: impl Fn(&str) -> String,
    floor: Option<Duration>,
) -> Vec<Figure> {
    let (latency, lost) = (summary.certificate_latency, turned_away(summary));
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let lost_how = if lost == 0 {
        "all certified".to_owned()
    } else {
        let Summary { dropped, refused, failed, unfinished, .. } = summary;
        format!(
            "{lost} without a certificate ({dropped} dropped, {refused:?}, {failed:?}, {unfinished} unfinished)"
        )
    };
    let basis = format!(
        "{} batches in {} s at {:.2} MB/s, {lost_how}; sender late by {:.0} ms at p99",
        summary.due,
        summary.window.as_secs(),
        bytes_per_second / 1e6,
        ms(summary.sender_lateness.p99),
    );
    let p99 = Figure::new(name("p99"), ms(latency.p99), "ms");
    let p99 = match floor {
        Some(floor) => {
            let p99 =
                p99.with_floor(Kind::Cost, ms(floor)).with_goal(Goal::TimesFloorAtMost(P99_TIMES_FLOOR));
            // A batch without a certificate does not count in the latencies, so if there is one,
            // the goal is not met.
            if lost > 0 { p99.not_met() } else { p99 }.with_information('≤', 250.0)
        }
        None => p99,
    };
    let figures = [
        Figure::new(name("p50"), ms(latency.p50), "ms"),
        p99,
        Figure::new(name("p99.9"), ms(latency.p999), "ms"),
    ];
    figures.map(|figure| figure.with_basis(&basis)).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_long_enough_for_a_percentile_and_end() {
        let ten = Duration::from_secs(10);
        assert_eq!(window(ten, 100.0), ten);
        assert_eq!(window(ten, 5.0), ten * 2);
        assert_eq!(window(ten, 0.1), ten * 2);
        assert_eq!(window(ten, 0.0), ten * 2);
    }
}
