//! A certificate authority with one server and one client, for tests.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::clock::Clock;

/// A folder with `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key`, and with the
/// certificate of another authority in `other-ca.pem`.
pub(crate) struct Authority {
    pub(crate) folder: TempDir,
}

/// The time during which certificates are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Valid {
    Now,
    /// They are valid for another five days.
    Soon,
    Expired,
    Later,
}

impl Valid {
    /// The first and the last second, counted from 1970.
    fn seconds(self) -> (u64, u64) {
        const DAY: u64 = 24 * 60 * 60;
        let now = crate::clock::SystemClock.now_unix_seconds();
        match self {
            Self::Now => (now - DAY, now + 365 * DAY),
            Self::Soon => (now - DAY, now + 5 * DAY),
            Self::Expired => (now - 9 * DAY, now - 2 * DAY),
            Self::Later => (now + DAY, now + 365 * DAY),
        }
    }
}

/// Creates a new authority.
pub(crate) fn authority() -> Authority {
    authority_valid(Valid::Now)
}

/// Creates a new authority whose server and client certificates are valid at another time.
pub(crate) fn authority_valid(valid: Valid) -> Authority {
    let folder = tempfile::tempdir().unwrap();
    let issuer = issue_authority(folder.path(), "ca.pem");
    issue_authority(folder.path(), "other-ca.pem");
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let (from, until) = valid.seconds();
        params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(from);
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(until);
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
