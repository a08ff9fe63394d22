//! Runs the project's command lines as users do, with `--json`, and parses their output.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::failure::{Context, Failure, Result};
use crate::process::program;

/// The longest time that a command may take.
const LIMIT: Duration = Duration::from_secs(180);

/// A program that runs in one folder with one environment.
#[derive(Clone, Debug)]
pub struct CommandLine {
    name: &'static str,
    program: PathBuf,
    folder: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl CommandLine {
    /// Runs a program in `folder`, so that arguments can be short file names.
    pub fn new(name: &'static str, folder: &Path) -> Result<Self> {
        Ok(Self { name, program: program(name)?, folder: folder.to_owned(), environment: Vec::new() })
    }

    /// Makes an example of the client library runnable in `folder`. `cargo test --workspace` builds
    /// examples, `make build` does not.
    pub fn example(name: &'static str, folder: &Path) -> Result<Self> {
        let program = program(&format!("examples/{name}")).map_err(|_| {
            Failure::new(format!(
                "the example {name} is not built: run `cargo build -p dac-client --examples`"
            ))
        })?;
        Ok(Self { name, program, folder: folder.to_owned(), environment: Vec::new() })
    }

    /// Returns the program's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Adds an environment variable, as users set `DAC_DEPLOYMENT`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Formats the command as a user would type it.
    pub fn shown(&self, arguments: &[OsString]) -> String {
        let words = arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
        [self.name.to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Runs the command to its end and returns its output, even if it failed.
    pub async fn run<I, S>(&self, arguments: I) -> Result<Output>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let run = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.folder)
            .envs(self.environment.iter().cloned())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(LIMIT, run).await.context(self.name)?.context(self.name)
    }

    /// Runs the command with `--json`, and returns its exit code and its document.
    pub async fn document<I, S>(&self, arguments: I) -> Result<(Option<i32>, Value)>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut all = vec![OsString::from("--json")];
        all.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        let output = self.run(&all).await?;
        let document = serde_json::from_slice(&output.stdout).map_err(|error| {
            let (command, stderr) = (self.shown(&all), String::from_utf8_lossy(&output.stderr));
            Failure::new(format!(
                "{command} ended with {} and printed no document ({error}): {stderr}",
                output.status
            ))
        })?;
        Ok((output.status.code(), document))
    }

    /// Runs the command with `--json`, which must succeed, and returns its document.
    pub async fn expect<I, S>(&self, arguments: I) -> Result<Value>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let arguments: Vec<OsString> =
            arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        match self.document(&arguments).await? {
            (Some(0), document) => Ok(document),
            (code, document) => {
                Err(Failure::new(format!("{} ended with {code:?}: {document}", self.shown(&arguments))))
            }
        }
    }
}

/// Returns the text at a place of a document.
pub fn text<'a>(document: &'a Value, place: &str) -> Result<&'a str> {
    let value = document.pointer(place).and_then(Value::as_str);
    value.context(format!("{place} in {document}"))
}

/// Returns the number at a place of a document.
pub fn number(document: &Value, place: &str) -> Result<u64> {
    let value = document.pointer(place).and_then(Value::as_u64);
    value.context(format!("{place} in {document}"))
}
