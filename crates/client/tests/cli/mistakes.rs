//! Messages about wrong arguments and files. They come before any server is asked or key is opened.

use crate::{command, compare_shape, dac, document, expect};

#[test]
fn wrong_arguments_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.json"), "bad").unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    let address = format!("0x{}", "11".repeat(20));
    let order = [
        ["--aggregator", "http://127.0.0.1:1", "--disperser", &address, "--rollup", &address],
        ["--batch-number", "1", "--poster", "k", "--poster-password-file", "p"],
    ]
    .concat();
    for (arguments, expected) in [
        (&["committee"][..], "--rpc-url"),
        (&["committee", "--rpc-url", "http://127.0.0.1:1"], "--registry"),
        (&["verify", "none.json"], "none.json"),
        (&["retrieve", "0x12", "--out", "x"], "invalid value '0x12'"),
        (&["audit", "--chunks", "65"], "65 is not in 1..=64"),
        (&["submit", "x", "--hash-kind", "opaque"], "--batch-hash"),
        (&["status", "nothing", "--aggregator", "http://127.0.0.1:1"], "expected 32 bytes as 0x"),
        (&["member", "ftp://a"], "scheme must be http or https"),
        (&["retrieve"], "--rollup"),
        (&["retrieve", "--rollup", &format!("0x{}", "11".repeat(20))], "--out-dir"),
        (&["retrieve", "--out-dir", "x"], "--rollup"),
        (&["coverage", "0xbb"], "40 hexadecimal digits, got 2"),
        (&["committee", "--deployment", "bad.json"], "deployment file bad.json: "),
        (&["aggregator", "status"], "--aggregator URL or DAC_AGGREGATOR"),
        (&["keygen", "bls", "--out", "-", "--password-file", "x", "--new-password-file"], "standard output"),
        // None of these key files exists: the mistake is found before a key is opened.
        (
            &[
                "admin",
                "pause",
                "--rpc-url",
                "ws://127.0.0.1:1",
                "--registry",
                &address,
                "--key",
                "k",
                "--password-file",
                "p",
            ],
            "the scheme must be http or https, got ws",
        ),
        (&[&["submit", "empty"][..], &order].concat(), "1 to 67108864 bytes, got 0"),
        (&[&["submit", "bad.json", "--submission", "-"][..], &order].concat(), "--submission"),
        (
            &[
                "submit-proof",
                "x",
                "--proof",
                "none.json",
                "--aggregator",
                "http://127.0.0.1:1",
                "--poster",
                "x",
                "--poster-password-file",
                "x",
            ],
            "none.json",
        ),
    ] {
        let output = dac(folder.path(), arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    let unreachable = expect(
        folder.path(),
        4,
        &["committee", "--rpc-url", "http://127.0.0.1:1", "--registry", &format!("0x{}", "11".repeat(20))],
    );
    assert_eq!(unreachable["error"]["code"], "UNAVAILABLE");
    expect(folder.path(), 4, &["member", "http://127.0.0.1:1"]);
    let empty = command(folder.path(), &["committee"]).env("DAC_DEPLOYMENT", "").output().unwrap();
    let stderr = String::from_utf8_lossy(&empty.stderr);
    assert!(stderr.contains("DAC_DEPLOYMENT is set and empty"), "{stderr}");
}

/// The argument parser's errors are JSON documents like all other failures.
#[test]
fn the_parsers_own_mistakes_are_documents_too() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, message) in [
        (&["audit", "--chunks", "65"][..], "65 is not in 1..=64"),
        (&["retrieve", "0x12", "--out", "x"], "invalid value '0x12' for '[DIGEST]'"),
        (&["keygen", "bls"], "required arguments were not provided:"),
        (&["no-such-command"], "unrecognized subcommand 'no-such-command'"),
        (&["committee", "--no-such-option"], "unexpected argument '--no-such-option' found"),
        (&[], "requires a subcommand"),
        (&["admin"], "command"),
    ] {
        let refused = expect(folder.path(), 2, arguments);
        let error = &refused["error"];
        assert_eq!((&error["code"], &error["exit_code"]), (&"USAGE".into(), &2.into()), "{refused}");
        let told = error["message"].as_str().unwrap();
        assert!(told.contains(message) && !told.contains("Usage:"), "{arguments:?}: {told}");
        compare_shape("error.json", &refused);
    }
    // The option may stand anywhere. Without it no JSON is printed.
    let last = dac(folder.path(), &["committee", "--no-such-option", "--json"]);
    assert_eq!(document(&last)["error"]["code"], "USAGE");
    assert!(dac(folder.path(), &["committee", "--no-such-option"]).stdout.is_empty());
    let empty = command(folder.path(), &["committee", "--json"]).env("DAC_DEPLOYMENT", "").output().unwrap();
    let hint = document(&empty)["error"]["hint"].to_string();
    assert!(hint.contains("DAC_DEPLOYMENT is set and empty"), "{hint}");
}
