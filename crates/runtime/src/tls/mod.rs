//! TLS from configuration files: rustls with aws-lc-rs, in all parts of the process.

mod files;
mod handshake;
mod renewal;
mod validity;

use std::net::SocketAddr;
use std::path::PathBuf;

use dac_secrets::SecretFileError;
use thiserror::Error;
use tracing::warn;

pub use self::files::{CertificateFile, ClientTls, FileRole, IdentityFiles, ServerTls};
pub use self::handshake::ListenerTls;
pub(crate) use self::handshake::Secured;
pub use self::renewal::{ClientTlsNow, Expiry, Renewals, first_to_expire};
pub use self::validity::Validity;

/// Why TLS cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or it is a key that other users can read too.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// A file contains no certificates.
    #[error("TLS certificate {path}: {problem}", path = path.display())]
    Certificate {
        /// The file's path.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The files contain no certificate and key that belong together.
    #[error("TLS certificate {certificate} with key {key}: {problem}", certificate = certificate.display(), key = key.display())]
    Identity {
        /// The path of the certificate chain.
        certificate: PathBuf,
        /// The path of the key.
        key: PathBuf,
        /// The error of rustls.
        problem: String,
    },
    /// The certificates of a file are not authorities.
    #[error("TLS authority {path}: {problem}", path = path.display())]
    Authority {
        /// The file's path.
        path: PathBuf,
        /// The error of rustls.
        problem: String,
    },
    /// A certificate is not valid now.
    #[error("{problem}")]
    Expired {
        /// The certificate and since when it is invalid.
        problem: String,
    },
}

/// Makes aws-lc-rs the process's crypto provider; every program calls this first. Libraries panic
/// if two providers are compiled in and none was chosen.
pub fn install_provider() {
    // An error means that one is installed already, and only this function installs one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Describes the metrics of this module.
pub(crate) fn describe_metrics() {
    metrics::describe_gauge!(
        "dac_tls_certificate_expiry_timestamp_seconds",
        "Unix time at which a TLS file's certificate expires, by the part that uses it and by what it is for"
    );
    metrics::describe_counter!(
        "dac_tls_handshake_failures_total",
        "Connections that did not get through the TLS handshake, by listener and kind"
    );
}

/// Warns that a listener without TLS listens on an address that other machines can reach.
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
