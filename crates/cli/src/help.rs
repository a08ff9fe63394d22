//! Help texts whose examples are printed as they were written.

use clap::Command;

/// The first part of a help text, as clap makes it by default. The examples follow it.
const TEMPLATE: &str = "\
{before-help}{about-with-newline}
{usage-heading} {usage}

{all-args}";

/// Returns the command with examples that look the same in a terminal of any width.
///
/// clap wraps the text that follows the options, and half a command line that is copied into a
/// shell does something else. clap wraps no text of a help template, so the examples become a part
/// of it.
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
}
