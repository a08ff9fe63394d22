//! Reads gas figures from the snapshots that the contracts' tests write and check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::report::Figure;

/// Returns the folder of the snapshots.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../contracts/snapshots")
}

/// Reads the gas of whole transactions from all snapshots in a folder, as figures with names such
/// as `gas/record: n = 4, 0 absent/prague`.
///
/// # Errors
/// If the folder or a file in it cannot be read, or a file does not map names to numbers.
pub fn read(folder: &Path) -> io::Result<Vec<Figure>> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    files.sort();
    let mut figures = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let strange = |what: &str| io::Error::other(format!("{}: {what}", file.display()));
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let (what, hardfork) = name.rsplit_once('.').ok_or_else(|| strange("no hardfork in its name"))?;
        let gas: BTreeMap<String, String> = serde_json::from_slice(&fs::read(file)?)?;
        // Some snapshots have the gas of a transaction's parts besides that of the whole.
        let has_parts = gas.keys().any(|key| key.ends_with(WHOLE));
        for (key, gas) in &gas {
            let whole = key.strip_suffix(WHOLE);
            if has_parts && whole.is_none() {
                continue;
            }
            let of: Vec<&str> = whole.unwrap_or(key).split_whitespace().collect();
            let gas: f64 = gas.parse().map_err(|_| strange(&format!("{key} is {gas}, not a number")))?;
            figures.push(Figure::new(format!("gas/{what}: {}/{hardfork}", of.join(" ")), gas, "gas"));
        }
    }
    figures.sort_by_key(|figure| seats(&figure.name));
    Ok(figures)
}

/// The suffix of a whole transaction's key in snapshots that have its parts too.
const WHOLE: &str = ": transaction";

/// Returns a sort key in which the seats are a number, so that 4 comes before 16. Without seats
/// the number is 0.
fn seats(name: &str) -> (String, u32) {
    let (what, rest) = name.split_once(':').unwrap_or((name, ""));
    let n = rest
        .split_once("n = ")
        .and_then(|(_, rest)| rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok());
    (what.to_owned(), n.unwrap_or(0))
}

/// Returns the gas of recording a certificate of `n` seats with `absent` absent ones, under the
/// newest hardfork of the snapshots.
pub fn of_record(figures: &[Figure], n: u16, absent: u16) -> Option<f64> {
    let name = format!("gas/record: n = {n}, {absent} absent/{NEWEST}");
    figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
}

/// The hardfork whose figure is used where one number is needed.
pub const NEWEST: &str = "osaka";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_snapshots_are_read() {
        let figures = read(&folder()).unwrap();
        assert!(of_record(&figures, 4, 0).unwrap() > 100_000.0);
        assert!(of_record(&figures, 256, 85).unwrap() > of_record(&figures, 256, 0).unwrap());
        assert_eq!(of_record(&figures, 5, 0), None);
        let has = |name: &str| figures.iter().any(|figure| figure.name.starts_with(name));
        for name in ["gas/settle: ", "gas/rollup: deposit/", "gas/openEpoch: n = 64/", "gas/register: "] {
            assert!(has(name), "{name}");
        }
        assert!(!figures.iter().any(|figure| figure.name.contains("intrinsic")), "parts of a transaction");
    }

    #[test]
    fn strange_snapshots_are_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("record.osaka.json"), r#"{"a": "many"}"#).unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("not a number"));
        assert!(read(&folder.path().join("none")).is_err());
    }
}
