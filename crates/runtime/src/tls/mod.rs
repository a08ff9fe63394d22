//! TLS by configuration: rustls with aws-lc-rs, in all parts of the process.

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
    /// A file cannot be read, or it is a key that others can read too.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// A file holds no certificates.
    #[error("TLS certificate {path}: {problem}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
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
    /// A file's certificates are no authorities.
    #[error("TLS authority {path}: {problem}", path = path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What rustls said.
        problem: String,
    },
    /// A certificate that is not valid now.
    #[error("{problem}")]
    Expired {
        /// Which, and since when.
        problem: String,
    },
}

/// Makes aws-lc-rs the process's provider. Libraries that each bring a choice of their own panic
/// where two are compiled in and none was chosen; every program calls this first.
pub fn install_provider() {
    // An error says that one is installed already, and only this function installs one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// What the metrics of this module mean.
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
