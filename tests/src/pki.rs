//! Temporary certificate authorities and certificates.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::configuration::Tls;
use crate::failure::{Context, Result};

/// A certificate authority with its files in one folder.
pub struct Authority {
    folder: PathBuf,
    name: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes an authority. Its certificate is in `NAME.pem`.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(folder).context(folder.display())?;
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
        let this = Self { folder: folder.to_owned(), name: name.to_owned(), issuer };
        fs::write(this.certificate(), this.issuer.pem()).context(this.certificate().display())?;
        Ok(this)
    }

    /// Returns the path of the authority's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// Issues a certificate for `localhost`, valid for servers and clients, and returns the paths
    /// of certificate and key.
    pub fn identity(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = self.files(name);
        self.write_identity(&certificate, &key)?;
        Ok((certificate, key))
    }

    /// Issues the same certificate with this end of its validity, in Unix seconds.
    pub fn identity_until(&self, name: &str, expires_at: u64) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) = self.files(name);
        let mut parameters = localhost()?;
        parameters.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(expires_at);
        self.issue(&parameters, &certificate, &key)?;
        Ok((certificate, key))
    }

    /// Issues a certificate as [`Authority::identity`] does, into these files.
    pub fn write_identity(&self, certificate: &Path, key: &Path) -> Result<()> {
        self.issue(&localhost()?, certificate, key)
    }

    fn files(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")))
    }

    fn issue(&self, parameters: &CertificateParams, certificate: &Path, key: &Path) -> Result<()> {
        let pair = KeyPair::generate()?;
        let signed = parameters.signed_by(&pair, &self.issuer)?;
        fs::write(certificate, signed.pem()).context(certificate.display())?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(key);
        file.and_then(|mut file| file.write_all(pair.serialize_pem().as_bytes())).context(key.display())
    }

    /// Makes a channel to a listener that has a certificate of this authority, with or without a
    /// client certificate.
    pub fn channel(&self, port: u16, shown: Option<&(PathBuf, PathBuf)>) -> Result<Channel> {
        let trusted = fs::read(self.certificate()).context(self.certificate().display())?;
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted));
        if let Some((certificate, key)) = shown {
            tls = tls.identity(Identity::from_pem(fs::read(certificate)?, fs::read(key)?));
        }
        Ok(Endpoint::from_shared(format!("https://localhost:{port}"))?.tls_config(tls)?.connect_lazy())
    }

    /// Returns the TLS files of a listener. If `clients` is given, it demands client certificates
    /// of that authority.
    pub fn listener(&self, name: &str, clients: Option<&Authority>) -> Result<Tls> {
        Ok(Tls { identity: Some(self.identity(name)?), authority: clients.map(Authority::certificate) })
    }
}

/// Returns the contents of a certificate that is valid for servers and clients on this machine.
fn localhost() -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()])?;
    parameters.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(parameters)
}
