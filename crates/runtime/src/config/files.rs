//! Checks the files that a configuration names. All files that cannot be read are reported at once,
//! each with its key.

use std::fs::File;
use std::path::Path;

use super::error::ConfigError;
use super::sections::ListenerConfig;
use crate::tls::{ClientTls, IdentityFiles};

/// A file and the key that names it, such as `grpc.tls.certificate`.
pub type NamedFile<'a> = (String, &'a Path);

impl ListenerConfig {
    /// The files of the listener's TLS; `table` is the name of the listener's table.
    pub fn files(&self, table: &str) -> Vec<NamedFile<'_>> {
        let Some(tls) = &self.tls else { return Vec::new() };
        let pair = [("certificate", &tls.certificate), ("key", &tls.key)];
        let authority = tls.client_ca.iter().map(|path| ("client_ca", path));
        let name = |(key, path): (&str, _)| (format!("{table}.tls.{key}"), AsRef::<Path>::as_ref(path));
        pair.into_iter().chain(authority).map(name).collect()
    }
}

/// The files of TLS towards servers; `table` is the name of the TLS table.
pub fn client_tls_files<'a>(tls: &'a ClientTls, table: &str) -> Vec<NamedFile<'a>> {
    let mut files: Vec<NamedFile<'a>> = Vec::new();
    files.extend(tls.ca.iter().map(|path| (format!("{table}.ca"), path.as_path())));
    if let Some(IdentityFiles { certificate, key }) = &tls.identity {
        files.push((format!("{table}.identity.certificate"), certificate));
        files.push((format!("{table}.identity.key"), key));
    }
    files
}

/// Opens each file and reports all that cannot be opened, so that the operator mends them together.
pub(super) fn check(path: &Path, files: Vec<NamedFile<'_>>) -> Result<(), ConfigError> {
    let problems: Vec<String> = files
        .into_iter()
        .filter_map(|(key, file)| {
            let error = File::open(file).err()?;
            Some(format!("\n  {key}: {}: {error}", file.display()))
        })
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    let problem = format!("files that it names cannot be read:{}", problems.concat());
    Err(ConfigError::invalid(path, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_told_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there.pem");
        std::fs::write(&there, "").unwrap();
        let listener: ListenerConfig = toml::from_str(&format!(
            "listen = '127.0.0.1:0'\n[tls]\ncertificate = '{}'\nkey = '/no/key.pem'\nclient_ca = '/no/ca.pem'",
            there.display()
        ))
        .unwrap();
        let client: ClientTls = toml::from_str(
            "ca = '/no/own-ca.pem'\nidentity = { certificate = '/no/own.pem', key = '/no/own.key' }",
        )
        .unwrap();
        let mut files = listener.files("grpc");
        files.extend(client_tls_files(&client, "dispersal.tls"));
        let error = check(Path::new("a.toml"), files).unwrap_err().to_string();
        for key in [
            "grpc.tls.key: /no/key.pem: ",
            "grpc.tls.client_ca: ",
            "dispersal.tls.ca: ",
            "dispersal.tls.identity.certificate: ",
            "dispersal.tls.identity.key: ",
        ] {
            assert!(error.contains(key), "{key} in {error}");
        }
        assert!(!error.contains("grpc.tls.certificate"), "{error}");
        assert!(check(Path::new("a.toml"), vec![("x".to_owned(), &there)]).is_ok());
    }
}
