//! Runs the examples of help texts and pages in a shell.

mod pages;
mod shell;

use clap::Command;

pub use self::pages::check_pages;
use self::shell::calls;
use crate::help::keep_examples;

/// The number of columns of the narrowest terminal for which examples are written.
const COLUMNS_MAX: usize = 100;

/// The first words of the headings of examples. The commands below a heading are indented.
const HEADINGS: [&str; 2] = ["Example", "Try"];

/// Runs the examples of every help text in a shell, in which the programs only write down how they
/// are called. This program's own parser must accept each of its calls.
///
/// `programs` are the names with which a line may begin, this program's name first. `variables` are
/// the variables that the examples use, with values.
///
/// # Panics
/// It panics if a help text breaks the lines of an example, or if the shell or the program refuses
/// an example.
pub fn check_examples(command: &Command, programs: &[&str], variables: &[(&str, &str)]) {
    let whole = keep_examples(command.clone());
    for (path, text) in help_texts(&whole, command.get_name()) {
        let examples = examples(&text);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{path}: too wide:\n{text}");
        let calls =
            calls(&examples, programs, variables).unwrap_or_else(|problem| panic!("{path}: {problem}"));
        for call in calls.iter().filter(|call| call.words[0] == programs[0]) {
            let parsed = whole.clone().try_get_matches_from(&call.words);
            parsed.unwrap_or_else(|error| panic!("{path}: {:?}: {error}", call.words));
        }
    }
}

/// Returns the text behind the options of every command, with the words that lead to the command.
/// Checks that a narrow terminal's help shows the text unchanged.
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

/// Returns the indented lines below the headings of examples.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_lines() {
        let text = "Words.\n\nExamples:\n  a --b $C \\\n      'd e'   # why\n  a f\n\nNo example:\n  a g\n";
        let read = calls(&examples(text), &["a"], &[("C", "0x1")]).unwrap();
        let words: Vec<_> = read.into_iter().map(|call| call.words).collect();
        assert_eq!(words, [vec!["a", "--b", "0x1", "d e"], vec!["a", "f"]]);
    }
}
