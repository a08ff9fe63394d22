//! Why a configuration cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Bytes of a configuration file, at most.
pub(super) const FILE_MAX_BYTES: u64 = 1 << 20;

/// Why a configuration cannot be used. No value of the file is repeated: it may hold a password.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Too long to be a configuration.
    #[error("{path} has more than {FILE_MAX_BYTES} bytes", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Not TOML, an unknown or missing key, or a value of the wrong kind.
    #[error("{path}, line {line}: {problem}", path = path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// Values that contradict each other or the rules.
    #[error("{path}: {problem}", path = path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

impl ConfigError {
    /// Something else that is wrong with what a configuration names.
    pub fn invalid(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::Invalid { path: path.to_owned(), problem: problem.to_string() }
    }
}
