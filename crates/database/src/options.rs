//! The settings of a database: its URL, and the number and timeouts of its connections.

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use dac_secrets::Password;
use serde::Deserialize;
use thiserror::Error;
use url::Url;

use crate::error::DatabaseError;

/// The reasons why a text is not the URL of a database.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DatabaseUrlError {
    /// The scheme is neither `sqlite` nor `postgres`.
    #[error("a database is `sqlite:PATH` or `postgres://USER@HOST/DATABASE`")]
    Scheme,
    /// There is no path behind `sqlite:`, or it names a database in memory.
    #[error("`sqlite:` must be followed by the path of a file")]
    NoPath,
    /// A text that starts with `postgres:` is not a URL.
    #[error("not a URL: {0}")]
    Malformed(String),
}

/// `sqlite:PATH` or `postgres://…`. `Display` omits user, password and parameters.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A file, which is created if it does not exist. Everything after `sqlite:` is its path,
    /// without decoding.
    Sqlite(PathBuf),
    /// A server, in libpq's URL syntax.
    Postgres(Box<Url>),
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") || path.contains('\0') {
                return Err(DatabaseUrlError::NoPath);
            }
            return Ok(DatabaseUrl::Sqlite(path.into()));
        }
        let url = Url::parse(text).map_err(|error| match text.split_once(':') {
            Some(("postgres" | "postgresql", _)) => DatabaseUrlError::Malformed(error.to_string()),
            _ => DatabaseUrlError::Scheme,
        })?;
        match url.scheme() {
            "postgres" | "postgresql" => Ok(DatabaseUrl::Postgres(Box::new(url))),
            _ => Err(DatabaseUrlError::Scheme),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseUrl::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            DatabaseUrl::Postgres(url) => {
                write!(f, "postgres://{}", url.host_str().unwrap_or("localhost"))?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text is not part of the error, because it may contain a password.
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The settings of a database. This is also the `[database]` table of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseOptions {
    /// The URL of the database.
    pub url: DatabaseUrl,
    /// The path of a file with the password of the PostgreSQL user, so that the URL need not
    /// contain it.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// The number of connections for reading; for PostgreSQL, this number again for writing. SQLite
    /// has one writer.
    #[serde(default = "default_max_connections")]
    pub max_connections: NonZeroU32,
    /// How long to wait for a connection.
    #[serde(skip, default = "default_acquire_timeout")]
    pub acquire_timeout: Duration,
    /// How long a transaction may take before its connection is closed.
    #[serde(skip, default = "default_transaction_timeout")]
    pub transaction_timeout: Duration,
    /// How long a PostgreSQL server keeps a transaction whose process sends nothing. It limits the
    /// wait of others for a process that is stopped or a machine that disappeared.
    #[serde(skip, default = "default_silence_timeout")]
    pub silence_timeout: Duration,
}

const fn default_max_connections() -> NonZeroU32 {
    NonZeroU32::new(8).expect("not zero")
}

const fn default_acquire_timeout() -> Duration {
    Duration::from_secs(30)
}

const fn default_transaction_timeout() -> Duration {
    Duration::from_secs(60)
}

const fn default_silence_timeout() -> Duration {
    Duration::from_secs(10)
}

impl DatabaseOptions {
    /// Returns the number of file descriptors that the connections may use.
    pub fn descriptors(&self) -> u64 {
        let connections = u64::from(self.max_connections.get());
        match self.url {
            // Each connection opens the database, its log and the log's index. One more connection
            // writes.
            DatabaseUrl::Sqlite(_) => 3 * (connections + 1),
            // The same number of connections is used for writing.
            DatabaseUrl::Postgres(_) => 2 * connections,
        }
    }

    /// Makes options with this URL and the defaults for all other settings.
    pub const fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            password_file: None,
            max_connections: default_max_connections(),
            acquire_timeout: default_acquire_timeout(),
            transaction_timeout: default_transaction_timeout(),
            silence_timeout: default_silence_timeout(),
        }
    }

    /// Makes options for a SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::new(DatabaseUrl::Sqlite(path.into()))
    }

    /// Checks that the SQLite file, if this is one, could be created or written. The check leaves
    /// no file behind. A process that has the file open must not call it.
    pub fn check_file(&self) -> Result<(), DatabaseError> {
        match &self.url {
            DatabaseUrl::Sqlite(path) => crate::sqlite::check(path),
            DatabaseUrl::Postgres(_) => Ok(()),
        }
    }

    /// Makes relative paths relative to `folder`, which is that of the configuration file.
    pub fn resolve_paths(&mut self, folder: &Path) {
        if let DatabaseUrl::Sqlite(path) = &mut self.url {
            *path = folder.join(&*path);
        }
        if let Some(path) = &mut self.password_file {
            *path = folder.join(&*path);
        }
    }

    /// Reads the password from its file, if one is configured.
    pub(crate) fn password(&self) -> Result<Option<Password>, dac_secrets::SecretFileError> {
        self.password_file.as_deref().map(Password::read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_file_or_a_server() {
        for text in ["sqlite:data/node.db", "sqlite:/var/lib/dac/node.db", "sqlite:///var/x?y#z%20.db"] {
            assert!(matches!(text.parse(), Ok(DatabaseUrl::Sqlite(_))), "{text}");
        }
        assert_eq!("sqlite:///a b%.db".parse(), Ok(DatabaseUrl::Sqlite("/a b%.db".into())));
        assert!(matches!("postgresql://u@h/d?sslmode=verify-full".parse(), Ok(DatabaseUrl::Postgres(_))));
        for (text, error) in [
            ("sqlite:", DatabaseUrlError::NoPath),
            ("sqlite::memory:", DatabaseUrlError::NoPath),
            ("mysql://u@h/d", DatabaseUrlError::Scheme),
            ("node.db", DatabaseUrlError::Scheme),
            ("", DatabaseUrlError::Scheme),
        ] {
            assert_eq!(text.parse::<DatabaseUrl>(), Err(error), "{text}");
        }
        assert!(matches!("postgres://h:port/d".parse::<DatabaseUrl>(), Err(DatabaseUrlError::Malformed(_))));
    }

    #[test]
    fn passwords_are_not_shown() {
        let url: DatabaseUrl = "postgres://user:hunter2@host:5433/dac?password=hunter2".parse().unwrap();
        assert_eq!(url.to_string(), "postgres://host:5433/dac");
        let shown = format!("{:?}", DatabaseOptions::new(url));
        assert!(!shown.contains("hunter2"), "{shown}");
        let error = toml::from_str::<DatabaseOptions>("url = \"mysql://user:hunter2@host\"").unwrap_err();
        assert!(!error.message().contains("hunter2"), "{error}");
    }

    #[test]
    fn options_come_from_toml() {
        let mut options: DatabaseOptions =
            toml::from_str("url = \"sqlite:node.db\"\nmax_connections = 3\npassword_file = \"pw\"").unwrap();
        options.resolve_paths(Path::new("/etc/dac"));
        assert_eq!(options.url, DatabaseUrl::Sqlite("/etc/dac/node.db".into()));
        assert_eq!(options.password_file.as_deref(), Some(Path::new("/etc/dac/pw")));
        assert_eq!(options.max_connections.get(), 3);
        assert!(toml::from_str::<DatabaseOptions>("url = \"sqlite:x\"\nmax_connections = 0").is_err());
        assert!(toml::from_str::<DatabaseOptions>("url = \"sqlite:x\"\ncolour = 1").is_err());
    }
}
