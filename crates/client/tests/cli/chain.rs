//! The command line against a real chain.

use std::path::Path;

use dac_chain::testing::{Anvil, CommitteeSpec, RollupSpec, TestCommittee, deploy_committee, deploy_rollup};
use dac_client::files::{CommitteeFile, Deployment};
use dac_proto::v1;
use dac_types::{BatchDigest, Seat};
use serde_json::Value;

use crate::support::{Plan, Vice, honest};
use crate::{command, compare_shape, dac, document, expect, member_answer, serve_identity_on};

/// The deployment's file, as `dac admin deploy` writes it.
pub(crate) fn write_deployment(path: &Path, anvil: &Anvil, committee: &TestCommittee) {
    let deployment = Deployment {
        rpc_url: Some(anvil.url()),
        chain_id: committee.domain.chain_id,
        registry: committee.deployment.registry,
        certificate_log: committee.deployment.log,
        deployed_at_block: committee.deployment.block,
    };
    std::fs::write(path.join("deployment.json"), deployment.to_json()).unwrap();
}

/// The commands of owner, operators and auditor, from the first deployment on.
#[tokio::test(flavor = "multi_thread")]
async fn a_committee_lives_on_a_chain() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let keygen = |name: &str, kind: &str| -> String {
        let (out, password) = (format!("{name}.json"), format!("{name}.password"));
        let arguments = [
            "keygen",
            kind,
            "--out",
            &out,
            "--password-file",
            &password,
            "--new-password-file",
            "--kdf",
            "light",
        ];
        let made = expect(path, 0, &arguments);
        made["address"].as_str().or(made["public_key"].as_str()).unwrap().to_owned()
    };
    let owner = keygen("owner", "ethereum");
    anvil.fund(owner.parse().unwrap()).await;
    let url = anvil.url();
    let key = ["--key", "owner.json", "--password-file", "owner.password"];
    let deploy = [
        &[
            "admin",
            "deploy",
            "--rpc-url",
            &url,
            "--activation-delay",
            "10s",
            "--grace",
            "1h",
            "--out",
            "deployment.json",
        ],
        &key[..],
    ]
    .concat();
    let deployed = expect(path, 0, &deploy);
    compare_shape("deploy.json", &deployed);
    expect(path, 2, &deploy);
    let deployment = Deployment::read(&path.join("deployment.json")).unwrap();
    assert_eq!(deployment.rpc_url.as_ref(), Some(&url));
    let at = ["--deployment", "deployment.json"];
    assert_eq!(expect(path, 2, &[&["committee"][..], &at].concat())["error"]["exit_code"], 2);
    // There is no epoch and no batch, and no member was asked: the audit has not passed.
    let nothing = expect(path, 4, &[&["audit"][..], &at].concat());
    assert_eq!((&nothing["verdict"], &nothing["passed"]), (&"nothing_to_say".into(), &false.into()));

    let mut operators = Vec::new();
    for name in ["a", "b", "c"] {
        let operator = keygen(name, "ethereum");
        keygen(&format!("{name}-bls"), "bls");
        anvil.fund(operator.parse().unwrap()).await;
        let (key, password) = (format!("{name}.json"), format!("{name}.password"));
        let (bls, bls_password) = (format!("{name}-bls.json"), format!("{name}-bls.password"));
        let arguments = [
            &["register", "--key", &key, "--password-file", &password][..],
            &["--bls-key", &bls, "--bls-password-file", &bls_password],
            &["--dispersal-url", "http://127.0.0.1:1", "--retrieval-url", "http://127.0.0.1:1"],
            &at,
        ]
        .concat();
        let registered = expect(path, 0, &arguments);
        compare_shape("register.json", &registered);
        // Nothing listens at the URLs. The command warns of that, and registers all the same.
        assert_eq!(registered["warnings"].as_array().unwrap().len(), 2, "{registered}");
        operators.push(operator);
    }
    let seats = operators.join(",");
    let open =
        |k, q| [&["admin", "open-epoch", "--k", k, "--q", q, "--operators", &seats][..], &key, &at].concat();
    expect(path, 2, &open("3", "3"));
    let opened = expect(path, 0, &open("2", "2"));
    compare_shape("open-epoch.json", &opened);
    assert!(opened["warnings"][0].as_str().unwrap().contains("NO SIGNER MAY FAIL"));
    // The contract's errors are reported by name.
    let stranger =
        [&["admin", "pause", "--key", "a.json", "--password-file", "a.password"][..], &at].concat();
    assert_eq!(expect(path, 5, &stranger)["error"]["code"], "REFUSED");

    let shown = expect(path, 0, &[&["committee", "--out", "committee.json"][..], &at].concat());
    compare_shape("committee.json", &shown);
    assert_eq!(shown["safety"]["withholders_tolerated"], 0);
    assert_eq!(CommitteeFile::read(&path.join("committee.json")).unwrap().committee.epoch(), 1);
    let text = dac(path, &[&["committee"][..], &at].concat());
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("q − k = 0") && text.contains("L2BEAT") && text.contains("WARNING"), "{text}");

    let rollup = format!("0x{}", "11".repeat(20));
    let admit = [&["admin", "admit-rollup", "--rollup", &rollup, "--poster", &owner][..], &key, &at].concat();
    let admitted = dac(path, &[&["--json"][..], &admit].concat());
    compare_shape("admit-rollup.json", &document(&admitted));
    let told = String::from_utf8_lossy(&admitted.stderr);
    assert!(told.contains("note: there is no settlement contract at 0x1111"), "{told}");
    // Nothing settles there either: the hint is about the address, not about L1.
    let nothing = expect(path, 2, &[&["coverage", &rollup][..], &at].concat());
    assert!(nothing["error"]["hint"].as_str().unwrap().contains("the rollup's address"), "{nothing}");
    let shown = expect(path, 0, &[&["committee", "--use", "--operators"][..], &at].concat());
    compare_shape("committee-rollups.json", &shown["rollups"]);
    let admitted = &shown["rollups"][0];
    assert_eq!((&admitted["rollup"], &admitted["recorded_today_bytes"]), (&rollup.clone().into(), &0.into()));
    assert_eq!(admitted["poster"].as_str().unwrap().to_lowercase(), owner.to_lowercase());
    assert_eq!(shown["unseated_operators"], serde_json::json!([]), "all three sit in a seat");
    submissions_are_checked_first(path, &rollup, &owner).await;
    for action in ["pause", "unpause"] {
        expect(path, 0, &[&["admin", action][..], &key, &at].concat());
    }
    expect(path, 0, &[&["admin", "remove-rollup", "--rollup", &rollup][..], &key, &at].concat());
}

