//! Checks the table of budgets in `docs/threat-model.md`: each row says which kind of test measures
//! its figure, and names the test.

use std::fs;
use std::path::{Path, PathBuf};

use dac_tests::failure::Context;
use dac_tests::process::source_root;
use dac_tests::{Failure, Result};

const DOCUMENT: &str = "docs/threat-model.md";
const HEADING: &str = "## Who can exhaust what, at what cost, and what stops it";
/// The kinds of tests that the table may name. Only live ones are tests of whole systems.
const KINDS: [&str; 4] = ["live", "service", "unit", "property"];
/// Folders of the source tree without the project's sources.
const FOREIGN: [&str; 3] = ["target", "node_modules", ".git"];

/// A test that the table names, such as `attacks::member::false_certificates`: parts of a path and
/// a function.
#[derive(Debug)]
struct Cited {
    kind: String,
    parts: Vec<String>,
    function: String,
}

/// Returns the tests that the last cell of a row names: a kind, followed by names in backticks.
fn cited(cell: &str) -> Result<Vec<Cited>> {
    let mut kind = None;
    let mut all = Vec::new();
    for (place, text) in cell.split('`').enumerate() {
        if place % 2 == 0 {
            kind = text.split([' ', ':', ',', ';']).rfind(|word| KINDS.contains(word)).or(kind);
            continue;
        }
        let kind = kind.context(format!("no kind before {text}"))?.to_owned();
        let mut parts: Vec<String> = text.split("::").map(str::to_owned).collect();
        let function = parts.pop().filter(|_| !parts.is_empty()).context(format!("{text} names no file"))?;
        all.push(Cited { kind, parts, function });
    }
    if all.is_empty() { Err(Failure::new(format!("no test in {cell:?}"))) } else { Ok(all) }
}

/// Returns the tests of each row.
fn rows(document: &str) -> Result<Vec<Vec<Cited>>> {
    let (_, section) = document.split_once(HEADING).context(HEADING)?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| cited(row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default())).collect()
}

/// Collects all Rust files below a folder.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).context(folder.display())? {
        let (entry, path) = entry.and_then(|entry| Ok((entry.file_type()?, entry.path())))?;
        let name = path.file_name().unwrap_or_default();
        if entry.is_dir() && !FOREIGN.iter().any(|foreign| name == *foreign) {
            sources(&path, into)?;
        } else if entry.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// Returns whether a path has all these parts in this order.
fn is_at(path: &Path, parts: &[String]) -> bool {
    let stem = path.with_extension("");
    let mut components = stem.components().map(|component| component.as_os_str().to_string_lossy());
    parts.iter().all(|part| components.any(|component| component == part.as_str()))
}

/// Returns whether a source file has a test of this name.
fn has_test(source: &str, function: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    let start = format!("fn {function}(");
    lines.iter().enumerate().any(|(place, line)| {
        let declared = line.strip_prefix("async ").unwrap_or(line).starts_with(&start);
        let mut before = lines[..place].iter().rev().take_while(|line| line.starts_with("#["));
        declared && before.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_budget_names_a_test_that_exists() -> Result<()> {
    let root = source_root();
    let document = fs::read_to_string(root.join(DOCUMENT)).context(DOCUMENT)?;
    let rows = rows(&document)?;
    assert!(rows.len() >= 15, "the table has {} rows", rows.len());
    let mut files = Vec::new();
    sources(root, &mut files)?;
    for test in rows.iter().flatten() {
        let found = files.iter().find(|path| {
            let path = path.strip_prefix(root).unwrap_or(path);
            is_at(path, &test.parts)
                && fs::read_to_string(root.join(path)).is_ok_and(|source| has_test(&source, &test.function))
        });
        let path = found.context(format!("{DOCUMENT} cites {test:?}, which is no test"))?;
        let is_live = path.starts_with(root.join("tests/tests"));
        assert_eq!(is_live, test.kind == "live", "{test:?} is in {}", path.display());
    }
    Ok(())
}

#[test]
fn what_is_cited_is_read_and_what_does_not_exist_is_noticed() -> Result<()> {
    let cell = "live: `attacks::member::floods`, `attacks::tls::floods`; unit: `node::limits::shares`";
    let tests = cited(cell)?;
    let kinds: Vec<_> = tests.iter().map(|test| (test.kind.as_str(), test.function.as_str())).collect();
    assert_eq!(kinds, [("live", "floods"), ("live", "floods"), ("unit", "shares")]);
    for wrong in ["live", "`attacks::member::floods`", "live: `floods`"] {
        assert!(cited(wrong).is_err(), "{wrong}");
    }
    assert!(is_at(Path::new("tests/tests/attacks/member.rs"), &tests[0].parts));
    assert!(!is_at(Path::new("tests/tests/attacks/tls.rs"), &tests[0].parts));
    assert!(!is_at(Path::new("tests/tests/member/attacks.rs"), &tests[0].parts));
    let source = "#[ignore = \"slow\"]\n    #[tokio::test]\n    async fn floods() {}\n\nfn shares() {}\n";
    assert!(has_test(source, "floods"));
    assert!(!has_test(source, "shares") && !has_test(source, "flood"));
    Ok(())
}
