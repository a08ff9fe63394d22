//! Checks test vectors of several implementations: every field of every vector is computed again
//! and compared.
//!
//! The vectors are the project's own in `vectors/`, those in `../shared/vectors/` beside the
//! project if that exists, and the files that `DAC_VECTORS` names (separated by colons; relative
//! paths begin at the project's folder).

mod adversarial;
mod hex_bytes;
mod protocol;

use std::path::{Path, PathBuf};

/// Returns the project's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The number of vectors that a file contained.
#[derive(Debug, Default, PartialEq, Eq)]
struct Checked {
    protocol: usize,
    adversarial: usize,
}

/// Checks a file of either kind. An unknown or missing field is a failure, and so is a file without
/// vectors.
fn check_file(path: &Path, checked: &mut Checked) {
    let name = path.display();
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let kind = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.split('-').next());
    match kind {
        Some("protocol") => {
            let file: protocol::File =
                serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!file.vectors.is_empty(), "{name}: no vectors");
            for (index, vector) in file.vectors.iter().enumerate() {
                protocol::check(vector, &format!("{name}: vector {index}"));
            }
            checked.protocol += file.vectors.len();
        }
        Some("adversarial") => {
            let file: adversarial::File =
                serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(!file.cases.is_empty(), "{name}: no cases");
            for case in &file.cases {
                adversarial::check(case, &format!("{name}: {}", case.name));
            }
            checked.adversarial += file.cases.len();
        }
        // These are checked by the tests of their subjects: crates/types, reference-rollup and
        // contracts.
        Some("bundle" | "claim" | "poseidon" | "groth16") => {}
        _ => panic!("{name}: nobody checks vectors of this name"),
    }
}

fn check_folder(folder: &Path) -> Checked {
    let mut checked = Checked::default();
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).path();
        if path.extension().is_some_and(|extension| extension == "json") {
            check_file(&path, &mut checked);
        }
    }
    assert!(checked.protocol > 0 && checked.adversarial > 0, "{}: {checked:?}", folder.display());
    checked
}

#[test]
fn vectors_of_the_project() {
    println!("{:?}", check_folder(&root().join("vectors")));
}

#[test]
fn vectors_beside_the_project() {
    let folder = root().join("../shared/vectors");
    if folder.is_dir() {
        println!("{:?}", check_folder(&folder));
    } else {
        println!("there is no ../shared/vectors");
    }
}

#[test]
fn vectors_named_in_the_environment() {
    let mut checked = Checked::default();
    let Some(names) = std::env::var_os("DAC_VECTORS") else {
        println!("DAC_VECTORS is not set");
        return;
    };
    for path in std::env::split_paths(&names).filter(|path| !path.as_os_str().is_empty()) {
        check_file(&root().join(path), &mut checked);
    }
    println!("{checked:?}");
}

/// A vector with a changed value must fail the comparison.
#[test]
fn a_changed_vector_fails() {
    let path = root().join("vectors/protocol-v1.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vector = &file["vectors"][6];
    let passes = |vector: &serde_json::Value| {
        let vector: protocol::Vector = serde_json::from_value(vector.clone()).unwrap();
        std::panic::catch_unwind(|| protocol::check(&vector, "changed")).is_ok()
    };
    assert!(passes(vector));
    let mut unchanged = Vec::new();
    hex_bytes::for_each_changed(vector, &mut |place, changed| {
        if passes(changed) {
            unchanged.push(place.to_owned());
        }
    });
    assert!(unchanged.is_empty(), "changed without being noticed: {unchanged:?}");
}

#[test]
fn an_unknown_field_fails() {
    let path = root().join("vectors/protocol-v1.json");
    let mut file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(serde_json::from_value::<protocol::File>(file.clone()).is_ok());
    file["vectors"][0]["sample"]["colour"] = "green".into();
    let error = serde_json::from_value::<protocol::File>(file).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("unknown field `colour`"), "{error}");
}