/// A submission is checked against L1 before the batch signer's key is opened. The key file is
/// missing here.
async fn submissions_are_checked_first(path: &Path, rollup: &str, disperser: &str) {
    std::fs::write(path.join("payload"), "payload").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let submit = |rollup: &str, more: &[&str]| {
        let order = [
            &["submit", "payload", "--rollup", rollup, "--disperser", disperser, "--batch-number", "1"][..],
            &["--aggregator", &silent, "--deployment", "deployment.json"],
            more,
        ];
        order.concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let run = |code, arguments: Vec<String>| {
        expect(path, code, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let nobody = ["--poster", "none.json", "--poster-password-file", "none"];
    let stranger = format!("0x{}", "22".repeat(20));
    for (rollup, option, value, expected) in [
        (stranger.as_str(), "--wait", "received", "does not admit rollup 0x2222"),
        (
            rollup,
            "--expires-in",
            "60d",
            "--expires-in: 60 d 0 h is longer than the rollup's retention of 30 d 0 h",
        ),
        (rollup, "--posting", "settle", "there is no settlement contract at 0x1111"),
    ] {
        let refused = run(5, submit(rollup, &[&nobody[..], &[option, value]].concat()));
        assert!(refused["error"]["message"].as_str().unwrap().contains(expected), "{refused}");
    }
    let other = ["--poster", "a.json", "--poster-password-file", "a.password"];
    let refused = run(5, submit(rollup, &other));
    assert!(refused["error"]["message"].as_str().unwrap().contains("the poster of rollup"), "{refused}");
    // The aggregator never answers: the timeout is for all steps together.
    let own = ["--poster", "owner.json", "--poster-password-file", "owner.password", "--timeout", "5s"];
    let start = std::time::Instant::now();
    let given_up = run(4, submit(rollup, &own));
    assert!(given_up["error"]["message"].as_str().unwrap().contains("SubmitBatch within 4."), "{given_up}");
    assert!(start.elapsed() < std::time::Duration::from_secs(45), "one attempt alone may take a minute");
    // The payload comes from standard input; the kept submission contains its length.
    let more = [&own[..], &["--submission", "kept.json", "--expires-in", "59m"]].concat();
    let mut streamed = submit(rollup, &more);
    streamed[1] = "-".to_owned();
    let streamed = command(path, &streamed.iter().map(String::as_str).collect::<Vec<_>>())
        .stdin(std::fs::File::open(path.join("payload")).unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&streamed.stderr);
    assert_eq!(streamed.status.code(), Some(4), "{told}");
    assert!(told.contains("WARNING: members keep this batch for 59m only"), "{told}");
    let kept: Value = serde_json::from_slice(&std::fs::read(path.join("kept.json")).unwrap()).unwrap();
    assert_eq!(kept["submission"]["payload_length"], 7, "{kept}");
}

/// A seat changes hands. Mistakes are refused before anything is sent, and `--wait` ends when the
/// new operator is ready.
#[tokio::test(flavor = "multi_thread")]
async fn a_seat_is_given_to_a_newcomer() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let spec = CommitteeSpec { activation_delay: 2, ..CommitteeSpec::new(4, 2, 3) };
    let mut committee = deploy_committee(&anvil, &spec).await;
    let mut answer = member_answer();
    answer.chain_id = committee.domain.chain_id;
    answer.registry = committee.domain.registry.to_vec().into();
    answer.seats = vec![v1::MemberSeat { epoch: 2, seat: 1, active: true }];
    answer.state = v1::MemberState::Ready.into();
    answer.public_key = vec![0; 96].into();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let newcomer = committee.register(&anvil, url.clone(), url).await.clone();
    answer.public_key = newcomer.secret_key.public_key().to_compressed().as_bytes().to_vec().into();
    let _server = serve_identity_on(listener, answer);
    let stranded = committee.register(&anvil, "http://127.0.0.1:1".into(), "http://127.0.0.1:1".into()).await;
    let stranded = stranded.operator.address().to_string();

    let unseated = |path: &Path| -> Vec<String> {
        let shown = expect(path, 0, &["committee", "--operators", "--deployment", "deployment.json"]);
        let operators = shown["unseated_operators"].as_array().unwrap();
        operators.iter().map(|operator| operator["operator"].as_str().unwrap().to_lowercase()).collect()
    };
    write_deployment(path, &anvil, &committee);
    let password = dac_keys::create_password_file(&path.join("password")).unwrap();
    for (name, key) in [("owner.json", &committee.owner), ("other.json", &newcomer.operator)] {
        dac_keys::create_ecdsa_keystore(&path.join(name), key, &password, dac_keys::KdfCost::Light).unwrap();
    }
    let mut registered = [&newcomer.operator, &committee.members[5].operator]
        .map(|operator| operator.address().to_string().to_lowercase());
    registered.sort();
    assert_eq!(unseated(path), registered);
    let at = ["--deployment", "deployment.json", "--password-file", "password"];
    let rotate = |code, key: &str, more: &[&str]| {
        expect(path, code, &[&["rotate", "--key", key][..], &at, more].concat())
    };
    let operator = newcomer.operator.address().to_string();
    let sitting = committee.members[3].operator.address().to_string();
    let seat_1 = ["--seat", "1", "--operator", &operator];

    let nobody = format!("0x{}", "77".repeat(20));
    for (arguments, expected) in [
        (&["--seat", "1", "--operator", &nobody][..], "not registered"),
        (&["--seat", "1", "--operator", &sitting], "would sit in seats 1 and 3"),
        (&["--seat", "3", "--operator", &sitting], "already"),
        (&["--seat", "4", "--operator", &operator], "does not exist"),
        (&["--seat", "0", "--operator", &operator, "--seat", "1", "--operator", &stranded], "at most 1"),
        (&["--seat", "0", "--seat", "1", "--operator", &operator], "one --operator for each --seat"),
    ] {
        let refused = rotate(2, "owner.json", arguments);
        assert!(refused.to_string().contains(expected), "{arguments:?}: {refused}");
    }
    let planned = rotate(0, "owner.json", &["--seat", "1", "--operator", &stranded, "--dry-run"]);
    assert!(planned["warnings"][0].as_str().unwrap().contains("unreachable"), "{planned}");
    let planned = rotate(0, "owner.json", &[&seat_1[..], &["--dry-run"]].concat());
    assert_eq!(planned["warnings"], serde_json::json!([]));
    assert_eq!(planned["changes_allowed"], 1);
    assert_eq!(rotate(5, "other.json", &seat_1)["error"]["code"], "REFUSED");

    let rotated = rotate(0, "owner.json", &[&seat_1[..], &["--wait", "--interval", "100ms"]].concat());
    compare_shape("rotate.json", &rotated);
    assert_eq!((&rotated["epoch"], &rotated["ready"]), (&2.into(), &true.into()));
    let mut seats = committee.operators()[..4].to_vec();
    seats[1] = newcomer.operator.address();
    let shown = expect(path, 0, &["committee", "--epoch", "2", "--deployment", "deployment.json"]);
    let shown: Vec<&str> = shown["committee"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["operator"].as_str().unwrap())
        .collect();
    assert_eq!(shown, seats.iter().map(|seat| format!("{seat:#x}")).collect::<Vec<_>>());

    // A new operator that cannot be reached is not ready: waiting ends at its limit with an error.
    // The next block's time is after the beginning of the former epoch.
    anvil.mine(1).await;
    let wait = ["--seat", "2", "--operator", &stranded, "--wait", "--interval", "100ms", "--timeout", "3s"];
    let waited = rotate(3, "owner.json", &wait);
    assert_eq!((&waited["active"], &waited["ready"]), (&true.into(), &false.into()));
}

/// A batch that L1 recorded, from members at private addresses beside a local chain.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_batches_are_retrieved_verified_and_audited() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut plan = Plan::new(4, 2, 3);
    let listeners = plan.listen();
    let urls = Plan::urls(&listeners);
    let spec = CommitteeSpec {
        urls: urls.iter().map(|url| (url.clone(), url.clone())).collect(),
        ..CommitteeSpec::new(4, 2, 3)
    };
    let committee = deploy_committee(&anvil, &spec).await;
    plan.domain = committee.domain;
    plan.epoch = committee.epoch;
    plan.keys = committee.members.iter().map(|member| member.secret_key.clone()).collect();
    plan.operators = committee.operators();
    plan.signers = Some(vec![Seat(0), Seat(1), Seat(2)]);
    let scene =
        plan.play_on(listeners, &honest(4, 2), &[Vice::None, Vice::None, Vice::WrongByte, Vice::Down]);
    let account = anvil.account(committee.owner.clone());
    account.record(committee.deployment.log, &scene.certificate).await.unwrap();

    write_deployment(path, &anvil, &committee);
    let at = ["--deployment", "deployment.json"];
    let run = |code, arguments: &[&str]| expect(path, code, &[arguments, &at].concat());
    let digest = scene.digest.to_string();

    run(0, &["retrieve", &digest, "--out", "payload.bin"]);
    assert_eq!(
        Some(std::fs::read(path.join("payload.bin")).unwrap()),
        scene.payload.as_ref().map(|payload| payload.to_vec())
    );

    let fetched = run(0, &["certificate", &digest, "--out", "certificate.json"]);
    assert_eq!(fetched["signers"], 3);
    let verified = run(0, &["verify", "certificate.json"]);
    compare_shape("verify.json", &verified);
    assert!(verified["l1"]["recorded_at"].as_u64().unwrap() > 0);

    let audit = run(1, &["audit", "--chunks", "4", "--whole-shards"]);
    compare_shape("audit.json", &audit);
    assert_eq!(audit["passed"], false);
    assert_eq!(audit["summary"]["chunks_ok"], 8);
    assert_eq!(audit["summary"]["chunks_failed"], 4);
    assert_eq!(audit["summary"]["shards_failed"], 1);
    assert_eq!(audit["summary"]["unreachable"], 1);
    assert_eq!((&audit["verdict"], &audit["batches_owed"]), (&"failed".into(), &1.into()));
    assert_eq!((&audit["seats_asked"], &audit["seats_unreachable"]), (&4.into(), &serde_json::json!([3])));
    let by_digest = run(1, &["audit", "--batch", &digest]);
    assert_eq!(by_digest["batches"], 1);
    // The text has a line for each member, then what is wrong, then the verdict. With --quiet the
    // table is missing, with --rows each check is listed.
    let text = |more: &[&str]| {
        let output =
            dac(path, &[&["audit", "--batch", &digest, "--whole-shard-one-in", "0"], more, &at].concat());
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stdout).unwrap()
    };
    let (usual, quiet, rows) = (text(&[]), text(&["--quiet"]), text(&["--rows"]));
    assert!(usual.starts_with("seat  member") && usual.contains("\nFAILED: "), "{usual}");
    assert!(!usual.contains("unreachable: unreachable"), "{usual}");
    assert_eq!(quiet.lines().count(), 3, "one chunk of seat 2, seat 3 out of reach, the verdict: {quiet}");
    assert!(rows.starts_with("batch ") && rows.lines().count() > usual.lines().count(), "{rows}");
    // Future blocks have no batches.
    let future = run(4, &["audit", "--from-block", "99999999"]);
    assert_eq!((&future["verdict"], &future["batches"]), (&"nothing_to_say".into(), &0.into()));
    // No member has a batch with this digest.
    let unknown = BatchDigest(dac_types::B256::repeat_byte(3)).to_string();
    assert_eq!(run(4, &["retrieve", &unknown, "--out", "y"])["error"]["code"], "UNAVAILABLE");

    // All members are gone. That shows nothing about what they hold, and is a failure only with
    // --strict.
    drop(scene);
    let gone = run(4, &["audit"]);
    assert_eq!((&gone["verdict"], &gone["passed"]), (&"nothing_to_say".into(), &false.into()));
    assert_eq!(gone["seats_unreachable"], serde_json::json!([0, 1, 2, 3]));
    assert_eq!(run(1, &["audit", "--strict"])["verdict"], "failed");
}

