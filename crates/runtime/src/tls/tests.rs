//! Tests with files that change, that do not fit together, and that expire.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use dac_secrets::SecretFileError;

use super::super::IdentityFiles;
use super::*;
use crate::grpc::testing::{Authority, Valid, authority, authority_valid};

const PATIENCE: Duration = Duration::from_secs(5);

fn server_tls(folder: &Path) -> ServerTls {
    let mut tls: ServerTls =
        toml::from_str("certificate = 'server.pem'\nkey = 'server.key'\nclient_ca = 'ca.pem'").unwrap();
    tls.resolve_paths(folder);
    tls
}

fn now() -> u64 {
    crate::clock::SystemClock.now_unix_seconds()
}

#[test]
fn files_that_belong_together_are_taken() {
    let Authority { folder, .. } = authority();
    let mut renewals = Renewals::default();
    renewals.listener("retrieval", &server_tls(folder.path()), PATIENCE).unwrap();
    let mut client: ClientTls =
        toml::from_str("ca = 'ca.pem'\nidentity = { certificate = 'client.pem', key = 'client.key' }")
            .unwrap();
    client.resolve_paths(folder.path());
    renewals.client("peers", &client, PATIENCE).unwrap();
    renewals.client("system", &ClientTls::default(), PATIENCE).unwrap();
    let files: Vec<_> = renewals.files().into_iter().map(|(part, file)| (part, file.role)).collect();
    let expected = [
        ("retrieval", FileRole::Certificate),
        ("retrieval", FileRole::Authority),
        ("peers", FileRole::Authority),
        ("peers", FileRole::Certificate),
    ];
    assert_eq!(files, expected);
    assert_eq!(renewals.check(now()).unwrap(), Vec::<String>::new());
}

#[test]
fn files_that_do_not_are_refused() {
    let Authority { folder, .. } = authority();
    let path = |name: &str| folder.path().join(name);
    let load = |certificate: &str, key: &str, client_ca: Option<&str>| {
        let tls =
            ServerTls { certificate: path(certificate), key: path(key), client_ca: client_ca.map(path) };
        Renewals::default().listener("retrieval", &tls, PATIENCE).map(drop)
    };
    load("server.pem", "server.key", None).unwrap();
    assert!(matches!(load("server.pem", "client.key", None), Err(TlsError::Identity { .. })));
    assert!(matches!(
        load("server.pem", "server.pem", None),
        Err(TlsError::Identity { .. } | TlsError::File(_))
    ));
    assert!(matches!(load("server.key", "server.key", None), Err(TlsError::Certificate { .. })));
    assert!(matches!(
        load("server.pem", "server.key", Some("server.key")),
        Err(TlsError::Certificate { .. })
    ));
    assert!(matches!(load("none.pem", "server.key", None), Err(TlsError::File(SecretFileError::Io { .. }))));
    assert!(matches!(load("server.pem", "none.key", None), Err(TlsError::File(SecretFileError::Io { .. }))));
    std::fs::set_permissions(path("server.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        load("server.pem", "server.key", None),
        Err(TlsError::File(SecretFileError::TooOpen { .. }))
    ));
    assert!(toml::from_str::<ServerTls>("certificate = 'x'\nkey = 'y'\nverify = false").is_err());
}

/// Copies files of one authority over those of another. Each copy is written next to the file and
/// renamed, as renewal tools do.
fn replace(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        let fresh = to.join("fresh");
        std::fs::copy(from.join(name), &fresh).unwrap();
        std::fs::rename(fresh, to.join(name)).unwrap();
    }
}

