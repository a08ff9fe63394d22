//! What people and machines read: one JSON document or text on standard output, progress and notes on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::exit::CliError;

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
    pub(crate) fn result(&self, document: Value, text: impl FnOnce() -> String) {
        let text = if self.json { pretty(&document) } else { text() };
        // A reader that went away (`| head`) is no failure of the command.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    }

    /// Something worth knowing that is not the result.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
        }
    }

    /// Something that must not be overlooked, even when quiet.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr(), "WARNING: {}", text.as_ref());
    }

    /// The end of a command that failed.
    pub(crate) fn fail(&self, error: &CliError) -> ExitCode {
        if self.json {
            let document = json!({ "error": {
                "code": error.exit.name(),
                "exit_code": error.exit.code(),
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
        error.exit.into()
    }

    /// A bar that counts bytes; shown on a terminal only.
    pub(crate) fn bytes_bar(&self, total: u64, what: &str) -> ProgressBar {
        let template = "{msg:12} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec}";
        self.bar(ProgressBar::new(total), template, what)
    }

    /// A bar that counts things.
    pub(crate) fn count_bar(&self, total: u64, what: &str) -> ProgressBar {
        self.bar(ProgressBar::new(total), "{msg:12} [{bar:32}] {pos}/{len}", what)
    }

    /// Something turns while nothing can be counted.
    pub(crate) fn spinner(&self, what: &str) -> ProgressBar {
        let bar = self.bar(ProgressBar::new_spinner(), "{spinner} {msg}", what);
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

/// Columns as wide as their widest cell.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, width) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count().min(*width)));
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

/// A Unix time for people, with its distance from now.
pub(crate) fn show_time(time: u64) -> String {
    if time == u64::MAX {
        return "open end".to_owned();
    }
    let now = unix_now();
    let distance = |seconds: u64| {
        let rounded = if seconds > 7200 { seconds - seconds % 60 } else { seconds };
        humantime::format_duration(Duration::from_secs(rounded)).to_string()
    };
    // Years beyond what the formatter knows are shown as numbers.
    let stamp = match UNIX_EPOCH.checked_add(Duration::from_secs(time)) {
        Some(moment) if time < 253_402_300_800 => humantime::format_rfc3339_seconds(moment).to_string(),
        _ => return time.to_string(),
    };
    if time >= now {
        format!("{stamp} (in {})", distance(time - now))
    } else {
        format!("{stamp} ({} ago)", distance(now - time))
    }
}

/// Milliseconds for people.
pub(crate) fn show_latency(latency: Duration) -> String {
    format!("{} ms", latency.as_millis())
}

/// For documents.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let text = table(
            &["seat", "result"],
            &[vec!["0".into(), "ok".into()], vec!["255".into(), "unreachable".into()]],
        );
        assert_eq!(text, "seat  result\n0     ok\n255   unreachable\n");
    }

    #[test]
    fn times_of_any_size_are_shown() {
        for time in [0, 1, unix_now() + 5, 253_402_300_800, u64::MAX - 1, u64::MAX] {
            assert!(!show_time(time).is_empty());
        }
    }
}
