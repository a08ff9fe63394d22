//! The page's tables of the whole system, with one line for each system and payload.

use std::fmt::Write;

use super::text::{distinct, goal, short};
use crate::excluded;
use crate::named::{self, Named};
use crate::report::Figure;

/// The columns for capacity and cost: title and figure.
const COSTS: &[(&str, &str)] = &[
    ("MB/s", "capacity"),
    ("certificates a second", "certificates"),
    ("CPU ms a MiB: aggregator", "aggregator CPU"),
    ("one member", "node CPU"),
    ("sender", "load sender CPU"),
    ("PostgreSQL", "PostgreSQL CPU"),
    ("written, MiB a MiB: aggregator", "aggregator writes"),
    ("one member", "node writes"),
    ("PostgreSQL", "PostgreSQL writes"),
    ("on the loopback device", "loopback bytes"),
    ("peak memory, MiB: aggregator", "aggregator memory"),
    ("largest member", "node memory"),
];

/// The shares of the sustained rate at which latencies are measured.
const LOADS: [u32; 3] = [10, 50, 90];
const QUANTILES: [&str; 3] = ["p50", "p99", "p99.9"];

/// Writes the section on the whole system, or nothing if nothing was measured.
pub(super) fn write(page: &mut String, figures: &[Figure]) {
    let all: Vec<(Named<'_>, &Figure)> = named::all(figures).collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(page, "### The whole system\n\n{}\n", excluded::SYSTEM.replace('\n', "\n\n"));
    let rows = Rows::of(&all);
    capacity(page, &rows);
    latency(page, &rows);
    retrieval(page, &rows);
    repair(page, &all);
}

/// The lines of a table, and the figures from which their cells come.
struct Rows<'a> {
    names: Vec<&'a str>,
    all: &'a [(Named<'a>, &'a Figure)],
}

/// Returns the part of a figure's name that names system and payload: `n=4,k=2/SQLite/plain/1 MiB`.
fn system(figure: &Figure) -> &str {
    figure.name.splitn(3, '/').nth(2).unwrap_or_default()
}

impl<'a> Rows<'a> {
    fn of(all: &'a [(Named<'a>, &'a Figure)]) -> Self {
        let measured = all.iter().filter(|(name, _)| !name.what.starts_with("repair"));
        Self { names: distinct(measured.map(|(_, figure)| system(figure))), all }
    }

    fn get(&self, row: &str, what: &str) -> Option<&'a Figure> {
        self.all.iter().find(|(name, figure)| name.what == what && system(figure) == row).map(|(_, f)| *f)
    }

    /// Returns the rows that have this figure.
    fn with<'b>(&'b self, what: &'b str) -> impl Iterator<Item = (&'a str, &'a Figure)> + 'b {
        self.names.iter().filter_map(move |row| Some((*row, self.get(row, what)?)))
    }
}

/// Returns the first four cells of a row: `4, k 2 | SQLite | plain | 1 MiB`.
fn cells(row: &str) -> String {
    let parts: Vec<&str> = row.split('/').collect();
    let [committee, store, wire, size] = parts[..] else { return format!("{row} | | | ") };
    let committee = committee.trim_start_matches("n=").replace(",k=", ", k ");
    format!("{committee} | {store} | {wire} | {size}")
}

/// Returns a cell with a figure's value, its ratio to the floor, and a mark if it has a goal.
fn cell(figure: Option<&Figure>) -> String {
    let Some(figure) = figure else { return String::new() };
    let mut text = short(figure.value);
    if let Some(ratio) = figure.ratio_to_floor {
        let _ = write!(text, " ({})", short(ratio));
    }
    let goal = goal(figure);
    if goal.is_empty() { text } else { format!("{text} {goal}") }
}

fn capacity(page: &mut String, rows: &Rows<'_>) {
    if rows.with("capacity").next().is_none() {
        return;
    }
    page.push_str(
        "Capacity is measured with always the same number of batches in flight, as many as make 96 MiB (3 to 48 of them). Peaks of memory are those of this load; their floor is the memory of the\n\
         process before the load plus the payloads, or shards, in flight. The ratio to the floor is in brackets: how many times as much a batch costs, or how many times as many batches could be\n\
         certified. CPU is that of the process and of the kernel for it. *Excluded* from written bytes: the file system's own blocks. The bytes that PostgreSQL writes are those for all processes.\n\n",
    );
    let columns: Vec<_> =
        COSTS.iter().filter(|(_, what)| rows.all.iter().any(|(name, _)| name.what == *what)).collect();
    let titles: Vec<&str> = columns.iter().map(|(title, _)| *title).collect();
    let _ = writeln!(
        page,
        "| seats | store | wire | payload | {} | window |\n|---|---|---|--:|{}---|",
        titles.join(" | "),
        "--:|".repeat(titles.len())
    );
    for (row, figure) in rows.with("capacity") {
        let values: Vec<String> = columns.iter().map(|(_, what)| cell(rows.get(row, what))).collect();
        let basis = figure.basis.as_deref().unwrap_or_default();
        let _ = writeln!(page, "| {} | {} | {basis} |", cells(row), values.join(" | "));
    }
    page.push('\n');
}

