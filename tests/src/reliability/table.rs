//! The table in the document, between two marker lines.

use dac_tests::{Context, Failure, Result};

use crate::Row;

const BEGIN: &str = "<!-- made by `make reliability`: begin -->";
const END: &str = "<!-- made by `make reliability`: end -->";

/// Formats the rows as a Markdown table.
pub(crate) fn of(rows: &[Row]) -> String {
    let mut table =
        String::from("| Promise | Broken by | Tries | Failures | Seconds |\n|---|---|---:|---:|---:|\n");
    for Row { promise, test, tries, failures, seconds } in rows {
        table.push_str(&format!("| {promise} | `{test}` | {tries} | {failures} | {seconds:.0} |\n"));
    }
    table
}

fn split(document: &str) -> Result<(&str, &str, &str)> {
    let (before, rest) = document.split_once(BEGIN).context(BEGIN)?;
    let (table, after) = rest.split_once(END).context(END)?;
    Ok((before, table, after))
}

/// Replaces the table in the document.
pub(crate) fn replace(document: &str, table: &str) -> Result<String> {
    let (before, _, after) = split(document)?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

/// Returns promises and tests of a table, without the numbers, which differ from run to run.
fn wording(table: &str) -> Vec<String> {
    let lines = table.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| line.split('|').skip(1).take(2).map(str::trim).collect::<Vec<_>>().join(" | ")).collect()
}

/// Fails if the document's table has other promises or tests.
pub(crate) fn check(document: &str, table: &str) -> Result<()> {
    let (_, there, _) = split(document)?;
    let (there, here) = (wording(there), wording(table));
    if there == here {
        return Ok(());
    }
    let missing: Vec<&String> = here.iter().filter(|line| !there.contains(line)).collect();
    let gone: Vec<&String> = there.iter().filter(|line| !here.contains(line)).collect();
    Err(Failure::new(format!(
        "its table is of other tests; `make reliability` makes it anew\n  only in this run: {missing:?}\n  only in the table: {gone:?}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(tries: u64) -> Vec<Row> {
        vec![Row { promise: "a promise", test: "a::test".into(), tries, failures: 0, seconds: 2.4 }]
    }

    #[test]
    fn a_table_replaces_the_one_that_stood_there() {
        let document = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let replaced = replace(&document, &of(&rows(5))).unwrap();
        assert!(replaced.starts_with("before\n") && replaced.ends_with("\nafter\n"));
        assert!(replaced.contains("| a promise | `a::test` | 5 | 0 | 2 |") && !replaced.contains("old"));
        assert_eq!(replace(&replaced, &of(&rows(5))).unwrap(), replaced);
    }

    #[test]
    fn numbers_may_differ_and_tests_may_not() {
        let document = replace(&format!("{BEGIN}{END}"), &of(&rows(5))).unwrap();
        check(&document, &of(&rows(6))).unwrap();
        let mut other = rows(5);
        other[0].test = "a::nother".into();
        assert!(check(&document, &of(&other)).is_err());
        assert!(check("no table", &of(&rows(5))).is_err());
    }
}
