//! Configuration files in TOML. Unknown keys are refused, durations and sizes have units, and paths
//! are relative to the file.

mod chain;
mod error;
mod files;
mod paths;
mod sections;
mod units;
mod url;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::de::DeserializeOwned;

pub use self::chain::ChainConfig;
pub use self::error::ConfigError;
use self::error::FILE_MAX_BYTES;
pub use self::files::{NamedFile, client_tls_files};
pub use self::paths::resolve;
pub use self::sections::{ListenerConfig, MetricsConfig, ShutdownConfig};
pub use self::units::{ByteSize, Period, UnitError, within};
pub use self::url::{HttpUrl, HttpUrlError};

/// The exit code of a service that failed: 2 for a wrong configuration, which a restart does not
/// mend, and 1 for everything else.
pub fn exit_code(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    if error.is::<ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// A program's configuration. Its tables carry `#[serde(deny_unknown_fields)]`.
pub trait Config: DeserializeOwned {
    /// Makes relative paths relative to the configuration file's folder.
    fn resolve_paths(&mut self, folder: &Path);

    /// Checks the rules that the type of a single value cannot express. The operator reads the
    /// problem, so it must name the key, the value and what is allowed.
    fn check(&self) -> Result<(), String>;

    /// The files that the configuration names, with their keys: keys, passwords, certificates.
    fn files(&self) -> Vec<NamedFile<'_>> {
        Vec::new()
    }
}

/// `--config` and `--check-config`, for programs' command lines.
#[derive(Clone, Debug, clap::Args)]
pub struct ConfigArgs {
    /// Configuration file (TOML)
    #[arg(long, short, value_name = "FILE")]
    pub config: PathBuf,
    /// Check the configuration, say what would run, and exit
    #[arg(long)]
    pub check_config: bool,
}

/// Reads and checks a configuration file.
pub fn load<C: Config>(path: &Path) -> Result<C, ConfigError> {
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(io)?;
    if read as u64 > FILE_MAX_BYTES {
        return Err(ConfigError::TooLong { path: path.to_owned() });
    }
    let folder = std::path::absolute(path).map_err(io)?;
    parse(&text, path, folder.parent().unwrap_or(Path::new("/")))
}

fn parse<C: Config>(text: &str, path: &Path, folder: &Path) -> Result<C, ConfigError> {
    let mut config: C = toml::from_str(text).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: 1 + error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count()),
        problem: error.message().to_owned(),
    })?;
    config.resolve_paths(folder);
    config.check().map_err(|problem| ConfigError::Invalid { path: path.to_owned(), problem })?;
    Ok(config)
}

/// Checks that all files that a configuration names can be read. This is fast, unlike decrypting
/// keys.
pub fn check_files<C: Config>(config: &C, path: &Path) -> Result<(), ConfigError> {
    files::check(path, config.files())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        key_file: PathBuf,
        timeout: Period,
        #[serde(default)]
        limit: Option<ByteSize>,
    }

    impl Config for Example {
        fn resolve_paths(&mut self, folder: &Path) {
            resolve(&mut self.key_file, folder);
        }

        fn check(&self) -> Result<(), String> {
            if self.timeout.as_secs() > 60 { Err("timeout: at most 60s".into()) } else { Ok(()) }
        }
    }

    fn load_text(text: &str) -> Result<Example, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = load::<Example>(&path)?;
        assert!(loaded.key_file.starts_with(folder.path()) || loaded.key_file.starts_with("/etc"));
        Ok(loaded)
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let example = load_text("key_file = 'keys/bls.json'\ntimeout = '30s'\nlimit = '64MiB'").unwrap();
        assert!(example.key_file.is_absolute() && example.key_file.ends_with("keys/bls.json"));
        assert_eq!((example.timeout.as_secs(), example.limit.unwrap().bytes()), (30, 64 << 20));
        assert_eq!(
            load_text("key_file = '/etc/key'\ntimeout = '1s'").unwrap().key_file,
            Path::new("/etc/key")
        );
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, line, problem) in [
            ("key_file = 'x'\n\ntimeuot = '1s'", 3, "unknown field `timeuot`"),
            ("key_file = 'x'\ntimeout = 30", 2, "a duration with its unit"),
            ("key_file = 'x'\ntimeout = '30'", 2, "a duration with its unit"),
            ("key_file = 'x'\ntimeout = '1s'\nlimit = '5 parsecs'", 3, "a size with its unit"),
            ("key_file = ", 1, ""),
            ("timeout = '1s'", 1, "missing field `key_file`"),
        ] {
            match load_text(text).unwrap_err() {
                ConfigError::Syntax { line: got, problem: said, .. } => {
                    assert_eq!(got, line, "{text}: {said}");
                    assert!(said.contains(problem), "{said}");
                }
                other => panic!("{other}"),
            }
        }
        let error = load_text("key_file = 'x'\ntimeout = '2m'").unwrap_err();
        assert!(error.to_string().ends_with("timeout: at most 60s"), "{error}");
    }

    #[test]
    fn values_are_not_repeated_in_errors() {
        for text in
            ["timeout = 'hunter2'\nkey_file = 'x'", "key_file = 'x'\ntimeout = '1s'\nlimit = 'hunter2'"]
        {
            let error = load_text(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn unreadable_and_endless_files_are_refused() {
        assert!(matches!(load::<Example>(Path::new("/none.toml")), Err(ConfigError::Io { .. })));
        assert!(matches!(load_text(&" ".repeat((1 << 20) + 1)), Err(ConfigError::TooLong { .. })));
    }
}
