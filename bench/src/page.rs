//! The page that people read: tables and plots of the figures, between two marks of a document.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::report::Figure;

/// Where the made part of the document begins and ends.
const BEGIN: &str = "<!-- made by `make bench`: begin -->";
const END: &str = "<!-- made by `make bench`: end -->";

/// The document with its made part replaced; nothing where it has no marks.
pub fn replace(document: &str, made: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{made}{END}{after}"))
}

/// Everything that is made.
pub fn page(machine: &str, figures: &[Figure], plots: &[(String, String)]) -> String {
    let mut page = format!("Measured on {machine}.\n\n");
    goals(&mut page, figures);
    for (title, file) in plots {
        let _ = writeln!(page, "![{title}]({file})\n");
    }
    coding(&mut page, figures);
    peers(&mut page, figures);
    others(&mut page, "Signatures", "signatures/", figures);
    others(&mut page, "The whole system", "system/", figures);
    page
}

/// Three significant digits.
pub fn short(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    #[allow(clippy::cast_possible_truncation)] // Of a logarithm.
    let digits = (2 - value.abs().log10().floor() as i32).clamp(0, 6);
    format!("{value:.*}", usize::try_from(digits).unwrap_or(0))
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{} ×", short(ratio)))
}

/// Name without its section.
fn rest(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, rest)| rest)
}

fn goals(page: &mut String, figures: &[Figure]) {
    let with_goal: Vec<&Figure> = figures.iter().filter(|figure| figure.goal.is_some()).collect();
    let met = with_goal.iter().filter(|figure| figure.met == Some(true)).count();
    let _ = writeln!(page, "### Goals\n\n{met} of {} are met. Those that are not:\n", with_goal.len());
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

/// A committee of coding's figures: `n=16 k=6 22 MiB` without the size.
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
        "### Coding\n\nMedians in milliseconds, in brackets the ratio to the floor of the same run. Floor of encoding: the code of `reed-solomon-erasure` with its matrix cached, in\n\
         stripes into memory that was touched before, and SHA-256 over all shards; of a shard's check: SHA-256 of the shard. Included: allocating the results. Excluded: making the payload,\n\
         signatures, network, storage. The rows of allocated bytes are bytes asked for per byte of payload (of shard, for its check).\n\n",
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

/// In the order in which they come first.
fn distinct<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    all.filter(|item| seen.insert(*item)).collect()
}

fn peers(page: &mut String, figures: &[Figure]) {
    let beside: Vec<&Figure> = figures.iter().filter(|figure| figure.peer.is_some()).collect();
    if beside.is_empty() {
        return;
    }
    page.push_str(
        "### Beside peers\n\nTheir released crates on one thread, the fastest of five runs in the same run of `make bench`; ours are medians. commonware's Reed–Solomon hashes its shards and proves nothing\n\
         about the others: a member does not know that its shard belongs to a codeword. ZODA's does.\n\n| what | peer | theirs | ours | times |\n|---|---|--:|--:|--:|\n",
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

/// Figures whose names end in what they were measured of: one line for each of these, one column for each operation.
fn others(page: &mut String, title: &str, prefix: &str, figures: &[Figure]) {
    let rows: Vec<(&str, &str, &Figure)> = figures
        .iter()
        .filter_map(|figure| {
            let (operation, of) = figure.name.strip_prefix(prefix)?.split_once('/')?;
            figure.peer.is_none().then_some((operation, of, figure))
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, "### {title}\n");
    for of in distinct(rows.iter().map(|(_, of, _)| *of)) {
        let _ = writeln!(page, "| {of} | | floor | of floor | goal |\n|---|--:|--:|--:|---|");
        for (operation, _, figure) in rows.iter().filter(|(_, o, _)| *o == of) {
            let goal = match (&figure.goal, figure.met) {
                (Some(goal), Some(true)) => format!("{goal} ✓"),
                (Some(goal), _) => format!("{goal} ✗"),
                _ => String::new(),
            };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Goal, Kind};

    #[test]
    fn three_digits_are_enough() {
        let texts = [0.0, 0.001_234, 0.5, 1.0, 12.34, 123.4, 1_234.5].map(short);
        assert_eq!(texts, ["0", "0.00123", "0.500", "1.00", "12.3", "123", "1234"]);
    }

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
            Figure::new("system/p99/n=4,k=2/SQLite/1 MiB", 300.0, "ms").with_goal(Goal::AtMost(250.0)),
        ];
        let page = page("a machine", &figures, &[("Cost".to_owned(), "cost.svg".to_owned())]);
        for line in [
            "1 of 2 are met",
            "| encode | 30.0 (0.750) |",
            "| encode/n=16 k=6 22 MiB | X | 300 ms | 30.0 ms | 10.0 × |",
            "| p99 | 300 ms |  |  | ≤ 250 ms ✗ |",
            "![Cost](cost.svg)",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
    }
}
