//! Throw-away certificates: an authority, and what it vouches for.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use crate::configuration::Tls;
use crate::failure::{Context, Result};

/// An authority whose files lie in one folder.
pub struct Authority {
    folder: PathBuf,
    name: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one; its certificate is `NAME.pem`.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(folder).context(folder.display())?;
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)?;
        let this = Self { folder: folder.to_owned(), name: name.to_owned(), issuer };
        fs::write(this.certificate(), this.issuer.pem()).context(this.certificate().display())?;
        Ok(this)
    }

    /// Its certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// A certificate for `localhost`, good for servers and clients: certificate and key file.
    pub fn identity(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        let (certificate, key) =
            (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        self.write_identity(&certificate, &key)?;
        Ok((certificate, key))
    }

    /// The same, into these files.
    pub fn write_identity(&self, certificate: &Path, key: &Path) -> Result<()> {
        let mut parameters = CertificateParams::new(vec!["localhost".to_owned()])?;
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let pair = KeyPair::generate()?;
        let signed = parameters.signed_by(&pair, &self.issuer)?;
        fs::write(certificate, signed.pem()).context(certificate.display())?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(key);
        file.and_then(|mut file| file.write_all(pair.serialize_pem().as_bytes())).context(key.display())
    }

    /// TLS of a listener that demands certificates of `clients`, where given.
    pub fn listener(&self, name: &str, clients: Option<&Authority>) -> Result<Tls> {
        Ok(Tls { identity: Some(self.identity(name)?), authority: clients.map(Authority::certificate) })
    }
}
