//! Commands that send a transaction, from an account that cannot pay for it.

use std::path::Path;

use dac_chain::testing::{Anvil, CommitteeSpec, deploy_committee};
use dac_types::Address;
use serde_json::Value;

use crate::chain::write_deployment;
use crate::expect;

/// Checks that the error names the account, its balance, the cost, and what to do.
fn refused(path: &Path, account: Address, arguments: &[&str]) {
    let refused = expect(path, 5, arguments);
    let (message, hint) = (&refused["error"]["message"], &refused["error"]["hint"]);
    let (message, hint) = (message.as_str().unwrap(), hint.as_str().unwrap());
    let expected = format!("the account {account} owns 0 ether, the transaction may cost 0.");
    assert!(message.contains(&expected), "{arguments:?}: {message}");
    assert!(hint.contains(&account.to_string()) && hint.contains("--key"), "{arguments:?}: {hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_sends_names_the_account_that_cannot_pay() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut committee = deploy_committee(&anvil, &CommitteeSpec::new(4, 2, 3)).await;
    let url = || "http://127.0.0.1:1".to_owned();
    let newcomer = committee.register(&anvil, url(), url()).await.operator.address().to_string();
    write_deployment(path, &anvil, &committee);
    let password = dac_keys::create_password_file(&path.join("password")).unwrap();
    let owner = committee.owner.address();
    dac_keys::create_ecdsa_keystore(
        &path.join("owner.json"),
        &committee.owner,
        &password,
        dac_keys::KdfCost::Light,
    )
    .unwrap();
    let bls = ["keygen", "bls", "--out", "bls.json", "--password-file", "password", "--kdf", "light"];
    expect(path, 0, &bls);
    anvil.rpc("anvil_setBalance", serde_json::json!([owner, "0x0"])).await;

    let key = ["--key", "owner.json", "--password-file", "password"];
    let at = ["--deployment", "deployment.json"];
    let rollup = format!("0x{}", "11".repeat(20));
    let seats = committee.operators()[..4].iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let rpc_url = anvil.url();
    refused(
        path,
        owner,
        &[&["admin", "deploy", "--rpc-url", &rpc_url, "--out", "new.json"][..], &key].concat(),
    );
    assert!(!path.join("new.json").exists());
    for command in [
        &["admin", "admit-rollup", "--rollup", &rollup, "--poster", &rollup][..],
        &["admin", "open-epoch", "--k", "2", "--q", "3", "--operators", &seats],
        &["admin", "pause"],
        &["rotate", "--seat", "1", "--operator", &newcomer],
        &[
            "register",
            "--bls-key",
            "bls.json",
            "--bls-password-file",
            "password",
            "--dispersal-url",
            "http://127.0.0.1:1",
            "--retrieval-url",
            "http://127.0.0.1:1",
        ],
    ] {
        refused(path, owner, &[command, &key, &at].concat());
    }
    // What the contract would refuse is reported as such if simulating it costs nothing.
    anvil.fund(owner).await;
    let unknown = ["admin", "remove-rollup", "--rollup", &rollup];
    let told: Value = expect(path, 5, &[&unknown[..], &key, &at].concat());
    assert!(told["error"]["message"].as_str().unwrap().starts_with("the contract refused"), "{told}");
}
