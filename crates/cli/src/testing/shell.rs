//! Runs scripts in a shell with programs that only write down how they were called.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

/// One call of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    /// The program's name and its arguments.
    pub(super) words: Vec<String>,
    /// The environment variables of the call.
    pub(super) environment: Vec<(String, String)>,
}

/// Returns the calls that `sh` makes when it runs a script.
pub(super) fn calls(
    script: &str,
    programs: &[&str],
    variables: &[(&str, &str)],
) -> Result<Vec<Call>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (path, work) = (folder.path().join("bin"), folder.path().join("work"));
    let prepare = || {
        std::fs::create_dir(&path)?;
        std::fs::create_dir(&work)?;
        let stub = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/testing/record.sh");
        programs.iter().try_for_each(|program| symlink(&stub, path.join(program)))
    };
    prepare().map_err(|error| error.to_string())?;
    let output = Process::new("/bin/sh")
        .args(["-euc", script])
        .env_clear()
        .env("PATH", &path)
        .envs(variables.iter().copied())
        .current_dir(&work)
        .output()
        .map_err(|error| format!("sh: {error}"))?;
    if !output.status.success() || !output.stderr.is_empty() {
        return Err(format!("a shell refuses it: {}\n{script}", String::from_utf8_lossy(&output.stderr)));
    }
    if let Some(file) = first_file(&work) {
        return Err(format!("a shell takes it for a redirection to {}\n{script}", file.display()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).split_terminator('\u{1e}').map(call).collect())
}

/// Parses the record of a call: words that each end with a zero byte, a unit separator, and one
/// variable in each line.
fn call(record: &str) -> Call {
    let (words, environment) = record.split_once('\u{1f}').unwrap_or((record, ""));
    let variable = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Call {
        words: words.split_terminator('\0').map(str::to_owned).collect(),
        environment: environment.lines().filter_map(variable).collect(),
    }
}

fn first_file(folder: &Path) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.next()?.ok().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_variables_are_those_of_the_shell() {
        let read = calls("export D=1 C\na --b $C 'd e'\na f", &["a"], &[("C", "0x1")]).unwrap();
        let words: Vec<_> = read.iter().map(|call| call.words.join("|")).collect();
        assert_eq!(words, ["a|--b|0x1|d e", "a|f"]);
        for variable in [("C", "0x1"), ("D", "1")] {
            let variable = (variable.0.to_owned(), variable.1.to_owned());
            assert!(read[1].environment.contains(&variable), "{read:?}");
        }
    }

    #[test]
    fn what_a_shell_would_take_for_something_else_is_refused() {
        for broken in ["a 0x<digest>", "a --b\n  --c d", "a $C", "a b >c", "a 'b"] {
            assert!(calls(broken, &["a"], &[]).is_err(), "{broken}");
        }
    }
}
