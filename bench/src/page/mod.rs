//! The performance page: tables and plots of the figures, written between two marks of a document.

mod gas;
mod scale;
mod system;
mod text;

pub use self::text::short;

use std::fmt::Write;

use self::text::{distinct, goal, rest, thousands, times};
use crate::model::Point;
use crate::report::Figure;

/// The mark at which the generated part of the document begins.
const BEGIN: &str = "<!-- made by `make bench`: begin -->";
const END: &str = "<!-- made by `make bench`: end -->";

/// Returns the document with its generated part replaced, or `None` if it has no marks.
pub fn replace(document: &str, made: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{made}{END}{after}"))
}

/// The input of the page.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// A description of the machine of the measurement.
    pub machine: &'a str,
    /// The number of the machine's processors.
    pub cores: usize,
    /// All measured figures.
    pub figures: &'a [Figure],
    /// The title and file of each plot.
    pub plots: &'a [(String, String)],
    /// The parts that could not be measured, with the reasons.
    pub failures: &'a [String],
    /// The systems that the model is fitted on and checked against.
    pub points: &'a [Point],
    /// The gas of recording one certificate of the large committee to which the model is applied.
    pub record_gas: Option<f64>,
}

/// Returns the generated part of the page.
#[allow(clippy::cast_precision_loss)] // Cores.
pub fn page(material: &Material<'_>) -> String {
    let Material { machine, cores, figures, plots, failures, points, record_gas } = *material;
    let mut page = format!("Measured on {machine}.\n\n");
    if !failures.is_empty() {
        let _ = writeln!(page, "**This run is not complete.** These parts failed and are missing below:\n");
        for failure in failures {
            let _ = writeln!(page, "* {failure}");
        }
        page.push('\n');
    }
    goals(&mut page, figures);
    for (title, file) in plots {
        let _ = writeln!(page, "![{title}]({file})\n");
    }
    coding(&mut page, figures);
    peers(&mut page, figures);
    signatures(&mut page, figures);
    system::write(&mut page, figures);
    proving(&mut page, figures);
    gas::write(&mut page, figures);
    scale::write(&mut page, points, cores as f64, record_gas);
    page
}

fn goals(page: &mut String, figures: &[Figure]) {
    let with_goal: Vec<&Figure> = figures.iter().filter(|figure| figure.met.is_some()).collect();
    let met = with_goal.iter().filter(|figure| figure.met == Some(true)).count();
    let _ = writeln!(page, "### Goals\n\n{met} of {} are met.\n", with_goal.len());
    if met == with_goal.len() {
        return;
    }
    page.push_str("Goals that are not met:\n\n");
    page.push_str("| figure | value | floor | of floor | goal |\n|---|--:|--:|--:|---|\n");
    for figure in with_goal.iter().filter(|figure| figure.met != Some(true)) {
        let floor = figure.floor.map_or_else(|| "–".to_owned(), short);
        let ratio = times(figure.ratio_to_floor);
        let goal = figure.goal.as_deref().unwrap_or_default();
        let _ = writeln!(
            page,
            "| {} | {} {} | {floor} | {ratio} | {goal} |",
            figure.name,
            short(figure.value),
            figure.unit
        );
    }
    page.push('\n');
}

/// Splits the name of a coding figure into committee, payload size and operation.
fn committee_and_size(figure: &Figure) -> Option<(&str, &str, &str)> {
    let mut parts = figure.name.splitn(3, '/').skip(1);
    let (operation, group) = (parts.next()?, parts.next()?);
    let at = group.match_indices(' ').nth(1)?.0;
    (!group.contains('/')).then(|| (operation, &group[..at], &group[at + 1..]))
}

