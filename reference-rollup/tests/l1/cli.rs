//! The command line as users meet it: the whole way in and out by files and exit codes.

use std::path::Path;
use std::process::{Command, Output};

use alloy_primitives::Address;
use dac_chain::testing::{Anvil, TestCommittee};
use dac_client::files::Deployment;
use dac_keys::{KdfCost, Password};
use reference_rollup::account::AccountIndex;
use reference_rollup::files::{AccountFile, ExitFile, RollupFile, WithdrawalsFile};
use reference_rollup::l1::Deployed;
use reference_rollup::transaction::{Destination, Transaction};
use serde_json::Value;

use crate::common::{User, rng};
use crate::world::{World, committee, keys_dir};

/// Runs the program without anything of this process's environment that it would look at.
fn program(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reference-rollup"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DAC_") || name == "ROLLUP_FILE" {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).env("COLUMNS", "100").args(arguments).output().unwrap()
}

/// The document that it prints, ending with this exit code.
pub(crate) fn expect(folder: &Path, code: i32, arguments: &[&str]) -> Value {
    let output = program(folder, &[&["--json"], arguments].concat());
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{stdout}{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"))
}

fn message(document: &Value) -> String {
    document["error"]["message"].as_str().unwrap().to_owned()
}

/// A chain and a committee, with what their owners have on disk: `deployment.json`, keystores
/// `<number>.json`, one password.
pub(crate) async fn files(folder: &Path) -> (Anvil, TestCommittee) {
    let anvil = Anvil::start().await;
    let committee = committee(&anvil).await;
    let deployment = Deployment {
        rpc_url: Some(anvil.url()),
        chain_id: anvil.chain_id(),
        registry: committee.deployment.registry,
        certificate_log: committee.deployment.log,
        deployed_at_block: committee.deployment.block,
    };
    std::fs::write(folder.join("deployment.json"), deployment.to_json()).unwrap();
    dac_secrets::create(&folder.join("password"), b"secret\n").unwrap();
    for number in [0, 1, 8] {
        let path = folder.join(format!("{number}.json"));
        let password = Password::new("secret");
        dac_keys::create_ecdsa_keystore(&path, &anvil.key(number), &password, KdfCost::Light).unwrap();
    }
    (anvil, committee)
}

/// The arguments of a command that sends something.
pub(crate) fn sent<'a>(command: &[&'a str], key: &'a str) -> Vec<&'a str> {
    [command, &["--rollup-file", "rollup.json", "--key", key, "--password-file", "password"]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_gets_in_and_out_by_files_and_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (anvil, committee) = files(path).await;
    let recipient = anvil.key(1).address();

    // A key, a deployment, money in.
    let address = recipient.to_string();
    let made = expect(path, 0, &["keygen", "--out", "alice.json", "--recipient", &address]);
    assert_eq!(made["recipient"].as_str().unwrap().parse::<Address>().unwrap(), recipient);
    let again = expect(path, 2, &["keygen", "--out", "alice.json", "--recipient", &address]);
    assert!(message(&again).contains("not overwritten"), "{again}");
    let keys = keys_dir();
    let keys = keys.to_str().unwrap();
    let deploy = |delay| {
        let to = ["--deployment", "deployment.json", "--out", "rollup.json", "--keys-dir", keys];
        let from = ["--key", "0.json", "--password-file", "password"];
        let terms = ["--freeze-delay", "1h", "--exit-window", "2h", "--verifier-delay", delay];
        [&["deploy"][..], &to, &from, &terms].concat()
    };
    let refused = expect(path, 5, &deploy("3h"));
    assert!(message(&refused).contains("10800 s is not above 10800 s"), "{refused}");
    let deployed = expect(path, 0, &deploy("4h"));
    assert_eq!(deployed["dev_only"], true);
    let existing = expect(path, 2, &deploy("4h"));
    assert!(message(&existing).contains("exists"), "{existing}");
    let rollup = RollupFile::read(&path.join("rollup.json")).unwrap();
    let deposit = ["deposit", "--account-key", "alice.json", "--gwei", "1000"];
    let deposited = expect(path, 0, &sent(&deposit, "1.json"));
    assert_eq!(deposited["account_id"], made["account_id"]);
    expect(path, 0, &sent(&["deposit", "--account-key", "alice.json", "--gwei", "5"], "8.json"));
    let id = format!("0x{}", "ff".repeat(32));
    expect(path, 2, &sent(&["deposit", "--account-id", &id, "--gwei", "5"], "1.json"));

    // The operator settles a batch: one deposit, one withdrawal.
    let deployed = Deployed {
        settlement: rollup.settlement,
        verifier: rollup.verifier,
        poseidon: [rollup.poseidon.t3, rollup.poseidon.t4, rollup.poseidon.t5],
        block: rollup.deployed_at_block,
        gas_used: 0,
    };
    let mut world = World::of(anvil, committee, deployed);
    let account = AccountFile::read(&path.join("alice.json")).unwrap();
    let alice = User { key: account.key, recipient };
    let transaction =
        Transaction { from: AccountIndex(1), nonce: 0, to: Destination::L1(recipient), amount: 300 };
    let signed = transaction.sign(world.sequencer.domain(), &alice.key, recipient, &mut rng(3));
    let sealed = world.batch(1, &[signed]).await;
    let proof = world.prove(&sealed);
    world.settle(&sealed, &proof).await;
    let withdrawals = WithdrawalsFile::new(1, &sealed.batch.withdrawals());
    std::fs::write(path.join("withdrawals.json"), withdrawals.to_json()).unwrap();
    let claim = ["claim", "--withdrawals", "withdrawals.json"];
    let claimed = expect(path, 0, &sent(&claim, "1.json"));
    assert_eq!(claimed["paid"][0]["gwei"], 300);
    expect(path, 2, &sent(&claim, "1.json"));
    let twice = expect(path, 5, &sent(&[&claim[..], &["--which", "0"]].concat(), "8.json"));
    assert!(message(&twice).contains("is claimed already"), "{twice}");

    // Everyone is gone.
    let early = expect(path, 5, &sent(&["freeze"], "8.json"));
    assert!(message(&early).contains("no reason to freeze"), "{early}");
    let request = ["request-exit", "--account-key", "alice.json", "--index", "1"];
    expect(path, 2, &sent(&request, "8.json"));
    expect(path, 0, &sent(&request, "1.json"));
    let status = ["status", "--rollup-file", "rollup.json"];
    assert_eq!(expect(path, 0, &status)["freeze_reason"], Value::Null);
    world.anvil.advance(3_700).await;
    assert_eq!(expect(path, 0, &status)["freeze_reason"], "INPUT_UNSERVED");
    let frozen = expect(path, 0, &sent(&["freeze"], "8.json"));
    assert_eq!(frozen["reason"], "INPUT_UNSERVED");

    // Out, with what members gave back.
    let batches = path.join("batches");
    std::fs::create_dir(&batches).unwrap();
    let rebuild = ["rebuild", "batches", "--rollup-file", "rollup.json"];
    let proving = ["--account-key", "alice.json", "--proof-out", "exit.json"];
    let with_proof = [&rebuild[..], &proving].concat();
    let missing = expect(path, 2, &with_proof);
    assert!(missing["error"]["hint"].as_str().unwrap().starts_with("dac retrieve 0x"), "{missing}");
    std::fs::write(batches.join("000001.bin"), vec![0; sealed.payload.len()]).unwrap();
    let wrong = expect(path, 1, &with_proof);
    assert!(message(&wrong).contains("batch 1 leads to state root"), "{wrong}");
    std::fs::write(batches.join("000001.bin"), &sealed.payload).unwrap();
    let rebuilt = expect(path, 0, &with_proof);
    assert_eq!(rebuilt["account"]["balance"], 700);
    assert_eq!(rebuilt["accounts"].as_array().unwrap().len(), 1);
    expect(path, 2, &with_proof);
    expect(path, 1, &[&rebuild[..], &["--index", "2"]].concat());
    assert_eq!(expect(path, 0, &[&rebuild[..], &["--index", "1"]].concat())["exit_proof"], Value::Null);

    let mut forged = ExitFile::read(&path.join("exit.json")).unwrap();
    forged.proof.balance += 1;
    std::fs::write(path.join("forged.json"), forged.to_json()).unwrap();
    expect(path, 1, &sent(&["exit", "--proof", "forged.json"], "8.json"));
    forged.state_root = forged.proof.state_root().unwrap();
    std::fs::write(path.join("forged.json"), forged.to_json()).unwrap();
    let refused = expect(path, 5, &sent(&["exit", "--proof", "forged.json"], "8.json"));
    assert!(message(&refused).contains("the last state is"), "{refused}");

    let before = world.balance(recipient).await;
    let exit = expect(path, 0, &sent(&["exit", "--proof", "exit.json"], "8.json"));
    assert_eq!((&exit["paid_gwei"], &exit["account_index"]), (&Value::from(700), &Value::from(1)));
    let wei = world.balance(recipient).await - before;
    assert_eq!(wei, alloy_primitives::U256::from(700_000_000_000_u64));
    let twice = expect(path, 5, &sent(&["exit", "--proof", "exit.json"], "8.json"));
    assert!(message(&twice).contains("has left already"), "{twice}");
    let refund = expect(path, 0, &sent(&["refund"], "8.json"));
    assert_eq!((&refund["refunded"][0]["number"], &refund["refunded"][0]["gwei"]), (&2.into(), &5.into()));
    expect(path, 5, &sent(&["refund", "--number", "1"], "8.json"));

    // What people see.
    let text = program(path, &status);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("FROZEN: an L1 input was not served"), "{text}");
}

