//! An account that cannot pay for its transaction: which one it is, what it owns and what to do.

use std::path::Path;

use alloy_primitives::{Address, U256};
use dac_chain::ChainError;
use dac_chain::testing::Anvil;
use reference_rollup::files::{AccountFile, RollupFile};
use reference_rollup::l1::{GWEI, L1Error, RollupAccount};
use serde_json::json;

use crate::cli::{expect, files, sent};
use crate::world::keys_dir;

async fn set_balance(anvil: &Anvil, account: Address, gwei: u64) {
    let wei = U256::from(gwei) * U256::from(GWEI);
    anvil.rpc("anvil_setBalance", json!([account, wei])).await;
}

/// Runs a command that the account cannot pay for, which owns so much ether.
fn refused(path: &Path, account: Address, owns: &str, arguments: &[&str]) {
    let told = expect(path, 5, arguments);
    let (message, hint) = (&told["error"]["message"], &told["error"]["hint"]);
    let (message, hint) = (message.as_str().unwrap(), hint.as_str().unwrap());
    let start = format!("L1: the account {account} owns {owns} ether, the transaction may cost 0.");
    assert!(message.starts_with(&start) && message.ends_with(" ether: send more to it"), "{message}");
    let remedy = format!("fund {account} and run the command again, or name another account by --key");
    assert_eq!(hint, remedy, "{arguments:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_pay_is_named_with_what_it_owns_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (anvil, _committee) = files(path).await;
    let poor = anvil.key(8).address();
    expect(path, 0, &["keygen", "--out", "alice.json", "--recipient", &poor.to_string()]);
    let keys = keys_dir();
    let deploy = |key| {
        let to = ["--deployment", "deployment.json", "--out", "rollup.json"];
        let from = ["--keys-dir", keys.to_str().unwrap(), "--key", key, "--password-file", "password"];
        let terms = ["--freeze-delay", "1h", "--exit-window", "2h", "--verifier-delay", "4h"];
        [&["deploy"][..], &to, &from, &terms].concat()
    };
    set_balance(&anvil, poor, 0).await;
    refused(path, poor, "0", &deploy("8.json"));
    assert!(!path.join("rollup.json").exists(), "nothing was deployed");
    expect(path, 0, &deploy("0.json"));

    // Nothing at all; then enough for what is deposited, and not for its transaction.
    let deposit = sent(&["deposit", "--account-key", "alice.json", "--gwei", "1000"], "8.json");
    for (gwei, owns) in [(0, "0"), (2_000, "0.000002")] {
        set_balance(&anvil, poor, gwei).await;
        refused(path, poor, owns, &deposit);
    }
    // The same of the library is a type with both amounts.
    let rollup = RollupFile::read(&path.join("rollup.json")).unwrap();
    let id = AccountFile::read(&path.join("alice.json")).unwrap().owner().id();
    let rollup = RollupAccount::new(anvil.account(anvil.key(8)), rollup.settlement);
    match rollup.deposit(id, 1_000).await {
        Err(L1Error::Chain(ChainError::Unfunded { account, balance, needed })) => {
            assert_eq!((account, balance), (poor, U256::from(2_000 * GWEI)));
            assert!(needed > balance, "{needed}");
        }
        other => panic!("{other:?}"),
    }
    // With ether the same command succeeds.
    anvil.fund(poor).await;
    expect(path, 0, &deposit);
}
