//! The file that tells other programs that a service is ready, and where it listens.

use std::io;
use std::path::PathBuf;

use serde::Serialize;

/// The file named by `--ready-file`, if one is. It exists only while the service is ready.
#[derive(Debug)]
pub(super) struct ReadyFile(Option<PathBuf>);

impl ReadyFile {
    /// Removes the file of an earlier run, which would say too early that the service is ready.
    ///
    /// # Errors
    /// The error names the path.
    pub(super) fn new(path: Option<PathBuf>) -> io::Result<Self> {
        let file = Self(path);
        file.remove()?;
        Ok(file)
    }

    /// Writes the addresses as JSON. The file appears whole or not at all, because programs that
    /// wait for it read it at once.
    ///
    /// # Errors
    /// The error names the path.
    pub(super) fn write(&self, addresses: &impl Serialize) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let partial = path.with_extension("partial");
        let written = serde_json::to_vec(addresses)
            .map_err(io::Error::from)
            .and_then(|json| std::fs::write(&partial, json))
            .and_then(|()| std::fs::rename(&partial, path));
        written.map_err(|error| self.named(&error))
    }

    /// Removes the file, if it is there.
    ///
    /// # Errors
    /// The error names the path.
    pub(super) fn remove(&self) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.named(&error)),
            _ => Ok(()),
        }
    }

    fn named(&self, error: &io::Error) -> io::Error {
        let path = self.0.clone().unwrap_or_default();
        io::Error::new(error.kind(), format!("the ready file {}: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_only_while_the_service_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready.json");
        std::fs::write(&path, "of a former run").unwrap();
        let file = ReadyFile::new(Some(path.clone())).unwrap();
        assert!(!path.exists());
        file.write(&serde_json::json!({ "grpc": "127.0.0.1:1" })).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), r#"{"grpc":"127.0.0.1:1"}"#);
        file.remove().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
        file.remove().unwrap();
    }

    #[test]
    fn errors_name_the_path() {
        let file = ReadyFile::new(Some("/no/such/folder/ready.json".into())).unwrap();
        let error = file.write(&()).unwrap_err().to_string();
        assert!(error.starts_with("the ready file /no/such/folder/ready.json: "), "{error}");
        ReadyFile::new(None).unwrap().write(&()).unwrap();
    }
}