#[test]
fn keys_are_private_and_wrong_arguments_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let id = format!("0x{}", "01".repeat(20));
    expect(path, 0, &["keygen", "--out", "alice.json", "--recipient", &id]);
    let output = program(path, &["keygen", "--out", "bob.json", "--recipient", &id]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let secret: Value = serde_json::from_slice(&std::fs::read(path.join("bob.json")).unwrap()).unwrap();
    assert!(!shown.contains(secret["secret_key"].as_str().unwrap()), "secrets are shown nowhere");
    for (arguments, expected) in [
        (&["keygen", "--out", "x"][..], "--recipient"),
        (&["status"], "--rollup-file"),
        (&["status", "--rollup-file", "none.json"], "none.json"),
        (&["status", "--rollup-file", "alice.json"], "rollup file"),
        (&["rebuild", "x", "--rollup-file", "x", "--proof-out", "y"], "--account-key"),
        (&["rebuild", "x", "--rollup-file", "x", "--account-key", "none.json"], "none.json"),
        (
            &["exit", "--proof", "alice.json", "--rollup-file", "x", "--key", "x", "--password-file", "x"],
            "exit proof",
        ),
        (&["deposit", "--gwei", "0", "--account-key", "x"], "0 is not in 1.."),
        (
            &["deposit", "--gwei", "1", "--rollup-file", "x", "--key", "x", "--password-file", "x"],
            "--account-id",
        ),
    ] {
        let output = program(path, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{arguments:?}: {stderr}");
    }
    let commands = [
        "keygen",
        "setup",
        "deploy",
        "status",
        "deposit",
        "request-exit",
        "claim",
        "freeze",
        "rebuild",
        "exit",
        "refund",
    ];
    for command in commands {
        let output = program(path, &[command, "--help"]);
        assert!(output.status.success() && output.stdout.len() > 200, "{command}");
    }
}

#[test]
fn setup_says_what_the_keys_are_worth() {
    let folder = tempfile::tempdir().unwrap();
    let keys = keys_dir();
    let arguments = ["--json", "--quiet", "setup", "--keys-dir", keys.to_str().unwrap()];
    let output = program(folder.path(), &arguments);
    assert!(output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("WARNING: DEV ONLY"), "even when quiet: {stderr}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{document:#}");
    assert_eq!(document["public_inputs"], 8);
    assert!(document["fingerprint_share_percent"].as_f64().unwrap() > 0.0);
}
