//! TLS by configuration: rustls with aws-lc-rs, in all parts of the process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dac_secrets::SecretFileError;
use serde::Deserialize;
use thiserror::Error;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, Server, ServerTlsConfig};
use tracing::warn;

/// Bytes of a certificate, chain or key file, at most.
const PEM_MAX_BYTES: u64 = 1 << 20;

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A certificate file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key file cannot be read, or others can read it too.
    #[error(transparent)]
    Key(#[from] SecretFileError),
    /// More than a certificate file holds.
    #[error("{path} has more than {PEM_MAX_BYTES} bytes", path = path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The files hold no certificate and key that belong together.
    #[error("TLS certificate {certificate} with key {key}: {problem}", certificate = certificate.display(), key = key.display())]
    Identity {
        /// The certificate chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// What rustls said.
        problem: String,
    },
}

/// Makes aws-lc-rs the process's provider. Libraries that each bring a choice of their own panic where two are compiled
/// in and none was chosen; every program calls this first.
pub fn install_provider() {
    // An error says that one is installed already, and only this function installs one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A certificate chain and its private key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityFiles {
    /// The chain, own certificate first.
    pub certificate: PathBuf,
    /// The key, readable for its owner alone.
    pub key: PathBuf,
}

impl IdentityFiles {
    fn load(&self) -> Result<Identity, TlsError> {
        let key = dac_secrets::read(&self.key, usize::try_from(PEM_MAX_BYTES).unwrap_or(usize::MAX))?;
        Ok(Identity::from_pem(read(&self.certificate)?, key.as_slice()))
    }

    fn refused(&self, error: &dyn std::error::Error) -> TlsError {
        TlsError::Identity {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            problem: error.source().map_or_else(|| error.to_string(), ToString::to_string),
        }
    }

    fn resolve_paths(&mut self, folder: &Path) {
        crate::config::resolve(&mut self.certificate, folder);
        crate::config::resolve(&mut self.key, folder);
    }
}

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// The chain, own certificate first.
    pub certificate: PathBuf,
    /// The key, readable for its owner alone.
    pub key: PathBuf,
    /// Where given, only clients with a certificate of this authority get in.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// Reads relative paths as relative to `folder`.
    pub fn resolve_paths(&mut self, folder: &Path) {
        crate::config::resolve(&mut self.certificate, folder);
        crate::config::resolve(&mut self.key, folder);
        if let Some(path) = &mut self.client_ca {
            crate::config::resolve(path, folder);
        }
    }

    /// Reads the files and checks that they belong together.
    pub fn load(&self, handshake_timeout: Duration) -> Result<ServerTlsConfig, TlsError> {
        install_provider();
        let files = IdentityFiles { certificate: self.certificate.clone(), key: self.key.clone() };
        let mut config = ServerTlsConfig::new().identity(files.load()?).timeout(handshake_timeout);
        if let Some(authority) = &self.client_ca {
            config = config.client_ca_root(Certificate::from_pem(read(authority)?));
        }
        Server::builder().tls_config(config.clone()).map_err(|error| files.refused(&error))?;
        Ok(config)
    }
}

/// TLS towards servers: which authorities are trusted, and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTls {
    /// The one authority to trust; without it those of the operating system.
    pub ca: Option<PathBuf>,
    /// For servers that ask for a client certificate.
    pub identity: Option<IdentityFiles>,
}

impl ClientTls {
    /// Reads relative paths as relative to `folder`.
    pub fn resolve_paths(&mut self, folder: &Path) {
        if let Some(path) = &mut self.ca {
            crate::config::resolve(path, folder);
        }
        if let Some(identity) = &mut self.identity {
            identity.resolve_paths(folder);
        }
    }

    /// Reads the files.
    pub fn load(&self, handshake_timeout: Duration) -> Result<ClientTlsConfig, TlsError> {
        install_provider();
        let mut config = ClientTlsConfig::new().timeout(handshake_timeout);
        config = match &self.ca {
            Some(authority) => config.ca_certificate(Certificate::from_pem(read(authority)?)),
            None => config.with_native_roots(),
        };
        if let Some(files) = &self.identity {
            config = config.identity(files.load()?);
            tonic::transport::Endpoint::from_static("https://localhost")
                .tls_config(config.clone())
                .map_err(|error| files.refused(&error))?;
        }
        Ok(config)
    }
}

/// Says loudly what a listener without TLS on an outward address means.
pub fn warn_if_exposed(listener: &str, address: SocketAddr, tls: bool) {
    if !tls && !address.ip().is_loopback() {
        warn!(
            listener,
            %address,
            "NO TLS on an address that others can reach: anybody on the way can read and change what passes. \
             Configure a certificate, or put a proxy that ends TLS in front and listen on 127.0.0.1"
        );
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    use std::io::Read;
    let io = |source| TlsError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(PEM_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > PEM_MAX_BYTES {
        return Err(TlsError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::testing::{Authority, authority};
    use std::os::unix::fs::PermissionsExt;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn files_that_belong_together_are_taken() {
        let Authority { folder, .. } = authority();
        let mut server: ServerTls =
            toml::from_str("certificate = 'server.pem'\nkey = 'server.key'\nclient_ca = 'ca.pem'").unwrap();
        server.resolve_paths(folder.path());
        server.load(PATIENCE).unwrap();
        let mut client: ClientTls =
            toml::from_str("ca = 'ca.pem'\nidentity = { certificate = 'client.pem', key = 'client.key' }")
                .unwrap();
        client.resolve_paths(folder.path());
        client.load(PATIENCE).unwrap();
        ClientTls::default().load(PATIENCE).unwrap();
    }

    #[test]
    fn files_that_do_not_are_refused() {
        let Authority { folder, .. } = authority();
        let path = |name: &str| folder.path().join(name);
        let server = |certificate: &str, key: &str| ServerTls {
            certificate: path(certificate),
            key: path(key),
            client_ca: None,
        };
        assert!(matches!(server("server.pem", "client.key").load(PATIENCE), Err(TlsError::Identity { .. })));
        assert!(matches!(server("server.key", "server.key").load(PATIENCE), Err(TlsError::Identity { .. })));
        assert!(matches!(server("none.pem", "server.key").load(PATIENCE), Err(TlsError::Io { .. })));
        assert!(matches!(server("server.pem", "none.key").load(PATIENCE), Err(TlsError::Key(_))));
        std::fs::set_permissions(path("server.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            server("server.pem", "server.key").load(PATIENCE),
            Err(TlsError::Key(SecretFileError::TooOpen { .. }))
        ));
        assert!(toml::from_str::<ServerTls>("certificate = 'x'\nkey = 'y'\nverify = false").is_err());
    }
}
