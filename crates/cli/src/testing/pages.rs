//! Checks the commands of the repository's pages: the programs accept what a reader copies into a
//! shell.

use std::path::{Path, PathBuf};

use clap::Command;

use super::shell::{Call, calls};

/// The folders that contain pages.
const FOLDERS: [&str; 6] = [".", "docs", "deploy", "contracts", "reference-rollup", "bench"];

/// The programs whose commands are on pages.
const PROGRAMS: [&str; 4] = ["dac", "dac-node", "dac-aggregator", "reference-rollup"];

/// The variables that stand for the reader's own values, with values for the check.
const PLACEHOLDERS: [(&str, &str); 4] =
    [("ROLLUP", ADDRESS), ("DISPERSER", ADDRESS), ("DIGEST", HASH), ("COMMITMENT", HASH)];
const ADDRESS: &str = "0x5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f5f";
const HASH: &str = "0xa7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7";

/// Runs the commands in the `sh` blocks of every page in a shell, and checks that `command`'s
/// parser accepts each of its calls. The blocks of a page are one script, so a variable that one
/// block exports is set in the blocks below it.
///
/// Tests of their own run blocks of other kinds.
///
/// # Panics
/// It panics if the shell refuses the commands of a page, if the program refuses one, or if no page
/// has one.
pub fn check_pages(command: &Command) {
    let mut checked = 0;
    for page in pages() {
        let script = script(&blocks(&read(&page)));
        let page = page.display();
        let calls =
            calls(&script, &PROGRAMS, &PLACEHOLDERS).unwrap_or_else(|problem| panic!("{page}: {problem}"));
        for call in calls.iter().filter(|call| call.words[0] == command.get_name()) {
            let words = with_environment(command, call);
            let parsed = command.clone().try_get_matches_from(&words);
            parsed.unwrap_or_else(|error| panic!("{page}: {words:?}: {error}"));
            checked += 1;
        }
    }
    assert!(checked > 0, "no page has a command of {}", command.get_name());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = FOLDERS
        .iter()
        .flat_map(|folder| std::fs::read_dir(root().join(folder)).into_iter().flatten())
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

fn read(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// Returns the lines of a page's `sh` blocks.
fn blocks(page: &str) -> Vec<&str> {
    let (mut found, mut is_inside) = (Vec::new(), false);
    for line in page.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(kind) => is_inside = !is_inside && kind == "sh",
            None if is_inside => found.push(line),
            None => {}
        }
    }
    found
}

/// Returns the commands of our programs among the lines, and the exports of variables for them.
fn script(lines: &[&str]) -> String {
    let mut script = String::new();
    let mut is_ours = false;
    let mut goes_on = false;
    for line in lines {
        let line = as_this_user(line);
        if !goes_on {
            let first = line.split_whitespace().next().unwrap_or_default();
            is_ours = PROGRAMS.contains(&first) || line.starts_with("export DAC_");
        }
        goes_on = line.trim_end().ends_with('\\');
        if is_ours {
            script.push_str(line);
            script.push('\n');
        }
    }
    script
}

/// Returns a command without the words that run it as another user.
fn as_this_user(line: &str) -> &str {
    let command = line.trim_start();
    command.strip_prefix("sudo -u ").and_then(|rest| rest.split_once(' ')).map_or(command, |(_, rest)| rest)
}

/// Returns a call with the options that its environment variables give. The parser in this process
/// cannot see them, because it looks at the environment of this process.
fn with_environment(command: &Command, call: &Call) -> Vec<String> {
    let mut words = call.words.clone();
    let mut called = command;
    for word in &call.words[1..] {
        match called.find_subcommand(word) {
            Some(subcommand) => called = subcommand,
            None => break,
        }
    }
    for argument in called.get_arguments() {
        let Some((long, name)) = argument.get_long().zip(argument.get_env().and_then(|name| name.to_str()))
        else {
            continue;
        };
        let value = call.environment.iter().find(|(variable, _)| variable == name);
        let is_given = argument
            .get_long_and_visible_aliases()
            .unwrap_or_default()
            .iter()
            .any(|long| call.words.contains(&format!("--{long}")));
        if let Some((_, value)) = value.filter(|_| !is_given) {
            words.extend([format!("--{long}"), value.clone()]);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn commands_of_ours_are_found_in_sh_blocks_alone() {
        let page = "```sh\nmake x\nexport DAC_A=1\ndac a \\\n    --b\nsudo -u user dac-node --c\nls \\\n  dac\n```\n\
                    dac none\n```text\ndac none\n```\n```sh runbook:x\ndac none\n```\n";
        assert_eq!(script(&blocks(page)), "export DAC_A=1\ndac a \\\n--b\ndac-node --c\n");
    }

    #[test]
    fn what_the_environment_gives_is_an_argument_unless_it_is_one_already() {
        let key = Arg::new("key").long("key").visible_alias("owner").env("PAGES_TEST_KEY");
        let url = Arg::new("url").long("url").env("PAGES_TEST_URL");
        let command = Command::new("a").subcommand(Command::new("b").arg(key).arg(url));
        let environment = [("PAGES_TEST_KEY", "k"), ("PAGES_TEST_URL", "u")];
        let call = Call {
            words: ["a", "b", "--owner", "o"].map(str::to_owned).to_vec(),
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        };
        assert_eq!(with_environment(&command, &call), ["a", "b", "--owner", "o", "--url", "u"]);
    }

    /// Returns the targets of `make` that the page names in code, in blocks and within lines.
    fn targets(page: &str) -> Vec<&str> {
        let lines = blocks(page).into_iter();
        let named = lines.filter_map(|line| line.trim_start().strip_prefix("make "));
        let named = named.chain(page.split("`make ").skip(1));
        let is_of_name = |character: char| character.is_ascii_lowercase() || character == '-';
        named.map(|rest| rest.split(|character| !is_of_name(character)).next().unwrap_or_default()).collect()
    }

    #[test]
    fn every_make_target_that_a_page_names_exists() {
        let makefile = read(&root().join("Makefile"));
        let mut named = 0;
        for page in pages() {
            let text = read(&page);
            for target in targets(&text).into_iter().filter(|target| !target.is_empty()) {
                let is_there = makefile
                    .lines()
                    .any(|line| line.strip_prefix(target).is_some_and(|rest| rest.starts_with(':')));
                assert!(is_there, "{}: there is no target {target}", page.display());
                named += 1;
            }
        }
        assert!(named > 5, "{named}");
    }
}