/// If nothing settles for a freeze delay, anyone may freeze, and the exit code of `dac coverage`
/// says so.
async fn rollup_stops(anvil: &Anvil, path: &Path, address: &str) {
    anvil.rpc("evm_increaseTime", serde_json::json!([2_000])).await;
    anvil.mine(1).await;
    let stopped = expect(path, 1, &["coverage", address, "--deployment", "deployment.json"]);
    assert_eq!((&stopped["freezable_for"], &stopped["settles"]), (&"NOTHING_SETTLED".into(), &true.into()));
    assert!(stopped["frozen_for"].is_null());
}

/// Retrieves the batches that a rollup has settled, from members at private addresses of a local
/// chain.
#[tokio::test(flavor = "multi_thread")]
async fn all_settled_batches_of_a_rollup_are_retrieved_and_a_second_run_goes_on() {
    let anvil = Anvil::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let mut plan = Plan::new(4, 2, 3);
    let listeners = plan.listen();
    let spec = CommitteeSpec {
        urls: Plan::urls(&listeners).iter().map(|url| (url.clone(), url.clone())).collect(),
        activation_delay: RollupSpec::default().activation_delay(),
        ..CommitteeSpec::new(4, 2, 3)
    };
    let committee = deploy_committee(&anvil, &spec).await;
    let rollup = deploy_rollup(&anvil, &committee, RollupSpec::default()).await;
    plan.domain = committee.domain;
    plan.epoch = committee.epoch;
    plan.keys = committee.members.iter().map(|member| member.secret_key.clone()).collect();
    plan.operators = committee.operators();
    (plan.rollup, plan.batch_number) = (rollup.address, 1);
    // No member has the certificate: the contract's event is the evidence.
    plan.with_certificate = false;
    let scene = plan.play_on(listeners, &honest(4, 2), &[Vice::Down, Vice::WrongByte]);

    write_deployment(path, &anvil, &committee);
    let address = rollup.address.to_string();
    let retrieve = ["retrieve", "--rollup", &address, "--out-dir", "a/b", "--deployment", "deployment.json"];
    let run = |code, more: &[&str]| expect(path, code, &[&retrieve[..], more].concat());
    let counts =
        |document: &Value| ["batches", "retrieved", "present"].map(|name| document[name].as_u64().unwrap());
    assert_eq!(counts(&run(0, &[])), [0, 0, 0], "nothing has settled yet");
    let coverage = |code| expect(path, code, &["coverage", &address, "--deployment", "deployment.json"]);
    assert!(coverage(0)["coverage_until"].is_null(), "nothing to cover yet");

    rollup.settle(&rollup.order(&scene.certificate)).await;
    let covered = coverage(0);
    compare_shape("coverage.json", &covered);
    assert_eq!((&covered["batch_count"], &covered["coverage_until"]), (&1.into(), &4_000_000_000_u64.into()));
    assert_eq!(covered["settling_stops_after"], 4_000_000_000_u64 - 3_000);
    let all = run(0, &[]);
    compare_shape("retrieve-rollup.json", &all);
    assert_eq!(counts(&all), [1, 1, 0]);
    assert_eq!(all["files"][0]["digest"], scene.digest.to_string());
    let file = path.join("a/b/000001.bin");
    let payload = scene.payload.as_ref().unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), payload[..]);
    // A second run checks the existing files, keeps good ones, and fetches those again that do not
    // match the batch's commitment.
    assert_eq!(counts(&run(0, &[])), [1, 0, 1]);
    let mut spoiled = payload.to_vec();
    spoiled[100] ^= 1;
    for broken in [spoiled, payload[1..].to_vec(), Vec::new()] {
        std::fs::write(&file, broken).unwrap();
        assert_eq!(counts(&run(0, &[])), [1, 1, 0]);
        assert_eq!(std::fs::read(&file).unwrap(), payload[..]);
    }
    assert_eq!(counts(&run(0, &["--force"])), [1, 1, 0]);
    // The rollup's batches are not in the log, so that an audit of the log has nothing to say of
    // them.
    let audit = |code, more: &[&str]| {
        expect(path, code, &[&["audit", "--deployment", "deployment.json"], more].concat())
    };
    assert_eq!(audit(4, &[])["batches_owed"], 0);
    let audited = audit(1, &["--rollup", &address]);
    assert_eq!((&audited["batches_owed"], &audited["verdict"]), (&1.into(), &"failed".into()));
    assert_eq!(audited["batches_audited"][0]["seats_checked"], 2, "one is down, one sends a wrong byte");

    let late = anvil.head().await.number.to_string();
    anvil.mine(1).await;
    let gap = run(4, &["--from-block", &(late.parse::<u64>().unwrap() + 1).to_string()]);
    assert!(gap["error"]["hint"].as_str().unwrap().contains("--from-block"), "{gap}");
    // No member serves the second batch; the first one is retrieved all the same.
    let lost = committee.certify(rollup.header(&committee, 2, 4_000_000_000), &[]);
    rollup.settle(&rollup.order(&lost)).await;
    std::fs::remove_file(&file).unwrap();
    let failed = run(4, &[]);
    assert!(failed["error"]["message"].as_str().unwrap().contains("1 of 2 batches"), "{failed}");
    assert_eq!(std::fs::read(&file).unwrap(), payload[..]);
    assert!(!path.join("a/b/000002.bin").exists());

    rollup_stops(&anvil, path, &address).await;
    // There is no such rollup, and then the rollup belongs to another committee.
    let nobody = format!("0x{}", "99".repeat(20));
    let other = ["retrieve", "--rollup", &nobody, "--out-dir", "c", "--deployment", "deployment.json"];
    assert_eq!(expect(path, 2, &other)["error"]["code"], "USAGE");
    let strangers = deploy_committee(&anvil, &CommitteeSpec::new(4, 2, 3)).await;
    let registry = strangers.deployment.registry.to_string();
    let foreign = run(2, &["--registry", &registry]);
    assert!(foreign["error"]["message"].as_str().unwrap().contains("belongs to the committee"), "{foreign}");
}
