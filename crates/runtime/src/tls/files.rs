//! Certificates and keys on disk: the `tls` tables of configuration files, and the rustls
//! configurations made from them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::Deserialize;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::{TlsError, Validity, install_provider};
use crate::config::resolve;

/// The most bytes of a certificate, chain or key file.
const PEM_MAX_BYTES: usize = 1 << 20;
/// The only protocol that is spoken inside TLS.
const HTTP2: &[u8] = b"h2";

/// The PEM files of a certificate chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityFiles {
    /// The chain, with the own certificate first.
    pub certificate: PathBuf,
    /// The key, which other users must not be able to read.
    pub key: PathBuf,
}

/// The TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// The chain, with the own certificate first.
    pub certificate: PathBuf,
    /// The key, which other users must not be able to read.
    pub key: PathBuf,
    /// If given, only clients with a certificate of this authority can connect.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// The TLS towards servers: the trusted authorities, and the own identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTls {
    /// The only authority to trust; without it, those of the operating system.
    pub ca: Option<PathBuf>,
    /// The identity for servers that ask for a client certificate.
    pub identity: Option<IdentityFiles>,
}

/// The purpose of a file of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileRole {
    /// The file holds the own chain.
    Certificate,
    /// The file holds the authorities against which others' certificates are checked.
    Authority,
}

impl FileRole {
    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Authority => "authority",
        }
    }
}

/// A file of certificates, and when they are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    /// The file's path.
    pub path: PathBuf,
    /// The purpose of the file.
    pub role: FileRole,
    /// For a chain, the time in which all of its certificates are valid. For authorities, the time
    /// of the one that is valid longest.
    pub validity: Validity,
}

/// A configuration made from files.
#[derive(Debug)]
pub(super) struct Loaded<C> {
    pub(super) config: Arc<C>,
    pub(super) files: Vec<CertificateFile>,
}

impl ServerTls {
    /// Makes relative paths relative to `folder`.
    pub fn resolve_paths(&mut self, folder: &Path) {
        resolve(&mut self.certificate, folder);
        resolve(&mut self.key, folder);
        if let Some(path) = &mut self.client_ca {
            resolve(path, folder);
        }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca).cloned().collect()
    }

    /// Reads the files and checks that they belong together.
    pub(super) fn load(&self) -> Result<Loaded<ServerConfig>, TlsError> {
        install_provider();
        let refused = |problem: String| TlsError::Identity {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            problem,
        };
        let (own, chain) = certificates(&self.certificate, FileRole::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&read_key(&self.key)?)
            .map_err(|_| refused("the key file holds no private key in PEM".to_owned()))?;
        let mut files = vec![own];
        let builder = match &self.client_ca {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(path) => {
                let (authority, certificates) = certificates(path, FileRole::Authority)?;
                files.push(authority);
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(certificates);
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().map_err(|error| {
                    TlsError::Authority { path: path.clone(), problem: error.to_string() }
                })?;
                ServerConfig::builder().with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| refused(error.to_string()))?;
        config.alpn_protocols.push(HTTP2.to_vec());
        Ok(Loaded { config: Arc::new(config), files })
    }
}

impl ClientTls {
    /// Makes relative paths relative to `folder`.
    pub fn resolve_paths(&mut self, folder: &Path) {
        let identity = self.identity.iter_mut().flat_map(|files| [&mut files.certificate, &mut files.key]);
        for path in self.ca.iter_mut().chain(identity) {
            resolve(path, folder);
        }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let identity = self.identity.iter().flat_map(|files| [&files.certificate, &files.key]);
        self.ca.iter().chain(identity).cloned().collect()
    }

    /// Reads the files once. A long-running process keeps them fresh with
    /// [`super::Renewals::client`].
    pub fn load(&self, handshake_timeout: Duration) -> Result<ClientTlsConfig, TlsError> {
        self.load_with_validity(handshake_timeout).map(|loaded| (*loaded.config).clone())
    }

    pub(super) fn load_with_validity(
        &self,
        handshake_timeout: Duration,
    ) -> Result<Loaded<ClientTlsConfig>, TlsError> {
        install_provider();
        let mut config = ClientTlsConfig::new().timeout(handshake_timeout);
        let mut files = Vec::new();
        config = match &self.ca {
            Some(path) => {
                files.push(certificates(path, FileRole::Authority)?.0);
                config.ca_certificate(Certificate::from_pem(read(path)?))
            }
            None => config.with_native_roots(),
        };
        if let Some(identity) = &self.identity {
            files.push(certificates(&identity.certificate, FileRole::Certificate)?.0);
            let key = read_key(&identity.key)?;
            config = config.identity(Identity::from_pem(read(&identity.certificate)?, key.as_slice()));
            tonic::transport::Endpoint::from_static("https://localhost").tls_config(config.clone()).map_err(
                |error| TlsError::Identity {
                    certificate: identity.certificate.clone(),
                    key: identity.key.clone(),
                    problem: std::error::Error::source(&error)
                        .map_or_else(|| error.to_string(), ToString::to_string),
                },
            )?;
        }
        Ok(Loaded { config: Arc::new(config), files })
    }
}

/// The certificates of a PEM file, at least one, and when they are valid.
fn certificates(
    path: &Path,
    role: FileRole,
) -> Result<(CertificateFile, Vec<CertificateDer<'static>>), TlsError> {
    let refused =
        |problem: &str| TlsError::Certificate { path: path.to_owned(), problem: problem.to_owned() };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| refused(&error.to_string()))?;
    let mut validities = certificates.iter().map(|certificate| {
        Validity::of(certificate).ok_or_else(|| refused("a certificate in it is none of X.509"))
    });
    let first = validities.next().ok_or_else(|| refused("it holds no certificate in PEM"))??;
    let validity = validities.try_fold(first, |all, next| {
        let next = next?;
        Ok::<_, TlsError>(match role {
            FileRole::Certificate => Validity {
                not_before: all.not_before.max(next.not_before),
                not_after: all.not_after.min(next.not_after),
            },
            FileRole::Authority if next.not_after > all.not_after => next,
            FileRole::Authority => all,
        })
    })?;
    Ok((CertificateFile { path: path.to_owned(), role, validity }, certificates))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    Ok(dac_secrets::read_public(path, PEM_MAX_BYTES)?)
}

fn read_key(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, TlsError> {
    Ok(dac_secrets::read(path, PEM_MAX_BYTES)?)
}

/// Tells different states of some files apart without reading the files. Links are followed:
/// Kubernetes and certbot renew files by pointing a link elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Vec<Option<FileStamp>>);

type FileStamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl Stamp {
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let stamp = |path: &PathBuf| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((
                metadata.dev(),
                metadata.ino(),
                metadata.size(),
                (metadata.mtime(), metadata.mtime_nsec()),
                (metadata.ctime(), metadata.ctime_nsec()),
            ))
        };
        Self(paths.iter().map(stamp).collect())
    }
}
