//! Examples of help texts as a shell reads them.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::Command;

use crate::help::keep_examples;

/// Columns of the narrowest terminal that examples are written for.
const COLUMNS_MAX: usize = 100;

/// Headings of examples begin with one of these; the commands below them are indented.
const HEADINGS: [&str; 2] = ["Example", "Try"];

/// Hands the examples of every help text to a shell, and what it makes of them to the program's own parser.
///
/// `programs` are the names that a line may begin with, this program's first; `variables` those that the examples use, with values.
///
/// # Panics
/// Where a help text breaks an example's lines, where the shell refuses an example, or the program does.
pub fn check_examples(command: &Command, programs: &[&str], variables: &[(&str, &str)]) {
    let whole = keep_examples(command.clone());
    for (path, text) in help_texts(&whole, command.get_name()) {
        let examples = examples(&text);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{path}: too wide:\n{text}");
        for line in run(&examples, programs, variables).unwrap_or_else(|problem| panic!("{path}: {problem}"))
        {
            if line[0] == programs[0] {
                let parsed = whole.clone().try_get_matches_from(&line);
                parsed.unwrap_or_else(|error| panic!("{path}: {line:?}: {error}"));
            }
        }
    }
}

/// Every command's own text behind its options, with the words that lead to it. Each was found in a narrow terminal's help as it is.
fn help_texts(command: &Command, path: &str) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    if let Some(text) = command.get_after_help() {
        let text = text.to_string();
        let shown = command.clone().term_width(40).render_long_help().to_string();
        assert!(shown.contains(&text), "{path}: the examples are changed:\n{shown}");
        texts.push((path.to_owned(), text));
    }
    for subcommand in command.get_subcommands() {
        texts.extend(help_texts(subcommand, &format!("{path} {}", subcommand.get_name())));
    }
    texts
}

/// The indented lines below a heading of examples.
fn examples(text: &str) -> String {
    let mut is_example = false;
    let mut script = String::new();
    for line in text.lines() {
        if line.starts_with(|first: char| !first.is_whitespace()) {
            is_example = HEADINGS.iter().any(|heading| line.starts_with(heading));
        } else if is_example {
            script.push_str(line);
            script.push('\n');
        }
    }
    script
}

/// The commands of a script with their arguments, as `sh` reads them.
fn run(script: &str, programs: &[&str], variables: &[(&str, &str)]) -> Result<Vec<Vec<String>>, String> {
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
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = |line: &str| line.split_terminator('\0').map(str::to_owned).collect();
    Ok(text.split_terminator('\u{1e}').map(words).collect())
}

fn first_file(folder: &Path) -> Option<PathBuf> {
    std::fs::read_dir(folder).ok()?.next()?.ok().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_lines() {
        let text = "Words.\n\nExamples:\n  a --b $C \\\n      'd e'   # why\n  a f\n\nNo example:\n  a g\n";
        let read = run(&examples(text), &["a"], &[("C", "0x1")]).unwrap();
        assert_eq!(read, [vec!["a", "--b", "0x1", "d e"], vec!["a", "f"]]);
    }

    #[test]
    fn what_a_shell_would_take_for_something_else_is_refused() {
        for broken in ["a 0x<digest>", "a --b\n  --c d", "a $C", "a b >c", "a 'b"] {
            assert!(run(broken, &["a"], &[]).is_err(), "{broken}");
        }
    }
}
