//! Help texts and arguments: examples are printed as they were written, and an empty environment variable is named.

use std::io::Write as _;
use std::str::FromStr;

use clap::{Command, Parser};

/// A help text up to its examples, as clap has it by default.
const TEMPLATE: &str = "\
{before-help}{about-with-newline}
{usage-heading} {usage}

{all-args}";

/// The command with examples that stay as they are in a terminal of any width.
///
/// Clap wraps what follows the options, and half a command line that is copied into a shell does something else. Only the text of a
/// help template is left alone, so the examples become a part of it.
#[must_use]
pub fn keep_examples(command: Command) -> Command {
    let command = command.mut_subcommands(keep_examples);
    match command.get_after_help() {
        Some(text) => {
            let template = format!("{TEMPLATE}\n\n{text}\n");
            command.help_template(template)
        }
        None => command,
    }
}

/// The program's arguments. Help, version and mistakes are printed, and end the process.
pub fn parse<C: Parser>() -> C {
    let mut command = keep_examples(C::command());
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let parsed = parsed.and_then(|mut matches| {
        C::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    });
    parsed.unwrap_or_else(|error| {
        let _ = error.print();
        if error.use_stderr() {
            for name in empty_variables(&command, &error.to_string(), |name| std::env::var(name).ok()) {
                let _ = writeln!(
                    std::io::stderr(),
                    "note: the environment variable {name} is set and empty: unset it, or give it a value"
                );
            }
        }
        std::process::exit(error.exit_code())
    })
}

/// Variables that are set and empty, of options that an error speaks of.
fn empty_variables(
    command: &Command,
    error: &str,
    value: impl Fn(&str) -> Option<String> + Copy,
) -> Vec<String> {
    let mut names: Vec<String> = command
        .get_arguments()
        .filter(|argument| argument.get_long().is_some_and(|long| error.contains(&format!("--{long} "))))
        .filter_map(|argument| argument.get_env()?.to_str())
        .filter(|name| value(name).is_some_and(|value| value.is_empty()))
        .map(str::to_owned)
        .collect();
    for subcommand in command.get_subcommands() {
        names.extend(empty_variables(subcommand, error, value));
    }
    names.sort();
    names.dedup();
    names
}

/// An argument that is an address, with an error that says what one looks like.
pub fn address<A: FromStr>(text: &str) -> Result<A, String> {
    const EXPECTED: &str = "expected an address: 0x and 40 hexadecimal digits";
    text.parse().map_err(|_| {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        if digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            format!("{EXPECTED}, got {}", digits.len())
        } else {
            EXPECTED.to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    fn command() -> Command {
        let file = Arg::new("deployment").long("deployment").env("A_DEPLOYMENT").value_name("FILE");
        let url = Arg::new("url").long("url").env("A_URL");
        let child = Command::new("child").arg(file).arg(url).after_help(
            "Example:\n  a child --deployment a-file-with-a-long-name.json --url https://member.example.org:7001",
        );
        Command::new("a").subcommand(child)
    }

    #[test]
    fn examples_are_not_wrapped() {
        let wrapped = command().term_width(40).find_subcommand("child").unwrap().clone();
        let kept = keep_examples(command()).find_subcommand("child").unwrap().clone();
        let render = |command: Command| command.term_width(40).render_long_help().to_string();
        let example =
            "  a child --deployment a-file-with-a-long-name.json --url https://member.example.org:7001\n";
        assert!(!render(wrapped).contains(example), "clap wraps no more: this is of no use any more");
        assert!(render(kept).contains(example));
    }

    #[test]
    fn a_wrong_address_is_told_by_its_length() {
        let told = |text| address::<u8>(text).unwrap_err();
        assert!(told("0xbb").ends_with("40 hexadecimal digits, got 2"), "{}", told("0xbb"));
        assert!(told("0xzz").ends_with("40 hexadecimal digits"), "{}", told("0xzz"));
    }

    #[test]
    fn an_empty_variable_is_named_where_its_option_is_at_fault() {
        let error = "error: a value is required for '--deployment <FILE>' but none was supplied";
        let empty = |_: &str| Some(String::new());
        assert_eq!(empty_variables(&command(), error, empty), ["A_DEPLOYMENT"]);
        assert!(empty_variables(&command(), error, |_| None).is_empty());
        assert!(empty_variables(&command(), error, |_| Some("x".to_owned())).is_empty());
    }
}