fn latency(page: &mut String, rows: &Rows<'_>) {
    let any = format!("certificate latency p50 at {} %", LOADS[0]);
    if rows.with(&any).next().is_none() {
        return;
    }
    page.push_str(
        "Latency is the time from when a batch was due until the sender knew its certificate, in milliseconds. It is measured in open loop with random pauses, at shares of the sustained rate: the\n\
         first of 100, 90, 80 … % of the capacity above at which certificates come as fast as batches are due, in open loop with equal pauses. Latency counts from the time when a batch was due,\n\
         even if its sending was delayed. The p99 of fewer than 100 batches, and the p99.9 of fewer than 1,000, is the slowest batch. Batches that were dropped, refused or failed have no\n\
         certificate, and are counted as such.\n\n\
         | seats | store | wire | payload | sustained, MB/s | load | p50 | p99 | p99.9 | window |\n|---|---|---|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for row in &rows.names {
        for load in LOADS {
            let of = |quantile: &str| rows.get(row, &format!("certificate latency {quantile} at {load} %"));
            let Some(first) = of(QUANTILES[0]) else { continue };
            let values: Vec<String> = QUANTILES.iter().map(|quantile| cell(of(quantile))).collect();
            let kept_up = cell(rows.get(row, "sustained rate"));
            let basis = first.basis.as_deref().unwrap_or_default();
            let _ = writeln!(
                page,
                "| {} | {kept_up} | {load} % | {} | {basis} |",
                cells(row),
                values.join(" | ")
            );
        }
    }
    page.push('\n');
}

fn retrieval(page: &mut String, rows: &Rows<'_>) {
    let (all, without) = ("retrieval, all members", "retrieval, systematic members down");
    if rows.with(all).next().is_none() {
        return;
    }
    page.push_str(
        "One batch after the other is retrieved from the fastest k members: each shard is checked, the payload is decoded and compared with what was submitted. Before this, members are restarted and\n\
         SQLite's files are dropped from the kernel's cache; a PostgreSQL server keeps its own cache.\n\n\
         | seats | store | wire | payload | all members, MB/s | systematic members down, MB/s | |\n|---|---|---|--:|--:|--:|---|\n",
    );
    for (row, figure) in rows.with(all) {
        let basis = figure.basis.as_deref().unwrap_or_default();
        let _ = writeln!(
            page,
            "| {} | {} | {} | {basis} |",
            cells(row),
            cell(Some(figure)),
            cell(rows.get(row, without))
        );
    }
    page.push('\n');
}

fn repair(page: &mut String, all: &[(Named<'_>, &Figure)]) {
    let of = |what: &str| all.iter().find(|(name, _)| name.what == what).map(|(_, figure)| *figure);
    let Some(time) = of("repair time") else { return };
    let of = |what: &str| of(what).map_or_else(|| "–".to_owned(), |figure| short(figure.value));
    let _ = writeln!(
        page,
        "Repair of one member that lost its disk ({}): **{} s**, {} MB/s of shards, {} ms of its CPU a MiB; {}. *Excluded*: the kernel's cache of its peers' files (dropped before), a network, the wait\n\
         for L1 blocks. The node's limit of the repair rate is set too high to matter.\n",
        system(time),
        short(time.value),
        of("repair rate"),
        of("repair CPU"),
        time.basis.as_deref().unwrap_or_default()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Goal, Kind};

    #[test]
    fn every_figure_has_its_column() {
        let name = |what: &str| format!("system/{what}/n=7,k=3/SQLite/plain/1 MiB");
        let figures = [
            Figure::new(name("capacity"), 40.0, "MB/s")
                .with_floor(Kind::Rate, 400.0)
                .with_goal(Goal::TimesFloorAtMost(8.0))
                .with_basis("9 batches in 3 s"),
            Figure::new(name("node CPU"), 4.5, "CPU ms/MiB"),
            Figure::new(name("sustained rate"), 36.0, "MB/s"),
            Figure::new(name("certificate latency p50 at 10 %"), 43.0, "ms").with_basis("open loop"),
            Figure::new(name("certificate latency p99 at 10 %"), 99.0, "ms")
                .with_floor(Kind::Cost, 9.9)
                .with_goal(Goal::TimesFloorAtMost(50.0)),
            Figure::new(name("retrieval, all members"), 120.0, "MB/s"),
            Figure::new(name("retrieval, systematic members down"), 80.0, "MB/s"),
            Figure::new(name("repair time"), 12.5, "s").with_basis("not the 1024 MiB of the goal"),
            Figure::new("coding/encode/n=7 k=3 1 MiB", 1.0, "ms"),
        ];
        let mut page = String::new();
        write(&mut page, &figures);
        for line in [
            "| seats | store | wire | payload | MB/s | one member | window |",
            "| 7, k 3 | SQLite | plain | 1 MiB | 40.0 (10.0) ≤ 8 × floor ✗ | 4.50 | 9 batches in 3 s |",
            "| 7, k 3 | SQLite | plain | 1 MiB | 36.0 | 10 % | 43.0 | 99.0 (10.0) ≤ 50 × floor ✓ |  | open loop |",
            "| 7, k 3 | SQLite | plain | 1 MiB | 120 | 80.0 |  |",
            "**12.5 s**",
            "not the 1024 MiB of the goal",
            "Excluded: L1",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
        let mut nothing = String::new();
        write(&mut nothing, &figures[8..]);
        assert_eq!(nothing, "");
    }
}
