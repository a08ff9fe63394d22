//! The plots of the report and the curves in them.

use crate::named;
use crate::plot::Curve;
use crate::report::Figure;

/// A plot: its file's name, its title, its axes and its curves.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The file's name without its extension.
    pub file: &'static str,
    /// The title above the plot.
    pub title: &'static str,
    /// The label of the x axis.
    pub x: &'static str,
    /// The label of the y axis.
    pub y: &'static str,
    /// The curves. Those without points are not drawn.
    pub curves: Vec<Curve>,
}

const SEATS: &str = "seats n";
const PAYLOAD: &str = "payload, KiB";
const MIB: usize = 1 << 20;

/// Returns all plots, including those for which nothing was measured.
pub fn all(figures: &[Figure]) -> Vec<Plot> {
    let mut plots = vec![
        coding_seats(figures, "encode", "encode", "Encode and commit 22 MiB, one thread"),
        coding_seats(
            figures,
            "check of a shard",
            "check",
            "A member's check of its shard, 22 MiB, one thread",
        ),
        coding_seats(
            figures,
            "decode from the last k",
            "decode",
            "Decode 22 MiB from the last k shards, one thread",
        ),
        coding_sizes(figures),
    ];
    plots.extend(system(figures));
    plots
}

/// Returns the seats and the payload bytes in the name of a coding figure. Only committees whose
/// shards are together about three times the payload are returned, because a curve over different
/// code rates would mix two effects.
fn committee(name: &str) -> Option<(u16, usize)> {
    let mut words = name.split('/').nth(2)?.splitn(3, ' ');
    let (n, k, size) = (words.next()?, words.next()?, words.next()?);
    (k != "k=11").then_some((n.strip_prefix("n=")?.parse().ok()?, named::bytes(size)?))
}

fn coding_seats(figures: &[Figure], operation: &str, file: &'static str, title: &'static str) -> Plot {
    let prefix = format!("coding/{operation}/");
    let large: Vec<(f64, &Figure)> = figures
        .iter()
        .filter(|figure| figure.name.starts_with(&prefix))
        .filter_map(|figure| {
            let (n, bytes) = committee(&figure.name)?;
            (bytes == 22 * MIB).then_some((f64::from(n), figure))
        })
        .collect();
    let curve = |name: &str, value: &dyn Fn(&Figure) -> Option<f64>| Curve {
        name: name.to_owned(),
        points: large.iter().filter_map(|(n, figure)| Some((*n, value(figure)?))).collect(),
    };
    let mut curves = vec![
        curve("this", &|figure| figure.peer.is_none().then_some(figure.value)),
        curve("floor", &|figure| figure.floor),
    ];
    let mut peers: Vec<&str> = large.iter().filter_map(|(_, figure)| figure.peer.as_deref()).collect();
    peers.sort_unstable();
    peers.dedup();
    curves.extend(peers.into_iter().filter(|peer| !peer.contains("published")).map(|peer| {
        curve(peer, &|figure| figure.peer_value.filter(|_| figure.peer.as_deref() == Some(peer)))
    }));
    Plot { file, title, x: SEATS, y: "ms", curves }
}

/// Plots the cost of encoding a MiB against the payload, with one curve for each committee.
fn coding_sizes(figures: &[Figure]) -> Plot {
    let measured: Vec<(u16, usize, f64)> = figures
        .iter()
        .filter(|figure| figure.name.starts_with("coding/encode/") && figure.peer.is_none())
        .filter_map(|figure| {
            let (n, bytes) = committee(&figure.name)?;
            Some((n, bytes, figure.value))
        })
        .collect();
    let curves = grouped(
        measured
            .into_iter()
            .map(|(n, bytes, ms)| (format!("n = {n}"), kib(bytes), ms / (kib(bytes) / 1024.0))),
    );
    let title = "Encode and commit, one thread, against the payload";
    Plot { file: "encode-sizes", title, x: PAYLOAD, y: "ms a MiB", curves }
}

/// Returns a payload's size in KiB.
#[allow(clippy::cast_precision_loss)] // Sizes far below 2^52.
fn kib(bytes: usize) -> f64 {
    bytes as f64 / 1024.0
}

/// Groups points into curves by name. Curves are in the order of their first points, and points are
/// sorted by x.
fn grouped(points: impl Iterator<Item = (String, f64, f64)>) -> Vec<Curve> {
    let mut curves: Vec<Curve> = Vec::new();
    for (name, x, y) in points {
        match curves.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.points.push((x, y)),
            None => curves.push(Curve { name, points: vec![(x, y)] }),
        }
    }
    for curve in &mut curves {
        curve.points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    curves
}

