//! Formats results: tables and times.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use dac_cli::{Output, distance, unix_now};
use dac_client::files::is_standard_stream;

/// Formats a table whose columns are as wide as their widest cell.
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

/// Formats a Unix time with its distance from now.
pub(crate) fn show_time(time: u64) -> String {
    if time == u64::MAX {
        return "open end".to_owned();
    }
    // The formatter does not know years after 9999; these times are shown as numbers.
    let stamp = match UNIX_EPOCH.checked_add(Duration::from_secs(time)) {
        Some(moment) if time < 253_402_300_800 => humantime::format_rfc3339_seconds(moment).to_string(),
        _ => return time.to_string(),
    };
    format!("{stamp} ({})", distance(time, unix_now()))
}

/// Returns where to print the result if data are written to `path`, which may be standard output.
pub(crate) fn stdout_taken_by(path: &Path, output: Output) -> Output {
    if is_standard_stream(path) { output.beside_data() } else { output }
}

/// Formats a latency in milliseconds.
pub(crate) fn show_latency(latency: Duration) -> String {
    format!("{} ms", latency.as_millis())
}

/// Returns the milliseconds of a duration, for JSON.
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