#[test]
fn changed_files_are_adopted_once_they_fit() {
    let (old, new) = (authority(), authority());
    let mut renewals = Renewals::default();
    let tls = renewals.listener("retrieval", &server_tls(old.folder.path()), PATIENCE).unwrap();
    let client = ClientTls {
        ca: None,
        identity: Some(IdentityFiles {
            certificate: old.folder.path().join("server.pem"),
            key: old.folder.path().join("server.key"),
        }),
    };
    let client = renewals.client("peers", &client, PATIENCE).unwrap();
    let first = (Arc::clone(&tls.config.borrow()), Arc::clone(&client.borrow()));
    let is_first = || {
        let same = (Arc::ptr_eq(&first.0, &tls.config.borrow()), Arc::ptr_eq(&first.1, &client.borrow()));
        assert_eq!(same.0, same.1);
        same.0
    };
    renewals.look(now(), false);
    assert!(is_first(), "nothing changed");
    // The key comes a moment later than its certificate.
    replace(new.folder.path(), old.folder.path(), &["server.pem"]);
    renewals.look(now(), false);
    assert!(is_first(), "the certificate does not fit the key");
    renewals.look(now(), true);
    assert!(is_first(), "nor does it when it is asked for");
    replace(new.folder.path(), old.folder.path(), &["server.key"]);
    renewals.look(now(), false);
    assert!(!is_first());
    let second = Arc::clone(&tls.config.borrow());
    std::fs::remove_file(old.folder.path().join("ca.pem")).unwrap();
    renewals.look(now(), false);
    assert!(Arc::ptr_eq(&second, &tls.config.borrow()), "without an authority nothing changes");
    replace(new.folder.path(), old.folder.path(), &["ca.pem"]);
    renewals.look(now(), false);
    assert!(!Arc::ptr_eq(&second, &tls.config.borrow()));
}

#[test]
fn a_certificate_that_is_not_valid_replaces_none_that_is() {
    let old = authority();
    for (valid, problem) in [(Valid::Expired, "expired"), (Valid::Later, "not valid before")] {
        let new = authority_valid(valid);
        let mut renewals = Renewals::default();
        let tls = renewals.listener("retrieval", &server_tls(old.folder.path()), PATIENCE).unwrap();
        let first = Arc::clone(&tls.config.borrow());
        let kept = tempfile::tempdir().unwrap();
        replace(old.folder.path(), kept.path(), &["server.pem", "server.key"]);
        replace(new.folder.path(), old.folder.path(), &["server.pem", "server.key"]);
        renewals.look(now(), false);
        assert!(Arc::ptr_eq(&first, &tls.config.borrow()), "{problem}");

        // An expired certificate is used if there is no better one, but `--check-config` refuses
        // it.
        let mut renewals = Renewals::default();
        renewals.listener("retrieval", &server_tls(old.folder.path()), PATIENCE).unwrap();
        let error = renewals.check(now()).unwrap_err().to_string();
        assert!(error.starts_with("retrieval: TLS certificate") && error.contains(problem), "{error}");
        replace(kept.path(), old.folder.path(), &["server.pem", "server.key"]);
    }
}

#[test]
fn who_owns_a_certificate_is_warned_two_weeks_ahead() {
    let file = CertificateFile {
        path: "server.pem".into(),
        role: FileRole::Certificate,
        validity: super::super::Validity { not_before: 1000 * DAY, not_after: 1090 * DAY },
    };
    assert_eq!(file.expiry(1076 * DAY), Expiry::Fine);
    assert_eq!(
        file.expiry(1076 * DAY + 1),
        Expiry::Soon("TLS certificate server.pem expires in 13 days: renew it".to_owned())
    );
    assert!(matches!(file.expiry(1090 * DAY), Expiry::Soon(_)));
    assert_eq!(
        file.expiry(1092 * DAY),
        Expiry::Invalid("TLS certificate server.pem expired 2 days ago: renew it".to_owned())
    );
    assert!(matches!(file.expiry(999 * DAY), Expiry::Invalid(_)));
}

#[test]
fn a_certificate_about_to_expire_is_told_by_the_check() {
    let soon = authority_valid(Valid::Soon);
    let mut renewals = Renewals::default();
    renewals.listener("retrieval", &server_tls(soon.folder.path()), PATIENCE).unwrap();
    let warnings = renewals.check(now()).unwrap();
    assert!(warnings.len() == 1 && warnings[0].contains("expires in"), "{warnings:?}");
    assert!(renewals.first_to_expire().unwrap() < now() + 14 * DAY);
}
