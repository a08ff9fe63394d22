//! Logs on standard error, as text or JSON.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tracing::{error, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use self::queue::{Queue, QueueWriter};
use crate::config::exit_code;

/// The environment variable that overrides the configured filter.
const FILTER_VARIABLE: &str = "DAC_LOG";
/// Libraries that log a line for actions of strangers: connections that are reset, statements that
/// wait, messages that are not TLS. The programs count and log what matters of this themselves.
const QUIET: &str = "h2=error,sqlx=error,rustls=off";
/// How long a program that ends waits for the reader of its log.
const LAST_FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// How long a task that panicked waits for the reader, in case the panic ends the program.
const PANIC_FLUSH_LIMIT: Duration = Duration::from_millis(200);

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    #[default]
    Text,
    /// JSON for machines: one object per line.
    Json,
}

/// The `[log]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// The format: `text` or `json`.
    pub format: LogFormat,
    /// Filter directives such as `info` or `info,dac_node=debug`; the environment variable
    /// `DAC_LOG` overrides them. Libraries that strangers can make write lines are quiet unless
    /// they are named: `info,h2=warn,sqlx=warn`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

/// Why the log cannot be written as configured.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The text is not a valid filter.
    #[error("log filter: {0}")]
    Filter(String),
    /// Another part of the process has set up logging already.
    #[error("logging was set up already")]
    AlreadySet,
    /// The thread that writes the log cannot start.
    #[error("writing the log: {0}")]
    NoWriter(std::io::Error),
}

impl LogConfig {
    /// Checks the configured filter.
    pub fn check(&self) -> Result<(), LogError> {
        filter(&self.filter).map(drop)
    }
}

/// The lines that wait to be written to standard error.
static QUEUE: Queue = Queue::new();
static IS_SET: AtomicBool = AtomicBool::new(false);

/// Builds the filter: first the directives that keep strangers from filling the log, then the
/// configured ones. Of two for one target, the later one counts.
fn filter(directives: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(format!("{QUIET},{directives}")).map_err(|error| LogError::Filter(error.to_string()))
}

/// Sets up the process's logging. A thread of its own writes the lines, so neither a slow reader of
/// the log nor a full disk blocks or ends the process.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let directives = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| config.filter.clone());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&directives)?)
        .log_internal_errors(false)
        .with_writer(QueueWriter(&QUEUE));
    match config.format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(ansi).finish().try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
    .map_err(|_| LogError::AlreadySet)?;
    // A descriptor of its own, so that other writers to standard error do not wait for a lock that
    // this thread holds.
    let mut sink = File::from(std::io::stderr().as_fd().try_clone_to_owned().map_err(LogError::NoWriter)?);
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            QUEUE.write_to(&mut sink, &|lines| {
                warn!(lines, "log lines were lost: the log was not read, or had no room");
            })
        })
        .map_err(LogError::NoWriter)?;
    IS_SET.store(true, Ordering::Relaxed);
    std::panic::set_hook(Box::new(panicked));
    Ok(())
}

/// Logs a panic as a line of the log. The standard library's hook would write to standard error
/// itself, and wait for its reader.
fn panicked(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(tracing::field::display);
    let message = panic.payload_as_str().unwrap_or("no message");
    let backtrace = Backtrace::capture();
    let backtrace =
        (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
    error!(location, message, backtrace, "a task panicked");
    flush(PANIC_FLUSH_LIMIT);
}

/// The number of log lines that were lost since the process started.
pub fn lines_lost() -> u64 {
    QUEUE.lost()
}

/// Waits until all lines are written, at most for `limit`.
pub fn flush(limit: Duration) {
    if IS_SET.load(Ordering::Relaxed) {
        QUEUE.flush(limit);
    }
}

/// Ends a program. An error that ends it becomes the last line of its log, in the log's format, or
/// in text if logging was not set up.
pub fn finish(program: &str, result: Result<(), Box<dyn Error + Send + Sync>>) -> ExitCode {
    let Err(error) = result else {
        flush(LAST_FLUSH_LIMIT);
        return ExitCode::SUCCESS;
    };
    if IS_SET.load(Ordering::Relaxed) && tracing::enabled!(tracing::Level::ERROR) {
        error!(%error, "{program} has failed");
    } else {
        // Standard error may be closed; the exit code stays the same.
        let _ = writeln!(std::io::stderr(), "{program}: {error}");
    }
    flush(LAST_FLUSH_LIMIT);
    exit_code(&*error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_fill_the_log_unless_it_is_asked_for() {
        let quiet = filter("info").unwrap().to_string();
        for directive in ["h2=error", "sqlx=error", "rustls=off", "info"] {
            assert!(quiet.split(',').any(|other| other == directive), "{directive} in {quiet}");
        }
        let asked = filter("debug,h2=trace").unwrap().to_string();
        assert!(asked.contains("h2=trace") && !asked.contains("h2=error"), "{asked}");
    }

    #[test]
    fn filters_are_checked() {
        assert!(LogConfig::default().check().is_ok());
        let config: LogConfig = toml::from_str("format = 'json'\nfilter = 'info,dac_node=debug'").unwrap();
        assert_eq!(config.format, LogFormat::Json);
        assert!(config.check().is_ok());
        assert!(matches!(
            LogConfig { filter: "dac_node=loud=x".into(), ..config }.check(),
            Err(LogError::Filter(_))
        ));
        assert!(toml::from_str::<LogConfig>("format = 'xml'").is_err());
        assert!(toml::from_str::<LogConfig>("colour = true").is_err());
    }
}