fn coding(page: &mut String, figures: &[Figure]) {
    let rows: Vec<_> = figures
        .iter()
        .filter(|figure| figure.name.starts_with("coding/"))
        .filter_map(|figure| Some((committee_and_size(figure)?, figure)))
        .collect();
    if rows.is_empty() {
        return;
    }
    page.push_str(
        "### Coding\n\nMedians in milliseconds, with the ratio to the floor of the same run in brackets. Floor of encoding: the code of `reed-solomon-erasure` with its matrix cached, in\n\
         stripes into memory that was touched before, and SHA-256 over all shards; of a shard's check: SHA-256 of the shard. Included: allocating the results. Excluded: making the payload,\n\
         signatures, network, storage. The rows of allocated bytes show how many bytes are allocated for each byte of payload (for the check of a shard: for each byte of the shard).\n\n",
    );
    for size in distinct(rows.iter().map(|((_, _, size), _)| *size)) {
        let of_size: Vec<_> = rows.iter().filter(|((_, _, s), _)| *s == size).collect();
        let committees = distinct(of_size.iter().map(|((_, committee, _), _)| *committee));
        let _ = writeln!(
            page,
            "| {size} | {} |\n|---|{}",
            committees.join(" | "),
            "--:|".repeat(committees.len())
        );
        for operation in distinct(of_size.iter().map(|((operation, _, _), _)| *operation)) {
            let cells = committees.iter().map(|committee| {
                let cell = of_size.iter().find(|((o, c, _), _)| *o == operation && c == committee);
                cell.map_or_else(String::new, |(_, figure)| match figure.ratio_to_floor {
                    Some(ratio) => format!("{} ({})", short(figure.value), short(ratio)),
                    None => short(figure.value),
                })
            });
            let _ = writeln!(page, "| {operation} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
        page.push('\n');
    }
}

fn peers(page: &mut String, figures: &[Figure]) {
    let beside: Vec<&Figure> = figures.iter().filter(|figure| figure.peer.is_some()).collect();
    if beside.is_empty() {
        return;
    }
    page.push_str(
        "### Beside peers\n\nThe peers' released crates on one thread, the fastest of five runs in the same run of `make bench`; our figures are medians. commonware's Reed–Solomon only hashes shards, so a member cannot\n\
         check that its shard belongs to a codeword. With ZODA it can.\n\n| what | peer | theirs | ours | times |\n|---|---|--:|--:|--:|\n",
    );
    for figure in beside {
        let what = rest(&figure.name).split("/beside").next().unwrap_or_default();
        let _ = writeln!(
            page,
            "| {what} | {} | {} {} | {} {} | {} |",
            figure.peer.as_deref().unwrap_or_default(),
            figure.peer_value.map_or_else(String::new, short),
            figure.unit,
            short(figure.value),
            figure.unit,
            times(figure.ratio_to_peer)
        );
    }
    page.push('\n');
}

/// Writes one table for each number of seats, with one line for each operation.
fn signatures(page: &mut String, figures: &[Figure]) {
    let rows: Vec<(&str, &str, &Figure)> = figures
        .iter()
        .filter_map(|figure| {
            let (operation, of) = figure.name.strip_prefix("signatures/")?.split_once('/')?;
            figure.peer.is_none().then_some((operation, of, figure))
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    page.push_str("### Signatures\n\nBLS over BLS12-381, medians on one thread. *Excluded*: parsing messages, network.\n\n");
    for of in distinct(rows.iter().map(|(_, of, _)| *of)) {
        let _ = writeln!(page, "| {of} | | floor | of floor | goal |\n|---|--:|--:|--:|---|");
        for (operation, _, figure) in rows.iter().filter(|(_, o, _)| *o == of) {
            let goal = goal(figure);
            let floor = figure.floor.map_or_else(String::new, short);
            let ratio = figure.ratio_to_floor.map_or_else(String::new, |ratio| times(Some(ratio)));
            let _ = writeln!(
                page,
                "| {operation} | {} {} | {floor} | {ratio} | {goal} |",
                short(figure.value),
                figure.unit
            );
        }
        page.push('\n');
    }
}

fn proving(page: &mut String, figures: &[Figure]) {
    let rows: Vec<&Figure> = figures.iter().filter(|figure| figure.name.starts_with("proving/")).collect();
    if rows.is_empty() {
        return;
    }
    page.push_str(
        "### Proving\n\nThe reference rollup's proof of a full batch: a deposit, an exit request, 17 transfers, a withdrawal; 672 bytes of payload; medians, on all processors. \
         Setup draws DEV ONLY keys.\n*Excluded*: encoding, certification, L1.\n\n| what | | goal |\n|---|--:|---|\n",
    );
    for figure in rows {
        let value = if figure.value >= 1000.0 { thousands(figure.value) } else { short(figure.value) };
        let goal = goal(figure);
        let _ = writeln!(page, "| {} | {value} {} | {goal} |", rest(&figure.name), figure.unit);
    }
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Goal, Kind};

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let document = format!("before {BEGIN}\nold\n{END} after");
        assert_eq!(replace(&document, "new\n"), Some(format!("before {BEGIN}\nnew\n{END} after")));
        assert_eq!(replace("no marks", "new"), None);
    }

    #[test]
    fn every_figure_has_its_place() {
        let figures = [
            Figure::new("coding/encode/n=16 k=6 22 MiB", 30.0, "ms")
                .with_floor(Kind::Cost, 40.0)
                .with_goal(Goal::TimesFloorAtMost(1.35)),
            Figure::new("coding/encode/n=16 k=6 22 MiB/beside X", 30.0, "ms").with_peer(
                Kind::Cost,
                "X",
                300.0,
            ),
            Figure::new("system/capacity/n=4,k=2/SQLite/plain/1 MiB", 40.0, "MB/s")
                .with_floor(Kind::Rate, 400.0)
                .with_goal(Goal::TimesFloorAtMost(8.0))
                .with_information('≥', 50.0),
            Figure::new("proving/proof, all of it", 40.0, "s").with_information('≤', 30.0),
            Figure::new("signatures/sign/one", 0.4, "ms"),
            Figure::new("gas/rollup: freeze/osaka", 55_666.0, "gas"),
        ];
        let material = Material {
            machine: "a machine",
            cores: 2,
            figures: &figures,
            plots: &[("Cost".to_owned(), "cost.svg".to_owned())],
            failures: &["n=64 on PostgreSQL: no room".to_owned()],
            points: &[],
            record_gas: None,
        };
        let page = page(&material);
        for line in [
            "Measured on a machine.",
            "* n=64 on PostgreSQL: no room",
            "1 of 2 are met",
            "| encode | 30.0 (0.750) |",
            "| encode/n=16 k=6 22 MiB | X | 300 ms | 30.0 ms | 10.0 × |",
            "| 4, k 2 | SQLite | plain | 1 MiB | 40.0 (10.0) ≤ 8 × floor, for information ≥ 50 MB/s ✗ |",
            "| proof, all of it | 40.0 s | for information ≤ 30 s |",
            "| sign | 0.400 ms |",
            "| rollup: freeze | 55,666 |",
            "### Scale",
            "![Cost](cost.svg)",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
    }
}
