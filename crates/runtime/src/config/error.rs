//! Why a configuration cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The most bytes of a configuration file.
pub(super) const FILE_MAX_BYTES: u64 = 1 << 20;

/// Why a configuration cannot be used. No value of the file is repeated, because it may be a
/// password.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file's path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is too long to be a configuration.
    #[error("{path} has more than {FILE_MAX_BYTES} bytes", path = path.display())]
    TooLong {
        /// The file's path.
        path: PathBuf,
    },
    /// The file is not TOML, has an unknown key, lacks a key, or has a value of the wrong type.
    #[error("{path}, line {line}: {problem}", path = path.display())]
    Syntax {
        /// The file's path.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong in the line.
        problem: String,
    },
    /// Some values contradict each other or break a rule.
    #[error("{path}: {problem}", path = path.display())]
    Invalid {
        /// The file's path.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl ConfigError {
    /// An error about something that the configuration names.
    pub fn invalid(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::Invalid { path: path.to_owned(), problem: problem.to_string() }
    }
}
