//! Prints for people and machines: the result, as text or one JSON document, on standard output,
//! and progress and notes on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::Failure;

/// The duration of work above which people are told what they wait for.
const SLOW: Duration = Duration::from_secs(1);

/// How and where a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
    quiet: bool,
    is_terminal: bool,
    is_stdout_taken: bool,
    in_lines: bool,
}

impl Output {
    /// Makes the output that the options `--json` and `--quiet` ask for.
    pub fn new(json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            is_terminal: std::io::stderr().is_terminal(),
            is_stdout_taken: false,
            in_lines: false,
        }
    }

    /// Returns the output of a command whose data goes to standard output. Its result then goes to
    /// standard error.
    #[must_use]
    pub const fn beside_data(self) -> Self {
        Self { is_stdout_taken: true, ..self }
    }

    /// Returns the output of a command with many results. Each document is one line.
    #[must_use]
    pub const fn in_lines(self) -> Self {
        Self { in_lines: true, ..self }
    }

    /// Returns whether the result is printed as a document for machines.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Returns whether nothing but the result is wanted.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints the result: the document for machines, or the text for people.
    pub fn result(&self, document: Value, text: impl FnOnce() -> String) {
        let text = if self.json { self.show(&document) } else { text() };
        // If the reader went away (`| head`), the command has not failed.
        let _ = if self.is_stdout_taken {
            writeln!(std::io::stderr(), "{}", text.trim_end())
        } else {
            writeln!(std::io::stdout(), "{}", text.trim_end())
        };
    }

    /// Does some work on this thread. If it takes longer than a second, prints for people what they
    /// wait for.
    pub fn while_slow<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        tell_when_slow(SLOW, || self.note(what), work)
    }

    /// Prints something worth knowing that is not the result, unless the output is quiet.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
        }
    }

    /// Prints something that must not be overlooked, even if the output is quiet.
    pub fn warn(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr(), "WARNING: {}", text.as_ref());
    }

    /// Prints the failure of a command and returns its exit code.
    pub fn fail(&self, failure: &Failure) -> ExitCode {
        self.fail_document(failure);
        let mut stderr = std::io::stderr();
        let _ = writeln!(stderr, "error: {}", failure.message);
        if let Some(hint) = &failure.hint {
            let _ = writeln!(stderr, "  try: {hint}");
        }
        failure.exit.into()
    }

    /// Prints the failure as a document, if machines read the output.
    pub(crate) fn fail_document(&self, failure: &Failure) {
        if self.json {
            let document = json!({ "error": {
                "code": failure.exit.name(),
                "exit_code": failure.exit.code(),
                "message": failure.message,
                "hint": failure.hint,
            }});
            let _ = writeln!(std::io::stdout(), "{}", self.show(&document));
        }
    }

    /// Returns a bar that counts bytes. It is shown on a terminal only, like all bars.
    pub fn bytes_bar(&self, total: u64, what: &str) -> ProgressBar {
        let template = "{msg:12} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec}";
        self.bar(ProgressBar::new(total), template, what)
    }

    /// Returns a bar that counts things.
    pub fn count_bar(&self, total: u64, what: &str) -> ProgressBar {
        self.bar(ProgressBar::new(total), "{msg:12} [{bar:32}] {pos}/{len}", what)
    }

    /// Returns a spinner, for work of which nothing can be counted.
    pub fn spinner(&self, what: &str) -> ProgressBar {
        self.turning("{spinner} {msg}", what)
    }

    /// Returns a spinner for work that takes minutes. It shows how long it has been turning.
    pub fn timed_spinner(&self, what: &str) -> ProgressBar {
        self.turning("{spinner} {msg} {elapsed}", what)
    }

    fn show(&self, document: &Value) -> String {
        let line = || document.to_string();
        if self.in_lines { line() } else { serde_json::to_string_pretty(document).unwrap_or_else(|_| line()) }
    }

    fn turning(&self, template: &str, what: &str) -> ProgressBar {
        let bar = self.bar(ProgressBar::new_spinner(), template, what);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(120));
        }
        bar
    }

    fn bar(&self, bar: ProgressBar, template: &str, what: &str) -> ProgressBar {
        if self.quiet || !self.is_terminal {
            return ProgressBar::hidden();
        }
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what.to_owned());
        bar
    }
}

fn tell_when_slow<T>(limit: Duration, tell: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let (working, done) = mpsc::sync_channel::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if done.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                tell();
            }
        });
        let result = work();
        drop(working);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_slow_work_is_told_of() {
        let (sender, told) = mpsc::sync_channel(1);
        let tell = || sender.send(()).unwrap();
        tell_when_slow(Duration::from_secs(3600), tell, || ());
        assert!(told.try_recv().is_err());
        // The work does not end before the message was sent.
        tell_when_slow(Duration::ZERO, tell, || told.recv().unwrap());
    }
}
