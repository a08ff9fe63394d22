//! Members whose certificates come from different private authorities.

use tonic::transport::ServerTlsConfig;

use crate::authority::Authority;
use crate::support::{Plan, honest};
use crate::{expect, write_files};

/// The message about a member whose authority was not named.
const NOT_TRUSTED: &str = "unreachable: the server's certificate is of an authority that is not trusted here";

/// Two authorities have certified two members each, and three members are needed for the payload.
#[tokio::test(flavor = "multi_thread")]
async fn members_of_two_authorities_are_reached_where_both_are_named() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    std::fs::write(path.join("first.pem"), first.pem()).unwrap();
    std::fs::write(path.join("second.pem"), second.pem()).unwrap();
    let mut plan = Plan::new(4, 3, 3);
    plan.tls = [&first, &first, &second, &second]
        .map(|authority| ServerTlsConfig::new().identity(authority.identity("localhost", false)))
        .to_vec();
    let scene = plan.play(&honest(4, 3), &[]);
    write_files(path, &scene);
    let digest = scene.digest.to_string();
    let retrieve = |code, authorities: &[&str]| {
        let command = ["retrieve", &digest, "--out", "payload.bin", "--committee", "committee.json"];
        let more = ["--allow-private-endpoints", "--force"];
        expect(path, code, &[&command[..], &more, authorities].concat())
    };
    let (one, other) = (["--tls-ca", "first.pem"], ["--tls-ca", "second.pem"]);
    let both = [one, other].concat();

    // With one authority, two of the three shards that are needed can be fetched.
    for (authority, foreign) in [(one, [2, 3]), (other, [0, 1])] {
        let refused = retrieve(4, &authority);
        let message = refused["error"]["message"].as_str().unwrap();
        let start = format!("3 checked shards rebuild batch {digest}, only 2 of 4 members served one\n");
        assert!(message.starts_with(&start), "{message}");
        for seat in foreign {
            let line = message.lines().find(|line| line.starts_with(&format!("  seat {seat} ")));
            assert!(line.is_some_and(|line| line.contains(&format!(": {NOT_TRUSTED} ("))), "{message}");
        }
        assert!(!path.join("payload.bin").exists());
    }
    let retrieved = retrieve(0, &both);
    let served = retrieved["members"].as_array().unwrap().iter();
    let served = served.filter(|member| member["outcome"] == "served").count();
    assert!(served >= 3, "members of both authorities: {retrieved}");
    assert_eq!(
        Some(std::fs::read(path.join("payload.bin")).unwrap()),
        scene.payload.as_ref().map(|payload| payload.to_vec())
    );

    // Each member is asked alone: naming the other authority does not help, and does no harm.
    for (seat, url) in scene.urls.iter().enumerate() {
        let (own, foreign) = if seat < 2 { (one, other) } else { (other, one) };
        expect(path, 0, &[&["member", url][..], &own].concat());
        expect(path, 0, &[&["member", url][..], &both].concat());
        let refused = expect(path, 4, &[&["member", url][..], &foreign].concat());
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{url}: {NOT_TRUSTED} (")), "{message}");
    }
}
