//! A certificate authority with one server and one client, for tests.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key` in a folder; and `other-ca.pem` of somebody else.
pub(crate) struct Authority {
    pub(crate) folder: TempDir,
}

/// Makes it anew.
pub(crate) fn authority() -> Authority {
    let folder = tempfile::tempdir().unwrap();
    let issuer = issue_authority(folder.path(), "ca.pem");
    issue_authority(folder.path(), "other-ca.pem");
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
        dac_secrets::create(&folder.path().join(format!("{name}.key")), key.serialize_pem().as_bytes())
            .unwrap();
    }
    Authority { folder }
}

fn issue_authority(folder: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(folder.join(name), certificate.pem()).unwrap();
    Issuer::new(params, key)
}