fn size(bytes: usize) -> String {
    crate::system::setting::show_bytes(bytes)
}

/// Returns the plots of the whole system on SQLite without TLS.
fn system(figures: &[Figure]) -> Vec<Plot> {
    let of = |what: &'static str| {
        named::all(figures)
            .filter(move |(name, _)| name.is_plain() && name.what == what)
            .map(|(name, figure)| (name.n, name.bytes, figure.value))
    };
    let by_seats = |curve: &'static str, what: &'static str| {
        of(what).map(move |(n, bytes, value)| (format!("{curve}{}", size(bytes)), f64::from(n), value))
    };
    let by_size = |curve: &'static str, what: &'static str| {
        of(what).map(move |(n, bytes, value)| (format!("{curve}n = {n}"), kib(bytes), value))
    };
    let plot = |file, title, x, y, points: Vec<(String, f64, f64)>| Plot {
        file,
        title,
        x,
        y,
        curves: grouped(points.into_iter()).into_iter().filter(|curve| curve.points.len() > 1).collect(),
    };
    let (p50, p99) = ("certificate latency p50 at 50 %", "certificate latency p99 at 50 %");
    vec![
        plot(
            "cpu-seats",
            "CPU for a MiB of payload, all processes on one machine",
            SEATS,
            "CPU ms a MiB",
            by_seats("aggregator, ", "aggregator CPU").chain(by_seats("one member, ", "node CPU")).collect(),
        ),
        plot(
            "cpu-sizes",
            "CPU for a MiB of payload, all processes on one machine",
            PAYLOAD,
            "CPU ms a MiB",
            by_size("aggregator, ", "aggregator CPU").chain(by_size("one member, ", "node CPU")).collect(),
        ),
        plot(
            "rate-seats",
            "Payload certified, all processes on one machine",
            SEATS,
            "MB/s",
            by_seats("", "capacity").collect(),
        ),
        plot(
            "rate-sizes",
            "Payload certified, all processes on one machine",
            PAYLOAD,
            "MB/s",
            by_size("", "capacity").collect(),
        ),
        plot(
            "latency-seats",
            "Latency to the certificate at half load",
            SEATS,
            "ms",
            by_seats("p50, ", p50).chain(by_seats("p99, ", p99)).collect(),
        ),
        plot(
            "latency-sizes",
            "Latency to the certificate at half load",
            PAYLOAD,
            "ms",
            by_size("p50, ", p50).chain(by_size("p99, ", p99)).collect(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curves<'a>(plots: &'a [Plot], file: &str) -> &'a [Curve] {
        &plots.iter().find(|plot| plot.file == file).unwrap_or_else(|| panic!("{file}")).curves
    }

    #[test]
    fn figures_become_curves() {
        let figure = |name: &str, value: f64| Figure::new(name, value, "x");
        let figures = [
            figure("coding/encode/n=16 k=6 22 MiB", 30.0),
            figure("coding/encode/n=16 k=11 22 MiB", 99.0),
            figure("coding/encode/n=4 k=2 22 MiB", 20.0),
            figure("coding/encode/n=4 k=2 1 MiB", 2.0),
            figure("coding/encode/n=4 k=2 1 MiB/2 threads", 1.0),
            figure("system/capacity/n=16,k=6/SQLite/plain/1 MiB", 20.0),
            figure("system/capacity/n=4,k=2/SQLite/plain/1 MiB", 50.0),
            figure("system/capacity/n=4,k=2/SQLite/plain/64 KiB", 9.0),
            figure("system/capacity/n=4,k=2/PostgreSQL/plain/1 MiB", 3.0),
        ];
        let plots = all(&figures);
        let [ours, ..] = curves(&plots, "encode") else { panic!("no curve") };
        assert_eq!(ours.points, [(16.0, 30.0), (4.0, 20.0)]);
        let [seats] = curves(&plots, "rate-seats") else { panic!("one size has two seats") };
        assert_eq!(
            (seats.name.as_str(), seats.points.as_slice()),
            ("1 MiB", &[(4.0, 50.0), (16.0, 20.0)][..])
        );
        let [sizes] = curves(&plots, "rate-sizes") else { panic!("one committee has two sizes") };
        assert_eq!(sizes.points, [(64.0, 9.0), (1024.0, 50.0)]);
        assert!(curves(&plots, "latency-sizes").is_empty());
    }
}
