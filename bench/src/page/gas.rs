//! The page's table of gas.

use std::fmt::Write;

use super::text::{distinct, rest, thousands};
use crate::report::Figure;

/// Writes the table with one line for each transaction and one column for each hardfork.
pub(super) fn write(page: &mut String, figures: &[Figure]) {
    let rows: Vec<(&str, &str, f64)> = figures
        .iter()
        .filter(|figure| figure.name.starts_with("gas/"))
        .filter_map(|figure| {
            rest(&figure.name).rsplit_once('/').map(|(what, fork)| (what, fork, figure.value))
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let forks = distinct(rows.iter().map(|(_, fork, _)| *fork));
    let _ = writeln!(
        page,
        "### Gas\n\nThe gas of whole transactions, from the committed snapshots, which the contracts' tests check and compare with receipts of a real EVM ([contracts](../contracts/README.md#gas)).\n\
         *Excluded*: what the rollup's own proof costs beyond a Groth16 check, the price of gas.\n\n| transaction | {} |\n|---|{}",
        forks.join(" | "),
        "--:|".repeat(forks.len())
    );
    for what in distinct(rows.iter().map(|(what, _, _)| *what)) {
        let of_fork =
            |fork: &&str| rows.iter().find(|(w, f, _)| *w == what && f == fork).map(|(_, _, gas)| *gas);
        let cells: Vec<String> =
            forks.iter().map(|fork| of_fork(fork).map_or_else(String::new, thousands)).collect();
        let _ = writeln!(page, "| {what} | {} |", cells.join(" | "));
    }
    page.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardforks_are_columns() {
        let figures = [
            Figure::new("gas/record: n = 4, 0 absent/prague", 192_855.0, "gas"),
            Figure::new("gas/record: n = 4, 0 absent/osaka", 193_455.0, "gas"),
            Figure::new("gas/rollup: freeze/osaka", 999.0, "gas"),
        ];
        let mut page = String::new();
        write(&mut page, &figures);
        assert!(page.contains("| transaction | prague | osaka |\n|---|--:|--:|"), "{page}");
        assert!(page.contains("| record: n = 4, 0 absent | 192,855 | 193,455 |"), "{page}");
        assert!(page.contains("| rollup: freeze |  | 999 |"), "{page}");
    }
}
