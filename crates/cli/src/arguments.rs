//! Parses a program's arguments. Mistakes in them are reported to people and scripts in the same
//! form as other failures.

use std::ffi::OsString;
use std::io::Write as _;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Command, Parser};

use crate::{Failure, Output, keep_examples};

/// Parses the program's arguments. For help, version and mistakes it prints a text and ends the
/// process.
pub fn parse<C: Parser>() -> C {
    let mut command = keep_examples(C::command());
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let parsed = command.try_get_matches_from_mut(&arguments);
    let parsed = parsed.and_then(|mut matches| {
        C::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
    });
    parsed.unwrap_or_else(|error| {
        let _ = error.print();
        if error.use_stderr() {
            let notes = empty_variables(&command, &error.to_string(), |name| std::env::var(name).ok());
            let notes: Vec<String> = notes.iter().map(|name| empty_variable(name)).collect();
            for note in &notes {
                let _ = writeln!(std::io::stderr(), "note: {note}");
            }
            if wants_json(&command, &arguments) {
                Output::new(true, true).fail_document(&mistake(&error, &notes));
            }
        }
        #[expect(clippy::disallowed_methods, reason = "nothing was begun before the arguments were read")]
        std::process::exit(error.exit_code());
    })
}

/// Returns whether the arguments contain `--json`. clap does not report this for arguments that it
/// refuses.
fn wants_json(command: &Command, arguments: &[OsString]) -> bool {
    const FLAG: &str = "json";
    command.get_arguments().any(|argument| argument.get_long() == Some(FLAG))
        && arguments
            .iter()
            .skip(1)
            .take_while(|argument| *argument != "--")
            .any(|argument| argument.to_str().and_then(|text| text.strip_prefix("--")) == Some(FLAG))
}

/// Makes a failure of clap's error. Usage lines and the reference to the help are left out, because
/// scripts cannot use them. clap's tips and `notes` become the hint.
fn mistake(error: &clap::Error, notes: &[String]) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("a command is missing").hint("--help lists the commands");
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut message = Vec::new();
    let mut tips = notes.to_vec();
    for line in text.lines().take_while(|line| !line.starts_with("Usage:") && !is_way_to_help(line)) {
        match line.trim().strip_prefix("tip: ") {
            Some(tip) => tips.push(tip.to_owned()),
            None => message.push(line),
        }
    }
    let failure = Failure::usage(message.join("\n").trim_end());
    if tips.is_empty() { failure } else { failure.hint(tips.join("; ")) }
}

fn is_way_to_help(line: &str) -> bool {
    line.starts_with("For more information")
}

fn empty_variable(name: &str) -> String {
    format!("the environment variable {name} is set and empty: unset it, or give it a value")
}

/// Returns the environment variables that are set and empty, of options that the error mentions.
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

/// Parses an argument that is an address. The error says what an address looks like.
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
    use clap::{Arg, ArgAction};

    fn command() -> Command {
        let json = Arg::new("json").long("json").action(ArgAction::SetTrue).global(true);
        let file = Arg::new("deployment").long("deployment").env("A_DEPLOYMENT").value_name("FILE");
        let kind = Arg::new("kind").long("kind").value_parser(["one", "two"]).required(true);
        let child = Command::new("child").arg(file).arg(kind);
        Command::new("a").arg(json).subcommand(child).subcommand_required(true).arg_required_else_help(true)
    }

    fn told(arguments: &[&str]) -> Failure {
        mistake(&command().try_get_matches_from(arguments).unwrap_err(), &[])
    }

    #[test]
    fn mistakes_are_told_without_usage_lines() {
        let missing = told(&["a", "child"]);
        assert_eq!(
            (missing.exit, &missing.message[..], missing.hint),
            (
                crate::Exit::Usage,
                "the following required arguments were not provided:\n  --kind <kind>",
                None
            )
        );
        let wrong = told(&["a", "child", "--kind", "twoo"]);
        assert_eq!(wrong.message, "invalid value 'twoo' for '--kind <kind>'\n  [possible values: one, two]");
        assert_eq!(wrong.hint.as_deref(), Some("a similar value exists: 'two'"));
        assert_eq!(told(&["a"]).message, "a command is missing");
        let noted = mistake(
            &command().try_get_matches_from(["a", "child"]).unwrap_err(),
            &[empty_variable("A_DEPLOYMENT")],
        );
        assert!(noted.hint.unwrap().contains("A_DEPLOYMENT is set and empty"));
    }

    #[test]
    fn documents_are_asked_for_before_a_double_dash_and_where_the_program_has_any() {
        let wants = |command: &Command, arguments: &[&str]| {
            wants_json(command, &arguments.iter().map(OsString::from).collect::<Vec<_>>())
        };
        assert!(wants(&command(), &["a", "child", "--json", "--no-such"]));
        for without in [&["a", "child"][..], &["a", "--", "--json"], &["a", "json"], &["--json"]] {
            assert!(!wants(&command(), without), "{without:?}");
        }
        assert!(!wants(&Command::new("b"), &["b", "--json"]));
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
