//! What people and machines read: one JSON document or text on standard output, progress and notes on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dac_chain::Receipt;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::failure::CliError;

/// Where and how to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    is_terminal: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, is_terminal: std::io::stderr().is_terminal() }
    }

    /// The result: the document for machines, the text for people.
    pub(crate) fn result(&self, document: &Value, text: impl FnOnce() -> String) {
        let text = if self.json { pretty(document) } else { text() };
        // A reader that went away (`| head`) is no failure of the command.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    }

    /// The result of a transaction: its receipt is added to both.
    pub(crate) fn sent(&self, mut document: Value, receipt: &Receipt, text: &str) {
        if let Value::Object(fields) = &mut document {
            fields.insert("transaction".into(), json!(receipt.tx_hash));
            fields.insert("block".into(), json!(receipt.block));
            fields.insert("gas_used".into(), json!(receipt.gas_used));
        }
        self.result(&document, || {
            format!(
                "{text}\ntransaction {} in block {}, {} gas",
                receipt.tx_hash, receipt.block, receipt.gas_used
            )
        });
    }

    /// Something that must not be overlooked, even when quiet.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr(), "WARNING: {}", text.as_ref());
    }

    /// The end of a command that failed.
    pub(crate) fn fail(&self, error: &CliError) -> ExitCode {
        if self.json {
            let document = json!({ "error": {
                "code": error.failure.name(),
                "exit_code": error.failure.code(),
                "message": error.message,
                "hint": error.hint,
            }});
            let _ = writeln!(std::io::stdout(), "{}", pretty(&document));
        }
        let mut stderr = std::io::stderr();
        let _ = writeln!(stderr, "error: {}", error.message);
        if let Some(hint) = &error.hint {
            let _ = writeln!(stderr, "  try: {hint}");
        }
        error.failure.into()
    }

    /// A bar that counts things; shown on a terminal only.
    pub(crate) fn count_bar(&self, total: u64, what: &str) -> ProgressBar {
        self.bar(ProgressBar::new(total), "{msg:12} [{bar:32}] {pos}/{len}", what)
    }

    /// Something turns while nothing can be counted.
    pub(crate) fn spinner(&self, what: &str) -> ProgressBar {
        let bar = self.bar(ProgressBar::new_spinner(), "{spinner} {msg} {elapsed}", what);
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

fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).unwrap_or_else(|_| document.to_string())
}

/// Names and values, one a line.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// A Unix time for people: how far it is from another one.
pub(crate) fn distance(time: u64, now: u64) -> String {
    let span = |seconds: u64| {
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => format!("{seconds} s"),
            (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
            (0, _, _) => format!("{hours} h {minutes} min"),
            _ => format!("{days} d {hours} h"),
        }
    };
    if time >= now { format!("in {}", span(time - now)) } else { format!("{} ago", span(now - time)) }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_aligned() {
        assert_eq!(fields(&[("a", "1".into()), ("bcd", "2".into())]), "a    1\nbcd  2\n");
    }

    #[test]
    fn times_of_any_size_are_shown() {
        assert_eq!(distance(1_061, 1_000), "in 1 min 1 s");
        assert_eq!(distance(0, 59), "59 s ago");
        assert_eq!(distance(u64::MAX, 0), "in 213503982334601 d 7 h");
    }
}
