//! Logs on standard error, as text or JSON.

use serde::Deserialize;
use thiserror::Error;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Overrides the configured filter.
const FILTER_VARIABLE: &str = "DAC_LOG";

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one object a line.
    Json,
}

/// The `[log]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// Directives such as `info` or `info,dac_node=debug`; the environment variable `DAC_LOG` overrides them.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".into() }
    }
}

/// Why logs cannot be written as asked.
#[derive(Debug, Error)]
pub enum LogError {
    /// No filter directive.
    #[error("log filter: {0}")]
    Filter(String),
    /// Something else took the place.
    #[error("logging was set up already")]
    AlreadySet,
}

impl LogConfig {
    /// The filter as it stands in the configuration.
    pub fn check(&self) -> Result<(), LogError> {
        EnvFilter::try_new(&self.filter).map(drop).map_err(|error| LogError::Filter(error.to_string()))
    }
}

/// Sets the process's logging up.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let directives = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| config.filter.clone());
    let filter = EnvFilter::try_new(directives).map_err(|error| LogError::Filter(error.to_string()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(ansi).finish().try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
    .map_err(|_| LogError::AlreadySet)
}

#[cfg(test)]
mod tests {
    use super::*;

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
